"""What a probe would cost, before anything is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kvl_eval.explanation.case import ExplainedCase
from kvl_eval.explanation.probes import FIRST
from kvl_eval.probe.asking import PlannedArm

CHANGED = 0.12  # share of verdicts that a setting is taken to change
POWER = 7.85  # (1.96 + 0.84) squared: a difference is shown four times in five
MANY_REQUESTS, MANY_MINUTES = 500, 10  # above which a probe must be confirmed
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCost:
    """At most; looks that stop early make it less.

    Attributes:
        settings:   that are changed.
        samples:    asked in each arm.
        arms:       control included.
        least:      requests where the stored answers serve as the control; None where they cannot.
        requests:   in all.
        prompts:    tokens of prompts; `replies` tokens of replies; None where the run counted none.
        minutes:    at the run's own rate; None where it measured none.
        dollars:    None without prices.
        detectable: the smallest difference that is shown four times in five, as a fraction.
    """

    settings: tuple[str, ...]
    samples: int
    arms: int
    least: int | None
    requests: int
    prompts: int | None
    replies: int | None
    minutes: float | None
    dollars: float | None
    detectable: float

    @property
    def is_large(self) -> bool:
        """Whether it must be confirmed."""
        return self.requests > MANY_REQUESTS or (self.minutes or 0.0) > MANY_MINUTES

    def lines(self) -> Iterator[str]:
        """As text."""
        fewest = "" if self.least is None else f"{self.least:,} to "
        yield f"probe: {'; '.join(self.settings)}"
        yield (
            f"       {self.samples:,} samples in {self.arms} arms, control included: "
            f"{fewest}{self.requests:,} requests at most"
        )
        facts = []
        if self.prompts is not None and self.replies is not None:
            facts.append(f"about {self.prompts:,} tokens read and {self.replies:,} written")
        if self.minutes is not None:
            facts.append(f"{max(1, round(self.minutes)):,} min at the run's rate")
        if self.dollars is not None:
            facts.append(f"${self.dollars:,.2f}")
        if facts:
            yield f"       {', '.join(facts)}"
        points = 100 * self.detectable
        yield f"       {self.samples:,} samples show differences of {points:.0f} points or more, four times in five"


def probe_cost(case: ExplainedCase, arms: Sequence[PlannedArm], *, prices: tuple[float, float] | None) -> ProbeCost:
    """What these arms cost at most, by the run's own counts. `prices` are of a million tokens read and written."""
    row, n = case.row, len(arms[0].config.sample_ids)
    repeats = arms[0].config.repeats
    requests = n * len(arms) * repeats
    written = [_written(case, arm) for arm in arms]
    replies = None if None in written else n * repeats * math.fsum(mean or 0.0 for mean in written)
    prompts = requests * row.tokens["prompt"].mean if "prompt" in row.tokens else None
    minutes = None
    if row.seconds is not None and row.n_ok:
        longer = replies / requests / written[0] if replies and written[0] else 1.0
        minutes = requests * row.seconds / row.n_ok * longer / 60
    dollars = None
    if prices is not None and prompts is not None and replies is not None:
        dollars = (prices[0] * prompts + prices[1] * replies) / MILLION
    is_served = case.run.folder.manifest.model.device == "server"
    return ProbeCost(
        settings=tuple(arm.parent.probe for arm in arms if arm.parent.arm == "probe"),
        samples=n,
        arms=len(arms),
        least=None if is_served else (n * (len(arms) - 1) + min(n, FIRST)) * repeats,
        requests=requests,
        prompts=None if prompts is None else round(prompts),
        replies=None if replies is None else round(replies),
        minutes=minutes,
        dollars=dollars,
        detectable=math.sqrt(POWER * CHANGED / n),
    )


def _written(case: ExplainedCase, arm: PlannedArm) -> float | None:
    """Mean tokens of a reply in an arm: the run's, and those that a limit ended at the arm's limit."""
    chosen = set(arm.config.sample_ids)
    facts = [one for one in case.replies.facts if one.status == "ok" and one.entry.sample_id in chosen]
    [task] = arm.config.tasks
    limit = task.generation.limit
    counts = [
        max(limit, tokens) if one.is_truncated or one.is_unclosed else tokens
        for one in facts
        if (tokens := one.thought_tokens + one.answer_tokens)
    ]
    return math.fsum(counts) / len(counts) if counts else None
