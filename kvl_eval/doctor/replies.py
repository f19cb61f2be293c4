"""What the replies to samples of the task say: form, extraction, thoughts, limits, loops, budgets, speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kvl_eval.decode import Json
from kvl_eval.doctor.document import CheckGrade, DoctorCheck, skipped
from kvl_eval.explanation.loops import loops
from kvl_eval.explanation.reading import GUESS, MOST_TAGGED, TAGS
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.scorers.answers.forms import follows
from kvl_eval.scorers.statistics import wilson
from kvl_eval.scoring.outputs import Item, score_outputs, visible
from kvl_eval.store.answers import Answer
from kvl_eval.tasks.base import Task, answer_form
from kvl_eval.types import Completion, Sample, Score

FOLLOWED, HARDLY_FOLLOWED = 0.9, 0.5  # least shares of replies in the form: ok, warning
EXTRACTED, HARDLY_EXTRACTED = 0.95, 0.8
TRUNCATED, LOOPING, UNCLOSED = 0.2, 0.1, 0.5  # shares from which it is bad


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnReply:
    """A sample and one of the replies to it."""

    sample: Sample
    completion: Completion

    @property
    def answer(self) -> Answer:
        """The reply in its parts."""
        reply = self.completion
        stop = str(reply.extra.get("stop_token") or "")
        text = "" if reply.think_closed is False else reply.answer
        return Answer(
            reply.thinking, text, reply.think_closed, reply.raw_output.removesuffix(stop), reply.thought or ""
        )

    @property
    def tokens(self) -> int:
        """Of thought and answer."""
        return self.completion.tokens.thinking + self.completion.tokens.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledReplies:
    """The replies to the samples that were asked.

    Attributes:
        task, config, run: what was asked, and how.
        replies:   those that came, under the largest budget.
        all_replies: under every budget.
        failures:  reasons of those that did not come; `message` of the first.
        seconds:   that asking took.
        rows:      of the whole split.
    """

    task: Task
    config: TaskConfig
    run: RunConfig
    replies: tuple[DrawnReply, ...]
    all_replies: tuple[DrawnReply, ...]
    failures: tuple[str, ...]
    message: str
    seconds: float
    rows: int

    def scores(self, protocol: str) -> list[Score]:
        """What a protocol makes of the replies."""
        items = [Item(reply.sample, reply.answer) for reply in self.replies]
        return score_outputs(self.task, protocol, items, self.run.score_view)

    @property
    def protocol(self) -> str:
        """The headline's."""
        asked = self.run.protocol
        known = None if asked in (None, "all") else self.task.protocol_named(str(asked))
        return known or self.task.default_protocol


REPLY_CHECKS = ("format", "extract", "thought", "limit", "loops", "budget", "time")


def reply_checks(facts: SampledReplies) -> Iterator[DoctorCheck]:
    """All of them, in their order."""
    if not facts.replies:
        yield from (skipped(name, "no sample was answered") for name in REPLY_CHECKS)
        return
    yield from (
        *(_format(facts), _extract(facts), _thought(facts), _limit(facts), _loops(facts), _budget(facts), _time(facts)),
    )


def grade_of(share: float, ok: float, warning: float) -> CheckGrade:
    """`ok` from the one share on, `warning` from the other."""
    return "ok" if share >= ok else "warning" if share >= warning else "bad"


def _format(facts: SampledReplies) -> DoctorCheck:
    prompt = facts.task.prompts.get(facts.config.prompt)
    form = "free" if prompt is None or facts.run.prompt_text else answer_form(prompt)
    if form == "free":
        return skipped("format", "the prompt asks for no form of an answer")
    n, odd = len(facts.replies), list[str]()
    for reply in facts.replies:
        text, refusal = visible(reply.answer, "answer")
        if refusal is not None or not follows(text, form, reply.sample.choices):
            odd.append(reply.sample.id)
    share = 1 - len(odd) / n
    return DoctorCheck(
        name="format",
        grade=grade_of(share, FOLLOWED, HARDLY_FOLLOWED),
        text=f"{n - len(odd)} of {n} replies have the form {form} that the prompt {facts.config.prompt} asks for",
        values={"share": share, "n": n, "form": form, "violations": [*odd]},
        fix="" if share >= FOLLOWED else _other_prompt(facts),
    )


def _other_prompt(facts: SampledReplies) -> str:
    others = [name for name in facts.task.prompts if name != facts.config.prompt]
    return f"--prompt {others[0]}" if others else "--prompt-file with the form that the model was trained on"


def _extract(facts: SampledReplies) -> DoctorCheck:
    own = facts.protocol
    if facts.task.protocols[own].needs_judge:
        return skipped("extract", f"the protocol {own} needs a judge")
    names = [name for name, rule in facts.task.protocols.items() if not rule.needs_judge]
    scores = {name: facts.scores(name) for name in dict.fromkeys((own, *names))}
    n = sum(score.verdict != "not_scored" for score in scores[own])
    if not n:
        return skipped("extract", "the split has no gold answers")
    counts = {name: sum(map(_is_extracted, made)) for name, made in scores.items()}
    best = max(scores, key=lambda name: counts[name])
    values: dict[str, Json] = {"share": counts[own] / n, "n": n, "by_protocol": {**counts}}
    grade = grade_of(counts[own] / n, EXTRACTED, HARDLY_EXTRACTED)
    text = f"{own} extracts an answer from {counts[own]} of {n} replies"
    if grade == "ok" or counts[best] == counts[own]:
        fix = "" if grade == "ok" else _other_prompt(facts)
        return DoctorCheck(name="extract", grade=grade, text=text, values=values, fix=fix)
    text += f", {best} from {counts[best]}"
    right = [score.value for score in scores[best] if score.value is not None and _is_extracted(score)]
    share = sum(right) / len(right)
    near, better = (min(1.0, counts[name] / n * share) for name in (own, best))
    values |= {"score_near": near, "score_other": better}
    if near < better:
        text += f". The score would be near {_with_interval(near, n)} instead of {_with_interval(better, n)}"
    fix = f"--protocol {best}, or {_other_prompt(facts)}"
    return DoctorCheck(name="extract", grade=grade, text=text, values=values, fix=fix)


def _is_extracted(score: Score) -> bool:
    """Whether the protocol read an answer, and did not draw one at random."""
    return score.verdict not in ("no_answer", "not_scored") and score.method != GUESS


def _with_interval(share: float, n: int) -> str:
    low, high = wilson(share * n, n)
    return f"{100 * share:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def _thought(facts: SampledReplies) -> DoctorCheck:
    n = len(facts.replies)
    thoughts = [reply for reply in facts.replies if reply.completion.think_closed is not None]
    unclosed = [reply for reply in thoughts if reply.completion.think_closed is False]
    empty = [reply for reply in facts.replies if not reply.answer.text.strip() and reply not in unclosed]
    tagged = [reply for reply in facts.replies if any(tag in reply.answer.text[:MOST_TAGGED].lower() for tag in TAGS)]
    families = sorted({reply.completion.thought or "" for reply in thoughts} - {""})
    fields = sorted({str(reply.completion.extra["thinking_field"]) for reply in thoughts if _field(reply)})
    values: dict[str, Json] = {"n": n, "thoughts": len(thoughts), "unclosed": len(unclosed), "empty": len(empty)}
    values |= {"tagged": len(tagged), "markers": [*families], "fields": [*fields]}
    share = (len(unclosed) + len(empty)) / n
    grade: CheckGrade = "bad" if share >= UNCLOSED else "warning" if share or tagged else "ok"
    if grade == "ok":
        text = f"thought closed {len(thoughts)}/{len(thoughts)}" if thoughts else "no thoughts, no empty answers"
        if fields:
            text += f", in the field {', '.join(fields)}"
        return DoctorCheck(name="thought", grade=grade, text=text, values=values)
    parts = [f"{len(unclosed)} of {n} thoughts never close"] if unclosed else []
    parts += [f"{len(empty)} of {n} replies have an empty answer"] if empty else []
    parts += [f"{len(tagged)} of {n} answers hold marks of a thought"] if tagged else []
    fix = f"--max-new-tokens {2 * facts.config.generation.limit}" if unclosed else "check the server's reasoning parser"
    return DoctorCheck(name="thought", grade=grade, text=", ".join(parts), values=values, fix=fix)


def _field(reply: DrawnReply) -> bool:
    return bool(reply.completion.extra.get("thinking_field"))


def _is_truncated(reply: DrawnReply) -> bool:
    return reply.completion.finish_reason in ("length", "budget")


def _limit(facts: SampledReplies) -> DoctorCheck:
    n, limit = len(facts.replies), facts.config.generation.limit
    ended = [reply for reply in facts.replies if _is_truncated(reply)]
    longest = max((reply.tokens for reply in facts.replies if not _is_truncated(reply)), default=0)
    values: dict[str, Json] = {"n": n, "truncated": len(ended), "limit": limit, "longest_finished": longest}
    grade: CheckGrade = "ok" if not ended else "bad" if len(ended) / n >= TRUNCATED else "warning"
    text = f"{len(ended)} of {n} replies are truncated at {limit:,} tokens; the longest finished one has {longest:,}"
    if not ended:
        return DoctorCheck(name="limit", grade=grade, text="no reply is truncated", values=values)
    if facts.config.generation.think_budgets:
        fix = "a larger --think-budget"
    else:
        fix = f"--max-new-tokens {2 * max(longest, limit)}"
    return DoctorCheck(name="limit", grade=grade, text=text, values=values, fix=fix)


def _loops(facts: SampledReplies) -> DoctorCheck:
    n = len(facts.replies)
    names = [reply.sample.id for reply in facts.replies if loops(reply.completion.raw_output)]
    grade: CheckGrade = "ok" if not names else "bad" if len(names) / n >= LOOPING else "warning"
    return DoctorCheck(
        name="loops",
        grade=grade,
        text=f"{len(names)} of {n} replies repeat themselves to the end" if names else "no reply loops",
        values={"n": n, "samples": [*names]},
        fix="the sampling settings of the model card, such as --temperature" if names else "",
    )


def _budget(facts: SampledReplies) -> DoctorCheck:
    """Whether no thought is longer than its budget."""
    budgets = [reply for reply in facts.all_replies if reply.completion.budget is not None]
    if not budgets:
        return skipped("budget", "no --think-budget")
    if facts.config.policy == "approximate":
        return skipped("budget", "the policy approximate limits thought and answer together")
    over = [reply for reply in budgets if reply.completion.tokens.thinking > (reply.completion.budget or 0)]
    return DoctorCheck(
        name="budget",
        grade="bad" if over else "ok",
        text=f"{len(over)} of {len(budgets)} thoughts are longer than their budget" if over else "budgets kept",
        values={"n": len(budgets), "over": len(over)},
        fix="--model-args budget=tokens" if over else "",
    )


def _time(facts: SampledReplies) -> DoctorCheck:
    n = len(facts.replies)
    tokens, seconds = sum(reply.tokens for reply in facts.replies), max(facts.seconds, 1e-9)
    planned = facts.rows * facts.run.repeats
    values: dict[str, Json] = {"rows": facts.rows, "seconds": seconds * planned / n, "tokens": tokens * planned / n}
    text = (
        f"{facts.rows:,} samples would take {_span(seconds * planned / n)} and {tokens * planned / n:,.0f} new tokens"
    )
    return DoctorCheck(name="time", grade="ok", text=text, values=values)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def answered_check(facts: SampledReplies) -> DoctorCheck:
    """Whether the model answered at all."""
    n = len(facts.replies) + len(facts.failures)
    if not n:
        return DoctorCheck(name="reach", grade="ok", text="the model answers")
    lost, reasons = len(facts.failures), ", ".join(sorted(set(facts.failures)))
    grade: CheckGrade = "ok" if not lost else "bad" if 2 * lost >= n else "warning"
    text = f"{n - lost} of {n} samples answered" + (f", {lost} failed ({reasons})" if lost else "")
    text += f": {facts.message}" if facts.message else ""
    values: dict[str, Json] = {"n": n, "failed": lost, "reasons": [*sorted(set(facts.failures))]}
    fix = "run these samples alone with -v to see why they fail" if lost else ""
    return DoctorCheck(name="reach", grade=grade, text=text, values=values, fix=fix)


def longest_reply(replies: Sequence[DrawnReply]) -> DrawnReply | None:
    """The reply with most tokens."""
    return max(replies, key=lambda reply: reply.tokens, default=None)
