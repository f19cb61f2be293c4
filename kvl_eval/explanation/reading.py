"""A run folder to the columns of a ledger: one pass over plan and records, and the verdicts of each protocol.

Verdicts are those that the run stored, where this version of kvl-eval made them; else the stored replies are scored
again in memory. Nothing is written, and neither a model nor a data set is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, cast

from kvl_eval import __version__
from kvl_eval.decode import Json, decode
from kvl_eval.errors import DataError
from kvl_eval.explanation.loops import loops
from kvl_eval.explanation.units import AnswerUnit, UnitStatus
from kvl_eval.scoring.judged import AnswerScore
from kvl_eval.scoring.loop import Scoring
from kvl_eval.scoring.outputs import score_outputs, visible
from kvl_eval.scoring.result_rows import asked_form
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.stored_answers import planned_answers
from kvl_eval.store.answers import Answer, answer_of
from kvl_eval.store.derived_files import newest_scores, read_scores, scores_version
from kvl_eval.store.names import scores_name
from kvl_eval.store.records import Key, PlanEntry, Record, ScoreLine
from kvl_eval.store.replies import JudgeView
from kvl_eval.tasks.base import Task
from kvl_eval.types import FinishReason, MediaInfo, Policy, ScoreView, Verdict

if TYPE_CHECKING:
    from kvl_eval.scorers.answers.forms import AnswerForm

GUESS = "random_guess"  # the method of a verdict that the authors' script draws
TAGS = ("<think", "</think", "<reasoning", "<thought", "◁think▷", "◁/think▷")  # left over in an answer
MOST_TAGGED = 100_000  # characters of an answer that are searched for them


class Scorer(NamedTuple):
    """A protocol, what it sees of a reply, and the judge whose stored verdicts it uses."""

    protocol: str
    view: ScoreView = "answer"
    judge: JudgeView | None = None

    @property
    def name(self) -> str:
        """As `scores/` calls it."""
        return scores_name(self.protocol, self.view, None if self.judge is None else self.judge.judge)


class AnswerVerdict(NamedTuple):
    """What a protocol made of one answer."""

    verdict: Verdict
    value: float | None
    extracted: Json
    method: str
    reason: str | None
    judged: bool
    detail: Mapping[str, Json]


Verdicts = Mapping[Key, AnswerVerdict]


class BudgetKey(NamedTuple):
    """Most thinking tokens, and what happens there; None without a limit."""

    budget: int | None = None
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFacts:
    """What a record says of one planned answer besides its verdicts.

    Attributes:
        entry:          of the plan.
        status:         `ok`, `failed` or `pending`; `reason` of a failure.
        finish:         how the reply ended.
        closed:         whether the thought was closed; None without one.
        thought_tokens: with the markers; `answer_tokens` after them; `prompt_tokens` with images.
        is_loop:        whether a truncated reply ends in a loop.
        followed:       whether the answer has the form that the prompt asks for; None where that is not known.
        has_tags:       whether thought tags are left in the answer.
        reply:          a digest of the reply; empty where there is none.
        prompt:         the digest of the prompt that the record has.
        media:          what the model saw of each image.
        seed:           of the sampler.
    """

    entry: PlanEntry
    status: UnitStatus
    reason: str | None = None
    finish: FinishReason = "unknown"
    closed: bool | None = None
    thought_tokens: int = 0
    answer_tokens: int = 0
    prompt_tokens: int = 0
    is_loop: bool = False
    followed: bool | None = None
    has_tags: bool = False
    reply: str = ""
    prompt: str = ""
    media: tuple[MediaInfo, ...] = ()
    seed: int = 0

    @property
    def cluster(self) -> str:
        """What answers that depend on each other share: an image, video or document, or the question."""
        sample = self.entry.sample
        return f"sample {self.entry.sample_id}" if sample.cluster is None else f"cluster {sample.cluster}"

    @property
    def stratum(self) -> str:
        """The labels of the first category."""
        labels = next(iter(self.entry.sample.categories.values()), ())
        return ", ".join(labels)

    @property
    def is_truncated(self) -> bool:
        """Whether the reply ended at a limit, outside a thought."""
        return self.status == "ok" and self.finish in ("length", "budget") and self.closed is not False

    @property
    def is_unclosed(self) -> bool:
        """Whether the thought was never closed."""
        return self.status == "ok" and self.closed is False


class TaskReplies:
    """One task of a run at one budget: facts of each planned answer, and verdicts under any protocol.

    Attributes:
        run, task, budget: what was read.
        facts:   one for each planned answer, in plan order.
        notices: what readers found odd, in order.
    """

    def __init__(self, run: RunReader, task: Task, budget: BudgetKey, plan: Iterable[PlanEntry] | None = None) -> None:
        """`plan` is that of the task, where it was read already.

        Raises: DataError `run.damaged` for a damaged record, `run.plan`.
        """
        self.run = run
        self.task = task
        self.budget = budget
        self.notices: list[str] = []
        self.facts = tuple(_facts(run, task, budget, run.folder.plan(task.name) if plan is None else plan))
        self._verdicts: dict[str, Verdicts] = {}

    def verdicts(self, scorer: Scorer) -> Verdicts:
        """What a protocol makes of the answers: as stored, or scored again. Raises: DataError `run.scores`."""
        if scorer.name not in self._verdicts:
            stored = self._stored(scorer)
            self._verdicts[scorer.name] = self._scored(scorer) if stored is None else stored
        return self._verdicts[scorer.name]

    def prepare(self, scorers: Iterable[Scorer]) -> None:
        """Take the stored verdicts of these protocols, and make the others in one pass over the replies."""
        lacking: dict[Scorer, dict[Key, AnswerVerdict]] = {}
        for scorer in scorers:
            stored = None if scorer.name in self._verdicts else self._stored(scorer)
            if stored is not None:
                self._verdicts[scorer.name] = stored
            elif scorer.name not in self._verdicts and self._is_alone(scorer):
                lacking[scorer] = {}
        for view in {scorer.view for scorer in lacking}:
            of_view = {scorer: made for scorer, made in lacking.items() if scorer.view == view}
            for answer in planned_answers(self.run, self.task, view):
                if answer.item is None or answer.budget != self.budget:
                    continue
                for scorer, made in of_view.items():
                    [score] = score_outputs(self.task, scorer.protocol, [answer.item], view)
                    made[answer.entry.key] = _verdict(AnswerScore(score))
        self._verdicts |= {scorer.name: made for scorer, made in lacking.items()}

    def _is_alone(self, scorer: Scorer) -> bool:
        """Whether the verdict of an answer depends on that answer alone."""
        return scorer.judge is None and self.task.protocols[scorer.protocol].score_run is None

    def units(self, own: Scorer, other: Scorer) -> list[AnswerUnit]:
        """The answers under P0 (`own`) and P1 (`other`), without weights."""
        before, after = self.verdicts(own), self.verdicts(other)
        return [_unit(facts, before.get(facts.entry.key), after.get(facts.entry.key)) for facts in self.facts]

    def _stored(self, scorer: Scorer) -> Verdicts | None:
        """The run's own scores; None where it is not finished, or another version made them."""
        folder = self.run.folder
        path = newest_scores(folder.path, self.task.name, scorer.name)
        if path is None or folder.status != "finished":
            return None
        if scores_version(path) != __version__:
            self.notices.append(
                f"{path.name} is of kvl-eval {scores_version(path)}: the replies were scored again in memory"
            )
            return None
        lines = read_scores(folder.path, self.task.name, scorer.name, _stored_verdict)
        return {key: verdict for key, verdict in lines if (key.budget, key.policy) == self.budget}

    def _scored(self, scorer: Scorer) -> Verdicts:
        replies = None if scorer.judge is None else self.run.replies(self.task.name)
        scoring = Scoring(self.task, scorer.protocol, scorer.view, replies, scorer.judge)
        answers = (
            answer for answer in planned_answers(self.run, self.task, scorer.view) if answer.budget == self.budget
        )
        with closing(replies) if replies else nullcontext():
            return {answer.entry.key: _verdict(made) for answer, made in scoring.scores(answers) if made is not None}


def budgets_of(plan: Iterable[PlanEntry]) -> list[BudgetKey]:
    """The budgets and policies of a task's plan, in order."""
    return list(dict.fromkeys(BudgetKey(entry.budget, entry.policy) for entry in plan))


def _facts(run: RunReader, task: Task, budget: BudgetKey, plan: Iterable[PlanEntry]) -> Iterator[AnswerFacts]:
    entries = {entry.key: entry for entry in plan if (entry.budget, entry.policy) == budget}
    facts, form = {}, asked_form(run.folder.manifest, task)

    def see(record: Record) -> None:
        key = record.key
        if record.status == "ok" and key in entries:
            facts[key] = _answered(entries[key], record, form)

    try:
        index = run.read(task.name, see)
        index.require_whole()
    except DataError as error:
        if error.code == "run.damaged":
            error.fix = f"kvl-eval verify {run.folder.path}"
        raise
    for key, entry in entries.items():
        if key in index.failed:
            yield AnswerFacts(entry=entry, status="failed", reason=index.failed[key])
        else:
            yield facts.get(key) or AnswerFacts(entry=entry, status="pending")


def _answered(entry: PlanEntry, record: Record, form: AnswerForm | None) -> AnswerFacts:
    answer = answer_of(record, "answer")
    ended = record.finish_reason in ("length", "budget") or answer.closed is False
    beginning = answer.text[:MOST_TAGGED].lower()
    return AnswerFacts(
        entry=entry,
        status="ok",
        finish=record.finish_reason,
        closed=answer.closed,
        thought_tokens=record.tokens.thinking,
        answer_tokens=record.tokens.answer,
        prompt_tokens=record.tokens.prompt,
        is_loop=ended and loops(answer.raw),
        followed=_followed(answer, entry, form),
        has_tags=any(tag in beginning for tag in TAGS),
        reply=hashlib.sha256(answer.raw.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        prompt=record.prompt_sha256,
        media=record.media,
        seed=record.seed,
    )


def _followed(answer: Answer, entry: PlanEntry, form: AnswerForm | None) -> bool | None:
    """Whether an answer has the form that the prompt asks for; None where that is not known, or any form will do."""
    if form is None or form == "free":
        return None
    from kvl_eval.scorers.answers.forms import follows

    text, refusal = visible(answer, "answer")
    return refusal is None and follows(text, form, entry.sample.choices)


def _unit(facts: AnswerFacts, before: AnswerVerdict | None, after: AnswerVerdict | None) -> AnswerUnit:
    return AnswerUnit(
        id=facts.entry.sample_id,
        repeat=facts.entry.repeat,
        cluster=facts.cluster,
        stratum=facts.stratum,
        status=facts.status,
        reason=facts.reason,
        finish=facts.finish,
        closed=facts.closed,
        tokens=facts.thought_tokens + facts.answer_tokens,
        is_loop=facts.is_loop,
        v0=None if before is None else before.verdict,
        y0=None if before is None else before.value,
        read0=None if before is None or before.extracted is None else str(before.extracted),
        v1=None if after is None else after.verdict,
        y1=None if after is None else after.value,
        drawn=after is not None and after.method == GUESS and (before is None or before.method != GUESS),
        judged=(before is not None and before.judged) or (after is not None and after.judged),
        options=len(facts.entry.sample.choices),
    )


_USUAL = itemgetter(
    "sample_id", "repeat", "budget", "policy", "verdict", "score",
    "extracted", "extract_method", "reason", "detail", "judge",
)  # fmt: skip


def _stored_verdict(fields: dict[str, Json]) -> tuple[Key, AnswerVerdict]:
    """The verdict of a line of `scores/`: its fields as they are where all have the usual types, else decoded.

    Raises: DecodeError.
    """
    try:
        sample_id, repeat, budget, policy, verdict, score, extracted, method, reason, detail, judge = _USUAL(fields)
    except KeyError:
        pass
    else:
        if (
            (budget, policy, judge) == (None, None, None)
            and (type(sample_id), type(repeat), type(score), type(method), type(detail)) == (str, int, float, str, dict)
            and verdict in ("correct", "wrong", "no_answer")
            and (reason is None or type(reason) is str)
            and 0 <= score <= 1
        ):
            key = Key(sample_id, repeat, None, None)
            return key, AnswerVerdict(verdict, score, extracted, method, reason, judged=False, detail=detail)
    line = decode(ScoreLine, fields)
    return line.key, AnswerVerdict(
        *(line.verdict, line.score, line.extracted, line.extract_method, line.reason),
        judged=line.judge is not None,
        detail=line.detail,
    )


def _plain(value: object) -> Json:
    """What was extracted, as a JSON value."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _verdict(made: AnswerScore) -> AnswerVerdict:
    """The score of an answer, and whether a judge decided."""
    score = made.score
    return AnswerVerdict(
        verdict=score.verdict,
        value=score.value,
        extracted=_plain(score.extracted),
        method=score.method,
        reason=score.reason,
        judged=made.judge is not None,
        detail=cast("Mapping[str, Json]", score.detail),
    )
