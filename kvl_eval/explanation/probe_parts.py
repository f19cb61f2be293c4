"""Probes in the sum: measured parts, instead of what was estimated of the same answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kvl_eval.explanation.probe_document import ProbeResult
from kvl_eval.explanation.resampling import Replicates
from kvl_eval.explanation.units import GapPart
from kvl_eval.types import Interval

LIMIT = "max-new-tokens"
ENDED = ("unclosed", "truncated")  # what a probe with another limit measures
APART = "settings are taken not to work together; --joint tests that"


def measured_parts(probes: Sequence[ProbeResult]) -> tuple[GapPart, ...]:
    """One part for each setting that counts; for those that were changed together one part."""
    counted = [probe for probe in probes if probe.in_sum and probe.look]
    joint = [probe for probe in counted if probe.arm == "joint"][-1:]
    inside = {name for probe in joint for name in probe.knobs}
    alone: dict[str, ProbeResult] = {}
    for probe in counted:  # of several values of a setting the last one
        if probe.arm == "probe" and probe.knobs[0] not in inside:
            alone[probe.knobs[0]] = probe
    chosen = [*joint, *alone.values()]
    return tuple(
        GapPart(
            name=f"probe:{'+'.join(probe.knobs)}",
            basis="measured",
            n=probe.n,
            value=probe.value,
            ci95=probe.ci95,
            detail={"setting": probe.setting, "gained": probe.gained, "lost": probe.lost},
            assumption=APART if len(chosen) > 1 else "",
            samples=probe.samples,
        )
        for probe in chosen
    )


def with_measured(parts: Sequence[GapPart], measured: Sequence[GapPart]) -> tuple[GapPart, ...]:
    """All parts in order; what a probe has measured is not estimated."""
    left_out = ENDED if _measures_limit(measured) else ()
    return (*(part for part in parts if part.name not in left_out), *measured)


def draws_without(draws: Replicates, measured: Sequence[GapPart]) -> Replicates:
    """The resamples, without what a probe has measured."""
    if not _measures_limit(measured):
        return draws
    nothing = np.zeros(len(draws.score))
    return replace(draws, parts={**draws.parts, **dict.fromkeys(ENDED, nothing)})


def rest_after(interval: Interval, value: float, measured: Sequence[GapPart]) -> Interval:
    """The interval of what is left: `value` with `interval` before the measured parts were taken from it."""
    after = value - math.fsum(part.value for part in measured)
    below = [value - interval[0], *(part.ci95[1] - part.value for part in measured)]
    above = [interval[1] - value, *(part.value - part.ci95[0] for part in measured)]
    return after - math.hypot(*below), after + math.hypot(*above)


def _measures_limit(measured: Sequence[GapPart]) -> bool:
    return any(LIMIT in part.name.removeprefix("probe:").split("+") for part in measured)
