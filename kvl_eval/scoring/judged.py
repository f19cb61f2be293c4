"""Scores that use what a judge said: prompts for answers, and replies in the place of a protocol's own extraction.

Nothing here asks anybody. `run/judge_stage.py` asks; this reads `judge/<task>.jsonl` and is as pure as the rest of
scoring: the same replies give the same scores.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from kvl_eval.scoring.outputs import Item, score_outputs, visible
from kvl_eval.store.records import JudgeNote, JudgeReply
from kvl_eval.store.replies import JudgeView, Replies, ReplyKey
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.types import GIVEN, Extraction, Message, Sample, Score, ScoreView

MISSING_REPLY = "judge_missing"
FAILED_REPLY = "judge_error"


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """The score of an answer, and what it owes to a judge; None where none was needed."""

    score: Score
    judge: JudgeNote | None = None


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """What a judge is asked about one answer."""

    sample: Sample
    messages: tuple[Message, ...]
    prompt_sha256: str

    def keys(self, judge: str, runs: int) -> list[ReplyKey]:
        """Where the replies of all judge runs stand."""
        return [ReplyKey(judge, self.prompt_sha256, run) for run in range(runs)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with the last reply of each judge run; None where no judge ran."""

    question: JudgeQuestion
    replies: tuple[JudgeReply | None, ...]

    @property
    def usable(self) -> list[JudgeReply]:
        """The replies, if each of them can be used."""
        usable = [reply for reply in self.replies if reply is not None and reply.status == "ok"]
        return usable if len(usable) == len(self.replies) else []


def can_be_judged(task: Task, protocol: Protocol) -> bool:
    """Whether a judge's reply would change anything under this protocol."""
    return task.judge_prompt is not None and bool(protocol.judged) and protocol.score_run is None


def scorer_parts(name: str) -> tuple[str, ScoreView, str | None]:
    """Protocol, what a scorer saw, and judge of a name in `scores/`: `official`, `official.raw`, `official+JUDGE`."""
    head, plus, judge = name.partition("+")
    protocol = head.removesuffix(".raw")
    return protocol, "answer" if protocol == head else "raw", judge if plus else None


def question_about(task: Task, item: Item, view: ScoreView) -> JudgeQuestion | None:
    """What the judge is to be asked about an answer; None where its reply could change nothing.

    That is so without gold, for an output that no protocol is shown, and where the task's own rules suffice.
    """
    if task.judge_prompt is None or not item.sample.answers:
        return None
    text, refusal = visible(item.answer, view)
    prompt = None if refusal else task.judge_prompt(item.sample, text)
    if prompt is None:
        return None
    messages = (Message.user(prompt),) if isinstance(prompt, str) else prompt
    return JudgeQuestion(item.sample, messages, prompt_sha256(task, messages))


def prompt_sha256(task: Task, messages: Sequence[Message]) -> str:
    """The hash of everything that is sent for a prompt, the judge's name and the run's number aside."""
    rule = task.judge
    sent = {
        "messages": [[message.role, *message.parts] for message in messages],
        "temperatures": rule.temperatures,
        "max_tokens": rule.max_tokens,
        "again": rule.again,
        "extra": rule.extra,
    }
    text = json.dumps(sent, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def judged_scores(
    task: Task, protocol: str, items: Sequence[Item], replies: Replies, judge: JudgeView
) -> list[AnswerScore]:
    """The scores of answers where a judge was asked about them, and what it said.

    An answer about which nothing needs to be asked is scored as without a judge. One whose reply is missing or
    unusable is `not_scored`: a failure never becomes a score. With several judge runs the value is their mean.
    """
    asked = [_asked(task, protocol, item, replies, judge) for item in items]
    extracted = [_with_replies(item, about) for item, about in zip(items, asked, strict=True)]
    flat = score_outputs(task, protocol, [item for group in extracted for item in group], judge.view)
    scores = iter(flat)
    return [
        _answer_score([next(scores) for _ in group], about, judge)
        for group, about in zip(extracted, asked, strict=True)
    ]


def _asked(task: Task, protocol: str, item: Item, replies: Replies, judge: JudgeView) -> _Asked | None:
    """What the judge was asked about an answer and said; None where nothing needs to be asked."""
    asks = task.protocols[protocol].asks
    if asks is not None and not asks(item.sample, visible(item.answer, judge.view)[0]):
        return None
    question = question_about(task, item, judge.view)
    if question is None:
        return None
    return _Asked(question, tuple(replies.reply(key) for key in question.keys(judge.judge, task.judge.runs)))


def _with_replies(item: Item, asked: _Asked | None) -> list[Item]:
    """The item with each run's extraction; without one where no judge is needed, nothing where a reply is missing."""
    if asked is None:
        return [Item(item.sample, item.answer)]
    return [replace(item, extraction=cast("Extraction", reply.verdict)) for reply in asked.usable]


def _answer_score(scores: Sequence[Score], asked: _Asked | None, judge: JudgeView) -> AnswerScore:
    if asked is None:
        return AnswerScore(scores[0])
    replies = [reply for reply in asked.replies if reply is not None]
    note = JudgeNote(
        judge=judge.judge,
        model=next((reply.model for reply in replies if reply.model), None),
        prompt_sha256=asked.question.prompt_sha256,
        reply="\n---\n".join(reply.reply or "" for reply in replies) or None,
    )
    if scores:
        return AnswerScore(_mean(scores), note)
    fault = next((reply for reply in replies if reply.status != "ok"), None)
    reason = f"{FAILED_REPLY}: {fault.message}"[:300] if fault is not None else MISSING_REPLY
    return AnswerScore(Score.not_scored(reason), note)


def _mean(scores: Sequence[Score]) -> Score:
    """One score for several judge runs: the mean, with the runs' values in `detail`; of one run its own."""
    first = replace(scores[0], method="judge") if scores[0].method == GIVEN else scores[0]
    if len(scores) == 1:
        return first
    values = [score.value for score in scores if score.value is not None]
    if len(values) < len(scores):
        return next(score for score in scores if score.value is None)
    mean = math.fsum(values) / len(values)
    extracted = [score.extracted for score in scores]
    detail = {**first.detail, "judge_runs": values, "judge_extracted": extracted}
    if {score.verdict for score in scores} == {"no_answer"}:
        return replace(first, detail=detail)
    same = len(set(map(str, extracted))) == 1
    return Score.of(mean, first.extracted if same else extracted, first.method, **detail)
