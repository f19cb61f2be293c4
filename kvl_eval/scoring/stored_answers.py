"""What became of each answer that a run planned, in plan order: the answer with its sample, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvl_eval.scoring.outputs import Item
from kvl_eval.scoring.repeated_values import repeated_answer
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.answers import Answer, answer_of
from kvl_eval.store.records import PlanEntry, PlannedSample, Record
from kvl_eval.tasks.base import Task
from kvl_eval.types import MISSING, Extraction, FinishReason, Policy, Sample, ScoreView


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
    flags: tuple[str, ...] = ()  # what may have changed it
    finish_reason: FinishReason = "unknown"
    worker: str = ""
    ended_at: str = ""

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
            flags=record.flags,
            finish_reason=record.finish_reason,
            worker=record.worker,
            ended_at=record.ended_at,
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
    with run.records(task.name) as records:
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
                item = Item(sample, answer, _repeated(run, task, sample, record))
                yield PlannedAnswer(entry, item=item, usage=Usage.of(record, answer))


def _repeated(run: RunReader, task: Task, sample: Sample, record: Record) -> Extraction:
    """The result of an episode with its value computed again; MISSING for every other answer."""
    repeated = None if task.episode is None else repeated_answer(run.folder.path, sample, record)
    return MISSING if repeated is None else repeated


def sample_of(task: Task, entry: PlanEntry) -> Sample:
    """The sample of a plan's entry, without media."""
    sample = task.sample(entry.sample.row)
    return sample if sample.id == entry.sample_id else replace(sample, id=entry.sample_id)
