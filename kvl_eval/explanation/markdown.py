"""An explanation as Markdown: for a file, and a block that can be pasted into an issue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kvl_eval import __version__
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.probe_text import probe_facts, probe_name, probe_notes, probe_points
from kvl_eval.explanation.sentences import interval, printed, signed, unsigned
from kvl_eval.explanation.text import ROUNDED, SAMPLES, does_not_add_up, known_by, label, printed_interval, setting_text
from kvl_eval.printable import printable
from kvl_eval.verdicts import p_text

IN_ISSUE = 6  # ids for each part in the block for an issue
FENCE = "```"


def as_markdown(explanation: Explanation) -> str:
    """The verdict first, then parts, other protocols, observations, settings, reproductions and commands."""
    blocks = [
        [f"# {_cell(explanation.task)} / {_cell(explanation.split)}: {_title(explanation)}"],
        list(explanation.verdict),
        _scores(explanation),
        ["## Parts", "", *_parts(explanation)],
        _samples(explanation),
        _section("Other protocols", _protocols(explanation)),
        _section("Probes", _probes(explanation)),
        _section("Observations", [f"- {_cell(fact.name)}: {_cell(fact.text)}" for fact in explanation.observations]),
        _section("Settings", [f"- {_cell(setting_text(line))}" for line in explanation.settings]),
        _section(
            "Reproductions", [f"- {result.printed}: {_cell(result.source)}" for result in explanation.reproductions]
        ),
        _section("Cannot be known from stored answers", [f"- {text}" for text in explanation.unknowable]),
        _section("Commands", _fenced(explanation.commands)),
        _section("Notices", [f"- {_cell(text)}" for text in explanation.notices]),
        _section("For an issue", _fenced(_issue(explanation))),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _title(explanation: Explanation) -> str:
    ours, unit, gap = printed(explanation.score.value, explanation.unit), explanation.unit, explanation.gap
    if explanation.reference is None or gap is None or gap.value is None:
        return f"why {ours}"
    return f"{ours}, reference {explanation.reference.printed}: where {unsigned(gap.value, unit)} points go"


def _scores(explanation: Explanation) -> list[str]:
    unit, n, reference, gap = explanation.unit, explanation.n, explanation.reference, explanation.gap
    rows = [["this run", printed_interval(explanation.score.value, explanation.score.ci95, unit), f"n = {n.scored:,}"]]
    if reference is not None:
        system = reference.system or "a number"
        rows.append(["reference", reference.printed, f"{system}, n = {reference.n:,} ({reference.n_evidence})"])
    if gap is not None and gap.value is not None:
        value = unsigned(gap.value, unit)
        bounds = "" if gap.ci95 is None else interval(gap.ci95, unit)
        rows.append(["gap", f"{value} {bounds}", "" if gap.p_value is None else p_text(gap.p_value)])
    return _table(["", f"score ({unit})", ""], rows)


def _parts(explanation: Explanation) -> list[str]:
    unit = explanation.unit
    is_paired = explanation.gap is not None and explanation.gap.paired
    rows = [
        [
            label(part, paired=is_paired),
            f"{part.n:,}",
            "" if part.basis == "bounds" else unsigned(part.value, unit),
            interval(part.ci95, unit),
            "" if part.bounds is None else interval(part.bounds, unit),
            known_by(part, explanation),
        ]
        for part in explanation.parts
    ]
    rest = explanation.unexplained
    if rest is not None:
        same, such = interval(rest.ci95_same_questions, unit), interval(rest.ci95, unit)
        known = "" if is_paired else f"on these questions; as a sample of questions {such}"
        rows.append(["unexplained", "", unsigned(rest.value, unit), "" if is_paired else same, "", known])
    if not rows:
        return ["Nothing is lost to extraction, failures or limits."]
    lines = _table(["part", "samples", "points", "95% interval", "bounds", "how known"], rows)
    return [*lines, "", f"({ROUNDED})"] if does_not_add_up(explanation) else lines


def _samples(explanation: Explanation) -> list[str]:
    lines = []
    for part in explanation.parts:
        names = ", ".join(f"`{_cell(name)}`" for name in part.samples[:SAMPLES])
        more = len(part.samples) - SAMPLES
        lines.append(f"- {label(part)}: {names}" + (f" and {more:,} more" if more > 0 else ""))
    return _section("Samples", lines)


def _protocols(explanation: Explanation) -> list[str]:
    unit = explanation.unit
    rows = [
        [_cell(line.label), signed(line.value, unit), interval(line.ci95, unit), f"{line.n:,}"]
        for line in explanation.conditional
    ]
    if not rows:
        return []
    return [*_table(["protocol", "points", "95% interval", "samples"], rows), "", "These are not part of the sum."]


def _probes(explanation: Explanation) -> list[str]:
    unit = explanation.unit
    rows = [[probe_name(probe), *probe_points(probe, unit), probe_facts(probe, unit)] for probe in explanation.probes]
    if not rows:
        return []
    notes = [f"- {_cell(note)}" for note in probe_notes(explanation.probes, unit)]
    return [*_table(["setting", "points", "95% interval", "how known"], rows), "", *notes]


def _issue(explanation: Explanation) -> Iterator[str]:
    """What a maintainer asks for first; ids alone, since questions and answers may be gated."""
    run, n = explanation.run, explanation.n
    yield f"kvl-eval {__version__}   run {run.id}   fingerprint {run.fingerprint or 'unknown'}"
    yield f"model {run.model}   task {explanation.task} / {explanation.split}   protocol {explanation.protocol}"
    yield f"answers: {n.planned} planned, {n.ok} ok, {n.failed} failed, {n.pending} pending, {n.scored} scored"
    yield f"score {printed_interval(explanation.score.value, explanation.score.ci95, explanation.unit)}"
    if explanation.reference is not None:
        reference = explanation.reference
        yield f"reference {reference.printed} ({reference.system or 'a number'}, n = {reference.n})"
    yield from (f"{line.name}: {line.ours}" for line in explanation.settings if line.ours)
    for part in explanation.parts:
        value = "bounds only" if part.basis == "bounds" else unsigned(part.value, explanation.unit)
        yield f"{part.name}: {part.n} samples, {value}; such as {', '.join(part.samples[:IN_ISSUE])}"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """A heading and its lines; nothing without lines."""
    content = list(lines)
    return [f"## {title}", "", *content] if content else []


def _fenced(lines: Iterable[str]) -> list[str]:
    content = [printable(line, keep="").replace("```", "'''") for line in lines]
    return [FENCE, *content, FENCE] if content else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(_cell(cell) if cell != '---' else cell for cell in line)} |" for line in lines]


def _cell(text: object) -> str:
    """A text as part of a line of Markdown: one line, no pipes, no HTML."""
    line = printable(text, keep="").replace("|", "\\|").replace("`", "'")
    return line.replace("<", "&lt;").replace(">", "&gt;")
