"""Who runs and who waits, without a model: every stream comes to its end, whatever pages and memory there are."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.engine.requests import BatchCounts, Filling, Prompt, Stream, Waiting
from kvl_eval.engine.schedule import Schedule
from kvl_eval.model.base import Embedded
from kvl_eval.model.pages import PagePool

pytestmark = pytest.mark.slow

PAGE, LIMIT, CHUNK = 2, 10, 9


def prompt_of(key: str, ids: list[int], answers: list[int]) -> Prompt:
    """A prompt whose repeats answer with so many tokens."""
    prompt = Prompt(key, ids)
    for repeat, count in enumerate(answers):
        trajectory: Any = SimpleNamespace(fed=[], wanted=count)
        prompt.streams.append(Stream(prompt, repeat, seed=0, trajectory=trajectory))
    return prompt


class Driver:
    """Does what a batch does, without a model; `shortages` says before which of its passes memory runs out."""

    def __init__(self, rows: int, shortages: set[int]) -> None:
        self.schedule = Schedule(PagePool(layers=1, width=1, limit=LIMIT, page_size=PAGE), rows, BatchCounts())
        self.shortages = shortages
        self.passes = 0
        self.ended: Counter[tuple[str, int]] = Counter()
        self.failed: dict[tuple[str, int], str] = {}

    def runs_out(self) -> bool:
        self.passes += 1
        return self.passes in self.shortages

    def step(self) -> None:
        self.prefill()
        self.schedule.start()
        oldest = min(self.schedule.active, key=lambda stream: stream.age, default=None)
        self.schedule.preempt()
        if oldest is not None and not self.schedule.events:
            assert oldest in self.schedule.active, "the oldest never has to wait"
        if self.schedule.active:
            self.decode()
        for event in self.schedule.events:
            place = (event.stream.prompt.key, event.stream.repeat)
            assert event.error is not None
            self.ended[place] += 1
            self.failed[place] = event.error.code
        self.schedule.events = []
        self.check()

    def prefill(self) -> None:
        left = CHUNK
        while left > 0 and (group := self.schedule.next_group(left)):
            if self.runs_out():
                self.schedule.split_group(group)
                return
            fillings = [self.filling_of(waiting) for waiting in group]
            counts = [filling.left for filling in fillings]
            counts[-1] = min(counts[-1], left - sum(counts[:-1]))
            assert all(count > 0 for count in counts)
            for filling, count in zip(fillings, counts, strict=True):
                filling.table.length += count
            self.schedule.fillings = [filling for filling in fillings if filling.left]
            for filling in fillings:
                if not filling.left:
                    self.schedule.filled(filling, torch.zeros(1, 1))
            left -= sum(counts)

    def filling_of(self, waiting: Waiting) -> Filling:
        under_way = self.schedule.filling
        if under_way is not None and under_way.waiting is waiting:
            return under_way
        count = waiting.tokens
        return self.schedule.begin(waiting, Embedded(torch.zeros(1, count, 1), torch.arange(count)[None], count))

    def decode(self) -> None:
        if self.runs_out():
            self.schedule.shrink_rows()
            return
        rows = self.schedule.step_rows()
        rows.prepare()
        rows.advance()
        for stream in list(self.schedule.active):
            stream.trajectory.fed.append(0)
            if len(stream.trajectory.fed) == stream.trajectory.wanted:
                self.ended[stream.prompt.key, stream.repeat] += 1
                self.schedule.end(stream)

    def check(self) -> None:
        assert len(self.schedule.active) <= self.schedule.rows
        assert self.schedule.pool.used <= LIMIT
        for stream in self.schedule.active:
            assert stream.table is not None
            assert stream.table.length == len(stream.prompt.ids) + len(stream.trajectory.fed)


PROMPTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=24),  # few ids, so that many begin alike
        st.lists(st.integers(1, 9), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=25, deadline=None)
@given(PROMPTS, st.integers(1, 4), st.sets(st.integers(1, 40), max_size=3))
def test_every_stream_ends_once_and_nothing_is_left(
    prompts: list[tuple[list[int], list[int]]], rows: int, shortages: set[int]
) -> None:
    driver = Driver(rows, shortages)
    waiting = [prompt_of(f"p{number}", ids, answers) for number, (ids, answers) in enumerate(prompts)]
    places = {(prompt.key, stream.repeat) for prompt in waiting for stream in prompt.streams}
    too_large = {
        (prompt.key, stream.repeat)
        for prompt in waiting
        for stream in prompt.streams
        if len(prompt.ids) + stream.trajectory.wanted > PAGE * LIMIT
    }
    for _ in range(2000):
        while waiting and driver.schedule.room > 0:
            driver.schedule.add(waiting.pop(0))
        if not driver.schedule.busy:
            break
        driver.step()
    assert not driver.schedule.busy and not waiting
    assert driver.ended == Counter(places), "each once"
    assert driver.schedule.pool.used == len(driver.schedule.features) == 0
    overflown = {place for place, code in driver.failed.items() if code == "context_overflow"}
    assert overflown <= too_large
    if not shortages:
        assert set(driver.failed) == too_large
    starved = [place for place, code in driver.failed.items() if code == "oom"]
    assert len(starved) <= 3 * (len(shortages) // 2), "what memory has no room for is tried alone before it fails"
