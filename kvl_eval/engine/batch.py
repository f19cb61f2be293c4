"""Continuous batching over a latent cache in pages: streams of tokens enter and leave at every step.

A step prefills waiting prompts, many in one pass and long ones in chunks, and decodes one token of every stream that
runs; pictures of the prompts of a pass are encoded in one call of the vision tower. A prompt is prefilled once for all
its repeats and budgets, which share its pages. Prompts that begin alike (the same document, another question)
share the full pages of what is alike, as long as one of them is in the cache when the next one enters.

A prompt enters when there are pages for it and one more for everybody else. Where pages run out in mid-flight, the
youngest stream gives its own back and waits; what it had generated is not lost but prefilled behind its prompt. The
oldest stream never has to wait, so all come to an end. What does not fit even alone fails, and nobody else.

Where memory itself runs out in a pass of many prompts, they are prefilled one by one from then on. Else every stream
gives up its pages and waits; half as many rows are tried. A stream that had the batch for itself is tried alone once
more, then it fails.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from kvl_eval.engine.features import FeatureShelf
from kvl_eval.engine.prefixes import page_names
from kvl_eval.engine.requests import Counts, Event, Prompt, Stream, Waiting, not_finite, out_of_memory, overflow
from kvl_eval.errors import SampleError
from kvl_eval.model.base import Embedded, VisionLanguageModel
from kvl_eval.model.pages import PAGE, PagePool, PageTable, PromptRows, StepRows
from kvl_eval.model.sampling import sample_rows
from kvl_eval.model.tensors import index_tensor

T = TypeVar("T")

PREFILL_CHUNK = 2048  # tokens
AHEAD = 2  # streams whose prompts are prefilled before there is a row for them
FULL = ("allocate memory", "not enough memory", "out of memory")  # how torch says it in a plain RuntimeError


@dataclass(slots=True)
class _Filling:
    """A prefill under way: of a prompt, or of a prompt and what one stream had generated behind it."""

    one: Waiting
    embedded: Embedded
    table: PageTable

    @property
    def left(self) -> int:
        """Tokens that are not prefilled yet."""
        return self.embedded.embeds.shape[1] - self.table.length

    def part(self, count: int) -> tuple[Tensor, Tensor]:
        """Embeddings and positions of the next tokens."""
        part = slice(self.table.length, self.table.length + count)
        return self.embedded.embeds[:, part], self.embedded.positions[..., part]


class _Ready(NamedTuple):
    """A stream that waits for a row, and the logits behind its beginning."""

    stream: Stream
    logits: Tensor


class Batch:
    """Prompts in, outputs out.

    Args:
        rows:      most streams decoded together.
        chunk:     most prompt tokens prefilled in one step.
        pages:     most pages of the latent cache; None means no limit.
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
        self.configured_rows = rows
        self.rows = rows
        self.together = rows + AHEAD  # most prompts in one pass; 1 once memory ran out in one
        self.chunk = chunk
        self.counts = Counts()
        self.pool: PagePool = model.new_pool(pages, page_size)
        self.features = FeatureShelf()
        self._added = 0
        self._waiting: deque[Waiting] = deque()  # the oldest first
        self._fillings: list[_Filling] = []  # of the pass under way; between passes at most one, prefilled in part
        self._ready: deque[_Ready] = deque()
        self._active: list[Stream] = []
        self._paged: StepRows | None = None  # the active streams as rows
        self._events: list[Event] = []

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._filling or self._ready or self._active)

    @property
    def room(self) -> int:
        """Streams that can be added until all rows and the short queue before them are taken."""
        waiting = sum(len(one.streams) for one in self._waiting)
        filling = len(self._filling.one.streams) if self._filling else 0
        return self.rows + AHEAD - len(self._active) - len(self._ready) - filling - waiting

    def add(self, prompt: Prompt) -> None:
        """Queue a prompt with its streams."""
        self._added += 1
        prompt.order, prompt.open = self._added, len(prompt.streams)
        prompt.pages = page_names(prompt.ids, prompt.places, prompt.pictures, self.pool.page_size)
        self.features.join(prompt.pictures)
        self._waiting.append(Waiting(prompt))

    def reserve(self) -> None:
        """Take all memory of the cache now, if it can be had, where growing would leave holes behind."""
        limit = self.pool.limit
        if limit is not None and self.model.device.type == "cuda":
            _unless_full(lambda: self.pool.reserve(limit))

    @torch.no_grad()
    def step(self) -> list[Event]:
        """Do a little of everything there is to do; what came of it."""
        self._prefill_some()
        self._start()
        self._find_pages()
        if self._active:
            self._decode()
        self.counts.copied_pages = self.pool.copied
        events, self._events = self._events, []
        return events

    # -- prefill

    def _prefill_some(self) -> None:
        """Prefill what waits, many prompts in one pass, up to `chunk` tokens in all."""
        budget = self.chunk
        while budget > 0 and (group := self._next_group(budget)):
            start = time.perf_counter()
            done = _unless_full(partial(self._prefill, group, budget))
            seconds = (time.perf_counter() - start) / len(group)
            for one in group:
                one.prompt.prefill_seconds += seconds
            if done is None:
                self._no_memory_to_prefill(group)
                return
            budget -= done

    def _next_group(self, budget: int) -> list[Waiting]:
        """The prompts of the next pass: the one under way, and others as long as the budget has tokens for them."""
        group = [] if self._filling is None else [self._filling.one]
        left = budget - (self._filling.left if self._filling else 0)
        while left > 0 and len(group) < self.together and self._may_join(group):
            one = self._waiting[0]
            if not group and not self.pool.fits(self._pages_for(one) - len(one.streams)):
                self._fail(self._waiting.popleft().streams, overflow(one.tokens, self.pool))
                continue
            group.append(self._waiting.popleft())
            left -= one.tokens - self._beginning(one)[1]
        return group

    def _may_join(self, group: Sequence[Waiting]) -> bool:
        """Whether the oldest prompt that waits may be prefilled together with these."""
        if not self._waiting:
            return False
        one = self._waiting[0]
        taken = len(self._active) + len(self._ready) + sum(len(other.streams) for other in group)
        running = (*self._active, *(ready.stream for ready in self._ready))
        if one.alone or any(other.alone for other in group) or any(stream.alone for stream in running):
            return taken == 0
        if taken == 0:
            return True
        if any(self._alike(one, other) for other in group):
            return False  # it finds their pages in the next pass
        fresh = [other for other in group if self._filling is None or other is not self._filling.one]
        pages = sum(self._pages_for(other) for other in (*fresh, one))
        running_or_filling = taken - sum(len(other.streams) for other in fresh)
        return taken < self.rows + AHEAD and self.pool.fits(pages + running_or_filling)

    def _alike(self, one: Waiting, other: Waiting) -> bool:
        """Whether a prompt could share a page that the other one has yet to fill."""
        held = self._beginning(one)[1]
        if one.prompt is other.prompt:
            return held < min(len(one.prompt.ids), one.tokens - 1)
        page = held // self.pool.page_size
        mine, theirs = one.prompt.pages[page : page + 1], other.prompt.pages[page : page + 1]
        return bool(mine) and mine == theirs

    def _pages_for(self, one: Waiting) -> int:
        """Pages that a prefill takes, with the first tokens of its streams."""
        shared = self._beginning(one)[1] // self.pool.page_size
        return self.pool.pages_for(one.tokens) - shared + len(one.streams)

    def _beginning(self, one: Waiting) -> tuple[PageTable | None, int]:
        """The pages that a prefill begins with, and how many of its tokens they hold.

        Another stream of the same prompt has all of it; one of another prompt has the full pages of what is alike.
        """
        for stream in one.prompt.streams:
            if stream.table is not None:
                return stream.table, min(len(one.prompt.ids), one.tokens - 1)
        table, count, page_size = None, 0, self.pool.page_size
        names = one.prompt.pages[: (one.tokens - 1) // page_size]
        for stream in (*self._active, *(ready.stream for ready in self._ready)):
            others = stream.prompt.pages
            while count < min(len(names), len(others)) and names[count] == others[count]:
                table, count = stream.table, count + 1
        return table, count * page_size

    def _prefill(self, group: Sequence[Waiting], budget: int) -> int:
        """Prefill prompts in one pass, the last of them as far as the budget goes; how many tokens they were."""
        self._encode([one.prompt for one in group])
        fillings = [filling for one in group if (filling := self._filling_of(one)) is not None]
        if not fillings:
            return 0
        counts = [filling.left for filling in fillings]
        counts[-1] = min(counts[-1], budget - sum(counts[:-1]))
        parts = [filling.part(count) for filling, count in zip(fillings, counts, strict=True)]
        embeds, positions = (
            torch.cat([part[0] for part in parts], dim=1),
            torch.cat([part[1] for part in parts], dim=-1),
        )
        rows = PromptRows(self.pool, [filling.table for filling in fillings], counts, positions)
        logits = self.model.forward_cached(embeds, rows)
        self.counts.prefill_passes += 1
        self.counts.prefill_tokens += sum(counts)
        self._fillings = [filling for filling in fillings if filling.left]
        for filling, row in zip(fillings, torch.split(logits, 1), strict=True):
            if not filling.left:
                self._filled(filling, row)
        return sum(counts)

    def _filled(self, filling: _Filling, logits: Tensor) -> None:
        """The streams of a prompt that is prefilled wait for a row."""
        first, *others = filling.one.streams
        for stream in others:
            stream.table = self.pool.fork(filling.table)
        first.table = filling.table
        self._ready.extend(_Ready(stream, logits) for stream in filling.one.streams)

    def _filling_of(self, one: Waiting) -> _Filling | None:
        """The prefill of a prompt, which starts behind what other streams have in their pages; None where it fails."""
        if self._filling is not None and self._filling.one is one:
            return self._filling
        one.prompt.begun = one.prompt.begun or time.perf_counter()
        try:
            embedded = self._embedded(one)
        except SampleError as error:
            self._fail(one.streams, error)
            return None
        other, held = self._beginning(one)
        filling = _Filling(one, embedded, PageTable() if other is None else self.pool.fork(other))
        self._fillings.append(filling)
        self.pool.truncate(filling.table, held)
        filling.table.offset = embedded.next_position - embedded.embeds.shape[1]
        self.pool.extend([filling.table], filling.left)
        self.counts.prefills += 1
        return filling

    def _embedded(self, one: Waiting) -> Embedded:
        """The prompt with its pictures' features in place, and what a stream had generated behind it."""
        prompt = one.prompt
        features = self.features[prompt.pictures] if prompt.grids else None
        embedded = self.model.embed(self._tensor(prompt.ids), features, prompt.grids)
        if one.stream is None or not one.stream.trajectory.fed:
            return embedded
        embeds, positions, start = embedded
        # A placeholder that the model wrote itself stands for no picture.
        written = self.model.embed(self._tensor(one.stream.trajectory.fed)).embeds
        end = start + written.shape[1]
        behind = torch.arange(start, end, device=positions.device).expand(*positions.shape[:-1], -1)
        return Embedded(torch.cat([embeds, written], dim=1), torch.cat([positions, behind], dim=-1), end)

    def _encode(self, prompts: Sequence[Prompt]) -> None:
        """Put the features of the prompts' pictures on the shelf; those that are missing take one call of the tower."""
        due = {one.pictures: one for one in prompts if one.grids and one.pictures not in self.features}
        pixels = [one.pixel_values() for one in due.values() if one.pixel_values is not None]
        if pixels:
            grids = [grid for one in due.values() for grid in one.grids]
            self.counts.vision_calls += 1
            self.counts.images += len(grids)
            features = self.model.image_features(torch.cat(pixels), grids, prepare=self.prepare)
            sizes = [sum(picture.tokens for picture in pictures) for pictures in due]
            for pictures, part in zip(due, torch.split(features, sizes), strict=True):
                self.features.put(pictures, part.clone() if len(due) > 1 else part)
        for one in prompts:
            one.pixel_values = None

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([ids], dtype=torch.long, device=self.model.device)

    def _no_memory_to_prefill(self, group: Sequence[Waiting]) -> None:
        """Prefill one by one from now on; one by itself waits until nothing else runs, is tried again, then fails."""
        self.counts.out_of_memory += 1
        self._drop_fillings()
        self._free_memory()
        one = group[0]
        if len(group) > 1:
            self.together = 1
            self._put_back(group)
        elif one.subject.alone:
            self._fail(one.streams, out_of_memory(len(one.prompt.ids)))
            self.rows = self.configured_rows
        else:
            one.subject.alone = True
            self._put_back(group)

    @property
    def _filling(self) -> _Filling | None:
        """The prompt that is prefilled in part."""
        return self._fillings[0] if self._fillings else None

    def _drop_fillings(self) -> None:
        for filling in self._fillings:
            self.pool.release(filling.table)
        self._fillings = []

    # -- streams come and go

    def _start(self) -> None:
        """Let streams that are ready run, and draw their first tokens; one that was interrupted knows its next."""
        count = max(0, min(len(self._ready), self.rows - len(self._active)))
        started = [self._ready.popleft() for _ in range(count)]
        due = [one for one in started if not one.stream.trajectory.pending]
        for one in started:
            one.stream.started = one.stream.started or time.perf_counter()
            self._active.append(one.stream)
            self._paged = None
        if due:
            streams = [one.stream for one in due]
            tokens = _unless_full(lambda: _sample(streams, torch.cat([one.logits for one in due])))
            if tokens is None:
                self._give_up_rows()
            else:
                self._push(streams, tokens)

    def _find_pages(self) -> None:
        """Pages for one more token of every stream; where they are too few, the youngest give theirs back."""
        while self._active and not self.pool.fits(self.pool.needed(self._rows().tables, 1)):
            streams = [*self._active, *(one.stream for one in self._ready)]
            youngest = max(streams, key=lambda stream: stream.age)
            if self._filling is not None and self._filling.one.age > youngest.age:
                self._put_back([self._filling.one])
                self._drop_fillings()
            elif len(streams) == 1 and self._filling is None:
                held = len(youngest.prompt.ids) + len(youngest.trajectory.fed)
                self._fail([youngest], overflow(held + 1, self.pool, len(youngest.prompt.ids)))
            else:
                self.counts.preempted += 1
                self._stop(youngest)
                self._put_back([Waiting(youngest.prompt, youngest)])

    def _put_back(self, ones: Sequence[Waiting]) -> None:
        self._waiting = deque(sorted([*ones, *self._waiting], key=lambda one: one.age))

    def _stop(self, stream: Stream) -> None:
        """Take a stream out of the batch, and its pages from it."""
        if stream in self._active:
            self._active.remove(stream)
            self._paged = None
        self._ready = deque(one for one in self._ready if one.stream is not stream)
        if stream.table is not None:
            self.pool.release(stream.table)
            stream.table = None

    def _end(self, stream: Stream) -> None:
        """Take a stream out for good; the last one of a prompt gives up its pictures."""
        self._stop(stream)
        stream.prompt.open -= 1
        if not stream.prompt.open:
            self.features.leave(stream.prompt.pictures)

    def _fail(self, streams: Sequence[Stream], error: SampleError) -> None:
        if self._filling is not None and any(stream in self._filling.one.streams for stream in streams):
            self._drop_fillings()
        for stream in streams:
            self._end(stream)
            self._events.append(Event(stream, None, error))

    def _give_up_rows(self) -> None:
        """Give all pages back; the streams wait to be prefilled again, half as many at a time."""
        self.counts.out_of_memory += 1
        running = list(self._active)
        waiting = [Waiting(one.prompt, one) for one in (*running, *(ready.stream for ready in self._ready))]
        if self._filling is not None:
            waiting.append(self._filling.one)
            self._drop_fillings()
        for one in waiting:
            if one.stream is not None:
                self._stop(one.stream)
        self._free_memory()
        self._put_back(waiting)
        if len(running) > 1:
            self.rows = len(running) // 2
        elif running[0].alone:
            self._waiting.remove(Waiting(running[0].prompt, running[0]))
            self._fail(running, out_of_memory(len(running[0].prompt.ids)))
            self.rows = self.configured_rows
        else:
            running[0].alone = True

    def _free_memory(self) -> None:
        """Give memory back, and that of the cache too if nobody uses it."""
        if not self.pool.used:
            self.pool.drop()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # -- decoding

    def _rows(self) -> StepRows:
        if self._paged is None:
            self._paged = StepRows(self.pool, [stream.table for stream in self._active if stream.table is not None])
        return self._paged

    def _decode(self) -> None:
        streams = list(self._active)
        due = [stream for stream in streams if len(stream.trajectory.pending) == 1]
        tokens = _unless_full(partial(self._next_tokens, streams, due))
        if tokens is None:
            self._give_up_rows()
            return
        self.counts.decode_steps += 1
        self.counts.decoded_tokens += len(streams)
        for stream in streams:
            stream.trajectory.pending = stream.trajectory.pending[1:]
        self._push(due, tokens)

    def _next_tokens(self, streams: Sequence[Stream], due: Sequence[Stream]) -> list[int | None]:
        """Feed every stream its next pending token; what is drawn for those that have no other."""
        ids = index_tensor([stream.trajectory.pending[0] for stream in streams], self.model.device)
        logits = self.model.forward_cached(self.model.embed(ids[:, None]).embeds, self._rows())
        if len(due) < len(streams):
            places = [place for place, stream in enumerate(streams) if len(stream.trajectory.pending) == 1]
            logits = logits[index_tensor(places, logits.device)]
        return _sample(due, logits) if due else []

    def _push(self, streams: Sequence[Stream], tokens: Sequence[int | None]) -> None:
        """Hand sampled tokens to their trajectories and do what these want next."""
        for stream, token in zip(streams, tokens, strict=True):
            trajectory = stream.trajectory
            if token is None:
                self._fail([stream], not_finite())
                continue
            trajectory.push(token)
            self._events += [Event(stream, output) for output in trajectory.outputs]
            trajectory.outputs = []
            if trajectory.finished:
                self._end(stream)
            elif trajectory.cut is not None and stream.table is not None:
                self.pool.truncate(stream.table, len(stream.prompt.ids) + trajectory.cut)
                trajectory.cut = None


def _sample(streams: Sequence[Stream], logits: Tensor) -> list[int | None]:
    settings = [one.trajectory.generation for one in streams]
    return sample_rows(
        logits,
        temperature=[one.temperature for one in settings],
        top_p=[one.top_p for one in settings],
        top_k=[one.top_k for one in settings],
        seed=[one.seed for one in streams],
        step=[one.trajectory.step for one in streams],
    )


def _unless_full(action: Callable[[], T]) -> T | None:
    """What the action returns, or None where memory ran out, on a device or in this machine."""
    try:
        return action()
    except MemoryError:
        return None
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in FULL):
            return None
        raise
