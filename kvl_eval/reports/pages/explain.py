"""The page "Why this number": where the points between a score and its reference go, drawn from what `explain` found.

Nothing is computed here but places of marks: every number is one of the document of `kvl-eval explain --json`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from kvl_eval.explanation.document import Explanation, SettingLine
from kvl_eval.explanation.of_runs import explanations
from kvl_eval.explanation.probe_parts import ENDED
from kvl_eval.explanation.probe_text import probe_facts, probe_name, probe_notes, probe_points
from kvl_eval.explanation.sentences import interval, printed, signed, unsigned
from kvl_eval.explanation.text import ROUNDED, does_not_add_up, label, overlaps
from kvl_eval.explanation.units import GapPart
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.waterfall import (
    SectionMark,
    WaterfallStep,
    reference_name,
    strip_of_results,
    waterfall,
    waterfall_plot,
)

NO_MODEL = "none: no model is asked"
PROTOCOL_PARTS = ("no_answer", "extraction", "judge", "draws")
REQUESTS_A_CUT_REPLY = 2.5  # of a probe: the reply and a quarter of a finished one, and the control


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCommand:
    """What to do next: what it tests, the command, and how many answers it asks a model for."""

    tests: str
    text: str
    requests: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingMark:
    """A setting of ours beside the reference's, and in one word what is known."""

    name: str
    ours: str
    reference: str
    mark: str
    css: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSection:
    """One task of one run against one reference.

    Attributes:
        run:       the run's place in the report.
        short:     task, run and reference, for a list of sections.
        paired:    whether both answered the same questions.
        tags:      {part: what the sample browser calls the samples behind it}.
        samples:   {part: their ids}.
        protocols: (name, points, interval, samples) of other protocols, outside the sum.
        probes:    (setting, points, interval, how known) of settings that were changed and asked again.
        strip:     other results of the reference, drawn; empty where there is none.
    """

    key: str
    run: int
    task: str
    short: str
    paired: bool
    kicker: str
    title: str
    sentences: tuple[str, ...]
    axis: Markup
    steps: tuple[WaterfallStep, ...]
    footnotes: tuple[str, ...]
    protocols: tuple[tuple[str, str, str, str], ...]
    probes: tuple[tuple[str, str, str, str], ...]
    probe_notes: tuple[str, ...]
    observations: tuple[tuple[str, str], ...]
    settings: tuple[SettingMark, ...]
    strip: Markup
    reproductions: tuple[tuple[str, str], ...]
    untested: str
    commands: tuple[NextCommand, ...]
    tags: Mapping[str, str]
    samples: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainPage:
    """What the template shows."""

    sections: tuple[ExplainedSection, ...]

    @property
    def title(self) -> str:
        """Of the window: that of the only section, or the page's."""
        return self.sections[0].title if len(self.sections) == 1 else "Why this number"


def explain_page(context: Context) -> ExplainPage | None:
    """The page; None where no result of the report has anything to be compared with."""
    found = explanations([model.run.reader for model in context.series])
    names = {model.run.run_id: model.name for model in context.series}
    sections = []
    for number, (place, explanation) in enumerate(found, 1):
        model = context.series[place]
        others = len(found) > 1 or len(context.series) > 1
        mark = SectionMark(
            run=place, name=model.name, css=model.css, shape=model.shape, number=number, others=others, names=names
        )
        sections.append(_section(explanation, mark))
    return ExplainPage(sections=tuple(sections)) if sections else None


def explained_alone(explanation: Explanation) -> ExplainPage:
    """The page of one explanation outside a report."""
    mark = SectionMark(run=0, name=explanation.run.model, css="s1", shape="circle", number=1, others=False)
    return ExplainPage(sections=(_section(explanation, mark),))


def part_causes(page: ExplainPage) -> dict[tuple[str, str], tuple[str, ...]]:
    """{(task, sample id): parts that name it}, as the sample browser filters by."""
    causes: dict[tuple[str, str], tuple[str, ...]] = {}
    for section in page.sections:
        for part, samples in section.samples.items():
            for sample in samples:
                key = (section.task, sample)
                causes[key] = (*causes.get(key, ()), section.tags[part])
    return causes


def _named(sentence: str, explanation: Explanation, mark: SectionMark) -> str:
    """A sentence with the report's names of runs in place of their ids, and without marks of code."""
    model = explanation.run.model
    for run_id, name in mark.names.items():
        sentence = sentence.replace(f"{model} ({run_id})", name)
    return (sentence.replace(f"{model} (this run)", mark.name) if mark.names else sentence).replace("`", "")


def _section(explanation: Explanation, mark: SectionMark) -> ExplainedSection:
    budget = "" if explanation.budget is None else f" at {explanation.budget:,} thinking tokens"
    split = f" / {explanation.split}" if explanation.split else ""
    tags = {part.name: _tag(part.name, mark) for part in explanation.parts}
    plot = waterfall_plot(explanation)
    return ExplainedSection(
        key=f"why-{mark.number}",
        run=mark.run,
        task=explanation.task,
        short=plain(f"{explanation.task} · {mark.name} · {reference_name(explanation, mark)}"),
        paired=explanation.gap is not None and explanation.gap.paired,
        kicker=plain(f"Why this number · {explanation.task}{split} · {mark.name}{budget} · {explanation.protocol}"),
        title=_title(explanation),
        sentences=tuple(_named(sentence, explanation, mark) for sentence in explanation.verdict),
        axis=charts.axis(plot),
        steps=tuple(waterfall(explanation, mark, plot, tags)),
        footnotes=(*overlaps(explanation), *([ROUNDED] if does_not_add_up(explanation) else ())),
        protocols=tuple(
            (line.label, signed(line.value, explanation.unit), interval(line.ci95, explanation.unit), f"{line.n:,}")
            for line in explanation.conditional
        ),
        probes=tuple(
            (probe_name(probe), *probe_points(probe, explanation.unit), probe_facts(probe, explanation.unit))
            for probe in explanation.probes
        ),
        probe_notes=tuple(probe_notes(explanation.probes, explanation.unit)) if explanation.probes else (),
        observations=tuple((fact.name.replace("_", " "), fact.text) for fact in explanation.observations),
        settings=tuple(map(_setting, explanation.settings)),
        strip=strip_of_results(explanation, mark, plot),
        reproductions=tuple((result.printed, result.source) for result in explanation.reproductions),
        untested=", ".join(explanation.unknowable),
        commands=tuple(_commands(explanation)),
        tags=tags,
        samples={part.name: part.samples for part in explanation.parts},
    )


def _tag(part: str, mark: SectionMark) -> str:
    """What the sample browser calls the samples of a part: other causes of flips, or parts, may have its name."""
    return f"{part} (why {mark.number})" if mark.others else part


def _title(explanation: Explanation) -> str:
    ours, gap = printed(explanation.score.value, explanation.unit), explanation.gap
    if explanation.reference is None or gap is None or gap.value is None:
        return f"Why {ours}"
    points = unsigned(abs(gap.value), explanation.unit)
    word = "point goes" if points in ("1", "1.0") else "points go"
    return f"{ours}, reference {explanation.reference.printed}: where {points} {word}"


# -- below it ----------------------------------------------------------------------------------------------------------


def _setting(line: SettingLine) -> SettingMark:
    """`differs`, `same`, or how little is known."""
    mark, css = ("unknown", "") if line.differs is None else ("differs", "maybe") if line.differs else ("same", "ok")
    if line.evidence == "inferred":
        mark = f"{mark}, inferred"
    return SettingMark(
        name=line.name.replace("_", " "),
        ours=line.ours or "not stored",
        reference=line.reference or "unknown",
        mark=mark,
        css=css,
        note=line.note,
    )


def _commands(explanation: Explanation) -> Iterator[NextCommand]:
    """The commands of the parts, and then those that belong to none."""
    by_command: dict[str, list[GapPart]] = {}
    for part in explanation.parts:
        if part.fix:
            by_command.setdefault(part.fix, []).append(part)
    for command, parts in by_command.items():
        names = ", ".join(label(part) for part in parts)
        yield NextCommand(tests=names, text=_shared(command), requests=_requests(parts))
    for command in explanation.commands:
        if command not in by_command:
            yield NextCommand(tests="the whole difference", text=_shared(command), requests=NO_MODEL)


def _shared(command: str) -> str:
    """A command without the folders of the machine that a page was made on: runs by their ids."""
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in shlex.split(command))


def _requests(parts: Sequence[GapPart]) -> str:
    """How many answers a command asks for."""
    if all(part.name in PROTOCOL_PARTS for part in parts):
        return NO_MODEL
    n = sum(part.n for part in parts)
    return f"{math.ceil(REQUESTS_A_CUT_REPLY * n):,} at most" if all(part.name in ENDED for part in parts) else f"{n:,}"
