"""Scores of a run as a pure function: `score_run` returns lines and results, and the caller stores them.

Memory grows only by what aggregation needs: a sample's row is read again from the plan if an aggregate asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from kvl_eval import __version__
from kvl_eval.decode import Json
from kvl_eval.scorers.outcomes import AnswerOutcome, answer_outcome
from kvl_eval.scoring.judged import AnswerScore
from kvl_eval.scoring.loop import Scoring
from kvl_eval.scoring.outputs import Item, visible
from kvl_eval.scoring.plan_rows import PlanRows
from kvl_eval.scoring.result_rows import asked_form, result_row
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.stored_answers import PlannedAnswer, planned_answers
from kvl_eval.scoring.tally import Tally
from kvl_eval.store.records import PlanEntry, ScoreLine
from kvl_eval.store.replies import JudgeView
from kvl_eval.store.result_records import ResultRow
from kvl_eval.tasks.base import Task
from kvl_eval.types import Policy, Sample, Scored, ScoreView

if TYPE_CHECKING:
    from kvl_eval.scorers.answers.forms import AnswerForm


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """One task of a run under one protocol.

    Attributes:
        version: of kvl-eval.
        lines:   one for each answer, in plan order; of a protocol that scores whole passes, pass after pass.
        rows:    one result for each thinking budget.
    """

    version: str
    lines: tuple[ScoreLine, ...]
    rows: tuple[ResultRow, ...]


def score_run(run: RunReader, task: Task, protocol: str, view: ScoreView, judge: JudgeView | None = None) -> ScoredRun:
    """What a protocol makes of a run's answers, each scored once; nothing is written.

    Args:
        view:  what the protocol sees of an answer.
        judge: whose stored replies stand in the place of the protocol's own extraction, and what it was shown.
    Raises: DataError for a plan that cannot be read.
    """
    replies = None if judge is None else run.replies(task.name)
    tallies: dict[tuple[int | None, Policy | None], Tally] = {}
    categories: dict[tuple[tuple[str, tuple[str, ...]], ...], Mapping[str, tuple[str, ...]]] = {}
    lines: list[ScoreLine] = []
    scorer = f"{task.name}@{protocol}"
    form = asked_form(run.folder.manifest, task)
    with PlanRows(run.folder) as rows, closing(replies) if replies else nullcontext():
        for answer, score in Scoring(task, protocol, view, replies, judge).scores(planned_answers(run, task, view)):
            if answer.budget not in tallies:
                tallies[answer.budget] = Tally(*answer.budget)
            tally = tallies[answer.budget]
            tally.count(answer)
            if answer.item is not None and score is not None:
                sample, entry = answer.item.sample, answer.entry
                shared = categories.setdefault(tuple(sample.categories.items()), sample.categories)
                slim = replace(sample, row=rows.row(entry.sample.offset), categories=shared)
                scored = Scored(sample=slim, score=score.score, repeat=entry.repeat)
                tally.take(scored, _outcome(answer, score), form is not None and _follows(answer.item, form))
                line = _line(entry, slim, score, scorer)
                lines.append(_split_again(line) if answer.item.answer.is_split_again else line)
        about = (run.folder.manifest, task, protocol, view, None if judge is None else judge.judge)
        return ScoredRun(__version__, tuple(lines), tuple(result_row(tally, *about) for tally in tallies.values()))


def _outcome(answer: PlannedAnswer, score: AnswerScore) -> AnswerOutcome:
    """What became of an answer; whether it declines is read from what follows its thought, whatever a view shows."""
    text = "" if answer.item is None else visible(answer.item.answer, "answer")[0]
    finish_reason = "unknown" if answer.usage is None else answer.usage.finish_reason
    return answer_outcome(score.score.verdict, finish_reason, text)


def _follows(item: Item, form: AnswerForm) -> bool:
    """Whether an answer has the form that the prompt asks for; a thought that was never closed leaves no answer."""
    from kvl_eval.scorers.answers.forms import follows

    text, refusal = visible(item.answer, "answer")
    return refusal is None and follows(text, form, item.sample.choices)


def _split_again(line: ScoreLine) -> ScoreLine:
    """The line of an answer that its record has in other parts."""
    return replace(line, detail={**line.detail, "split_again": True})


def _line(entry: PlanEntry, sample: Sample, answer: AnswerScore, scorer: str) -> ScoreLine:
    """The line of one answer; id and gold are the sample's own where the plan's are equal, so that none lie twice."""
    score, gold = answer.score, entry.sample.gold
    return ScoreLine(
        sample_id=sample.id,
        repeat=entry.repeat,
        budget=entry.budget,
        policy=entry.policy,
        extracted=cast("Json", score.extracted),
        extract_ok=score.verdict not in ("no_answer", "not_scored"),
        extract_method=score.method,
        gold=sample.answers if sample.answers == gold else gold,
        score=score.value,
        verdict=score.verdict,
        reason=score.reason,
        detail=cast("Mapping[str, Json]", score.detail),
        categories=sample.categories,
        cluster=sample.cluster,
        group=sample.group,
        judge=answer.judge,
        scorer=scorer,
        scorer_version=__version__,
    )
