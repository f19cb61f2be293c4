"""EgoSchema: five options about three minutes of video from a person's own view.

Data:    lmms-lab/egoschema, configurations Subset (500 questions with published answers) and MC (all 5,031), split
         test; or the authors' questions.json with subset_answers.json; videos/<q_uid>.mp4
Frames:  64, first and last included (linspace); the report states neither number nor size of its frames
Metric:  accuracy in percent. Split `subset` is scored here; `full` is answered here and scored by the authors' server:
         `kvl-eval export` writes its file, and until then its result is pending submission
Scorer:  the reader; beside it lmms-eval's @ 75571cf without its random letter
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row EgoSchema: the full set, not to be compared with the subset
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kvl_eval.cells import LETTERS, bare_options, gold_letter
from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.multiple_choice import letters
from kvl_eval.scorers.option_letter import letter_score
from kvl_eval.scorers.reader_protocol import read_letter, reader_letter
from kvl_eval.scorers.video_choice import DRAWN, drawn, egoschema_letter
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.media_files import MediaFiles, media_home
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
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
from kvl_eval.types import Message, Sample, Scored, Summary, VideoRef

FRAMES = 64
MINI_FRAMES = 4  # the bundled clips have four scenes
CONFIGS = {"subset": "Subset", "full": "MC"}
OPTIONS = tuple(f"option {number}" for number in range(5))  # the authors' JSON
SUBSET_ANSWERS = "subset_answers.json"
UNREAD = -1  # what lmms-eval submits for a reply it cannot read
LETTER_ONLY = "Answer with the option's letter from the given choices directly."
KEPT = ("q_uid", "video_idx", "id", "question", "answer", "google_drive_id")


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order, videos unopened; `subset` are the questions with an answer.

    Raises: DataError; `data.missing` too where no question of the subset has an answer.
    """
    required = ("q_uid|video_idx|id", "option|options|option 0")
    tables = Tables(task="egoschema", config=CONFIGS[split], stems=("questions", "egoschema"), required=required)
    rows = read_rows(source, "test", tables, reporter)
    answers = {} if split == "full" else _published_answers(source.data_dir)
    videos = MediaFiles(media_home(source), ("videos", "video", "good_clips_git", "."))
    found = 0
    for one in made_from(rows, partial(_loaded, videos, None if split == "full" else answers), reporter):
        if split == "full" or one.answers:
            found += 1
            yield one
    if not found:
        raise DataError(
            "data.missing",
            f"egoschema: no question of {split!r} was found",
            where=str(source.data_dir or source.repo),
            why=f"the subset's answers are in the hub's configuration Subset, or in {SUBSET_ANSWERS}",
        )


def _published_answers(folder: Path | None) -> dict[str, object]:
    """{q_uid: index} of the authors' file, where the data folder has it. Raises: DataError."""
    found = [] if folder is None else sorted([*folder.glob(SUBSET_ANSWERS), *folder.glob(f"*/{SUBSET_ANSWERS}")])
    if not found:
        return {}
    try:
        answers = json.loads(found[0].read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(
            "data.corrupt", f"egoschema: {SUBSET_ANSWERS} cannot be read", where=str(found[0]), why=str(error)[:200]
        ) from None
    if not isinstance(answers, dict):
        raise DataError("data.corrupt", f"egoschema: {SUBSET_ANSWERS} must be a JSON object", where=str(found[0]))
    return answers


def _loaded(videos: MediaFiles, answers: Mapping[str, object] | None, row: Row) -> Sample:
    """`answers` fill in gold that the row lacks; None means that gold is not to be looked at."""
    name = _identity(row, ())
    gold = None if answers is None else row.get("answer")
    if gold is None and answers is not None:
        gold = answers.get(name)
    made = to_sample(row.also({"answer": gold}))
    video = VideoRef(
        name=f"video {name}",
        path=videos.find(f"{name}.mp4", f"{name}.MP4") or videos.expected(f"{name}.mp4"),
        root=videos.root,
        rule="linspace",
        frames=FRAMES,
    )
    return replace(made, media=(video,))


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    options = _options(row)
    if not options and any(name in row for name in ("option", "options", OPTIONS[0])):
        raise DataError("data.field", "the row has no options", where=row.where)
    index = _index(row, options)
    name = _identity(row, options)
    return Sample(
        id=name,
        question=row.text("question"),
        row={**row.keep(KEPT), "option": list(options)},
        choices=bare_options(options),
        answers=() if index is None else (str(index),),
        cluster=name,
    )


def _options(row: Row) -> tuple[str, ...]:
    """The options as the hub has them, each after its letter; the authors' JSON has the bare texts."""
    if row.has("option") or row.has("options"):
        return row.written_options("option", "options")
    texts = row.numbered_options(OPTIONS)
    return tuple(f"{letter}. {text}" for letter, text in zip(letters(len(texts)), texts, strict=True))


def _index(row: Row, options: Sequence[str]) -> int | None:
    """Gold as the option's number from 0; hidden answers are empty or None."""
    if row.text("answer").strip() in ("", "None"):
        return None
    letter = gold_letter(row.get("answer"), bare_options(options), row.where, is_index=True)
    return None if letter is None else LETTERS.index(letter)


def _identity(row: Row, options: Sequence[str]) -> str:
    """The question's id, which is its video's; of a row without one a name made of its text."""
    return row.identity("q_uid", "video_idx", "id") or name_of_text(row.text("question"), *options)


# Prompts


def lmms_eval(one: Sample) -> list[Message]:
    """Question, options, one instruction: lmms-eval's text."""
    return [Message.user(*one.media, "\n".join([one.question, *one.columns.written_options("option"), LETTER_ONLY]))]


# Scoring


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy as lmms-eval prints it; of the full set only that it is pending."""
    plain = summarise(scored)
    if plain.score is None:
        return replace(plain, official={"result": "pending submission"} if scored else {})
    official = {"accuracy": str(plain.score)}
    guessed = [one for one in scored if one.score.method == DRAWN]
    if guessed:
        right = sum(one.score.value == 1 for one in scored) - sum(one.score.value == 1 for one in guessed)
        with_value = sum(one.score.value is not None for one in scored)
        official["letters drawn at random"] = str(len(guessed))
        official["accuracy, drawn letters counted wrong"] = str(right / with_value)
    return replace(plain, official=official)


def index_of(text: str) -> int | None:
    """The option's number from 0, of a letter or of a number written out; None for anything else."""
    if text.isascii() and text.isdigit() and int(text) < len(OPTIONS):
        return int(text)
    return letters(len(OPTIONS)).index(text.upper()) if text.upper() in letters(len(OPTIONS)) else None


def submission(pairs: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """Files for the authors' validation server (JSON) and for Kaggle (CSV, its form known from one public thread).

    Answers are read as under protocol `reader`; one that names no option becomes -1, as lmms-eval submits it.
    """
    answers = {one.id: index_of(read_letter(one, answer) or "") for one, answer in pairs}
    numbers = {name: UNREAD if index is None else index for name, index in answers.items()}
    lines = "".join(f"{name},{index}\n" for name, index in numbers.items())
    return {
        "egoschema_submission.json": json.dumps(numbers, ensure_ascii=False, indent=1) + "\n",
        "egoschema_kaggle.csv": f"q_uid,answer\n{lines}",
    }


def _reader(one: Sample, reply: str) -> str | None:
    return egoschema_letter(reply, one.columns.written_options("option"))


_C = (
    "fault kept: the C that stands for the camera wearer, and every word that ends in a capital A to E before a blank, "
    "is read as an option"
)
_DRAW = (
    "a reply without an option gets a random one; lmms-eval draws without a seed, here the question's id is the seed"
)

TASK = Task(
    name="egoschema",
    title="EgoSchema",
    group_title="Video perception",
    doc=__doc__ or "",
    repos=("lmms-lab/egoschema", "lmms-eval/egoschema"),
    licence="MIT (questions); the clips come from Ego4D, whose own licence applies",
    modality="video",
    access="open",
    download_bytes=105_700_000_000,
    download_source="files of lmms-lab/egoschema: four zip archives of 21.4 GB and one of 20.1 GB",
    other_names=(OtherName("lmms-eval", "egoschema_subset", "subset"),),
    splits={
        "subset": Split(rows=500, note="the questions with published answers; never comparable with the full set"),
        "full": Split(rows=5031, has_gold=False, note="pending submission: scored by the authors' server"),
    },
    default_split="subset",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub": ("video_idx", "question", "option", "answer"),
            "authors' JSON": ("q_uid", "google_drive_id", "question", *OPTIONS),
            "golden": ("question", "options", "answer"),
        },
        mini_frames=MINI_FRAMES,
        files=(
            "Subset/test-*.parquet and MC/test-*.parquet (hub copy)",
            "questions.json with subset_answers.json (the authors' repository)",
            "videos/<q_uid>.mp4: unpacked from videos_chunked_*.zip",
        ),
        archives=("videos_chunked_*.zip",),
        count={"subset": {"rows": 500, "files": 500}, "full": {"rows": 5031, "files": 5031}},
    ),
    prompts={"lmms_eval": Prompt(lmms_eval, "letter")},
    default_prompt="lmms_eval",
    wanted=("letter",),
    prompt_evidence="the report names no prompt, and the authors publish none; this is lmms-eval's",
    protocols={
        "official": Protocol(
            score=letter_score(_reader, value=index_of),
            notes=(
                "the authors publish no reader of replies; this is lmms-eval's",
                "a reply without an option is wrong (no_answer) instead of a random one",
                "the thought is split off first",
                _C,
            ),
            evidence="unknown: the report names no scorer",
        ),
        "official-exact": Protocol(
            score=letter_score(_reader, value=index_of, unread=drawn(index_of)), notes=(_DRAW, _C)
        ),
        "lmms-eval": Protocol(
            score=letter_score(_reader, value=index_of, unread=drawn(index_of)),
            notes=("the same as official-exact", _DRAW, _C),
        ),
        READER: reader_protocol(reader_letter(index_of)),
    },
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    aggregate=aggregate,
    reference=Reference(benchmark="egoschema", split="full"),
    groups=("table3", "video"),
    mini="egoschema",
    submission=submission,
)
