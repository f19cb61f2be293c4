"""Scores that use what a judge said: prompts for answers, and replies in the place of a protocol's own extraction.

Nothing here asks anybody. `run/judge_stage.py` asks; this reads `judge/<task>.jsonl` and is as pure as the rest of
scoring: the same replies give the same scores.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kvl_eval.scoring.outputs import Item, score_outputs, visible
from kvl_eval.store.replies import Replies, ReplyKey, View
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.types import MISSING, Message, Sample, Score, ThinkingView

MISSING_REPLY = "judge_missing"
FAILED_REPLY = "judge_error"

JudgeFields = Mapping[str, Any] | None
"""What a line of `scores/` says: `judge`, `model`, `prompt_sha256`, `reply`; None where no judge was needed."""


def can_be_judged(task: Task, protocol: Protocol) -> bool:
    """Whether a judge's reply would change anything under this protocol."""
    return task.judge_prompt is not None and bool(protocol.judged) and protocol.score_run is None


def scorer_parts(name: str) -> tuple[str, ThinkingView, str | None]:
    """Protocol, what a scorer saw, and judge of a name in `scores/`: `official`, `official.raw`, `official+JUDGE`."""
    head, plus, judge = name.partition("+")
    protocol = head.removesuffix(".raw")
    return protocol, "split" if protocol == head else "raw", judge if plus else None


@dataclass(frozen=True, slots=True)
class Question:
    """What a judge is asked about one answer."""

    sample: Sample
    messages: tuple[Message, ...]
    prompt_sha256: str

    def keys(self, judge: str, runs: int) -> list[ReplyKey]:
        """Where the replies of all judge runs stand."""
        return [ReplyKey(judge, self.prompt_sha256, run) for run in range(runs)]


def question_about(task: Task, sample: Sample, raw: str, view: View) -> Question | None:
    """What the judge is to be asked about an output; None where its reply could change nothing.

    That is so without gold, for an output that no protocol is shown, and where the task's own rules suffice.
    """
    if task.judge_prompt is None or not sample.answers:
        return None
    text, refused = visible(raw, view.thinking)
    prompt = None if refused else task.judge_prompt(sample, text)
    if prompt is None:
        return None
    messages = (Message.user(prompt),) if isinstance(prompt, str) else prompt
    return Question(sample, messages, prompt_sha256(task, messages))


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
    task: Task, protocol: str, items: Sequence[Item], replies: Replies, view: View
) -> list[tuple[Score, JudgeFields]]:
    """The scores of outputs where a judge was asked about them, and what it said.

    An output about which nothing needs to be asked is scored as without a judge. One whose reply is missing or
    unusable is `not_scored`: a failure never becomes a score. With several judge runs the value is their mean.
    """
    asks = task.protocols[protocol].asks
    questions = [
        question_about(task, sample, raw, view)
        if asks is None or asks(sample, visible(raw, view.thinking)[0])
        else None
        for sample, raw, _ in items
    ]
    lines = [_lines(task, question, replies, view) for question in questions]
    extracted = [_with_replies(item, found) for item, found in zip(items, lines, strict=True)]
    flat = score_outputs(task, protocol, [one for group in extracted for one in group], thinking=view.thinking)
    scores = iter(flat)
    return [
        _joined([next(scores) for _ in group], question, found, view)
        for group, question, found in zip(extracted, questions, lines, strict=True)
    ]


def _lines(
    task: Task, question: Question | None, replies: Replies, view: View
) -> list[Mapping[str, Any] | None] | None:
    """A line of the replies for each judge run; None where nothing needs to be asked."""
    if question is None:
        return None
    return [replies.legacy_at(key) for key in question.keys(view.judge, task.judge.runs)]


def _with_replies(item: Item, lines: Sequence[Mapping[str, Any] | None] | None) -> Iterator[Item] | list[Item]:
    """The item with each run's extraction; without one where no judge is needed, nothing where a reply is missing."""
    sample, raw, _ = item
    if lines is None:
        return [(sample, raw, MISSING)]
    usable = [line for line in lines if line is not None and line["status"] == "ok"]
    return [(sample, raw, line["verdict"]) for line in usable] if len(usable) == len(lines) else []


def _joined(
    scores: Sequence[Score], question: Question | None, lines: Sequence[Mapping[str, Any] | None] | None, view: View
) -> tuple[Score, JudgeFields]:
    if question is None or lines is None:
        return scores[0], None
    said = [line for line in lines if line is not None]
    fields = {
        "judge": view.judge,
        "model": next((line["model"] for line in said if line.get("model")), None),
        "prompt_sha256": question.prompt_sha256,
        "reply": "\n---\n".join(line["reply"] or "" for line in said) or None,
    }
    if not scores:
        wrong = next((line for line in said if line["status"] != "ok"), None)
        reason = f"{FAILED_REPLY}: {wrong['message']}"[:300] if wrong is not None else MISSING_REPLY
        return Score.not_scored(reason), fields
    return _mean(scores), fields


def _mean(scores: Sequence[Score]) -> Score:
    """One score for several judge runs: the mean, with the runs' values in `detail`; of one run its own."""
    first = replace(scores[0], method="judge") if scores[0].method == "given" else scores[0]
    if len(scores) == 1:
        return first
    values = [score.value for score in scores if score.value is not None]
    if len(values) < len(scores):
        return next(score for score in scores if score.value is None)
    mean = math.fsum(values) / len(values)
    shown = [score.extracted for score in scores]
    detail = {**first.detail, "judge_runs": values, "judge_extracted": shown}
    if {score.verdict for score in scores} == {"no_answer"}:
        return replace(first, detail=detail)
    return Score.of(mean, first.extracted if len(set(map(str, shown))) == 1 else shown, first.method, **detail)
