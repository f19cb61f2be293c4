"""Probes in words, for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kvl_eval.explanation.probe_document import ProbeResult
from kvl_eval.explanation.probe_effect import SAME
from kvl_eval.explanation.sentences import interval, signed, unsigned
from kvl_eval.explanation.units import GapPart
from kvl_eval.printable import how_many
from kvl_eval.types import Unit
from kvl_eval.verdicts import p_text

OWN_MODEL = "a probe shows what this model does with another setting, not how the reference was made"


def probe_name(probe: ProbeResult) -> str:
    """`prompt=kimi_cot`, or `prompt and max-pixels together`."""
    return probe.setting if probe.arm != "joint" else f"{' and '.join(probe.knobs)} together"


def singles(part: GapPart, probes: Sequence[ProbeResult]) -> list[ProbeResult]:
    """What each setting of a joint part shows alone."""
    inside = part.name.removeprefix("probe:").split("+")
    if part.basis != "measured" or len(inside) < 2:
        return []
    return [probe for probe in probes if probe.arm == "probe" and probe.knobs[0] in inside]


def probe_points(probe: ProbeResult, unit: Unit) -> tuple[str, str]:
    """`+9.4` and `[5.1, 13.8]`."""
    return signed(probe.value, unit), interval(probe.ci95, unit)


def probe_facts(probe: ProbeResult, unit: Unit) -> str:
    """How it was found, in a line."""
    outcome = {
        "effect": "an effect",
        "same": f"the same within {unsigned(SAME, unit)} points",
        "no-effect-shown": "no effect shown",
        "unfinished": f"unfinished: look {probe.look} of 4",
    }[probe.outcome]
    early = ", stopped early" if probe.is_early else ""
    test = "" if probe.p_value is None else f", {p_text(probe.p_value)}"
    text = f"{outcome}{early}{test}: {probe.gained:,} of {probe.n:,} samples gained, {probe.lost:,} lost"
    if probe.interaction is not None:
        value, bounds = signed(probe.interaction.value, unit), interval(probe.interaction.ci95, unit)
        text += f"; {value} {bounds} beyond the sum of the single effects"
    if probe.in_sum:
        return text
    return f"{text}; not in the sum" + (": a default value" if probe.evidence == "default" else "")


def control_facts(probe: ProbeResult, unit: Unit) -> str:
    """What asking again alone gives."""
    control = probe.control
    if control.is_stored:
        return f"control: the stored answers, since the first {control.n:,} replies are the same again"
    return (
        f"control: asked again without a change, {control.changed:,} of {how_many(control.n, 'score')} differ, "
        f"{signed(control.value, unit)} points"
    )


def probe_notes(probes: Sequence[ProbeResult], unit: Unit) -> Iterator[str]:
    """What is to be said of all probes together: their controls, how intervals are meant, what they cannot show."""
    yield from dict.fromkeys(control_facts(probe, unit) for probe in probes)
    tests = max(probe.tests for probe in probes)
    protocol = ", ".join(dict.fromkeys(probe.protocol for probe in probes))
    yield f"read with {protocol}; intervals hold for {how_many(tests, 'setting')} and every look together; {OWN_MODEL}"
