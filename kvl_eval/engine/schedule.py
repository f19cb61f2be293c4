"""What is prefilled next, what runs and what waits: the state of a batch, which knows nothing of a model.

A prompt is prefilled once for all its repeats and budgets, which share its pages. Prompts that begin alike (the same
document, another question) share the full pages of what is alike, as long as one of them is in the cache when the next
one enters.

A prompt enters when there are pages for it and one more for everybody else. Where pages run out in mid-flight, the
youngest stream gives its own back and waits; what it had generated is not lost but prefilled behind its prompt. The
oldest stream never has to wait, so all come to an end. Only a sample that does not fit alone fails.

Where memory itself runs out in a pass of many prompts, they are prefilled one by one from then on. Else every stream
gives up its pages and waits; half as many rows are tried. What had the batch for itself is tried alone once more, then
it fails.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from kvl_eval.engine.features import FeatureShelf
from kvl_eval.engine.prefixes import page_names
from kvl_eval.engine.requests import (
    BatchCounts,
    Event,
    Filling,
    Prompt,
    Ready,
    Stream,
    Waiting,
    out_of_memory,
    overflow,
)
from kvl_eval.errors import SampleError
from kvl_eval.model.base import Embedded
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import StepRows

AHEAD = 2  # streams whose prompts are prefilled before there is a row for them


class Schedule:
    """The queues of a batch, and the pages and pictures of those who stand in them.

    Attributes:
        rows:     most streams decoded together; fewer than at the start once memory ran out.
        together: most prompts in one pass; 1 once memory ran out in one.
        waiting:  the oldest first.
        fillings: of the pass under way; between passes at most one, prefilled in part.
        ready:    prefilled, without a row.
        active:   with a row.
        events:   what ended and was not handed out yet.
    """

    def __init__(self, pool: PagePool, rows: int, counts: BatchCounts) -> None:
        self.pool = pool
        self.counts = counts
        self.configured_rows = rows
        self.rows = rows
        self.together = rows + AHEAD
        self.features = FeatureShelf()
        self.waiting: deque[Waiting] = deque()
        self.fillings: list[Filling] = []
        self.ready: deque[Ready] = deque()
        self.active: list[Stream] = []
        self.events: list[Event] = []
        self._added = 0
        self._step_rows: StepRows | None = None  # the active streams

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.fillings or self.ready or self.active)

    @property
    def room(self) -> int:
        """Streams that can be added until all rows and the short queue before them are taken."""
        waiting = sum(len(waiting.streams) for waiting in self.waiting)
        filling = len(self.filling.waiting.streams) if self.filling else 0
        return self.rows + AHEAD - len(self.active) - len(self.ready) - filling - waiting

    @property
    def filling(self) -> Filling | None:
        """The prompt that is prefilled in part."""
        return self.fillings[0] if self.fillings else None

    def step_rows(self) -> StepRows:
        """The active streams as rows of a decode step."""
        if self._step_rows is None:
            tables = [stream.table for stream in self.active if stream.table is not None]
            self._step_rows = StepRows(self.pool, tables)
        return self._step_rows

    def add(self, prompt: Prompt) -> None:
        """Queue a prompt with its streams."""
        self._added += 1
        prompt.order, prompt.open = self._added, len(prompt.streams)
        prompt.pages = page_names(prompt.ids, prompt.places, prompt.pictures, self.pool.page_size)
        self.features.join(prompt.pictures)
        self.waiting.append(Waiting(prompt))

    # -- prefill

    def next_group(self, budget: int) -> list[Waiting]:
        """The prompts of the next pass: the one under way, and others as long as the budget has tokens for them."""
        group = [] if self.filling is None else [self.filling.waiting]
        left = budget - (self.filling.left if self.filling else 0)
        while left > 0 and len(group) < self.together and self._may_join(group):
            oldest = self.waiting.popleft()
            if not group and not self.pool.fits(self._pages_for(oldest) - len(oldest.streams)):
                self.fail(oldest.streams, overflow(oldest.tokens, self.pool))
                continue
            group.append(oldest)
            left -= oldest.tokens - self.match_prefix(oldest)[1]
        return group

    def _may_join(self, group: Sequence[Waiting]) -> bool:
        """Whether the oldest prompt that waits may be prefilled together with these."""
        if not self.waiting:
            return False
        oldest = self.waiting[0]
        taken = len(self.active) + len(self.ready) + sum(len(member.streams) for member in group)
        streams = (*self._running(), *(stream for member in group for stream in member.streams))
        if oldest.alone or any(stream.alone for stream in streams):
            return taken == 0
        if taken == 0:
            return True
        if any(self._alike(oldest, member) for member in group):
            return False  # it finds their pages in the next pass
        fresh = [member for member in group if self.filling is None or member is not self.filling.waiting]
        pages = sum(self._pages_for(member) for member in (*fresh, oldest))
        running_or_filling = taken - sum(len(member.streams) for member in fresh)
        return taken < self.rows + AHEAD and self.pool.fits(pages + running_or_filling)

    def _running(self) -> Iterator[Stream]:
        """Streams that hold pages."""
        yield from self.active
        yield from (ready.stream for ready in self.ready)

    def _alike(self, waiting: Waiting, other: Waiting) -> bool:
        """Whether a prompt could share a page that the other one has yet to fill."""
        count = self.match_prefix(waiting)[1]
        if waiting.prompt is other.prompt:
            return count < min(len(waiting.prompt.ids), waiting.tokens - 1)
        page = count // self.pool.page_size
        mine, theirs = waiting.prompt.pages[page : page + 1], other.prompt.pages[page : page + 1]
        return bool(mine) and mine == theirs

    def _pages_for(self, waiting: Waiting) -> int:
        """Pages that a prefill takes, with the first tokens of its streams."""
        shared = self.match_prefix(waiting)[1] // self.pool.page_size
        return self.pool.pages_for(waiting.tokens) - shared + len(waiting.streams)

    def match_prefix(self, waiting: Waiting) -> tuple[PageTable | None, int]:
        """The pages that a prefill begins with, and how many of its tokens they hold.

        Another stream of the same prompt has all of it; one of another prompt has the full pages of what is alike.
        """
        prompt = waiting.prompt
        for stream in prompt.streams:
            if stream.table is not None:
                return stream.table, min(len(prompt.ids), waiting.tokens - 1)
        table, count, page_size = None, 0, self.pool.page_size
        names = prompt.pages[: (waiting.tokens - 1) // page_size]
        for stream in self._running():
            others = stream.prompt.pages
            while count < min(len(names), len(others)) and names[count] == others[count]:
                table, count = stream.table, count + 1
        return table, count * page_size

    def begin(self, waiting: Waiting, embedded: Embedded) -> Filling:
        """A prefill with its pages, which starts behind what other streams have in theirs."""
        table, count = self.match_prefix(waiting)
        filling = Filling(waiting, embedded, PageTable() if table is None else self.pool.fork(table))
        self.fillings.append(filling)
        self.pool.truncate(filling.table, count)
        filling.table.offset = embedded.next_position - embedded.embeds.shape[1]
        self.pool.extend([filling.table], filling.left)
        self.counts.prefills += 1
        return filling

    def filled(self, filling: Filling, logits: Tensor) -> None:
        """The streams of a prompt that is prefilled wait for a row."""
        first, *others = filling.waiting.streams
        for stream in others:
            stream.table = self.pool.fork(filling.table)
        first.table = filling.table
        self.ready.extend(Ready(stream, logits) for stream in filling.waiting.streams)

    def drop_fillings(self) -> None:
        """Give back the pages of prefills under way."""
        for filling in self.fillings:
            self.pool.release(filling.table)
        self.fillings = []

    # -- streams come and go

    def start(self) -> list[Ready]:
        """Give free rows to streams that are ready; which ones."""
        count = max(0, min(len(self.ready), self.rows - len(self.active)))
        started = [self.ready.popleft() for _ in range(count)]
        if started:
            self.active += [ready.stream for ready in started]
            self._step_rows = None
        return started

    def preempt(self) -> None:
        """Pages for one more token of every stream; where they are too few, the youngest give theirs back."""
        while self.active and not self.pool.fits(self.pool.needed(self.step_rows().tables, 1)):
            streams = list(self._running())
            youngest = max(streams, key=lambda stream: stream.age)
            if self.filling is not None and self.filling.waiting.age > youngest.age:
                self.requeue([self.filling.waiting])
                self.drop_fillings()
            elif len(streams) == 1 and self.filling is None:
                prompt_tokens = len(youngest.prompt.ids)
                tokens = prompt_tokens + len(youngest.trajectory.fed) + 1
                self.fail([youngest], overflow(tokens, self.pool, prompt_tokens))
            else:
                self.counts.preempted += 1
                self._stop(youngest)
                self.requeue([Waiting(youngest.prompt, youngest)])

    def requeue(self, group: Sequence[Waiting]) -> None:
        """Let some wait again, by age."""
        self.waiting = deque(sorted([*group, *self.waiting], key=lambda waiting: waiting.age))

    def _stop(self, stream: Stream) -> None:
        """Take a stream out of the batch, and its pages from it."""
        if stream in self.active:
            self.active.remove(stream)
            self._step_rows = None
        self.ready = deque(ready for ready in self.ready if ready.stream is not stream)
        if stream.table is not None:
            self.pool.release(stream.table)
            stream.table = None

    def end(self, stream: Stream) -> None:
        """Take a stream out for good; the last one of a prompt gives up its pictures."""
        self._stop(stream)
        stream.prompt.open -= 1
        if not stream.prompt.open:
            self.features.leave(stream.prompt.pictures)

    def fail(self, streams: Sequence[Stream], error: SampleError) -> None:
        """Take streams out for good, with the reason."""
        if self.filling is not None and any(stream in self.filling.waiting.streams for stream in streams):
            self.drop_fillings()
        for stream in streams:
            self.end(stream)
            self.events.append(Event(stream, None, error))

    # -- memory ran out

    def split_group(self, group: Sequence[Waiting]) -> None:
        """Prefill one by one from now on; one by itself waits until nothing else runs, is tried again, then fails."""
        self.counts.out_of_memory += 1
        self.drop_fillings()
        self._free_memory()
        if len(group) > 1:
            self.together = 1
            self.requeue(group)
        else:
            self._isolate(group[0])

    def shrink_rows(self) -> None:
        """Give all pages back; the streams wait to be prefilled again, half as many at a time."""
        self.counts.out_of_memory += 1
        running = list(self.active)
        self._evict_all()
        self._free_memory()
        if len(running) > 1:
            self.rows = len(running) // 2
        else:
            (waiting,) = (waiting for waiting in self.waiting if waiting.stream is running[0])
            self.waiting.remove(waiting)
            self._isolate(waiting)

    def _isolate(self, waiting: Waiting) -> None:
        """Try it while nothing else runs; it fails if it was."""
        if waiting.alone:
            self.fail(waiting.streams, out_of_memory(len(waiting.prompt.ids)))
            self.rows = self.configured_rows
            return
        for stream in waiting.streams:
            stream.alone = True
        self.requeue([waiting])

    def _evict_all(self) -> None:
        """Everybody gives back all pages and waits."""
        group = [Waiting(stream.prompt, stream) for stream in self._running()]
        if self.filling is not None:
            group.append(self.filling.waiting)
            self.drop_fillings()
        for stream in list(self._running()):
            self._stop(stream)
        self.requeue(group)

    def _free_memory(self) -> None:
        """Give memory back, and that of the cache too if it is unused."""
        if not self.pool.used:
            self.pool.drop()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
