"""Video-MME: multiple choice about videos of eleven seconds to one hour, without and with subtitles.

Data:    lmms-lab/Video-MME, configuration videomme, split test (900 videos, 2,700 questions); videos as
         data/<videoID>.mp4, subtitles as subtitle/<videoID>.srt (744 videos have some) or subtitle.zip
Frames:  64 by VLMEvalKit's `nframe` rule; the report states neither number nor size of its frames
Lines:   with subtitles, those spoken at the sampled frames, by VLMEvalKit's rule
Metric:  accuracy in percent, also by duration, domain, sub-category and task type
Scorer:  the reader; beside it the authors' evaluation script @ 4e7566d3, a reply without a letter being wrong
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row Video-MME, without / with subtitles
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import mean, summarise
from kvl_eval.scorers.option_letter import letter_score, ranked_letter
from kvl_eval.scorers.reader_protocol import reader_letter
from kvl_eval.scorers.video_choice import (
    VIDEOMME_PREFIXES,
    VLMEVALKIT_PREFIXES,
    first_letter,
    left_out,
    none_of_them,
)
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.media_files import MediaFiles, media_home
from kvl_eval.sources.pictures import NamedPictures, from_values
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
from kvl_eval.types import Message, Part, Sample, Scored, SubtitleRef, Summary, VideoRef

FRAMES = 64
MINI_FRAMES = 4  # the bundled clips have four scenes
BLANK = 64  # bytes up to which a subtitle file may hold nothing but blanks
LMMS_SUBTITLE_FRAMES = 32  # lmms-eval chooses lines by frames of its own
SUFFIXES = (".mp4", ".MP4", ".mkv", ".webm")
FIELDS = ("duration", "domain", "sub_category", "task_type")
DURATIONS = ("short", "medium", "long")
DOMAINS = (
    *("Knowledge", "Film & Television", "Sports Competition", "Artistic Performance", "Life Record", "Multilingual"),
)
KEPT = ("question_id", "index", "id", "video_id", "videoID", "video", "url", "question", "options", "answer", *FIELDS)

SELECT = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
    "(A, B, C, or D) of the correct option."
)
SELECT_LMMS = SELECT.replace("the video.", "the video and the subtitles.")
LISTED = "This video's subtitles are listed below:"
FRAMES_SHOWN = "\nThese are the frames of a video. "
LETTER_ONLY = "Answer with the option's letter from the given choices directly."


# Loading


def load(subtitles: bool, source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order, videos and subtitles unopened.

    Raises: DataError; `data.missing` too where subtitles are wanted and there is no folder or archive of them.
    """
    task = "videomme-subs" if subtitles else "videomme"
    required = ("question", "options|candidates", "videoID|video", "question_id|index")
    tables = Tables(task=task, config="videomme", stems=("Video-MME",), required=required)
    rows = read_rows(source, split, tables, reporter)
    videos = MediaFiles(media_home(source), ("data", "video", "videos", "."))
    spoken = _Subtitles(source, task, reporter) if subtitles else None
    yield from made_from(rows, partial(_loaded, videos, spoken), reporter)


def _loaded(videos: MediaFiles, spoken: _Subtitles | None, row: Row) -> Sample:
    made = to_sample(row)
    name = made.cluster or ""
    found = videos.find(*(f"{name}{suffix}" for suffix in SUFFIXES)) or videos.expected(f"{name}.mp4")
    video = VideoRef(
        name=f"video {name}",
        path=found,
        root=videos.root,
        rule="vlmevalkit",
        frames=FRAMES,
        subtitles=None if spoken is None else spoken.of(name),
    )
    return replace(made, media=(video,))


class _Subtitles:
    """Where a video's lines are: in a folder, or in `subtitle.zip`, small enough to be fetched with the rows."""

    def __init__(self, source: Source, task: str, reporter: Reporter) -> None:
        home = media_home(source)
        folders = ("subtitle", "subtitles")
        if source.data_dir is None and not MediaFiles(home, folders).any_folder:
            home = fetch_files(source, ["subtitle.zip"], task=task, reporter=reporter).data_dir
        self._root = home
        self._files = NamedPictures(home, folders)
        archives = [] if home is None else [*home.glob("*.zip"), *home.glob("*/*.zip")]
        if not MediaFiles(home, folders).any_folder and not any("subtitle" in path.name for path in archives):
            raise DataError(
                "data.missing",
                f"{task}: no subtitles found",
                where=str(home),
                why="looked for subtitle/<videoID>.srt and subtitle.zip",
                fix="put them there, or run `videomme`, which needs none",
            )

    def of(self, name: str) -> SubtitleRef:
        found = self._files.find(f"{name}.srt", name=name, where="")
        there = found.archive is not None or _holds_text(self._root, found.path)
        return SubtitleRef(
            video=f"video {name}",
            rule="vlmevalkit",
            path=found.path if there else None,
            archive=found.archive,
            member=found.member,
            root=found.root,
            missing="",
        )


def _holds_text(root: Path | None, path: str | None) -> bool:
    """Whether a file is there and is not blank."""
    if root is None or path is None or not os.path.isfile(root / path):
        return False
    return (root / path).stat().st_size > BLANK or bool((root / path).read_bytes().strip())


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    options, choices = row.written_options(), row.required_options()
    return Sample(
        id=row.identity("question_id", "index", "id") or name_of_text(row.text("question"), *options),
        question=row.text("question"),
        row={**row.keep(KEPT), "options": list(options)},
        choices=choices,
        answers=row.gold_letter("answer", options=choices),
        categories={field: (str(row.get(field)),) for field in FIELDS if row.has(field)},
        cluster=row.optional_text("videoID", "video", "video_id"),
    )


# Prompts


def official(one: Sample) -> list[Message]:
    """The authors' own text; the block of subtitles stands only where the video has some."""
    text = "\n".join([SELECT, _question(one), "The best answer is:"])
    video, lines = _media(one)
    if lines is None or (lines.path is None and lines.archive is None):
        return [Message.user(*video, text)]
    return [Message.user(*video, f"{LISTED}\n", lines, f"\n{text}")]


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's text; of a video without subtitles the block is empty."""
    video, lines = _media(one)
    question = f"Question: {_question(one)}\nAnswer: "
    if lines is None:
        return [Message.user(*video, f"{FRAMES_SHOWN}{SELECT}\n", question)]
    return [Message.user(*video, f"{FRAMES_SHOWN}{LISTED}\n", lines, f"\n{SELECT}\n", question)]


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's text, which speaks of subtitles with and without them."""
    video, lines = _media(one)
    text = f"{SELECT_LMMS}\n{_question(one)}\n"
    if lines is None:
        return [Message.user(*video, f"{text}\n{LETTER_ONLY}")]
    own = replace(lines, rule="lmms-eval", frames=LMMS_SUBTITLE_FRAMES, missing="No subtitles available")
    return [Message.user(*video, f"{LISTED} \n", own, f"\n{text}The best answer is:")]


def _question(one: Sample) -> str:
    return "\n".join([one.question, *one.columns.written_options("options")])


def _media(one: Sample) -> tuple[list[Part], SubtitleRef | None]:
    """The video, and the subtitles that came with it, which a prompt places itself."""
    videos = [ref for ref in one.media if isinstance(ref, VideoRef)]
    return [replace(ref, subtitles=None) for ref in videos], videos[0].subtitles if videos else None


# Scoring


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy, and the figures that the script behind the protocol prints."""
    plain = summarise(scored)
    if protocol == "vlmevalkit":
        return replace(plain, official=_vlmevalkit_figures(scored))
    if protocol == "lmms-eval":
        return replace(plain, official=_lmms_eval_figures(scored))
    return replace(plain, official=_official_figures(scored))


def _official_figures(scored: Sequence[Scored]) -> dict[str, str]:
    """Right answers over replies with a letter, as the authors' script divides; over all questions beside it."""
    with_gold = [one for one in scored if one.sample.answers]
    answered = [one for one in with_gold if one.score.verdict not in ("no_answer", "not_scored")]
    figures = {
        name: _percent([one for one in answered if _is(one, "duration", name)])
        for name in DURATIONS
        if any(_is(one, "duration", name) for one in with_gold)
    }
    for field in FIELDS[1:]:
        for value in _values(with_gold, field):
            figures[f"{field}/{value}"] = _percent([one for one in answered if _is(one, field, value)])
    figures["overall"] = _percent(answered)
    right = sum(one.score.value == 1 for one in answered)
    figures["accuracy_all"] = f"{100 * right / len(with_gold):.1f}%" if with_gold else "0.0%"
    figures["replies without a letter"] = str(len(with_gold) - len(answered))
    return figures


def _vlmevalkit_figures(scored: Sequence[Scored]) -> dict[str, str]:
    """Fractions with three decimals: each duration, each domain, overall; `nan` where there is no question."""
    figures = {name: _fraction([one for one in scored if _is(one, "duration", name)]) for name in DURATIONS}
    figures |= {f"domain/{name}": _fraction([one for one in scored if _is(one, "domain", name)]) for name in DOMAINS}
    return {**figures, "overall": _fraction(scored)}


def _lmms_eval_figures(scored: Sequence[Scored]) -> dict[str, str]:
    """lmms-eval finds a group's questions by looking for its name in all four labels joined, so that names can mix."""
    joined = [("_".join(one.sample.categories.get(field, ("",))[0] for field in FIELDS), one) for one in scored]
    figures = {}
    for field in FIELDS:
        for value in DURATIONS if field == "duration" else _values(scored, field):
            figures[f"{field}/{value}"] = _percent([one for labels, one in joined if value in labels])
    return {**figures, "overall": _percent(scored)}


def _is(one: Scored, field: str, value: str) -> bool:
    return value in one.sample.categories.get(field, ())


def _values(scored: Sequence[Scored], field: str) -> list[str]:
    """The field's values in order of first appearance."""
    return list(dict.fromkeys(value for one in scored for value in one.sample.categories.get(field, ())))


def _percent(scored: Sequence[Scored]) -> str:
    return f"{100 * (mean(scored) or 0.0):.1f}%"


def _fraction(scored: Sequence[Scored]) -> str:
    value = mean(scored)
    return "nan" if value is None else f"{value:.3f}"


_PROTOCOLS = {
    "official": Protocol(
        score=letter_score(lambda _, reply: first_letter(reply, VIDEOMME_PREFIXES, "ABCD")),
        notes=(
            "a reply without a letter is wrong (no_answer); the authors' script leaves it out of the denominator",
            "the thought is split off first",
            "fault kept: the first A to D anywhere counts, so that `Answer: D` is read as A and `Based on ...` as B",
            "fault kept: small letters are not read",
        ),
        evidence="unknown: the report names no scorer",
    ),
    "official-exact": Protocol(
        score=letter_score(lambda _, reply: first_letter(reply, VIDEOMME_PREFIXES, "ABCD"), unread=left_out),
        notes=("a reply without a letter is left out of the denominator, so that silence raises the score",),
    ),
    "vlmevalkit": Protocol(
        score=letter_score(lambda _, reply: first_letter(reply, VLMEVALKIT_PREFIXES, "ABCD"), unread=none_of_them),
        notes=(
            "as official, `Answer:` and `Option:` deleted too",
            "a reply without a letter becomes Z, which is wrong, with or without its judge: options are never found",
        ),
        evidence="most plausible: Moonshot's model class lives in VLMEvalKit",
    ),
    "lmms-eval": Protocol(
        score=letter_score(lambda _, reply: ranked_letter(reply, "ABCD"), method="ranked"),
        notes=(
            "of several forms of a letter the surest counts, within a form the last; no letter is wrong",
            "fault kept: groups are found by their names within all labels joined, so that the domain and the "
            "sub-category Multilingual mix",
        ),
    ),
    READER: reader_protocol(reader_letter()),
}
_HUB = ("video_id", *FIELDS[:3], "url", "videoID", "question_id", "task_type", "question", "options", "answer")
_VIDEOS = "data/<videoID>.mp4 (.MP4, .mkv), or video/, videos/: the videos, unpacked from videos_chunked_*.zip"


_SUBTITLED = (
    OtherName("lmms-eval", "videomme_w_subtitle"),
    *(OtherName("VLMEvalKit", f"Video-MME_{frames}_subs") for frames in ("8frame", "0.5fps")),
)
_SILENT = tuple(OtherName("VLMEvalKit", f"Video-MME_{frames}") for frames in ("8frame", "64frame", "0.5fps", "1fps"))


def _task(name: str, title: str, setting: str, loader: Load) -> Task:
    subtitles = setting == "w/ subs"
    return Task(
        name=name,
        title=title,
        group_title="Long video",
        doc=__doc__ or "",
        repos=("lmms-lab/Video-MME", "lmms-eval/Video-MME"),
        licence="academic research only: no commercial use, no redistribution",
        modality="video",
        access="open",
        download_bytes=101_007_500_000 if subtitles else 101_000_000_000,
        download_source="files of lmms-lab/Video-MME: 20 zip archives, about 101 GB in all (sgl-project/sgl-eval)"
        + (", subtitles of 7.5 MB" if subtitles else ""),
        other_names=_SUBTITLED if subtitles else _SILENT,
        splits={"test": Split(rows=2700, note="earlier revisions of the data set had 2,541 and 2,544 rows")},
        default_split="test",
        load=loader,
        sample=from_values(to_sample),
        data=TaskData(
            row_layouts={
                "hub": _HUB,
                "VLMEvalKit TSV": ("index", "video", "question", "candidates", "answer", *FIELDS),
                "golden": ("question", "options", "answer", *FIELDS),
            },
            mini_frames=MINI_FRAMES,
            files=(
                "videomme/test-*.parquet (hub), or Video-MME.tsv (VLMEvalKit)",
                _VIDEOS,
                *(("subtitle/<videoID>.srt, or subtitle.zip",) if subtitles else ()),
            ),
            archives=("videos_chunked_*.zip", *(("subtitle.zip",) if subtitles else ())),
            count={
                "test": {
                    "rows": 2700,
                    "files": 900,
                    **{f"duration={name}": 900 for name in DURATIONS},
                }
            },
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
        reference=Reference(benchmark="videomme", setting=setting),
        groups=("table3", "video"),
        mini="videomme",
    )


VIDEOMME = _task("videomme", "Video-MME (no subtitles)", "w/o subs", partial(load, False))
VIDEOMME_SUBS = _task("videomme-subs", "Video-MME (subtitles)", "w/ subs", partial(load, True))
