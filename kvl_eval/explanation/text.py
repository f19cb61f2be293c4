"""An explanation for the terminal: 100 columns, and nothing depends on color."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from kvl_eval.explanation.document import ConditionalLine, Explanation, SettingLine
from kvl_eval.explanation.probe_text import probe_facts, probe_name, probe_notes, probe_points, singles
from kvl_eval.explanation.sentences import interval, printed, signed, unsigned
from kvl_eval.explanation.units import GapPart
from kvl_eval.printable import how_many, printable
from kvl_eval.types import Interval, Unit
from kvl_eval.verdicts import MINUS, p_text

WIDTH = 100
KNOWN = 71  # column where a table says how a part is known
SAMPLES = 20  # ids that a text names
LABELS = {
    "no_answer": "no answer extracted",
    "extraction": "extracted otherwise",
    "judge": "judged otherwise",
    "draws": "random guesses",
    "missing": "failed or pending",
    "unclosed": "thought not closed",
    "truncated": "truncated",
    "prompt": "another prompt",
    "images": "other images",
    "generation": "generation settings",
    "engine": "another engine",
    "answers": "other answers",
}
ROUNDED = "rounded; the unrounded parts add up to the gap"


def as_text(explanation: Explanation) -> str:
    """The whole explanation, with a plain hyphen for a minus sign."""
    lines = [*_head(explanation), "", *_parts(explanation)]
    for block in (_facts(explanation), _verdict(explanation)):
        lines += ["", *block] if block else []
    return "\n".join(printable(line).rstrip() for line in lines).replace(MINUS, "-")


def label(part: GapPart, *, paired: bool = False) -> str:
    """What a table calls a part."""
    if part.name == "missing" and not paired:
        pending = part.detail.get("pending")
        return "failed" if not pending else "pending" if pending == part.n else "failed or pending"
    if part.basis == "measured":
        return " and ".join(part.name.removeprefix("probe:").split("+"))
    return LABELS.get(part.name, part.name)


def known_by(part: GapPart, explanation: Explanation) -> str:
    """How a part is known, in a few words."""
    detail, as_ = part.detail, explanation.as_
    rate, loops = detail.get("rate"), detail.get("loops")
    if part.basis == "measured":
        also = f"; {part.assumption}" if part.assumption else ""
        return f"measured: {detail.get('gained')} gained, {detail.get('lost')} lost{also}"
    if part.basis == "bounds":
        return f"bounds only: {part.assumption}"
    if part.basis == "exact" and "lost" in detail:
        together = detail.get("together_with")
        also = f"; together with: {', '.join(map(str, together))}" if isinstance(together, list) and together else ""
        return f"exact: {detail['lost']} lost, {detail['gained']} gained{also}"
    if part.name == "no_answer":
        if not detail.get("extracted"):
            return f"exact: {as_} extracts none either"
        return f"exact: {as_} extracts {detail.get('extracted')}, {detail.get('right')} are correct"
    if part.name in ("extraction", "judge"):
        return f"exact: {detail.get('better')} better and {detail.get('worse')} worse under {as_}"
    if part.name == "draws":
        return f"exact: {detail.get('right')} guesses are correct, {_points(detail.get('expected'))} expected"
    if part.name == "missing":
        return "estimate: as others of their category"
    if isinstance(rate, float):
        looping = "none loops" if not loops else f"{loops} loop and count as wrong"
        if detail.get("ceiling"):
            return f"at most: {100 * rate:.1f} % correct, as the longest finished replies; longer is worse; {looping}"
        return f"estimate: {100 * rate:.1f} % correct, as the longest quarter of finished replies; {looping}"
    return part.assumption


def does_not_add_up(explanation: Explanation) -> bool:
    """Whether the rounded column differs from the rounded gap."""
    gap, rest, unit = explanation.gap, explanation.unexplained, explanation.unit
    if gap is None or gap.value is None or rest is None:
        return False
    column = [*(part.value for part in explanation.parts), rest.value]
    scale, digits = (1000, 0) if unit == "points" else (100, 1)
    total = sum(round(scale * value, digits) for value in column)
    return round(total, digits) != round(scale * gap.value, digits)


def overlaps(explanation: Explanation) -> list[str]:
    """`36 of the 38 truncated replies are also among: no answer extracted`."""
    names = {part.name: part.n for part in explanation.parts}
    texts = []
    for pair, count in explanation.overlap.items():
        first, _, second = pair.partition("+")
        texts.append(
            f"{count:,} of the {names.get(first, 0):,} {LABELS[first]} replies are also among: {LABELS[second]}"
        )
    return texts


def protocols_line(line: ConditionalLine, unit: Unit) -> str:
    """`vlmevalkit-rule +2.8 [0.7, 4.8]`."""
    return f"{line.label} {signed(line.value, unit)} {interval(line.ci95, unit)}"


def setting_text(line: SettingLine) -> str:
    """`temperature 0.2, reference 0.0 (read)`."""
    theirs = "unknown" if line.reference is None else f"{line.reference} ({line.evidence})"
    return f"{line.name} {line.ours or 'not stored'}, reference {theirs}"


def _points(value: object) -> str:
    return f"{100 * value:.1f} points" if isinstance(value, float) else "unknown"


def _head(explanation: Explanation) -> Iterator[str]:
    run, n, unit = explanation.run, explanation.n, explanation.unit
    kind = " (scripted answers)" if run.scripted else " (demo model)" if run.demo else ""
    budget = "" if explanation.budget is None else f" at {explanation.budget:,} thinking tokens"
    yield f"{explanation.task} / {explanation.split}   {run.model}{kind}   {explanation.protocol}{budget}   {run.id}"
    yield ""
    answered = f"{n.ok:,} of {n.planned:,} answered{_missing(explanation)}"
    if explanation.gap is not None and explanation.gap.paired:
        answered = f"{how_many(n.scored, 'sample')} that both runs have scored"
    yield _row("this run", explanation.score.value, explanation.score.ci95, unit, answered)
    reference, gap = explanation.reference, explanation.gap
    if reference is None:
        yield "  reference   none: nothing is published of this model, and --to names nothing"
        return
    about = {"number": "given on the command line", "published": reference.system or "", "run": reference.system or ""}
    assumed = " (assumed)" if reference.n_evidence == "assumed" else ""
    yield _row(
        "reference", reference.value, reference.ci95, unit, f"{about[reference.kind]}, n = {reference.n:,}{assumed}"
    )
    yield from (f"              elsewhere {other}" for other in reference.others)
    if gap is None or gap.value is None:
        return
    test = "" if gap.p_value is None else p_text(gap.p_value)
    chance = ": not chance alone" if gap.verdict in ("below", "above") else ": may be chance"
    yield _row("gap", gap.value, gap.ci95, unit, f"{test}{chance if test else chance[2:]}")
    if gap.ci95_correlated is not None and gap.correlation is not None:
        correlated = interval(gap.ci95_correlated, unit)
        yield f"{'':19}  {correlated:<14}  if errors are shared (correlation {gap.correlation})"


def _missing(explanation: Explanation) -> str:
    """`, 28 failed (oom 14, timeout 14), 3 pending`."""
    n = explanation.n
    reasons = next((part.detail.get("failed") for part in explanation.parts if part.name == "missing"), None)
    named = reasons.items() if isinstance(reasons, dict) else ()
    why = f" ({', '.join(f'{name} {count}' for name, count in named)})" if named else ""
    failed = f", {n.failed:,} failed{why}" if n.failed else ""
    return failed + (f", {n.pending:,} pending" if n.pending else "")


def _row(name: str, value: float, bounds: Interval | None, unit: Unit, rest: str) -> str:
    text = "" if bounds is None else interval(bounds, unit)
    return f"  {name:<10}  {unsigned(value, unit):>5}  {text:<14}  {rest}"


def _parts(explanation: Explanation) -> Iterator[str]:
    unit, gap = explanation.unit, explanation.gap
    is_paired = gap is not None and gap.paired
    title = "our own losses" if gap is None or gap.value is None else f"of the gap of {unsigned(gap.value, unit)}"
    yield _cells(title, "", "points", "95 % interval", "bounds", "how known")
    if not explanation.parts:
        yield "  no part: nothing is lost to extraction, failures or limits"
    for part in explanation.parts:
        known = wrap(known_by(part, explanation), WIDTH - KNOWN)
        bounds = "" if part.bounds is None else interval(part.bounds, unit)
        value = "" if part.basis == "bounds" else unsigned(part.value, unit)
        name = label(part, paired=is_paired)
        yield _cells(name, f"{part.n:,}", value, interval(part.ci95, unit), bounds, known[0] if known else "")
        yield from (" " * KNOWN + line for line in known[1:])
        for probe in singles(part, explanation.probes):
            points, interval_text = probe_points(probe, unit)
            yield _cells(f"  {probe.knobs[0]}", f"{probe.n:,}", points, interval_text, "", "alone, not in the sum")
    rest = explanation.unexplained
    if rest is not None:
        same = "" if is_paired else interval(rest.ci95_same_questions, unit)
        yield _cells("unexplained", "", unsigned(rest.value, unit), same, "", "" if is_paired else "on these questions")
        if not is_paired:
            yield _cells("", "", "", interval(rest.ci95, unit), "", "as a sample of questions")
        if does_not_add_up(explanation):
            yield f"  {ROUNDED}"


def _cells(name: str, n: str, points: str, bounds: str, limits: str, known: str) -> str:
    return f"  {name:<22}{n:>6}  {points:>6}  {bounds:<14}  {limits:<13}  {known}".rstrip()


def _facts(explanation: Explanation) -> list[str]:
    unit = explanation.unit
    lines: list[str] = []
    lines += [line for text in overlaps(explanation) for line in _labeled("overlap", [text])]
    if explanation.conditional:
        texts = [protocols_line(line, unit) for line in explanation.conditional]
        lines += _labeled("other protocols", [*texts, "(not part of the sum)"])
    lines += [line for fact in explanation.observations for line in _labeled(fact.name.replace("_", " "), [fact.text])]
    lines += _probes(explanation)
    lines += _settings(explanation)
    if explanation.reproductions:
        results = [f"{result.printed} ({result.source[:60]})" for result in explanation.reproductions[:3]]
        found = how_many(len(explanation.reproductions), "other reproduction")
        lines += _labeled("reproductions", [f"{found} of this result:", *results])
    if explanation.unknowable:
        lines += _labeled("cannot be known", [f"from stored answers: {', '.join(explanation.unknowable)}"])
    return lines


def _probes(explanation: Explanation) -> list[str]:
    unit, probes = explanation.unit, explanation.probes
    if not probes:
        return []
    results = [f"{probe_name(one)} {' '.join(probe_points(one, unit))}: {probe_facts(one, unit)}" for one in probes]
    texts = [*results, *probe_notes(probes, unit)]
    wrapped = [line for text in texts for line in wrap(text, WIDTH - 18, break_long_words=False)]
    return [f"  {'probes' if not number else '':<15} {line}" for number, line in enumerate(wrapped)]


def _settings(explanation: Explanation) -> list[str]:
    if explanation.reference is None:
        return []
    if explanation.reference.kind == "number":
        return _labeled("settings", ["the reference's are not known: a bare number"])
    differing = [setting_text(line) for line in explanation.settings if line.differs]
    unknown = [line.name for line in explanation.settings if line.differs is None]
    texts = differing or ["no known setting differs"]
    return _labeled("settings", ["; ".join(texts)] + ([f"unknown: {', '.join(unknown)}"] if unknown else []))


def _labeled(name: str, texts: Sequence[str]) -> list[str]:
    """A label, and texts beside it in lines of at most 100 columns."""
    lines = wrap("   ".join(texts), WIDTH - 18, break_long_words=False, break_on_hyphens=False)
    return [f"  {name if not number else '':<15} {line}" for number, line in enumerate(lines)]


def _verdict(explanation: Explanation) -> list[str]:
    lines = [line for sentence in explanation.verdict for line in wrap(sentence, WIDTH - 2)]
    commands = [f"{'next' if not number else '':<6} {command}" for number, command in enumerate(explanation.commands)]
    return [f"  {line}" for line in (*lines, *commands)]


def printed_interval(value: float, bounds: Interval | None, unit: Unit) -> str:
    """`53.4 [50.2, 56.7]`."""
    return printed(value, unit) if bounds is None else f"{printed(value, unit)} {interval(bounds, unit)}"
