"""LongVideoBench: multiple choice about videos of eight seconds to one hour, frames and subtitles in their order.

Data:    longvideobench/LongVideoBench (gated), splits validation (1,337 questions) and test (5,341, answers withheld);
         or lvb_val.json and lvb_test_wo_gt.json; videos/<video_path>, subtitles/<subtitle_path>
Frames:  at most 64 by the rule of the authors' loader; the report states neither number nor size of its frames
Lines:   among the frames, where they are spoken; `longvideobench-nosubs` leaves them out, though many questions quote
         them. The report does not say which of the two it means.
Metric:  accuracy in percent over all questions, also by duration group, question category and topic
Scorer:  the reader; beside it lmms-eval's @ 75571cf (by the benchmark's author) without its random letter
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row LongVideoBench (val)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from kvl_eval.scorers.aggregate import mean, plain_sum, summarise
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.option_letter import letter_score
from kvl_eval.scorers.reader_protocol import reader_letter
from kvl_eval.scorers.video_choice import (
    DRAWN,
    LONGVIDEOBENCH_PREFIXES,
    VLMEVALKIT_PREFIXES,
    drawn,
    first_letter,
    none_of_them,
)
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.media_files import MediaFiles, media_home
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
    Load,
    OtherName,
    Prompt,
    Protocol,
    Reference,
    Split,
    Task,
    TaskData,
    TaskView,
    reader_protocol,
)
from kvl_eval.tasks.choices import name_of_text
from kvl_eval.types import Message, Sample, Scored, SubtitleRef, Summary, VideoRef

FRAMES = 64
MINI_FRAMES = 4  # the bundled clips have four scenes
LMMS_FRAMES = 16
STEMS = {"validation": ("lvb_val", "LongVideoBench"), "test": ("lvb_test_wo_gt",)}
OPTIONS = tuple(f"option{number}" for number in range(5))
ABSENT = "N/A"  # what stands in option3 and option4 of a question with fewer options
FIELDS = ("duration_group", "question_category", "topic_category", "level")
GROUPS = ("15", "60", "600", "3600")
KEPT = (
    *("id", "video_id", "video_path", "subtitle_path", "question", "question_wo_referring_query", "correct_choice"),
    *("answer", "video"),
    *("duration", "starting_timestamp_for_subtitles", *FIELDS),
)
LETTER_ONLY = "Answer with the option's letter from the given choices directly."


# Loading


def load(subtitles: bool, source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order, videos and subtitles unopened. Raises: DataError."""
    task = "longvideobench" if subtitles else "longvideobench-nosubs"
    required = ("id", "question", "video_path", "candidates|option0", *(("subtitle_path",) if subtitles else ()))
    rows = read_rows(source, split, Tables(task=task, required=required, stems=STEMS[split]), reporter)
    home = media_home(source)
    videos, spoken = MediaFiles(home, ("videos", "video", ".")), MediaFiles(home, ("subtitles", "subtitle", "."))
    yield from made_from(rows, partial(_loaded, videos, spoken if subtitles else None), reporter)


def _loaded(videos: MediaFiles, spoken: MediaFiles | None, row: Row) -> Sample:
    made = to_sample(row)
    name, file = made.cluster or made.id, _bare_path(row.text("video_path"), "videos")
    duration = row.number("duration")
    video = VideoRef(
        name=f"video {name}",
        path=videos.find(file) or videos.expected(file),
        root=videos.root,
        rule="longvideobench",
        frames=FRAMES,
        duration=duration,
    )
    if spoken is None:
        return replace(made, media=(video,))
    lines = _bare_path(row.text("subtitle_path"), "subtitles")
    subtitles = SubtitleRef(
        video=video.name,
        rule="interleave",
        path=spoken.find(lines) or spoken.expected(lines),
        root=spoken.root,
        offset=row.number("starting_timestamp_for_subtitles") or 0.0,
        duration=duration,
    )
    return replace(made, media=(replace(video, subtitles=subtitles),))


def _bare_path(path: str, folder: str) -> str:
    """A file's name without the folder that VLMEvalKit's table puts before it."""
    return path.removeprefix("./").removeprefix(f"{folder}/")


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    choices = _choices(row)
    gold = _gold(row, choices)
    return Sample(
        id=row.identity("id") or name_of_text(row.text("question"), *choices),
        question=row.text("question"),
        row={**row.keep(KEPT), "candidates": list(choices)},
        choices=choices,
        answers=() if gold is None else (gold,),
        categories={field: (str(row.get(field)),) for field in FIELDS if row.has(field)},
        cluster=row.optional_text("video_id", "video", "video_path"),
    )


def _choices(row: Row) -> tuple[str, ...]:
    """The candidates; of the hub's five columns those before the first `N/A`."""
    if row.has("candidates"):
        return row.required_options("candidates")
    absent = {name: None for name in OPTIONS if row.get(name) == ABSENT}
    return row.also(absent).numbered_options(OPTIONS)


def _gold(row: Row, choices: tuple[str, ...]) -> str | None:
    """The right option's letter, from its number; some tables of results hold the letter itself."""
    if not row.has("correct_choice"):
        return next(iter(row.gold_letter("answer", options=choices)), None)
    if row.number("correct_choice") == -1:  # how hidden answers are written
        return None
    return next(iter(row.gold_letter("correct_choice", options=choices, is_index=True)), None)


# Prompts


def official(one: Sample) -> list[Message]:
    """Frames and lines, then what the authors' loader appends, joined by line breaks."""
    return [Message.user(*one.media, "\n".join(official_parts(one)))]


def official_parts(one: Sample) -> list[str]:
    """The texts that the authors' loader appends after frames and lines."""
    return [f"Question: {one.question}", *_options(one), LETTER_ONLY]


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's text."""
    return [Message.user(*one.media, "\n".join([one.question, *_options(one), LETTER_ONLY]))]


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's text: 16 frames, lines placed by times that are not those of the frames it decodes."""
    text = "\n".join([one.question, *_options(one), LETTER_ONLY, ""])
    return [Message.user(*(_as_lmms_eval(ref) if isinstance(ref, VideoRef) else ref for ref in one.media), text)]


def _as_lmms_eval(video: VideoRef) -> VideoRef:
    lines = video.subtitles
    woven = None if lines is None else replace(lines, rule="interleave-lmms-eval")
    return replace(video, frames=LMMS_FRAMES, subtitles=woven)


def _options(one: Sample) -> list[str]:
    return [f"{letter}. {text}" for letter, text in lettered(one.choices).items()]


# Scoring


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy over all questions, and the figures that the script behind the protocol prints."""
    plain = summarise(scored)
    if protocol == "vlmevalkit":
        groups = {name: [one for one in scored if _is(one, "duration_group", name)] for name in GROUPS}
        return replace(plain, official={name: _fraction(part) for name, part in (groups | {"overall": scored}).items()})
    official = _lmms_eval_figures(scored)
    guessed = [one for one in scored if one.score.method == DRAWN]
    if guessed:
        right = sum(one.score.value == 1 for one in scored) - sum(one.score.value == 1 for one in guessed)
        with_value = sum(one.score.value is not None for one in scored)
        official["letters drawn at random"] = str(len(guessed))
        official["accuracy, drawn letters counted wrong"] = f"{right / with_value:.5f}"
    return replace(plain, official=official)


def _lmms_eval_figures(scored: Sequence[Scored]) -> dict[str, str]:
    """Each duration group and question category, then all: every question stands in two groups there."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        for field in FIELDS[:2]:
            for value in one.sample.categories.get(field, ()):
                groups.setdefault(value, []).append(one)
    means = {name: (mean(part), sum(one.score.value is not None for one in part)) for name, part in groups.items()}
    known = {name: (value, n) for name, (value, n) in means.items() if value is not None}
    figures = {name: str(round(value, 5)) for name, (value, _) in known.items()}
    total = sum(n for _, n in known.values())
    if total:
        figures["Overall"] = str(round(plain_sum(value * n for value, n in known.values()) / total, 5))
    return figures


def _is(one: Scored, field: str, value: str) -> bool:
    return value in one.sample.categories.get(field, ())


def _fraction(scored: Sequence[Scored]) -> str:
    value = mean(scored)
    return "nan" if value is None else f"{value:.3f}"


def submission(pairs: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """The file of the test split's leaderboard: {id: the model's answer as it is}."""
    answers = {one.id: answer for one, answer in pairs}
    return {"longvideobench_test_for_submission.json": json.dumps(answers, ensure_ascii=False, indent=1) + "\n"}


def _author(_: Sample, reply: str) -> str | None:
    return first_letter(reply, LONGVIDEOBENCH_PREFIXES, "ABCDE")


_FIRST = (
    "fault kept: the first A to E anywhere counts, so that `Answer: D` is read as A; E counts with four options too"
)
_DRAW = "a reply without a letter gets a random one; lmms-eval draws without a seed, here the question's id is the seed"
_PROTOCOLS = {
    "official": Protocol(
        score=letter_score(_author),
        notes=(
            "the authors' repository has no scorer; this is the reader that one of them contributed to lmms-eval",
            "a reply without a letter is wrong (no_answer) instead of a random letter",
            "the thought is split off first",
            _FIRST,
        ),
        evidence="unknown: the report names no scorer",
    ),
    "official-exact": Protocol(score=letter_score(_author, unread=drawn()), notes=(_DRAW, _FIRST)),
    "vlmevalkit": Protocol(
        score=letter_score(lambda _, reply: first_letter(reply, VLMEVALKIT_PREFIXES, "ABCDE"), unread=none_of_them),
        notes=("other texts are deleted before the first letter is read; a reply without one becomes Z", _FIRST),
        evidence="most plausible: Moonshot's model class lives in VLMEvalKit",
    ),
    "lmms-eval": Protocol(score=letter_score(_author, unread=drawn()), notes=("the same as official-exact", _DRAW)),
    READER: reader_protocol(reader_letter()),
}


_SUBTITLED = (
    OtherName("lmms-eval", "longvideobench_val_i", "validation"),
    OtherName("lmms-eval", "longvideobench_test_i", "test"),
    OtherName("VLMEvalKit", "LongVideoBench_8frame_subs", "validation"),
    OtherName("VLMEvalKit", "LongVideoBench_0.5fps_subs", "validation"),
)
_SILENT = (
    OtherName("lmms-eval", "longvideobench_val_v", "validation"),
    OtherName("lmms-eval", "longvideobench_test_v", "test"),
    *(
        OtherName("VLMEvalKit", f"LongVideoBench_{frames}", "validation")
        for frames in ("8frame", "64frame", "0.5fps", "1fps")
    ),
)


def _task(name: str, title: str, subtitles: bool, loader: Load) -> Task:
    return Task(
        name=name,
        title=title,
        group_title="Long video",
        doc=__doc__ or "",
        repos=("longvideobench/LongVideoBench", "longvideobench/LongVideoBench-Meta"),
        licence="CC BY-NC-SA 4.0, non-commercial; gated: accept the terms on the hub and set HF_TOKEN",
        modality="video",
        access="gated",
        download_bytes=161_597_000_000 if subtitles else 161_480_000_000,
        download_source="files of longvideobench/LongVideoBench: 30 parts of 5.24 GB, one of 4.28 GB"
        + (", subtitles of 117 MB" if subtitles else ""),
        other_names=_SUBTITLED if subtitles else _SILENT,
        splits={
            "validation": Split(rows=1337),
            "test": Split(rows=5341, has_gold=False, note="answers are withheld; a submission file is written"),
        },
        default_split="validation",
        load=loader,
        sample=from_values(to_sample),
        data=TaskData(
            row_layouts={
                "hub": (
                    *("video_id", "id", "video_path", "subtitle_path", "question", *OPTIONS, "correct_choice"),
                    *("duration", "starting_timestamp_for_subtitles", *FIELDS[:3]),
                ),
                "authors' JSON and VLMEvalKit TSV": ("candidates instead of option0 to option4", "level", "..."),
                "golden": ("question", "candidates", "correct_choice", "duration_group", "question_category"),
            },
            mini_frames=MINI_FRAMES,
            files=(
                "validation-*.parquet, test-*.parquet (hub); lvb_val.json, lvb_test_wo_gt.json; LongVideoBench.tsv",
                "videos/<video_path>: unpacked from videos.tar.part.*",
                *(("subtitles/<subtitle_path>: unpacked from subtitles.tar",) if subtitles else ()),
            ),
            archives=("videos.tar.part.*", *(("subtitles.tar",) if subtitles else ())),
            count={"validation": {"rows": 1337}, "test": {"rows": 5341}},
        ),
        prompts={
            "official": Prompt(official, "letter"),
            "vlmevalkit": Prompt(vlmevalkit, "letter"),
            "lmms_eval": Prompt(lmms_eval, "letter"),
        },
        default_prompt="official",
        wanted=("letter",),
        prompt_evidence="the report names no prompt; this is the authors' own text",
        protocols=_PROTOCOLS,
        default_protocol=READER,
        view=TaskView(beside=(OFFICIAL,)),
        aggregate=aggregate,
        reference=Reference(benchmark="longvideobench"),
        groups=("table3", "video"),
        mini="longvideobench",
        submission=submission,
    )


LONGVIDEOBENCH = _task("longvideobench", "LongVideoBench (subtitles)", True, partial(load, True))
LONGVIDEOBENCH_NOSUBS = _task("longvideobench-nosubs", "LongVideoBench (no subtitles)", False, partial(load, False))
