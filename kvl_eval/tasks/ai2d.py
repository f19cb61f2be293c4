"""AI2D: 3088 multiple-choice questions about diagrams from school books.

Data:    hub lmms-lab/ai2d, split test, words in the picture covered by letters; or VLMEvalKit's AI2D_TEST.tsv. The
         split `no_mask` is Efficient-Large-Model/ai2d-no-mask, AI2D_TEST_NO_MASK.tsv: the words stay visible
Prompt:  picture, question, options, and the request for a letter (lmms-eval)
Metric:  mean over all questions, by kind of diagram where the table says it
Scorer:  the reader; beside it VLMEvalKit's matcher, with which OpenCompass boards are made
Source:  lmms-eval lmms_eval/tasks/ai2d/ai2d.yaml @ 75571cf; VLMEvalKit vlmeval/dataset/image_mcq.py @ e8e78f0
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row AI2D; the variant is not named, leaderboards use the masked one
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.option_letter import UNDECIDED, inferred_score
from kvl_eval.scorers.reader_protocol import reader_letter, without_answer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker
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
from kvl_eval.tasks.choices import DIRECT, one_label, option_lines, row_id, vlmevalkit
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

STEMS = {"test": ("AI2D_TEST",), "no_mask": ("test", "AI2D_TEST_NO_MASK")}
NO_MASK_REPO = "Efficient-Large-Model/ai2d-no-mask"
KEPT = ("index", "id", "row", "question", "options", *"ABCD", "answer", "category", "picture")
_LETTER_DOT = re.compile(r"\s*([A-Z])\.")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, pictures unopened. Raises: DataError."""
    if split == "no_mask" and source.repo in TASK.repos:
        source = replace(source, repo=NO_MASK_REPO)
    name = "test" if source.data_dir is None else split
    tables = Tables(task="ai2d", required=("question", "options|A", "answer"), stems=STEMS[split])
    yield from pictured_samples(read_rows(source, name, tables, reporter), _sample, source, reporter)


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    choices = row.required_options()
    return Sample(
        id=row_id(row, "index", "id"),
        question=row.text("question"),
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=row.gold_letter("answer", options=choices, is_index=True),
        categories=one_label(category=row.get("category")),
        cluster=row.optional_text("picture"),
    )


sample = sample_maker(_sample)


def lmms_eval(one: Sample) -> list[Message]:
    """Question, options and the request for a letter."""
    return [Message.user(*one.media, f"{one.question}\n{option_lines(one.choices)}{DIRECT}")]


def score_lmms_eval(one: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """Equality of the reply, cut to its letter where it begins `B.`, with the letter, without case or punctuation."""
    if not one.answers:
        return Score.not_scored("no_gold")
    text = answer if extraction is MISSING else extraction
    if not isinstance(text, str) or not text.strip():
        return Score.no_answer("empty", text)
    match = _LETTER_DOT.match(text)
    found = match[1] if match else text
    right = _bare(found) == _bare(one.answers[0])
    return Score.of(right, found, ("letter" if match else "whole") if extraction is MISSING else "given")


def _bare(text: str) -> str:
    return text.lower().translate(_NO_PUNCTUATION)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean over all questions; beside VLMEvalKit's how many replies its matcher left undecided."""
    plain = summarise(scored)
    if plain.score is None:
        return plain
    if protocol == "lmms-eval":
        return summarise(scored, {"exact_match": str(plain.score)})
    kinds = {kind: str(group.score) for kind, group in plain.categories.get("category", {}).items()}
    undecided = len(without_answer(scored, None if protocol == READER else UNDECIDED))
    return summarise(scored, {"Overall": str(plain.score), **kinds, "undecided replies": str(undecided)})


_RULE = "a reply that the matcher leaves undecided goes to a judge in VLMEvalKit, and is no_answer here"
_SHORT = "options of one letter: a text like `a` occurs in nearly every reply, so that text matching misleads"

TASK = Task(
    name="ai2d",
    title="AI2D",
    group_title="General",
    doc=__doc__ or "",
    repos=("lmms-lab/ai2d", "lmms-lab-encoder/ai2d"),
    licence="CC BY-SA (images, as remembered; not read on the card)",
    modality="image",
    access="open",
    other_names=(
        OtherName("VLMEvalKit", "AI2D_TEST", "test"),
        OtherName("VLMEvalKit", "AI2D_TEST_NO_MASK", "no_mask"),
    ),
    splits={
        "test": Split(rows=3088, note="words in the image are covered by letters"),
        "no_mask": Split(rows=3088, note="words stay visible: several points easier, never comparable"),
    },
    default_split="test",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "hub": ("question", "options", "answer (place from 0)", "image"),
            "VLMEvalKit TSV": ("index", "image", "question", "A ... D", "answer (letter)", "category"),
            "golden": ("id", "question", "options", "answer"),
        },
        files=(
            "test-*.parquet or data/test-*.parquet (hub copies)",
            "AI2D_TEST.tsv, AI2D_TEST_NO_MASK.tsv (VLMEvalKit)",
        ),
        count={"test": {"rows": 3088}, "no_mask": {"rows": 3088}},
    ),
    prompts={"lmms_eval": Prompt(lmms_eval, "letter"), "vlmevalkit": vlmevalkit},
    default_prompt="lmms_eval",
    wanted=("letter",),
    prompt_evidence="the report names no prompt, and the authors publish none; this is lmms-eval's",
    protocols={
        READER: reader_protocol(reader_letter()),
        "official": Protocol(
            score=inferred_score,
            label="vlmevalkit-rule",
            notes=("the authors publish no reader of replies; this is VLMEvalKit's", _RULE, _SHORT),
            evidence="OpenCompass boards are made with this one; the report names no scorer",
        ),
        "official-exact": Protocol(score=inferred_score, notes=("the same as official: there is no official script",)),
        "vlmevalkit": Protocol(score=inferred_score, label="vlmevalkit-rule", notes=(_RULE, _SHORT)),
        "lmms-eval": Protocol(
            score=score_lmms_eval,
            notes=("equality with the letter: `(B)` and `B. roots` are right, `B roots` and `The answer is B` wrong",),
        ),
    },
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    aggregate=aggregate,
    reference=Reference(benchmark="ai2d"),
    groups=("table3",),
    mini="ai2d",
)
