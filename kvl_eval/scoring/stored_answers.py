"""What became of each answer that a run planned, in plan order: the answer with its sample, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from kvl_eval.model.kimi_vl.families import OTHER
from kvl_eval.scoring.outputs import Answer, Item
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.records import Extra, PlanEntry, PlannedSample, Record
from kvl_eval.tasks.base import Task
from kvl_eval.types import Policy, Sample, ScoreView


class StoredOutput(Protocol):
    """An answer as backends give it and records hold it."""

    @property
    def raw_output(self) -> str: ...
    @property
    def thinking(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def think_closed(self) -> bool | None: ...
    @property
    def extra(self) -> Extra: ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer cost, and how it ended. Times are seconds; tokens as in `TokenCounts`."""

    tokens: tuple[int, int, int, int]
    truncated: bool
    unclosed: bool
    family: str  # of the thought's markers; "" without a thought
    forced: bool
    seconds: float
    model: str | None  # who answered, where a server named it

    @staticmethod
    def of(record: Record, answer: Answer) -> Usage:
        """The usage that a record tells of, whose answer is `answer`."""
        tokens, unclosed = record.tokens, answer.closed is False
        return Usage(
            tokens=(tokens.thinking, tokens.answer, tokens.prompt, tokens.image),
            truncated=unclosed or record.finish_reason in ("length", "budget"),
            unclosed=unclosed,
            family=answer.family,
            forced=record.budget_forced,
            seconds=record.time.get("total") or 0.0,
            model=record.extra.model,
        )


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """One planned answer.

    Attributes:
        failure: the reason of one that failed.
        item:    the answer with its sample, without media; None where it failed or is pending.
        usage:   what the answer cost.
    """

    entry: PlanEntry
    failure: str | None = None
    item: Item | None = None
    usage: Usage | None = None

    @property
    def budget(self) -> tuple[int | None, Policy | None]:
        """Budget and policy: what has a result of its own."""
        return self.entry.budget, self.entry.policy

    @property
    def attempt(self) -> tuple[int | None, Policy | None, int]:
        """What the answers of one pass over the questions share."""
        return self.entry.budget, self.entry.policy, self.entry.repeat


def planned_answers(run: RunReader, task: Task, view: ScoreView) -> Iterator[PlannedAnswer]:
    """What became of each planned answer of a task. Raises: DataError for a damaged plan."""
    index = run.index(task.name)
    sample: Sample | None = None
    planned: PlannedSample | None = None
    with run.folder.reader(task.name, index) as records:
        for entry in run.folder.plan(task.name):
            key = entry.key
            if key in index.failed:
                yield PlannedAnswer(entry, failure=index.failed[key])
            elif key not in index:
                yield PlannedAnswer(entry)
            else:
                if sample is None or entry.sample is not planned:
                    sample, planned = sample_of(task, entry), entry.sample
                record = records.at(key)
                answer = answer_of(record, view)
                yield PlannedAnswer(entry, item=Item(sample, answer), usage=Usage.of(record, answer))


def sample_of(task: Task, entry: PlanEntry) -> Sample:
    """The sample of a plan's entry, without media."""
    sample = task.sample(entry.sample.row)
    return sample if sample.id == entry.sample_id else replace(sample, id=entry.sample_id)


def answer_of(output: StoredOutput, view: ScoreView) -> Answer:
    """A stored output in its parts: those that the record has, or, for scorers of raw outputs, as it was written.

    What a version with fewer markers stored is split again.
    """
    raw = _without_stop(output.raw_output, output.extra.stop_token)
    if view == "raw":
        return Answer.of(raw)
    closed, family = output.think_closed, output.extra.thought
    stored = Answer(output.thinking, "" if closed is False else output.answer, closed, raw, family or "")
    return stored if family is not None else _split_again(stored)


def _split_again(stored: Answer) -> Answer:
    """An answer of an earlier version, in the parts that it has by today's markers."""
    if stored.closed is None:
        split = Answer.of(stored.text)
        return replace(split, raw=stored.raw, is_split_again=split.closed is not None)
    family = Answer.of(stored.raw).family or "kimi"
    if stored.closed is False:
        return replace(stored, family=family)
    split = Answer.of(stored.joined)
    if split.text == stored.text.strip():
        return replace(stored, family=family)
    return replace(split, raw=stored.raw, family=family, is_split_again=True)


def _without_stop(text: str, stop: str | None) -> str:
    """`text` without the special token that ended it; where a record does not say which, without one of Kimi-VL's."""
    if stop is None:
        stop = next((token for token in OTHER.stop_texts if text.endswith(token)), "")
    return text.removesuffix(stop)
