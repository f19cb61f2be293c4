r"""TOMATO: 1,484 questions about motion that a single frame cannot answer, three to seven options each.

Data:    yale-nlp/TOMATO, splits count to visual_cues, or the repository's data/<type>.json; or lmms-eval/TOMATO, split
         test; videos/<demonstration>/<key>.mp4
Prompt:  the authors', which names the number of frames and writes the options as a Python dictionary
Frames:  16, first and last included, as in the authors' main table
Metric:  accuracy in percent, also by kind of motion and by demonstration
Scorer:  the authors' parser, and the reader in place of their language model
Source:  yale-nlp/TOMATO src/parse_result.py @ fe2025f; lmms-eval tasks/tomato @ 75571cf
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row TOMATO
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from kvl_eval.scorers.aggregate import plain_sum, summarise
from kvl_eval.scorers.multiple_choice import lettered, letters
from kvl_eval.scorers.option_letter import letter_score
from kvl_eval.scorers.reader_protocol import READER_NOTES, parsed_or_read
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.videos import Filming, filmed_samples
from kvl_eval.tasks.base import Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.choices import one_label, row_id
from kvl_eval.types import Message, Sample, Score, Scored, Summary, VideoRef

FRAMES = 16
MINI_FRAMES = 4  # the bundled clips have four scenes
TYPES = {
    "count": 292,
    "direction": 403,
    "rotation": 286,
    "shape_trend": 223,
    "velocity_frequency": 210,
    "visual_cues": 70,
}
DEMONSTRATIONS = {"human": 595, "object": 656, "simulated": 233}
KEPT = (
    *("id", "row", "question", "options", "answer", "answer_index", "key", "motion_type", "variation", "reason_type"),
    *("demonstration_type", "video_path"),
)
SYSTEM = "You are an expert in understanding dynamics of objects."
_ANSWER_IS = re.compile(r"Answer is:?\(?([A-Fa-f])\)?")


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, videos unopened. Raises: DataError."""
    del split
    yield from filmed_samples(_rows(source, reporter), to_sample, source, FILMING, reporter)


def _rows(source: Source, reporter: Reporter) -> Iterator[Row]:
    """lmms-eval's one table, or the authors' six, whose rows get their table's name as `reason_type`."""
    folder = source.data_dir
    if source.repo == "lmms-eval/TOMATO" if folder is None else any(folder.rglob("test*.parquet")):
        required = ("question", "options", "reason_type", "video_path")
        return read_rows(source, "test", Tables(task="tomato", required=required), reporter)
    return chain.from_iterable(_of_type(source, name, reporter) for name in TYPES)


def _of_type(source: Source, name: str, reporter: Reporter) -> Iterator[Row]:
    required = ("question", "options", "key", "demonstration_type")
    tables = Tables(task="tomato", required=required, stems=(name.replace("_", "&", 1),))
    for row in read_rows(source, name, tables, reporter):
        yield row.also({"reason_type": name})


def _file(one: Sample) -> str:
    path = one.columns.text("video_path")
    own = f"{one.row.get('demonstration_type')}/{one.row.get('key')}.mp4"
    return path.removeprefix("videos/") if path else own


FILMING = Filming(file=_file, folders=("videos", "."), rule="linspace", frames=FRAMES)


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    choices = row.required_options()
    kind = row.text("reason_type").replace("&", "_")
    changed = tuple(name for name, on in row.mapping("variation").items() if on)
    name = row_id(row, "id", number=0)
    return Sample(
        id=f"{kind}/{name}" if kind else name,
        question=row.text("question"),
        row={**row.keep(KEPT), "options": list(row.written_options())},
        choices=choices,
        answers=row.gold_letter("answer", "answer_index", options=choices, is_index=True),
        categories={
            **one_label(reason_type=kind, demonstration_type=row.text("demonstration_type")),
            **({"variation": changed} if changed else {}),
        },
        cluster=row.optional_text("video_path", "key"),
    )


# Prompts


def _text(one: Sample, count: str, blank: str) -> str:
    return (
        f"You will be provided with {count}frames uniformly sampled from a video, the frames are provided in "
        "chronological order of the video. Analyze these frames and provide the answer to the question about the video "
        f"content. Answer the multiple-choice question about the video content.{blank}\n\n"
        "You must use these frames to answer the multiple-choice question; do not rely on any externel knowledge or "
        f"commonsense. \n\n<question> \n{one.question} \n</question>\n\n"
        f"<options> \n{lettered(one.choices)} \n</options>\n\n"
        "Even if the information in these separate frames is not enough to answer the question, PLEASE TRY YOUR BEST "
        "TO GUESS AN ANSWER WHICH YOU THINK WOULD BE THE MOST POSSIBLE ONE BASED ON THE QUESTION. \n\n"
        "DO NOT GENERATE ANSWER SUCH AS 'NOT POSSIBLE TO DETERMINE.' \n"
    )


def official(one: Sample) -> list[Message]:
    """System text, frames, and the text with their number."""
    frames = next((ref.frames for ref in one.media if isinstance(ref, VideoRef)), None) or FRAMES
    return [Message.system(SYSTEM), Message.user(*one.media, _text(one, f"{frames} separate ", " "))]


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's text, which names no number; it has no system text."""
    return [Message.user(*one.media, _text(one, "", ""))]


# Scoring


def pre_parsed(one: Sample, reply: str) -> str | None:
    """The letter that the authors' parser reads without its language model."""
    text, names = reply.strip(), letters(len(one.choices))
    if len(text) == 1 and text.upper() in names:
        return text.upper()
    if text.upper() in {f"{letter}: {option}" for letter, option in lettered(one.choices).items()}:
        return text[0].upper()
    cued = _ANSWER_IS.fullmatch(text) if len(text) < 20 else None
    return cued[1].upper() if cued and cued[1].upper() in names else None


def lmms_letter(one: Sample, reply: str) -> str:
    """lmms-eval's letter: any capital of an option anywhere counts, and `A` where there is none."""
    text = reply
    for mark in (",", ".", "!", "?", ";", ":", "'"):
        text = text.strip(mark)
    text = f" {text} "
    names = letters(len(one.choices))
    places = {name: text.rfind(f"({name})") for name in names if name in text}
    if not places and len(text.split()) > 5:
        lowered = text.lower()
        ends = {name: lowered.rfind(option.lower()) for name, option in lettered(one.choices).items()}
        places = {name: place for name, place in ends.items() if place >= 0}
    return max(places, key=lambda name: places[name], default="A")


def _unparsed(one: Sample) -> Score:
    del one
    return Score.not_scored("judge_missing")


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy, the authors' two tables as fractions, and what guessing would have given for undecided replies."""
    del protocol
    plain_ = summarise(scored)
    if plain_.score is None:
        return plain_
    official = {"overall": str(round(plain_.score, 6))}
    for field in ("reason_type", "demonstration_type"):
        for label, group in sorted(plain_.categories.get(field, {}).items()):
            official[f"{field}/{label}"] = str(round(group.score, 6))
    undecided = [1 / len(one.sample.choices) for one in scored if one.score.verdict == "no_answer"]
    if undecided:
        known = sum(one.score.value is not None for one in scored)
        official["undecided replies"] = str(len(undecided))
        official["expected luck, had these been drawn"] = f"{100 * plain_sum(undecided) / known:.1f}"
    return replace(plain_, official=official)


_FORMS = "only `B`, `A: 3` and `Answer is:B` are read without a language model"

TASK = Task(
    name="tomato",
    title="TOMATO",
    group_title="Video perception",
    doc=__doc__ or "",
    repos=("lmms-eval/TOMATO", "yale-nlp/TOMATO"),
    licence="CC BY-SA 4.0",
    modality="video",
    access="open",
    splits={"test": Split(rows=sum(TYPES.values()))},
    default_split="test",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "authors' JSON": ("question", "options", "answer (a number)", "key", "variation", "demonstration_type"),
            "hub copy": ("id", "question", "options", "answer", "reason_type", "demonstration_type", "video_path"),
            "golden": ("question", "options", "answer_index"),
        },
        mini_frames=MINI_FRAMES,
        files=(
            "data/<type>.json (authors), <type>-*.parquet (hub), or test-*.parquet (lmms-eval's copy)",
            "videos/<human|object|simulated>/<key>.mp4",
        ),
        archives=("videos*.zip",),
        count={
            "test": {
                **{f"reason_type={name}": rows for name, rows in TYPES.items()},
                **{f"demonstration_type={name}": rows for name, rows in DEMONSTRATIONS.items()},
            }
        },
    ),
    prompts={"official": official, "lmms_eval": lmms_eval},
    default_prompt="official",
    wanted=("letter",),
    prompt_evidence="the report names no prompt; this is the authors' own text",
    protocols={
        "official": Protocol(
            score=parsed_or_read(pre_parsed, "pre_parsed"),
            label="official-rule",
            notes=(
                "the thought is split off first",
                "where the authors ask gpt-4o-mini, and draw a letter if that fails: the reader",
                *READER_NOTES,
            ),
            evidence="unknown: the report names no parser",
        ),
        "official-exact": Protocol(
            score=letter_score(pre_parsed, unread=_unparsed, method="pre_parsed"),
            label="unjudged",
            needs_judge=True,
            notes=(f"{_FORMS}; any other reply is not scored",),
        ),
        "lmms-eval": Protocol(
            score=letter_score(lmms_letter),
            notes=(
                "fault kept: any capital of an option counts, so that `Answer: D` is read as A",
                "fault kept: a reply without a letter is read as A, not drawn",
            ),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="tomato"),
    groups=("table3", "video"),
    mini="tomato",
    max_new_tokens=1024,
)
