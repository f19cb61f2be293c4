"""What `doctor` finds, as an object and as JSON. Shares and scores are fractions, as in every document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kvl_eval.decode import Count, Json, encode_object

CheckGrade = Literal["ok", "warning", "bad", "skipped"]
FIT, NOT_FIT = 0, 4  # exit codes


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """The result of one check.

    Attributes:
        name:   of the check.
        grade:  `bad` would cost points or lose samples; `skipped`: not checked, `text` says why.
        text:   what was seen.
        values: the same as numbers.
        fix:    what to do about it; empty where nothing needs to be done.
    """

    name: str
    grade: CheckGrade
    text: str
    values: Mapping[str, Json] = field(default_factory=dict)
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """Everything that views print.

    Attributes:
        task, split, prompt, protocol: as a run with these options would have them.
        model:     as the backend names it.
        place:     the server's URL, or the device.
        samples:   of the task that were asked.
        requests:  all that were sent, those samples included.
        seconds:   that the checks took.
        checks:    in a fixed order.
        verdict:   sentences.
        fixes:     what to do, one command or setting each.
        exit_code: 0 fit, 4 not.
    """

    schema: int = 1
    kind: Literal["doctor"] = "doctor"
    task: str
    split: str
    prompt: str
    protocol: str
    model: str
    place: str
    samples: Count
    requests: Count
    seconds: float
    checks: tuple[DoctorCheck, ...]
    verdict: tuple[str, ...]
    fixes: tuple[str, ...]
    exit_code: int

    def as_json(self) -> dict[str, Json]:
        """The document of `kvl-eval doctor --json`."""
        return encode_object(self)


def verdict_of(checks: Sequence[DoctorCheck]) -> tuple[str, ...]:
    """Whether a run may start, in one sentence."""
    bad, warnings = (sum(check.grade == grade for check in checks) for grade in ("bad", "warning"))
    if bad:
        return (f"Not fit to run: {'1 thing' if bad == 1 else f'{bad} things'} would cost points or samples.",)
    if warnings:
        return (f"Fit to run, with {'1 warning' if warnings == 1 else f'{warnings} warnings'}.",)
    return ("Fit to run: nothing was found.",)


def skipped(name: str, why: str) -> DoctorCheck:
    """A check that cannot be made here."""
    return DoctorCheck(name=name, grade="skipped", text=why)
