"""Data of the sample page: one row for each sample of all runs, and its replies in chunks.

`data/index.js` holds what list and filters need, in columns; `data/c0.js`, `data/c1.js`, ... hold the samples. A voice
is one run under one budget and repeat; of each row there is one outcome for each voice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

from kvl_eval.printable import policy_name
from kvl_eval.reports import numbers
from kvl_eval.reports.image_copies import SampleMedia
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pace import Pace
from kvl_eval.reports.page_data import Chunks, Names, parsed, text
from kvl_eval.reports.pages.series import series_of
from kvl_eval.reports.runs import ReportRun, task_names
from kvl_eval.reports.sample_facts import shown_media
from kvl_eval.reports.sample_reply import SampleReply, ScoredView, right_options, scored_views
from kvl_eval.scorers.outcomes import OUTCOMES
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import Key, PlanEntry, PlannedSample, Record, ScoreLine
from kvl_eval.store.task_records import RecordIndex, TaskRecords
from kvl_eval.types import Policy

PREVIEW = 80  # characters of the question in the list
NOT_RUN = "-"  # in place of an outcome
MARKUP = re.compile(r"<image(?: ?\d+)?>|\\[a-zA-Z]+|[$*`#{}\\]")

Causes = Mapping[tuple[str, str], Sequence[str]]
"""{(task, sample id): causes of its flips}."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A run under one budget, policy and repeat."""

    run: int
    repeat: int
    budget: int | None
    policy: Policy | None

    @staticmethod
    def of(run: int, entry: PlanEntry) -> Voice:
        """The voice that a planned reply belongs to."""
        return Voice(run, entry.repeat, entry.budget, entry.policy)

    def key(self, sample_id: str) -> Key:
        """The key of its reply to a sample, within the run."""
        return Key(sample_id, self.repeat, self.budget, self.policy)

    @property
    def address(self) -> str:
        """`r1/b1024cut`, as addresses of samples end; empty without repeats and budgets."""
        parts = [f"r{self.repeat}"] if self.repeat else []
        parts += [f"b{self.budget}{self.policy or ''}"] if self.budget is not None else []
        return plain("/".join(parts))

    def shown(self) -> dict[str, object]:
        """What the page knows of it."""
        policy = policy_name(self.policy)
        budget = "" if self.budget is None else f"{numbers.budget_label(self.budget)} {plain(policy)}".rstrip()
        label = ", ".join(part for part in (budget, f"repeat {self.repeat + 1}" if self.repeat else "") if part)
        return {"run": self.run, "budget": budget, "label": label or "repeat 1", "key": self.address}


def voices_of(runs: Sequence[ReportRun]) -> list[Voice]:
    """All voices; of each run the one shown before others first: no budget, then the largest; the first repeat."""
    voices = {Voice.of(run.number, entry) for run in runs for entry in run.plan()}
    return sorted(
        voices,
        key=lambda voice: (
            voice.run,
            voice.budget is not None,
            -(voice.budget or 0),
            voice.policy or "",
            voice.repeat,
        ),
    )


# -- what is read ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TaskOfRun:
    """One task of one run, open for reading."""

    number: int
    views: list[ScoredView]
    scores: Mapping[str, Mapping[Key, ScoreLine]]
    index: RecordIndex
    records: TaskRecords

    def record(self, key: Key) -> Record | None:
        """The record of a key; None where it is pending."""
        return self.records.at(key) if key in self.index else None

    def reply(self, sample: PlannedSample, key: Key) -> SampleReply:
        """The reply of a key."""
        lines = {view.name: self.scores[view.name] for view in self.views}
        own = {name: scored[key] for name, scored in lines.items() if key in scored}
        return SampleReply(sample=sample, record=self.record(key), scores=own)


@dataclass(slots=True)
class PlannedRow:
    """A sample of a task, and the voices that were asked about it."""

    sample_id: str
    sample: PlannedSample
    voices: list[int] = field(default_factory=list)


def planned_rows(runs: Sequence[ReportRun], task: str, voices: Sequence[Voice]) -> list[PlannedRow]:
    """The samples of a task in plan order, those of the first run before those that only later runs have."""
    number = {voice: place for place, voice in enumerate(voices)}
    rows: dict[str, PlannedRow] = {}
    for run in runs:
        for entry in run.plan(task):
            row = rows.get(entry.sample_id)
            if row is None:
                row = rows[entry.sample_id] = PlannedRow(entry.sample_id, entry.sample)
            row.voices.append(number[Voice.of(run.number, entry)])
    return list(rows.values())


def opened(runs: Sequence[ReportRun], task: str, stack: ExitStack) -> dict[int, TaskOfRun]:
    """{number of the run: its part of the task}, open until `stack` closes."""
    parts: dict[int, TaskOfRun] = {}
    for run in runs:
        index = run.index(task)
        views = scored_views(run, task)
        scores = {view.name: {line.key: line for line in run.scores(task, view.name)} for view in views}
        records = stack.enter_context(run.records(task))
        parts[run.number] = TaskOfRun(run.number, views, scores, index, records)
    return parts


def sample_media(runs: Sequence[ReportRun], voices: Sequence[Voice]) -> Iterator[SampleMedia]:
    """The images of every sample that some record names, in plan order."""
    for task in task_names(runs):
        with ExitStack() as stack:
            indexes = {run.number: run.index(task) for run in runs}
            readers = {run.number: stack.enter_context(run.records(task)) for run in runs}
            for row in planned_rows(runs, task, voices):
                asked = [(voices[number].run, voices[number].key(row.sample_id)) for number in row.voices]
                records = [readers[run].at(key) for run, key in asked if key in indexes[run]]
                yield SampleMedia.of(task, row.sample_id, [record.media for record in records])


# -- what is written -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Columns:
    """What list and filters need, one entry a sample; texts that occur often are numbers of `names`.

    Attributes:
        outcomes: one character for each voice: the place in OUTCOMES, `-` where nothing was planned.
        reasons:  voice, name, voice, name, ...; `flags` likewise.
        protocols: likewise, of the protocols whose verdict differs from the default's.
        place:    within the chunk.
    """

    task: list[int] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    question: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    causes: list[list[int]] = field(default_factory=list)
    categories: list[list[int]] = field(default_factory=list)
    reasons: list[list[int]] = field(default_factory=list)
    flags: list[list[int]] = field(default_factory=list)
    protocols: list[list[int]] = field(default_factory=list)
    chunk: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)


def write_samples(
    runs: Sequence[ReportRun], out: OutputFolder, stored: Mapping[str, str], causes: Causes | None = None
) -> int:
    """Write `data/` below `out` and return the number of samples in it. Samples never answered are listed too.

    Args:
        stored: the copies of images that the report's `media/` has.
        causes: why runs differ on a sample, where that is known.
    """
    voices, columns, names, chunks = voices_of(runs), Columns(), Names(), Chunks(out)
    pace = Pace(len({(entry.task, entry.sample_id) for run in runs for entry in run.plan()}), 0)
    for task in task_names(runs):
        with ExitStack() as stack:
            parts = opened(runs, task, stack)
            for row in planned_rows(runs, task, voices):
                why = (causes or {}).get((task, row.sample_id), ())
                replies = {
                    number: parts[voices[number].run].reply(row.sample, voices[number].key(row.sample_id))
                    for number in row.voices
                }
                views = {number: parts[voices[number].run].views for number in row.voices}
                place = chunks.add(_shown_sample(row, replies, views, stored))
                _add(columns, names, task, row, replies)
                columns.outcomes.append("".join(_code(replies.get(number)) for number in range(len(voices))))
                columns.causes.append([names.number(plain(cause)) for cause in why])
                columns.chunk.append(place[0])
                columns.place.append(place[1])
                pace.step(0)
    chunks.flush()
    index = {
        "runs": [
            {"name": model.name, "css": model.css, "shape": model.shape, "id": run.run_id, "demo": run.demo}
            for run, model in zip(runs, series_of(runs), strict=True)
        ],
        "voices": [voice.shown() for voice in voices],
        "outcomes": OUTCOMES,
        "titles": {plain(row.task): plain(row.title or row.task) for run in runs for row in run.rows},
        "names": list(names.known),
        "columns": asdict(columns),
    }
    out.write([f"kvl.index({parsed(index)});\n".encode("ascii")], "data", "index.js")
    return len(columns.id)


def _code(reply: SampleReply | None) -> str:
    return NOT_RUN if reply is None else str(OUTCOMES.index(reply.outcome()))


def _add(columns: Columns, names: Names, task: str, row: PlannedRow, replies: Mapping[int, SampleReply]) -> None:
    """What the columns hold of a sample besides outcomes, causes and its place."""
    columns.task.append(names.number(plain(task)))
    columns.id.append(plain(row.sample_id))
    columns.question.append(preview(row.sample.question))
    labels = [f"{name}: {value}" for name, values in row.sample.categories.items() for value in values]
    columns.categories.append([names.number(plain(label)) for label in labels])
    reasons = [(voice, reply.reason) for voice, reply in replies.items() if reply.reason]
    flags = [(voice, flag) for voice, reply in replies.items() for flag in reply.flags]
    columns.reasons.append([number for voice, reason in reasons for number in (voice, names.number(reason))])
    columns.flags.append([number for voice, flag in flags for number in (voice, names.number(flag))])
    others = [(voice, plain(name)) for voice, reply in replies.items() for name in reply.other_verdicts]
    columns.protocols.append([number for voice, name in others for number in (voice, names.number(name))])


def _shown_sample(
    row: PlannedRow,
    replies: Mapping[int, SampleReply],
    views: Mapping[int, Sequence[ScoredView]],
    stored: Mapping[str, str],
) -> dict[str, object]:
    """Everything the page shows of one sample; its images are those of the first reply that names any."""
    sample = row.sample
    records = (reply.record for reply in replies.values())
    media = next((record.media for record in records if record is not None and record.media), ())
    return {
        "question": text(sample.question),
        "choices": [text(choice) for choice in sample.choices],
        "gold": " | ".join(text(answer) for answer in sample.gold),
        "right": right_options(sample.choices, sample.gold),
        "cluster": text(sample.cluster),
        "row": text(json.dumps(dict(sample.row), ensure_ascii=False, indent=1)) if sample.row else "",
        **shown_media(media, stored),
        "replies": {str(number): reply.shown(views[number]) for number, reply in replies.items()},
    }


def preview(question: str) -> str:
    """The beginning of a question without its markup, in one line."""
    words = " ".join(MARKUP.sub(" ", question).split()) or " ".join(question.split())
    return plain(words[:PREVIEW])
