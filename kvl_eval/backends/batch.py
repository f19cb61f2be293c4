"""Continuous batching over a latent cache in pages: streams of tokens enter and leave at every step.

A step prefills waiting prompts in chunks and decodes one token of every stream that runs. A prompt is prefilled once
for all its repeats and budgets, which share its pages. Prompts that begin alike (the same document, another question)
share the full pages of what is alike, as long as one of them is in the cache when the next one enters.

A prompt enters when there are pages for it and one more for everybody else. Where pages run out in mid-flight, the
youngest stream gives its own back and waits; what it had generated is not lost but prefilled behind its prompt. The
oldest stream never has to wait, so all come to an end. What does not fit even alone fails, and nobody else.

Where memory itself runs out, every stream gives up its pages and waits; half as many rows are tried. A stream that had
the batch for itself is tried alone once more, then it fails.
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

from kvl_eval.backends.features import FeatureShelf
from kvl_eval.backends.prefixes import page_names
from kvl_eval.backends.streams import Counts, Event, Prompt, Stream, Waiting, not_finite, out_of_memory, overflow
from kvl_eval.errors import SampleError
from kvl_eval.model.cache import PAGE, PagedRows, PagePool, PageTable
from kvl_eval.model.generate import PREFILL_CHUNK, decode_step
from kvl_eval.model.kimi_vl import KimiVL
from kvl_eval.model.page_plan import index_tensor
from kvl_eval.model.sampling import sample_rows

T = TypeVar("T")

AHEAD = 2  # streams whose prompts are prefilled before there is a row for them
FULL = ("allocate memory", "not enough memory", "out of memory")  # how torch says it in a plain RuntimeError


@dataclass(slots=True)
class _Filling:
    """A prefill under way: of a prompt, or of a prompt and what one stream had generated behind it."""

    one: Waiting
    embeds: Tensor
    rows: PagedRows

    @property
    def table(self) -> PageTable:
        return self.rows.tables[0]


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
        model: KimiVL,
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
        self.chunk = chunk
        self.counts = Counts()
        self.pool: PagePool = model.new_pool(pages, page_size)
        self.features = FeatureShelf()
        self._added = 0
        self._waiting: deque[Waiting] = deque()  # the oldest first
        self._filling: _Filling | None = None
        self._ready: deque[_Ready] = deque()
        self._active: list[Stream] = []
        self._paged: PagedRows | None = None  # the active streams as rows
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
        placeholder = self.model.config.media_placeholder_token_id
        prompt.pages = page_names(prompt.ids, placeholder, prompt.pictures, self.pool.page_size)
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
        budget = self.chunk
        while budget > 0 and self._may_prefill():
            one = self._filling.one if self._filling else self._waiting.popleft()
            start = time.perf_counter()
            try:
                done = _unless_full(partial(self._prefill_chunk, one, budget))
            except SampleError as error:
                self._fail(one.streams, error)
                continue
            finally:
                one.prompt.prefill_seconds += time.perf_counter() - start
            if done is None:
                self._no_memory_to_prefill(one)
                return
            budget -= done

    def _may_prefill(self) -> bool:
        if self._filling or not self._waiting:
            return self._filling is not None
        one = self._waiting[0]
        taken = len(self._active) + len(self._ready)
        alone = one.prompt.alone or (one.stream is not None and one.stream.alone)
        if alone or any(stream.alone for stream in (*self._active, *(ready.stream for ready in self._ready))):
            return taken == 0
        return taken == 0 or (taken < self.rows + AHEAD and self.pool.fits(self._pages_for(one) + taken))

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

    def _prefill_chunk(self, one: Waiting, budget: int) -> int:
        """Begin or continue a prefill with at most `budget` tokens; how many they were."""
        filling = self._filling or self._begin(one)
        place = filling.table.length
        part = filling.embeds[:, place : place + budget]
        logits = self.model.forward_cached(part, filling.rows)
        self.counts.prefill_tokens += part.shape[1]
        if filling.table.length == filling.embeds.shape[1]:
            self._filling = None
            for stream in one.streams[1:]:
                stream.table = self.pool.fork(filling.table)
            one.streams[0].table = filling.table
            self._ready.extend(_Ready(stream, logits) for stream in one.streams)
        return part.shape[1]

    def _begin(self, one: Waiting) -> _Filling:
        """Embeddings and pages for a prefill, which starts behind what other streams have in their pages.

        Raises: SampleError (context_overflow), where all pages together are too few.
        """
        if not self.pool.fits(self._pages_for(one) - len(one.streams)):
            raise overflow(one.tokens, self.pool)
        one.prompt.begun = one.prompt.begun or time.perf_counter()
        embeds = self._embeddings(one)
        other, held = self._beginning(one)
        table = PageTable() if other is None else self.pool.fork(other)
        filling = self._filling = _Filling(one, embeds, PagedRows(self.pool, [table]))
        self.pool.truncate(table, held)
        self.pool.extend([table], one.tokens - table.length)
        self.counts.prefills += 1
        return filling

    def _embeddings(self, one: Waiting) -> Tensor:
        """(1, S, H) of the prompt, its pictures encoded on first use, and of what a stream had generated."""
        prompt = one.prompt
        features = self.features.get(prompt.pictures, partial(self._encode, prompt)) if prompt.grids else None
        prompt.pixel_values = None
        embeds = self.model.embed(self._tensor(prompt.ids), features)
        if one.stream is None or not one.stream.trajectory.fed:
            return embeds
        written = self.model.language_model.model.embed_tokens(self._tensor(one.stream.trajectory.fed))
        return torch.cat([embeds, written], dim=1)  # a placeholder that the model wrote itself stands for no picture

    def _encode(self, prompt: Prompt) -> Tensor:
        assert prompt.pixel_values is not None
        self.counts.vision_calls += 1
        self.counts.images += len(prompt.grids)
        return self.model.image_features(prompt.pixel_values(), prompt.grids, prepare=self.prepare)

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([ids], dtype=torch.long, device=self.model.device)

    def _no_memory_to_prefill(self, one: Waiting) -> None:
        """Wait until nothing else runs, then try once more; fail after that."""
        self.counts.out_of_memory += 1
        self._drop_filling()
        self._free_memory()
        flagged = one.stream or one.prompt
        if flagged.alone:
            self._fail(one.streams, out_of_memory(len(one.prompt.ids)))
            self.rows = self.configured_rows
        else:
            flagged.alone = True
            self._put_back([one])

    def _drop_filling(self) -> None:
        if self._filling is not None:
            self.pool.release(self._filling.table)
            self._filling = None

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
                self._drop_filling()
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
            self._drop_filling()
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
            self._drop_filling()
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

    def _rows(self) -> PagedRows:
        if self._paged is None:
            self._paged = PagedRows(self.pool, [stream.table for stream in self._active if stream.table is not None])
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
        logits = decode_step(self.model, [stream.trajectory.pending[0] for stream in streams], self._rows())
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
