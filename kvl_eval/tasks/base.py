"""What a task is: a value made of small functions. Adding one means one file, one test and one entry in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from typing import Protocol as Interface

from kvl_eval.scorers.answers.reading import Sought
from kvl_eval.scorers.reader_protocol import READER_NOTES, ScoreFunction
from kvl_eval.sources import Reporter, Source
from kvl_eval.sources.named_files import NamedFile
from kvl_eval.tasks.episode import Episode
from kvl_eval.tasks.judging import JudgePrompt, JudgeRule
from kvl_eval.tasks.own import (
    OwnLoad,
    OwnLoadFunction,
    OwnScoreFunction,
    docstring_of,
    mean_by_category,
    own_score,
    plain_prompt,
    sample_of_row,
)
from kvl_eval.types import Extraction, Message, Sample, Score, Scored, Summary

if TYPE_CHECKING:
    from kvl_eval.scorers.answers.forms import AnswerForm

PromptFunction = Callable[[Sample], list[Message]]

READER = "reader"
OWN = "own"  # the protocol of an own task's `score`
OFFICIAL = "official"
ALIASES = {
    "assumed": READER,
    "assumed-0-1000": "reader-0-1000",
    "refusal-text": READER,
}  # older names of protocols, accepted for one minor version


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that says which form of an answer it asks for; called like the function it wraps."""

    build: PromptFunction
    answer_form: AnswerForm = "free"

    def __call__(self, sample: Sample) -> list[Message]:
        """The sample's messages."""
        return self.build(sample)


def answer_form(prompt: PromptFunction) -> AnswerForm:
    """The form of an answer that a prompt asks for; `free` where it is a bare function."""
    return prompt.answer_form if isinstance(prompt, Prompt) else "free"


class Load(Interface):
    """(source, split, reporter) -> samples in the data set's order; opens no picture. Raises DataError."""

    def __call__(self, source: Source, split: str, reporter: Reporter = ..., /) -> Iterator[Sample]: ...


Modality = Literal["text", "image", "images", "video", "document"]
Access = Literal["open", "gated", "none"]


@dataclass(frozen=True, slots=True)
class OtherName:
    """What another harness calls exactly a task's data.

    Attributes:
        harness: VLMEvalKit, lmms-eval or inspect.
        name:    the data set's or task's name there.
        split:   the split of the task that this is; None where it is the default and goes without saying.
    """

    harness: Literal["VLMEvalKit", "lmms-eval", "inspect"]
    name: str
    split: str | None = None


Measure = Callable[[str], int]
"""A text's length in tokens."""

UNJUDGED = "unjudged"  # what views print of a protocol that needs a judge; nothing is decided by it


SUMMARIES = {
    "official": "the authors’ scoring, the thought split off first",
    "official-exact": "the authors’ script, its draws and faults included",
    "reader": "reads the form that the prompt asks for",
    "vlmevalkit": "as VLMEvalKit scores the same replies",
    "lmms-eval": "as lmms-eval scores the same replies",
    "no-judge": "as official, without the judge",
    "exact": "the gold answer word for word",
    "rule": "options as reader; open answers by a rule, no judge",
    "proxy": "whole words of the gold answer in the reply, no judge",
    "vlmevalkit-direct": "VLMEvalKit’s matcher over the whole reply",
    "lmms-eval-2025": "as lmms-eval scored before April 2026",
    "reader-0-1000": "as reader, coordinates from 0 to 1000",
    "aguvis": "only a click that the reply begins with",
}
"""{name of a protocol: what the protocols of this name do, in at most 60 characters}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named way to turn an answer into a score. It never changes a prompt.

    Attributes:
        score:     pure: (sample, answer, extraction) -> Score. `answer` is the text after the thought, or the raw
                   output under `--score-view raw`. An `extraction` other than MISSING replaces the extraction step.
        score_run: scores a whole run at once, in the data set's order, where the official script's draws depend on
                   it; None means `score` alone decides.
        label:     what views print, where it differs from the name (`official-rule`).
        judged:    what views print where a judge's reply is the extraction (`official`); empty where none is used.
        asks:      (sample, answer) -> whether a judge's reply decides this answer; None where it decides every one that
                   the task asks about. The others are scored as without a judge.
        needs_judge: without a judge's reply nothing is scored.
        sees_raw:  `score` gets the raw output under either `--score-view`: the reader drops the thought itself.
        notes:     departures from the authors' code, and faults reproduced on purpose; shown by `describe`.
        evidence:  what speaks for this protocol being the report's, or "unknown".
        summary:   what it does, in at most 60 characters; empty for what all protocols of its name do.
    """

    score: Callable[[Sample, str, Extraction], Score]
    score_run: Callable[[Sequence[tuple[Sample, str, Extraction]]], list[Score]] | None = None
    label: str = ""
    judged: str = ""
    asks: Callable[[Sample, str], bool] | None = None
    needs_judge: bool = False
    sees_raw: bool = False
    notes: tuple[str, ...] = ()
    evidence: str = ""
    summary: str = ""

    def line(self, name: str) -> str:
        """What a protocol of this name does, on one short line; empty where nothing is known of it."""
        return self.summary or SUMMARIES.get(name, "")


def reader_protocol(score: ScoreFunction, *notes: str) -> Protocol:
    """The protocol `reader` of a task, whose own notes follow those of every reader."""
    return Protocol(
        score=score,
        notes=(*READER_NOTES, *notes),
        evidence="unknown: the report names no scorer; this one reads the form that the default prompt asks for",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split: number of rows where known, whether gold answers are published."""

    rows: int | None
    has_gold: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where the task's published results are listed in `references/reference_scores.csv`.

    `mean_of` names the tasks, this one among them, whose unweighted mean the figure is; () where it is of one task.
    `by` is the category whose values were published one by one, with settings `by=value`; None where one figure was.
    """

    benchmark: str
    split: str | None = None
    setting: str | None = None
    mean_of: tuple[str, ...] = ()
    by: str | None = None


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A table of the user's own: its file, and the lines that say how its columns are read (raises DataError)."""

    path: Path
    columns: Callable[[Source], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """What is known of a task's tables and files.

    Attributes:
        files:       what `--data-dir` is searched for, one line each, shown by `describe` and in errors.
        row_layouts: {layout: its columns}, shown by `describe`.
        archives:    names of archives of the hub's copy (`videos_*.zip`, `videos.tar.part.*`) that `fetch` unpacks;
                     after a `|` what it brings of a copy without them (`videos/*.mp4`).
        count:       named counts that `check data` expects of a split: {split: {label: n}}.
        has_media:   whether samples have pictures, videos or documents.
        mini_frames: frames that the bundled split shows of a clip, whatever the task's default; None leaves that.
        measured:    makes the task whose samples have the lengths they are to have, once the model's tokens can be
                     counted; None where no sample depends on them.
        table:       the table of the user's own that the task reads; None for a benchmark.
        own_files:   (sample) -> files of the first hub data set that `fetch` puts where the task's own environment
                     looks for them, below the cache folder; None where there are none. Raises DataError.
    """

    files: tuple[str, ...] = ()
    row_layouts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    archives: tuple[str, ...] = ()
    count: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    has_media: bool = True
    mini_frames: int | None = None
    measured: Callable[[Measure], Task] | None = None
    table: OwnTable | None = None
    own_files: Callable[[Sample], Sequence[NamedFile]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """What runs and reports show of a task besides the usual.

    Attributes:
        beside:  protocols that a run shows beside the default one: `official`, where that is `reader`.
        heatmap: (rows, columns): two categories, of numbers, whose scores a report crosses; None means no such map.
    """

    beside: tuple[str, ...] = ()
    heatmap: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark. Of an own task `name`, `load` and `score` are enough.

    Attributes:
        name:        id on the command line.
        title:       as the report prints it.
        group_title: heading over its row in the leaderboard; empty where its figures stand in a table of their own.
        doc:         the protocol in a few lines: data, metric, source. Usually the module's docstring.
        repos:       hub data sets in order of preference; the first is the official one.
        modality:    what a question comes with: `images` where several belong to one question.
        access:      of the data: `open`, `gated` (`licence` names the step) or `none` where nothing is downloaded.
        download_bytes: size of the download of the official data, 0 where there is none, None where it is not known.
        download_source: where that number comes from.
        other_names: what other harnesses call exactly this data, where their name is not the task's own.
        splits:      official splits; `mini` is added where `mini` is set.
        load:        (source, split, reporter) -> samples in the data set's order; opens no picture. Raises DataError.
                     Of an own task (source, split) is enough.
        score:       of an own task: (sample, answer) or (sample, answer, extraction) -> True or False, a number from 0
                     to 1, a Score, or None for no answer. It becomes the protocol `own`.
        sample:      one row in any accepted layout (without media too) -> Sample. Raises DataError.
        prompts:     {name: Prompt, or sample -> messages where no form of an answer is asked for}.
        wanted:      what the reader looks for in an answer; () where no protocol asks it.
        protocols:   {name: Protocol}; `official` is there in every task. `protocol_named` knows their other names.
        aggregate:   (scored, protocol name) -> Summary over everything scored; it never sees `not_scored` dropped.
        judge_prompt: (sample, answer) -> what the official LLM step is asked, or None where no judge is needed.
        judge:       how that is asked, and which replies are usable.
        submission:  ((sample, answer) pairs) -> {file name: text} for test servers, or None.
        mini:        folder of the bundled split inside `kvl_eval/data/mini`, or None.
        max_new_tokens: default of Instruct models.
        data:        what is known of its tables and files.
        view:        what runs and reports show of it besides the usual.
        episode:     how agents play it on a desktop; None where a sample is one question.
    """

    name: str
    load: Load | OwnLoadFunction
    score: OwnScoreFunction | None = None
    title: str = ""
    doc: str = ""
    repos: tuple[str, ...] = ()
    licence: str = ""
    splits: Mapping[str, Split] = field(default_factory=lambda: {"all": Split(rows=None)})
    default_split: str = ""
    sample: Callable[[Mapping[str, object]], Sample] = sample_of_row
    prompts: Mapping[str, PromptFunction] = field(default_factory=lambda: {"plain": plain_prompt})
    default_prompt: str = ""
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    aggregate: Callable[[Sequence[Scored], str], Summary] = mean_by_category
    reference: Reference | None = None
    modality: Modality = "image"
    access: Access = "none"
    download_bytes: int | None = None
    download_source: str = ""
    other_names: tuple[OtherName, ...] = ()
    group_title: str = "Other"
    groups: tuple[str, ...] = ()
    default_protocol: str = ""
    wanted: tuple[Sought, ...] = ()
    prompt_evidence: str = ""
    judge_prompt: Callable[[Sample, str], JudgePrompt | None] | None = None
    judge: JudgeRule = field(default_factory=JudgeRule)
    submission: Callable[[Sequence[tuple[Sample, str]]], Mapping[str, str]] | None = None
    mini: str | None = None
    max_new_tokens: int = 512
    data: TaskData = field(default_factory=TaskData)
    view: TaskView = field(default_factory=TaskView)
    episode: Episode | None = None

    def __post_init__(self) -> None:
        """Fills in what an own task leaves out."""
        if self.score is not None or self.sample is sample_of_row:
            self._complete()
        defaults = {
            "title": self.name,
            "default_split": next(iter(self.splits)),
            "default_prompt": next(iter(self.prompts)),
            "default_protocol": OFFICIAL if OFFICIAL in self.protocols else next(iter(self.protocols)),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    def _complete(self) -> None:
        """Makes functions of an own task callable as those of every other."""
        if not self.doc:
            object.__setattr__(self, "doc", docstring_of(self.score or self.load))
        if not isinstance(self.load, OwnLoad):
            object.__setattr__(self, "load", OwnLoad(self.name, self.load, self.sample is sample_of_row))
        if not self.protocols:
            object.__setattr__(self, "protocols", _own_protocols(self.name, self.score))

    @staticmethod
    def from_table(name: str, path: str | Path, *, score: OwnScoreFunction | None = None, **fields: Any) -> Task:
        """The task of a table in any format of `file:PATH`; `score` replaces its protocols, `fields` anything else.

        Raises: DataError for a file that is missing or not a table.
        """
        from kvl_eval.tasks.table_file import table_task

        protocols = {} if score is None else {"protocols": _own_protocols(name, score), "default_protocol": OWN}
        doc = {} if score is None else {"doc": docstring_of(score)}
        return replace(table_task(path), **{"name": name, "title": name, **doc, **protocols, **fields})

    def protocol_named(self, name: str) -> str | None:
        """The protocol that a name means, or None.

        `assumed` is `reader` where no protocol has that name, `reader` is `official` where that is the default, and
        `official` is the default of an own task or table, which has no protocol of that name.
        """
        if name not in self.protocols:
            name = ALIASES.get(name, name)
        if name == READER and READER not in self.protocols and self.default_protocol == OFFICIAL:
            name = OFFICIAL
        if name == OFFICIAL and OFFICIAL not in self.protocols:
            name = self.default_protocol
        return name if name in self.protocols else None

    def split_names(self) -> tuple[str, ...]:
        """The official splits, and `mini` where one is bundled."""
        return (*self.splits, *(("mini",) if self.mini else ()))

    @property
    def published_split(self) -> str:
        """The split whose published results `reference` names: results of any other are not compared with them."""
        named = None if self.reference is None else self.reference.split
        return named if named is not None and named in self.splits else self.default_split


def _own_protocols(task: str, score: OwnScoreFunction | None) -> dict[str, Protocol]:
    """The protocol of an own task's `score`; without one, those of an own table."""
    if score is not None:
        return {OWN: Protocol(score=own_score(task, score))}
    from kvl_eval.tasks.table_protocols import PROTOCOLS

    return dict(PROTOCOLS)
