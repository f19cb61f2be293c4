"""MMBench-EN v1.1: multiple choice over 20 abilities; right only if right with the options in every order.

Data:    VLMEvalKit's MMBench_DEV_EN_V11.tsv (answers published) and MMBench_TEST_EN_V11.tsv (withheld), from
         the benchmark's server; or lmms-lab/MMBench, configuration en, the older v1.0
Prompt:  picture, then hint, question, options and the request to select one (VLMEvalKit)
Metric:  circular evaluation: of the 2 to 4 rotations of a question's options all must be right; mean over questions, by
         ability and by the six groups of abilities
Scorer:  open-compass/VLMEvalKit vlmeval/dataset/utils/multiple_choice.py (mcq_circular_eval) @ e8e78f0; where it
         asks a judge and none is configured, the reader
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row MMBench-EN-v1.1; which split is not stated
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import by_question, mean, summarise
from kvl_eval.scorers.mmbench import may_be_rotated, rotated, static_letter
from kvl_eval.scorers.multiple_choice import can_infer, lettered
from kvl_eval.scorers.option_letter import UNDECIDED, inferred_letter, letter_score, undecided
from kvl_eval.scorers.reader_protocol import READER_NOTES, parsed_or_read, without_answer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker, shared_cells
from kvl_eval.tasks.base import OtherName, Prompt, Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.choices import DIRECT, one_label, option_lines, vlmevalkit
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import ImageRef, Message, Sample, Score, Scored, Summary

STEP = 1_000_000  # between the indices of a question's rotations
STEMS = {"dev": ("MMBench_DEV_EN_V11", "MMBench_DEV_EN"), "test": ("MMBench_TEST_EN_V11", "MMBench_TEST_EN")}
SHORT = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}
KEPT = (
    *("index", "g_index", "question", "hint", "choices", *"ABCD", "answer", "category", "l2-category", "L2-category"),
    *("l2_category", "picture"),
)


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """Every rotation of every question, pictures unopened. Raises: DataError.

    Where a table has base rows alone, the rotations are made, each question's one after the other.
    """
    required = ("index", "question", "A", "B")
    tables = Tables(task="mmbench-en-v11", config="en", stems=STEMS[split], required=required)
    base_only = all(_index(row) < STEP for row in read_rows(source, split, tables, reporter))
    rows = shared_cells(read_rows(source, split, tables, reporter))
    yield from pictured_samples(_with_rotations(rows) if base_only else rows, _sample, source, reporter)


def _with_rotations(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        try:
            choices = row.required_options()
            answer = next(iter(row.gold_letter("answer", options=choices)), None)
        except DataError:
            yield row  # refused where it becomes a sample
            continue
        for turn in range(len(choices) if may_be_rotated(choices) else 1):
            texts, right = rotated(choices, answer, turn)
            yield row.also({**lettered(texts), "answer": right, "index": _index(row) + turn * STEP})


def _index(row: Row) -> int:
    """The index as a whole number; tables hold it as a float or a text too."""
    index = row.integer("index")
    if index is None:
        raise row.fault("index", "expected a number")
    return index


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    index = _index(row)
    columns = {name: cell for name, cell in row.keep(KEPT).items() if (name, cell) != ("hint", "nan")}
    choices = row.required_options()
    labels = {"l2-category": row.optional_text("l2-category", "L2-category", "l2_category")}
    return Sample(
        id=str(index),
        question=row.text("question"),
        row={**columns, "index": index},
        media=media,
        choices=choices,
        answers=row.gold_letter("answer", options=choices),
        categories=one_label(**labels, category=row.get("category")),
        cluster=row.optional_text("picture"),
        group=row.identity("g_index") or str(index % STEP),
    )


sample = sample_maker(_sample)


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's hint, question and options, and the request for a letter after a blank line."""
    note = one.columns.text("hint")
    hint = f"{note} " if note else ""
    text = f"{hint}{one.question} There are several options:\n{option_lines(one.choices)}\n{DIRECT}"
    return [Message.user(*one.media, text)]


# Scoring


def unjudged(sample: Sample) -> Score:
    """A reply for which VLMEvalKit must ask a judge."""
    del sample
    return Score.not_scored("judge_missing")


def judge_prompt(one: Sample, answer: str) -> str | None:
    """What the judge is asked of a reply that the matcher leaves undecided: the option that means the same, or Z."""
    if inferred_letter(one, answer) is not None:
        return None
    return (
        "Below are a multiple-choice question, its options and somebody's answer in free words. Name the option that "
        "says the same as the answer. Reply with one capital letter: that of the option, or Z where no option means "
        "what the answer says.\n"
        "Example 1:\nQuestion: What is the main object in image?\n"
        "Options: There are several options: \nA. teddy bear\nB. rabbit\nC. cat\nD. dog\n"
        "Answer: a cute teddy bear\nYour output: A\n"
        "Example 2:\nQuestion: What is the main object in image?\n"
        "Options: There are several options: \nA. teddy bear\nB. rabbit\nC. cat\nD. dog\n"
        "Answer: Spider\nYour output: Z\n"
        f"Example 3:\nQuestion: {one.question}?\nOptions: There are several options: \n{option_lines(one.choices)}"
        f"Answer: {answer}\nYour output: "
    )


def read_judge(one: Sample, reply: str) -> str | None:
    """The letter in a judge's reply, by the same matcher."""
    return can_infer(reply, lettered(one.choices))


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Share of questions right in every rotation; beside it the share of first rotations and of all rows that are."""
    questions = by_question(scored)
    circular = summarise(questions)
    overall = circular.score
    if overall is None:
        return circular
    groups = circular.categories.get("l2-category", {})
    abilities = {name: str(part.score) for name, part in sorted(circular.categories.get("category", {}).items())}
    if protocol == "lmms-eval":
        official = {"overall": str(overall), **{name: str(part.score) for name, part in groups.items()}, **abilities}
        return replace(circular, official=official)
    short = {SHORT.get(name, name): str(part.score) for name, part in sorted(groups.items())}
    first = mean([one for one in scored if one.sample.id == one.sample.group])
    vanilla = {"first rotation alone": str(first), "all rotations, each for itself": str(mean(scored))}
    left = len(without_answer(scored, None if protocol == "official" else UNDECIDED))
    return replace(
        circular, official={"Overall": str(overall), **short, **abilities, **vanilla, "undecided replies": str(left)}
    )


def submission(pairs: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """The raw predictions by row, from which the benchmark's server takes its own table."""
    rows = [{"index": int(one.id), "prediction": answer} for one, answer in pairs]
    return {"mmbench_predictions.json": json.dumps(rows, ensure_ascii=False, indent=1) + "\n"}


_ALL = "a question counts as right only if every rotation that was asked is; a rotation that is missing is not required"

TASK = Task(
    name="mmbench-en-v11",
    title="MMBench-EN v1.1",
    group_title="General",
    doc=__doc__ or "",
    repos=("lmms-lab/MMBench", "lmms-lab-encoder/MMBench"),
    licence="Apache-2.0",
    modality="image",
    access="open",
    other_names=(
        OtherName("VLMEvalKit", "MMBench_DEV_EN_V11"),
        OtherName("VLMEvalKit", "MMBench_TEST_EN_V11", "test"),
    ),
    splits={
        "dev": Split(rows=None, note="the hub's copy is v1.0: 4,329 rows of 1,164 questions"),
        "test": Split(rows=None, has_gold=False, note="answers are withheld: needs the benchmark's server"),
    },
    default_split="dev",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "VLMEvalKit TSV": (
                *("index", "question", "hint", "A ... D", "answer", "category", "l2-category", "split"),
                *("image", "g_index"),
            ),
            "hub": ("index", "question", "hint", "A ... D", "answer", "category", "L2-category", "source", "image"),
            "golden": ("index", "question", "hint", "choices", "answer", "category", "l2_category"),
        },
        files=(
            "MMBench_DEV_EN_V11.tsv, MMBench_TEST_EN_V11.tsv (VLMEvalKit)",
            "en/dev-*.parquet, en/test-*.parquet (hub copy, v1.0)",
        ),
    ),
    prompts={"vlmevalkit": vlmevalkit, "lmms_eval": Prompt(lmms_eval, "letter")},
    default_prompt="vlmevalkit",
    wanted=("letter",),
    prompt_evidence="the benchmark's own harness, which sends it to Kimi-VL unchanged; the report names no prompt",
    protocols={
        "official": Protocol(
            score=parsed_or_read(inferred_letter, "can_infer"),
            label="official-rule",
            judged="official",
            notes=(
                _ALL,
                "VLMEvalKit's matcher first; what it leaves undecided goes to a judge if one is configured, "
                "else to the reader",
                *READER_NOTES,
            ),
            evidence="unknown: the published protocol asks GPT; without it, this is a lower bound",
        ),
        "official-exact": Protocol(
            score=letter_score(inferred_letter, unread=unjudged, method="can_infer"),
            judged="official-exact",
            notes=(_ALL, "not scored where the authors ask a judge, after whose third failure they draw a letter"),
        ),
        "vlmevalkit": Protocol(
            score=letter_score(inferred_letter, unread=undecided, method="can_infer"),
            label="vlmevalkit-rule",
            judged="vlmevalkit",
            notes=("as official, what its matcher leaves undecided being no_answer",),
        ),
        "lmms-eval": Protocol(
            score=letter_score(static_letter, method="prefetch"),
            notes=(_ALL, "its task mmbench_en_dev_static; letters A to E count whatever the options are"),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mmbench_en_v11"),
    groups=("table3",),
    judge_prompt=judge_prompt,
    judge=JudgeRule(read=read_judge, temperatures=(0.0, 0.0, 0.0)),
    submission=submission,
    mini="mmbench-en-v11",
)
