"""The walk of one answer: how many things hold its text, and how often it is scored and split (house.md, section 4)."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

import kvl_eval.store.answers as stored_answers
from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import Disk
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.thinking import Thought, split_thought
from kvl_eval.types import Extraction, Sample, Score, Scored, Summary
from tests.tiny_task import config_of, run_tiny, tiny

TEXT = " ".join(("B is what", "the marked reply says"))  # in halves, since somebody may hold this file's lines


def holders() -> set[str]:
    """Types of everything alive that holds the reply: instances of our types, dicts, tuples and lists."""
    return {
        type(thing).__qualname__
        for thing in gc.get_objects()
        if type(thing) in (dict, tuple, list) or str(type(thing).__module__).startswith("kvl_eval")
        if any(type(value) is str and TEXT in value and value is not TEXT for value in gc.get_referents(thing))
    }


def test_house_row_1_at_most_six_types_hold_an_answer(tmp_path: Path) -> None:
    """From the backend to the result row; a dict is what JSON makes of a record, a tuple what protocols are given."""
    seen: set[str] = set()

    def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
        seen.update(holders())
        return Score.of(1.0, answer[:1], "letter")

    def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
        seen.update(holders())
        return summarise(scored)

    class Watching(Disk):
        def append(self, descriptor: int, data: bytes, path: Path) -> None:
            seen.update(holders())
            super().append(descriptor, data, path)

    def answer(request: Request, repeat: int) -> str:
        return "".join(TEXT.partition(" "))  # another object than the constant

    task = tiny(1, protocols={"official": Protocol(score=score)}, aggregate=aggregate)
    config = config_of(task, tmp_path, model_args={"think": 3})
    backend = FakeBackend(config.settings, answer=answer)
    start_run(plan_run(config, backend, [task]), backend, disk=Watching())
    assert {"Completion", "Record", "dict", "Answer"} <= seen
    assert len(seen) <= 6, sorted(seen)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each output is split while it is scored."""
    counts: Counter[str] = Counter()

    def counting(raw: str) -> Thought:
        counts[raw] += 1
        return split_thought(raw)

    monkeypatch.setattr(stored_answers, "split_thought", counting)
    return counts


def counting_task(counts: Counter[str]) -> Task:
    def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
        counts[sample.id] += 1
        return Score.of(1.0, answer)

    def prompt(sample: Sample) -> list[object]:
        counts["prompt"] += 1
        raise AssertionError("no prompt is made when answers are scored")

    return tiny(4, protocols={"official": Protocol(score=score)}, prompts={"plain": prompt})


@pytest.mark.parametrize("think", [0, 3])
@pytest.mark.parametrize("view", ["answer", "raw"])
def test_house_row_4_scoring_again_scores_each_answer_once(
    tmp_path: Path, splits: Counter[str], view: str, think: int
) -> None:
    path = run_tiny(tmp_path, tiny(4), model_args={"think": think, "answers": "hash"}).folder.path
    splits.clear()
    counts: Counter[str] = Counter()
    rescore(RunReader.open(path, [counting_task(counts)]), view="raw" if view == "raw" else "answer")
    assert counts == {f"q/{number}": 1 for number in range(4)}
    assert splits.total() == (4 if view == "raw" else 0)  # a record holds thought and answer apart
