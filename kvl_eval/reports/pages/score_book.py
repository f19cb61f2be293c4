"""Score lines of a report's results, read once, and their paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kvl_eval.paired import (
    LinesBySample,
    PairedLines,
    PairedTest,
    SampleKey,
    gap_of,
    gap_of_test,
    paired,
    paired_test,
)
from kvl_eval.reports.pages.outcomes import CountedReply, reply_outcome
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.runs import ReportRun, scores_of, setting_of
from kvl_eval.store.records import Key, PlanEntry, Record, ScoreLine
from kvl_eval.store.result_records import ResultRow
from kvl_eval.verdicts import Gap

Limit = tuple[int | None, str | None]
"""A thinking budget and its policy."""


class SeriesResult(NamedTuple):
    """One result of one model."""

    series: Series
    row: ResultRow


class ScoreBook:
    """Reads `scores/` as it is asked for, and keeps what it read while a report is made."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, str, str], dict[Limit, dict[SampleKey, ScoreLine]]] = {}
        self._questions: dict[tuple[int, str], dict[str, tuple[object, ...]]] = {}
        self._pairs: dict[tuple[object, ...], PairedLines] = {}
        self._tests: dict[tuple[object, ...], PairedTest | None] = {}
        self._replies: dict[tuple[object, ...], list[CountedReply]] = {}

    def lines(self, run: ReportRun, row: ResultRow) -> LinesBySample:
        """The score lines behind a result, by sample and repeat."""
        place = (run.number, row.task, scores_of(row))
        if place not in self._lines:
            grouped: dict[Limit, dict[SampleKey, ScoreLine]] = {}
            for line in run.scores(row.task, scores_of(row)):
                grouped.setdefault((line.budget, line.policy), {})[line.sample_id, line.repeat] = line
            self._lines[place] = grouped
        return self._lines[place].get((row.budget, row.policy), {})

    def pair(self, a: SeriesResult, b: SeriesResult) -> PairedLines:
        """How `b` differs from `a` on what both have scored, with an interval: slow, and done once."""
        place = (_place(a), _place(b))
        if place not in self._pairs:
            self._pairs[place] = paired(*self._sides(a, b), self.changed(a, b))
        return self._pairs[place]

    def test(self, a: SeriesResult, b: SeriesResult) -> PairedTest | None:
        """Whether `b` differs from `a`; None where they share no scored sample."""
        place, other = (_place(a), _place(b)), (_place(b), _place(a))
        if other in self._tests:
            test = self._tests[other]
            return None if test is None else test.reversed
        if place not in self._tests:
            self._tests[place] = paired_test(*self._sides(a, b), self.changed(a, b))
        return self._tests[place]

    def gap(self, a: SeriesResult, b: SeriesResult, task: str, points: bool = False) -> Gap | None:
        """The difference as sentences name it, B minus A, `task` being what they call the task."""
        scores = self.pair(a, b).scores
        return None if scores is None else gap_of(scores, task, points)

    def quick_gap(self, a: SeriesResult, b: SeriesResult, task: str, points: bool = False) -> Gap | None:
        """As `gap`, with the normal interval where `gap` was not asked for yet: resampling takes half a second."""
        if (_place(a), _place(b)) in self._pairs:
            return self.gap(a, b, task, points)
        if (_place(b), _place(a)) in self._pairs:
            known = self.gap(b, a, task, points)
            return None if known is None else known.reversed
        test = self.test(a, b)
        return None if test is None else gap_of_test(test, task, points)

    def changed(self, a: SeriesResult, b: SeriesResult) -> frozenset[str]:
        """Samples of the same id whose question, options or gold are not the same in both runs."""
        runs, task = (a.series.run, b.series.run), a.row.task
        prints = [data.fingerprint for run in runs if (data := run.manifest.data.get(task)) is not None]
        if runs[0] is runs[1] or (len(prints) == 2 and prints[0] == prints[1] is not None):
            return frozenset()
        texts, others = (self._texts(run, task) for run in runs)
        return frozenset(name for name, text in texts.items() if others.get(name, text) != text)

    def replies(self, result: SeriesResult) -> list[CountedReply]:
        """Every planned answer of a result, pending ones last; read once."""
        place = _place(result)
        if place not in self._replies:
            self._replies[place] = list(self._counted(result))
        return self._replies[place]

    def records(self, result: SeriesResult, keys: Iterable[SampleKey]) -> dict[SampleKey, Record]:
        """The records behind some samples of a result, as far as there are any."""
        run, row = result.series.run, result.row
        index = run.index(row.task)
        wanted = [Key(sample_id, repeat, row.budget, row.policy) for sample_id, repeat in keys]
        with run.records(row.task) as reader:
            return {(key.sample_id, key.repeat): reader.at(key) for key in wanted if key in index}

    def _counted(self, result: SeriesResult) -> Iterator[CountedReply]:
        run, row = result.series.run, result.row
        lines, index = self.lines(run, row), run.index(row.task)
        keys = [key for key in index.in_order() if (key.budget, key.policy) == (row.budget, row.policy)]
        with run.records(row.task) as reader:
            for record in map(reader.at, keys):
                outcome = reply_outcome(record, lines.get((record.sample_id, record.repeat)))
                yield CountedReply(outcome=outcome, thinking=record.tokens.thinking, answer=record.tokens.answer)
        for _ in range(row.n_planned - len(keys)):
            yield CountedReply(outcome="pending", thinking=0, answer=0)

    def _sides(self, a: SeriesResult, b: SeriesResult) -> tuple[LinesBySample, LinesBySample]:
        return self.lines(a.series.run, a.row), self.lines(b.series.run, b.row)

    def _texts(self, run: ReportRun, task: str) -> dict[str, tuple[object, ...]]:
        place = (run.number, task)
        if place not in self._questions:
            self._questions[place] = {entry.sample_id: _text(entry) for entry in run.plan(task)}
        return self._questions[place]


def _text(entry: PlanEntry) -> tuple[object, ...]:
    return entry.sample.question, entry.sample.choices, entry.sample.gold


def _place(result: SeriesResult) -> tuple[object, ...]:
    return result.series.number, *setting_of(result.row), scores_of(result.row)
