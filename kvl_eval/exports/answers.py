"""The answers of a run in plan order, each with its record and its score: what every export is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kvl_eval.errors import UsageError
from kvl_eval.printable import without_surrogates
from kvl_eval.store.names import scores_name
from kvl_eval.store.records import Key, PlanEntry, Record, ScoreLine
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_folder import RunFolder

JsonObject = dict[str, object]  # about to be written: `clean` makes its values fit for JSON


@dataclass(frozen=True, slots=True)
class ExportedAnswer:
    """One planned answer: its entry of the plan, its record if there is one, its score if it was scored."""

    entry: PlanEntry
    record: Record | None
    score: ScoreLine | None

    @property
    def key(self) -> Key:
        """Sample, repeat, budget and policy."""
        return self.entry.key

    @property
    def status(self) -> str:
        """`ok`, `failed` or `pending`."""
        return "pending" if self.record is None else self.record.status


@dataclass(frozen=True, slots=True)
class TaskAnswers:
    """The answers of one task at one budget, and their result: a row of results.json."""

    folder: RunFolder
    row: ResultRow

    @property
    def task(self) -> str:
        """The task's name."""
        return self.row.task

    @property
    def name(self) -> str:
        """`mathvista`, `mathvista-mini`, `mathvision-test-4096-cut`: differs from part to part of a run."""
        budget = [] if self.row.budget is None else [self.row.budget, self.row.policy]
        return "-".join(str(part) for part in (self.task, self.row.split, *budget) if part is not None)

    @property
    def scorer(self) -> str:
        """What its scores are called: the protocol, and the judge where one was asked."""
        return scorer_of(self.row)

    def answers(self) -> Iterator[ExportedAnswer]:
        """Its answers in plan order."""
        place = self.row.budget, self.row.policy
        return (answer for answer in answers(self.folder, self.task, self.scorer) if answer.key[2:] == place)


def scorer_of(row: ResultRow) -> str:
    """How `scores/` calls what is behind a result."""
    return scores_name(row.protocol, row.thinking, row.judge)


def parts(folder: RunFolder, protocol: str | None = None) -> list[TaskAnswers]:
    """The results of a run under one protocol, or under each task's default one.

    Args:
        protocol: as `scores/` calls it: `official`, `official.raw`, `official+JUDGE`, `official` alone being without a
                  judge. A task that needs no judge has the same result under every judge's name. None means the task's
                  default protocol, by the newest judge that was asked.

    Raises: UsageError `export.protocol` where a task was not scored so; DataError without results.
    """
    rows = folder.results().rows
    chosen: list[TaskAnswers] = []
    for task in dict.fromkeys(row.task for row in rows):
        ours = [row for row in rows if row.task == task]
        fitting = _default_rows(task, ours) if protocol is None else _named_rows(task, ours, protocol)
        if not fitting:
            raise _not_scored(folder, task, ours, protocol or _default_protocol(task, ours))
        newest = {(row.budget, row.policy): row for row in fitting}  # of several judges the last one asked
        chosen += [TaskAnswers(folder, row) for row in newest.values()]
    return chosen


def _default_rows(task: str, rows: list[ResultRow]) -> list[ResultRow]:
    protocol = _default_protocol(task, rows)
    return [row for row in rows if (row.protocol, row.thinking) == (protocol, "split")]


def _named_rows(task: str, rows: list[ResultRow], name: str) -> list[ResultRow]:
    """The rows of a name in `scores/`; where no judge is needed, those without one in a judge's place."""
    named = [row for row in rows if scorer_of(row) == name]
    unjudged, judge, _ = name.partition("+")
    return named if named or not judge or _can_be_judged(task, unjudged) else _named_rows(task, rows, unjudged)


def _can_be_judged(task: str, protocol: str) -> bool:
    """Whether a judge's reply can enter a result; a task that this version does not know may need one."""
    from kvl_eval.tasks import known_task

    known, name = known_task(task), protocol.removesuffix(".raw")
    if known is None or known.judge_prompt is None or name not in known.protocols:
        return known is None
    return bool(known.protocols[name].judged)


def _not_scored(folder: RunFolder, task: str, rows: list[ResultRow], name: str) -> UsageError:
    protocol, _, judge = name.partition("+")
    flags = f" --judge endpoint --judge-base-url URL --judge-model {judge}" if judge else ""
    raw = " --score-view raw" if protocol.endswith(".raw") else ""
    return UsageError(
        "export.protocol",
        f"{task} was not scored under {name!r}",
        where=str(folder.path),
        why=f"scored: {', '.join(dict.fromkeys(map(scorer_of, rows)))}",
        fix=f"kvl-eval score {folder.path} --protocol {protocol.removesuffix('.raw')}{raw}{flags}",
    )


def _default_protocol(task: str, rows: list[ResultRow]) -> str:
    """The task's default protocol; the first one stored of a task that this version does not know."""
    from kvl_eval.tasks import known_task

    known, stored = known_task(task), [row.protocol for row in rows]
    if known is None or (known.data.table is not None and known.default_protocol not in stored):
        return stored[0]
    return known.default_protocol


def answers(folder: RunFolder, task: str, scorer: str) -> Iterator[ExportedAnswer]:
    """All planned answers of a task in order, with their stored scores."""
    return scored_answers(folder, task, folder.scores(task, scorer))


def scored_answers(folder: RunFolder, task: str, lines: Iterable[ScoreLine]) -> Iterator[ExportedAnswer]:
    """All planned answers of a task in order, with the scores among `lines`."""
    index = folder.index(task)
    scores = {line.key: line for line in lines}
    with folder.reader(task, index) as reader:
        for entry in folder.plan(task):
            record = reader.at(entry.key) if entry.key in index else None
            yield ExportedAnswer(entry, record, scores.get(entry.key))


def clean(value: Any) -> Any:
    """`value` as any reader of JSON and UTF-8 takes it: lone surrogates written out, NaN and infinity None."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value
