"""What a probe has shown, as an object and as JSON. Scores and differences are fractions, as in every document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvl_eval.decode import Count
from kvl_eval.store.manifest import ProbeArm, ProbeEvidence
from kvl_eval.types import Interval

ProbeOutcome = Literal["effect", "same", "no-effect-shown", "unfinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeControl:
    """What asking the same questions again without any change gives.

    Attributes:
        run:             its id.
        n:               samples that were compared with the stored answers.
        changed:         those with another score.
        replies_changed: those with another reply.
        value:           the difference of the score.
        is_stored:       whether the stored answers serve as the control, since the first replies were the same.
    """

    run: str
    n: Count
    changed: Count
    replies_changed: Count
    value: float
    is_stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInteraction:
    """What changing settings together brings beyond the sum of changing each alone."""

    n: Count
    value: float
    ci95: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a run with one setting changed, or with all of them (`joint`), shows.

    Attributes:
        setting:     what was changed, and to what.
        arm:         `probe` or `joint`.
        evidence:    why this value: `option`, `read` of the reference, or `default`.
        in_sum:      whether it is a part of the gap: not with a default value, nor where the score is not a plain mean,
                     nor against another run.
        run:         id of the run.
        protocol:    that its answers and those of the control were read with.
        n:           samples that both have a score for.
        planned:     samples of the whole probe.
        look:        at which look, of four; 0 before the first.
        gained:      samples that score more than the control; `lost` those that score less.
        value:       the difference of the score; positive where the changed setting is better.
        ci95:        its interval at this look, for all tests together.
        limit:       standard errors that the interval reaches on either side.
        tests:       settings that were tested on this run, joint ones included.
        p_value:     exact McNemar, corrected for the tests; null where at least 10 verdicts changed.
        outcome:     `effect`, `same` (within 3 percent), `no-effect-shown`, or `unfinished`.
        control:     what asking again alone gives.
        interaction: of a joint probe, where each setting was also tested alone.
        samples:     ids of those with another score.
    """

    setting: str
    arm: ProbeArm
    evidence: ProbeEvidence
    in_sum: bool
    run: str
    protocol: str
    n: Count
    planned: Count
    look: Count
    gained: Count
    lost: Count
    value: float
    ci95: Interval
    limit: float
    tests: Count
    p_value: float | None
    outcome: ProbeOutcome
    control: ProbeControl
    interaction: ProbeInteraction | None = None
    samples: tuple[str, ...] = ()

    @property
    def is_early(self) -> bool:
        """Whether asking stopped before all samples were asked."""
        return self.outcome in ("effect", "same") and self.n < self.planned

    @property
    def knobs(self) -> tuple[str, ...]:
        """Names of the settings that it changes."""
        return knobs_of(self.setting)


KNOBS = ("prompt", "max-new-tokens", "max-pixels", "system-prompt", "temperature", "image-prep", "dtype")


def settings_of(text: str) -> list[tuple[str, str | None]]:
    """(name, value) of each setting in `prompt=kimi_cot,max-pixels`; a comma ends a value if a setting follows it."""
    settings: list[tuple[str, str | None]] = []
    for piece in text.split(","):
        name, equals, value = piece.partition("=")
        before = settings[-1] if settings else None
        if before is not None and before[1] is not None and name.strip() not in KNOBS:
            settings[-1] = (before[0], f"{before[1]},{piece}")
        else:
            settings.append((name.strip(), value if equals else None))
    return settings


def knobs_of(text: str) -> tuple[str, ...]:
    """The names in such a text."""
    return tuple(name for name, _ in settings_of(text))
