"""Continuous batching over a cache in pages: streams of tokens enter and leave at every step.

A step prefills waiting prompts, many in one pass and long ones in chunks, and decodes one token of every stream that
runs; pictures of the prompts of a pass are encoded in one call of the vision tower. Both halves of a step are the same
three verbs: the schedule picks what is due (`Schedule`), the model runs, and what came of it goes back to the streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kvl_eval.engine.requests import BatchCounts, Event, Filling, Prompt, Ready, Stream, Waiting, not_finite
from kvl_eval.engine.schedule import Schedule
from kvl_eval.engine.shortage import within_memory
from kvl_eval.errors import SampleError
from kvl_eval.model.base import Embedded, VisionLanguageModel
from kvl_eval.model.pages import PAGE, PagePool
from kvl_eval.model.rows import PromptRows, StepRows
from kvl_eval.model.sampling import sample_rows
from kvl_eval.model.tensors import index_tensor

PREFILL_CHUNK = 2048  # tokens


class Batch:
    """Prompts in, outputs out.

    Args:
        rows:      most streams decoded together.
        chunk:     most prompt tokens prefilled in one step.
        pages:     most pages of the cache; None means no limit.
        page_size: tokens of a page.
        prepare:   makes what the vision tower takes of a portion of the prompts' pixel values.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        rows: int,
        chunk: int = PREFILL_CHUNK,
        pages: int | None = None,
        page_size: int = PAGE,
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model = model
        self.prepare = prepare
        self.chunk = chunk
        self.counts = BatchCounts()
        self.pool: PagePool = model.new_pool(pages, page_size)
        self.schedule = Schedule(self.pool, rows, self.counts)
        self.features = self.schedule.features

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self.schedule.busy

    @property
    def room(self) -> int:
        """Streams that can be added until all rows and the short queue before them are taken."""
        return self.schedule.room

    def add(self, prompt: Prompt) -> None:
        """Queue a prompt with its streams."""
        self.schedule.add(prompt)

    def reserve(self) -> None:
        """Take all memory of the cache now, if it can be had, where growing would leave holes behind."""
        if self.pool.limit is not None and self.model.device.type == "cuda":
            within_memory(self.pool.reserve, self.pool.limit)

    @torch.no_grad()
    def step(self) -> list[Event]:
        """Do a little of everything there is to do; what came of it."""
        self._prefill()
        self._start()
        self.schedule.preempt()
        if self.schedule.active:
            self._decode()
        self.counts.copied_pages = self.pool.copied
        events, self.schedule.events = self.schedule.events, []
        return events

    # -- prefill

    def _prefill(self) -> None:
        """Prefill what waits, many prompts in one pass, up to `chunk` tokens in all."""
        budget = self.chunk
        while budget > 0 and (group := self.schedule.next_group(budget)):
            start = time.perf_counter()
            count = within_memory(self._run_prefill, group, budget)
            seconds = (time.perf_counter() - start) / len(group)
            for waiting in group:
                waiting.prompt.prefill_seconds += seconds
            if count is None:
                self.schedule.split_group(group)
                return
            budget -= count

    def _run_prefill(self, group: Sequence[Waiting], budget: int) -> int:
        """Prefill prompts in one pass, the last of them as far as the budget goes; how many tokens they were."""
        self._encode([waiting.prompt for waiting in group])
        fillings = [filling for waiting in group if (filling := self._filling_of(waiting)) is not None]
        if not fillings:
            return 0
        counts = [filling.left for filling in fillings]
        counts[-1] = min(counts[-1], budget - sum(counts[:-1]))
        parts = [filling.part(count) for filling, count in zip(fillings, counts, strict=True)]
        embeds = torch.cat([part[0] for part in parts], dim=1)
        positions = torch.cat([part[1] for part in parts], dim=-1)
        rows = PromptRows(self.pool, [filling.table for filling in fillings], counts, positions)
        logits = self.model.forward_cached(embeds, rows)
        self.counts.prefill_passes += 1
        self.counts.prefill_tokens += sum(counts)
        self.schedule.fillings = [filling for filling in fillings if filling.left]
        for filling, row in zip(fillings, torch.split(logits, 1), strict=True):
            if not filling.left:
                self.schedule.filled(filling, row)
        return sum(counts)

    def _filling_of(self, waiting: Waiting) -> Filling | None:
        """The prefill of a prompt, begun if it was not; None where the prompt fails."""
        under_way = self.schedule.filling
        if under_way is not None and under_way.waiting is waiting:
            return under_way
        waiting.prompt.begun = waiting.prompt.begun or time.perf_counter()
        try:
            embedded = self._embedded(waiting)
        except SampleError as error:
            self.schedule.fail(waiting.streams, error)
            return None
        return self.schedule.begin(waiting, embedded)

    def _embedded(self, waiting: Waiting) -> Embedded:
        """The prompt with its pictures' features in place, and what a stream had generated behind it."""
        prompt = waiting.prompt
        features = self.features[prompt.pictures] if prompt.grids else None
        embedded = self.model.embed(torch.tensor([prompt.ids], dtype=torch.long), features, prompt.grids)
        if waiting.stream is None or not waiting.stream.trajectory.fed:
            return embedded
        embeds, positions, start = embedded
        # A placeholder that the model wrote itself stands for no picture.
        written = self.model.embed(torch.tensor([waiting.stream.trajectory.fed], dtype=torch.long)).embeds
        end = start + written.shape[1]
        behind = torch.arange(start, end, device=positions.device).expand(*positions.shape[:-1], -1)
        return Embedded(torch.cat([embeds, written], dim=1), torch.cat([positions, behind], dim=-1), end)

    def _encode(self, prompts: Sequence[Prompt]) -> None:
        """Put the features of the prompts' pictures on the shelf; those that are missing take one call of the tower."""
        due = {prompt.pictures: prompt for prompt in prompts if prompt.grids and prompt.pictures not in self.features}
        pixels = [prompt.pixel_values() for prompt in due.values() if prompt.pixel_values is not None]
        if pixels:
            grids = [grid for prompt in due.values() for grid in prompt.grids]
            self.counts.vision_calls += 1
            self.counts.images += len(grids)
            features = self.model.image_features(torch.cat(pixels), grids, prepare=self.prepare)
            sizes = [sum(picture.tokens for picture in pictures) for pictures in due]
            for pictures, part in zip(due, torch.split(features, sizes), strict=True):
                self.features.put(pictures, part.clone() if len(due) > 1 else part)
        for prompt in prompts:
            prompt.pixel_values = None

    # -- decoding

    def _start(self) -> None:
        """Let streams that are ready run, and draw their first tokens; one that was interrupted knows its next."""
        started = self.schedule.start()
        for ready in started:
            ready.stream.started = ready.stream.started or time.perf_counter()
        due = [ready for ready in started if not ready.stream.trajectory.pending]
        if due:
            self._postprocess([ready.stream for ready in due], within_memory(_first_tokens, due))

    def _decode(self) -> None:
        """One token more of every stream that runs."""
        streams = list(self.schedule.active)
        due = [stream for stream in streams if len(stream.trajectory.pending) == 1]
        tokens = within_memory(self._run_step, streams, self.schedule.step_rows())
        if tokens is not None:
            self.counts.decode_steps += 1
            self.counts.decoded_tokens += len(streams)
            for stream in streams:
                stream.trajectory.pending = stream.trajectory.pending[1:]
        self._postprocess(due, tokens)

    def _run_step(self, streams: Sequence[Stream], rows: StepRows) -> list[int | None]:
        """Feed every stream its next pending token; what is drawn for those that have no other."""
        ids = index_tensor([stream.trajectory.pending[0] for stream in streams], self.model.device)
        logits = self.model.forward_cached(self.model.embed(ids[:, None]).embeds, rows)
        places = [place for place, stream in enumerate(streams) if len(stream.trajectory.pending) == 1]
        if len(places) < len(streams):
            logits = logits[index_tensor(places, logits.device)]
        return _sample([streams[place] for place in places], logits) if places else []

    def _postprocess(self, streams: Sequence[Stream], tokens: Sequence[int | None] | None) -> None:
        """Hand sampled tokens to their trajectories and do what these want next; None where memory ran out."""
        if tokens is None:
            self.schedule.shrink_rows()
            return
        for stream, token in zip(streams, tokens, strict=True):
            trajectory = stream.trajectory
            if token is None:
                self.schedule.fail([stream], not_finite())
                continue
            trajectory.push(token)
            self.schedule.events += [Event(stream, output) for output in trajectory.outputs]
            trajectory.outputs = []
            if trajectory.finished:
                self.schedule.end(stream)
            elif trajectory.cut is not None and stream.table is not None:
                self.pool.truncate(stream.table, len(stream.prompt.ids) + trajectory.cut)
                trajectory.cut = None


def _first_tokens(group: Sequence[Ready]) -> list[int | None]:
    """What is drawn behind prompts."""
    return _sample([ready.stream for ready in group], torch.cat([ready.logits for ready in group]))


def _sample(streams: Sequence[Stream], logits: Tensor) -> list[int | None]:
    """The next token of each stream; None where its logits are not finite."""
    settings = [stream.trajectory.generation for stream in streams]
    return sample_rows(
        logits,
        temperature=[generation.temperature for generation in settings],
        top_p=[generation.top_p for generation in settings],
        top_k=[generation.top_k for generation in settings],
        seed=[stream.seed for stream in streams],
        step=[stream.trajectory.step for stream in streams],
    )
