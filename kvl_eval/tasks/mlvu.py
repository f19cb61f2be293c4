r"""MLVU, the multiple-choice part: seven tasks about videos of three minutes to two hours.

Data:    MLVU/MVLU, json/1_plotQA.json to 7_topic_reasoning.json and video/<folder>/<video>; or sy1998/MLVU_dev
Prompt:  VLMEvalKit's: a system text, question and options, `Only give the best option.`
Frames:  64 by VLMEvalKit's `nframe` rule; the report states neither number nor size
Metric:  M-Avg, the unweighted mean of the tasks' accuracies; over all questions only beside it
Scorer:  the reader; beside it the authors' own, which reads `(B)` and nothing longer
Source:  JUNJIE99/MLVU evaluation/ @ fd060c1; VLMEvalKit dataset/mlvu.py @ e8e78f0; lmms-eval tasks/mlvu @ 75571cf
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row MLVU (MCQ): the other systems' figures are those of the dev set
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kvl_eval.scorers.aggregate import mean_of_groups, summarise
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.option_letter import inferred_letter, letter_score, ranked_over
from kvl_eval.scorers.reader_protocol import read_letter, reader_letter
from kvl_eval.scorers.video_choice import none_of_them
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.videos import Filming, filmed_samples
from kvl_eval.tasks.base import (
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
from kvl_eval.tasks.choices import one_label, row_id, split_options
from kvl_eval.types import Message, Sample, Scored, Summary

FRAMES = 64
MINI_FRAMES = 4  # the bundled clips have four scenes
DEV = {
    "plotQA": 539,
    "needle": 355,
    "ego": 352,
    "count": 206,
    "order": 259,
    "anomaly_reco": 200,
    "topic_reasoning": 264,
}
TEST = ("ego", "count", "anomaly_reco", "tutorialQA", "order", "needleQA", "sportsQA", "topic_reasoning", "plotQA")
TYPES = {"findNeedle": "needle"}  # as the authors' JSON calls it
KEPT = ("row", "question_id", "video", "video_name", "duration", "question", "answer", "question_type", "task_type")
UNREACHABLE = {(f"needle_{number}.mp4", "Catching a flying drone quadcopter") for number in (4, 5)}  # row-573, row-877
NO_GOLD = "@"  # the letter of the index -1 that the authors' loop ends with
OFFICIAL = "MLVU/MVLU"
SYSTEM = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, select the best option "
    "that accurately addresses the question."
)
BEST = "\nOnly give the best option."
BEGUN = "Best Option: ("


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order, videos unopened. Raises: DataError."""
    stems = ("[1-7]_*", "dev") if split == "dev" else ("test_*",)
    required = ("question", "video|video_name", "question_type|task_type")
    official = source.repo == OFFICIAL
    found = fetch_files(source, ["*/[1-7]_*.json"], task="mlvu", reporter=reporter) if official else source
    rows = read_rows(found, "test", Tables(task="mlvu", required=required, stems=stems), reporter)
    yield from filmed_samples(rows, to_sample, source, FILMING, reporter)


def _file(one: Sample) -> str:
    return one.columns.text("video", "video_name")


FILMING = Filming(
    file=_file, folders=("video", "video/*", "video_part_*", "videos", "."), rule="vlmevalkit", frames=FRAMES
)


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    question, choices = _asked(row)
    kind = row.text("question_type", "task_type")
    kind = TYPES.get(kind, kind)
    listed = "candidates" in row
    return Sample(
        id=row_id(row, "question_id", number=0),
        question=question,
        row={**row.keep(KEPT), **({"candidates": list(row.written_options("candidates"))} if listed else {})},
        choices=choices,
        answers=_gold(row, choices),
        categories=one_label(task=kind),
        cluster=row.optional_text("video", "video_name"),
    )


def _asked(row: Row) -> tuple[str, tuple[str, ...]]:
    """Question and options; the hub's copy has both in one text."""
    question = row.text("question")
    if row.has("candidates"):
        return question, row.options("candidates")
    head, choices = split_options(question, "\n({}) ")
    return head.removeprefix("Question: ").removesuffix("\nOptions:"), choices


def _gold(row: Row, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The right option's letter; () where there is no gold, as in the two rows whose gold is not a candidate.

    Raises: DataError `data.field`, for any other text that is not a candidate.
    """
    if "candidates" not in row:
        return row.gold_letter("answer", options=choices)
    gold = "".join(row.gold_text("answer"))
    if not gold or (row.text("video"), gold) in UNREACHABLE:
        return ()
    letter = last_equal(gold.strip(), [text.strip() for text in row.written_options("candidates")])
    if letter == NO_GOLD:
        raise row.fault("answer", "the gold of this layout is the text of a candidate")
    return (letter,)


def last_equal(answer: str, candidates: Sequence[str]) -> str:
    """The letter of the last candidate equal to the gold text; `@`, as the authors' loop ends, where there is none."""
    equal = [letter for letter, text in lettered(candidates).items() if text == answer]
    return equal[-1] if equal else NO_GOLD


# Prompts


def block(one: Sample) -> str:
    """Question and options as all three harnesses write them."""
    options = "\n".join(f"({letter}) {text}" for letter, text in lettered(one.choices).items())
    return f"Question: {one.question}\nOptions:\n{options}"


def official(one: Sample) -> list[Message]:
    """System text, video, question and instruction, and the beginning of the reply, which the model continues."""
    return [Message.system(SYSTEM), Message.user(*one.media, block(one) + BEST), Message.assistant(BEGUN)]


def vlmevalkit(one: Sample) -> list[Message]:
    """The same without the beginning of the reply."""
    return [Message.system(SYSTEM), Message.user(*one.media, block(one), BEST)]


def lmms_eval(one: Sample) -> list[Message]:
    """One user turn that ends in the authors' beginning of a reply."""
    return [Message.user(*one.media, f"{block(one)}{BEST}\nBest option: (")]


def lmms_eval_plm(one: Sample) -> list[Message]:
    """The same without that beginning."""
    return [Message.user(*one.media, block(one) + BEST)]


# Scoring


def official_text(one: Sample, reply: str) -> str:
    """The character before the first `)`, or the whole reply where there is none; nothing is stripped.

    What the authors' prompt begins the reply with is not part of it: `B` is read there, too.
    """
    del one
    reply = reply.removeprefix(BEGUN)
    before, mark, _ = reply.partition(")")
    return before[-1:] if mark else reply


def _vlmevalkit(one: Sample, reply: str) -> str | None:
    text = official_text(one, reply)
    return text if text in one.answers else inferred_letter(one, reply)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """M-Avg over the tasks present, and the figures that the protocol's script prints, in percent."""
    plain = summarise(scored)
    tasks = plain.categories.get("task", {})
    if plain.score is None or not tasks:
        return plain
    total = math.fsum(task.score for task in tasks.values())
    known = TEST if set(tasks) - set(DEV) else tuple(DEV)
    official = {name: str(100 * task.score) for name, task in tasks.items()}
    if protocol == "vlmevalkit":
        official["M-Avg"] = str(round(100 * plain.score, 1))
    elif protocol == "lmms-eval":
        official["M-Avg"] = str(100 * total / len(known))
    else:
        official["M-Avg"] = str(100 * total / len(tasks))
    official["over all questions"] = f"{100 * plain.score:.1f}"
    if len(tasks) < len(known):
        official["tasks without a question"] = ", ".join(name for name in known if name not in tasks)
    return replace(mean_of_groups(plain, "task"), official=official)


def submission(pairs: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """The file of the test set's online evaluation: question id, type and letter; an unread reply stays empty."""
    rows = [
        {
            "question_id": one.id,
            "question_type": "".join(one.categories.get("task", ())),
            "option": read_letter(one, answer) or "",
        }
        for one, answer in pairs
    ]
    return {"mlvu_test_res.json": json.dumps(rows, ensure_ascii=False, indent=1) + "\n"}


_ONLY = "only `B` or `(B)` is read: `B.`, `B. text`, `The answer is B` and `**B**` are wrong"
_UNREACHABLE = "two rows of the dev set have a gold text that is not among the candidates: they are not scored"

TASK = Task(
    name="mlvu",
    title="MLVU (multiple choice)",
    group_title="Long video",
    doc=__doc__ or "",
    repos=("sy1998/MLVU_dev", OFFICIAL),
    licence="CC BY-NC-SA 4.0, research only; gated: fill in the authors' form on the hub and set HF_TOKEN",
    modality="video",
    access="gated",
    other_names=(
        OtherName("lmms-eval", "mlvu_dev", "dev"),
        OtherName("lmms-eval", "mlvu_test", "test"),
        OtherName("VLMEvalKit", "MLVU_MCQ", "dev"),
    ),
    splits={
        "dev": Split(rows=sum(DEV.values())),
        "test": Split(rows=502, has_gold=False, note="six options; answers withheld; of sy1998/MLVU_Test"),
    },
    default_split="dev",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "authors' JSON": ("video", "duration", "question", "candidates", "answer (a text)", "question_type"),
            "hub copy": ("video_name", "question (options inside)", "answer (a letter)", "task_type"),
            "golden": ("question", "candidates", "answer"),
        },
        mini_frames=MINI_FRAMES,
        files=(
            "json/1_plotQA.json to 7_topic_reasoning.json (authors), or mlvu/test-*.parquet (hub copy)",
            "video/<folder>/<video>: the videos, unpacked",
        ),
        archives=("video_part_*.zip|*video/[1-35-7]_*/*", "action_count.zip|*video/4_*/*"),
        count={"dev": {"rows": sum(DEV.values()), **{f"task={name}": rows for name, rows in DEV.items()}}},
    ),
    prompts={
        "vlmevalkit": Prompt(vlmevalkit, "letter"),
        "official": Prompt(official, "letter"),
        "lmms_eval": Prompt(lmms_eval, "letter"),
        "lmms_eval_plm": Prompt(lmms_eval_plm, "letter"),
    },
    default_prompt="vlmevalkit",
    wanted=("letter",),
    prompt_evidence=(
        "the report names no prompt; this is the authors' text without the beginning of the reply (`Best Option: (`, "
        "prompt `official`), as in VLMEvalKit, where Moonshot's model class lives"
    ),
    protocols={
        READER: reader_protocol(reader_letter(), _UNREACHABLE),
        "official": Protocol(score=letter_score(official_text), notes=("the thought is split off first", _ONLY)),
        "official-exact": Protocol(score=letter_score(official_text), notes=(_ONLY, _UNREACHABLE)),
        "vlmevalkit": Protocol(
            score=letter_score(_vlmevalkit, unread=none_of_them),
            notes=(
                "the authors' rule, then its matcher without a judge; undecided is Z",
                "what it prints as M-Avg is the share of all questions, not the mean of tasks",
                "a failed request counts -1 there; here no sample that failed is scored",
            ),
        ),
        "lmms-eval": Protocol(
            score=letter_score(ranked_over, method="ranked"),
            notes=("its M-Avg divides by seven tasks (nine of the test set), whatever part was answered",),
        ),
    },
    default_protocol=READER,
    view=TaskView(beside=("official",)),
    aggregate=aggregate,
    reference=Reference(benchmark="mlvu", split="MCQ"),
    groups=("table3", "video"),
    mini="mlvu",
    submission=submission,
)
