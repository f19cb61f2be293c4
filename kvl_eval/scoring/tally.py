"""What is known of one task at one budget, counted answer by answer."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from kvl_eval.scorers.outcomes import AnswerOutcome
from kvl_eval.scoring.busy import BusyTimes
from kvl_eval.scoring.stored_answers import PlannedAnswer, Usage
from kvl_eval.types import Policy, Scored

TOKENS = ("thinking", "answer", "prompt", "image")


@dataclass(slots=True)
class Tally:
    """Counts over everything planned, and what was scored.

    Attributes:
        groups: samples planned of each question that is asked several times, by (group, repeat).
        failed: answers that failed, by reason.
        models: answers by models that a server named.
        thoughts: answers with a thought, by the family of its markers.
        followed: answers in the form that the prompt asks for.
        followed_unread: those of them from which nothing was extracted.
        flags:  answers by what may have changed them.
        outcomes: planned answers by what became of them: names of `scorers.outcomes`.
        busy:   when answers were under way, and where.
    """

    budget: int | None
    policy: Policy | None
    planned: int = 0
    groups: Counter[tuple[str, int]] = field(default_factory=Counter)
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    scored: list[Scored] = field(default_factory=list)
    tokens: dict[str, array[int]] = field(default_factory=lambda: {name: array("q") for name in TOKENS})
    truncated: int = 0
    unclosed: int = 0
    forced: int = 0
    seconds: float = 0.0
    models: Counter[str] = field(default_factory=Counter)
    thoughts: Counter[str] = field(default_factory=Counter)
    followed: int = 0
    followed_unread: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[AnswerOutcome] = field(default_factory=Counter)
    busy: BusyTimes = field(default_factory=BusyTimes)

    def count(self, answer: PlannedAnswer) -> None:
        """Take in one planned answer, whatever became of it."""
        self.planned += 1
        if answer.entry.sample.group is not None:
            self.groups[answer.entry.sample.group, answer.entry.repeat] += 1
        if answer.failure is not None:
            self.failed[answer.failure] += 1
            self.outcomes["failed"] += 1
        elif answer.item is None and answer.usage is None:
            self.outcomes["pending"] += 1
        if answer.usage is not None:
            self._spend(answer.usage)

    def take(self, scored: Scored, outcome: AnswerOutcome, followed: bool) -> None:
        """Take in one answer's score and outcome; `followed`: whether it has the form that the prompt asks for."""
        self.scored.append(scored)
        self.outcomes[outcome] += 1
        self.followed += followed
        self.followed_unread += followed and scored.score.verdict == "no_answer"

    def _spend(self, usage: Usage) -> None:
        self.ok += 1
        for counts, count in zip(self.tokens.values(), usage.tokens, strict=True):
            counts.append(count)
        self.truncated += usage.truncated
        self.unclosed += usage.unclosed
        if usage.family:
            self.thoughts[usage.family] += 1
        self.forced += usage.forced
        self.flags.update(usage.flags)
        self.seconds += usage.seconds
        self.busy.add(usage.worker, usage.ended_at, usage.seconds)
        if usage.model is not None:
            self.models[usage.model] += 1
