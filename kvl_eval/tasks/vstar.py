r"""V* Bench: 191 questions about tiny things on large photographs: their attributes, and which lies where.

Data:    hub craigwu/vstar_bench: test_questions.jsonl with pictures in two folders (the two others are not scored);
         lmms-lab/vstar-bench, split test; or VLMEvalKit's VStarBench.tsv
Prompt:  picture, then the question with its options and the request for a letter, as stored
Metric:  mean over all questions, and by category; one question is half a point
Scorer:  the reader. The authors' own compares the options' likelihoods and generates nothing
Source:  penghao-wu/vstar vstar_bench_eval.py @ 4ede664; lmms-eval lmms_eval/tasks/vstar_bench @ 75571cf; VLMEvalKit
Report:  Kimi-VL (arXiv 2504.07491 v3), Thinking-2506: 83.2 without external tools
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.option_letter import UNDECIDED, inferred_score, letter_score, lowest_loss
from kvl_eval.scorers.reader_protocol import reader_letter
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import READER, OtherName, Prompt, Protocol, Reference, Split, Task, TaskData, reader_protocol
from kvl_eval.tasks.choices import (
    DIRECT,
    one_label,
    option_lines,
    row_id,
    split_options,
    vlmevalkit_text,
)
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

OFFICIAL = "craigwu/vstar_bench"
FOLDERS = ("direct_attributes", "relative_position")
KEPT = (
    *("question_id", "index", "id", "row", "text", "question", "choices", *"ABCD", "label", "answer"),
    *("category", "picture"),
)
_LMMS = (
    re.compile(r"([A-D])"),  # at the start
    re.compile(r"(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])"),
    re.compile(r"\(([A-D])\)"),
    re.compile(r"([A-D])\s*[.)\]]"),
    re.compile(r"(?:^|\s)([A-D])(?=\s|$)"),
)


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, pictures unopened. Raises: DataError."""
    if source.repo == OFFICIAL:
        patterns = ["test_questions.jsonl", *(f"{name}/*" for name in FOLDERS)]
        source = fetch_files(source, patterns, task="vstar", reporter=reporter)
    required, stems = ("text|question", "label|answer"), ("test_questions", "VStarBench")
    rows = read_rows(source, split, Tables(task="vstar", required=required, stems=stems), reporter)
    yield from pictured_samples(rows, _sample, source, reporter, folders=("images", *FOLDERS), texts=())


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    text = row.text("text", "question")
    choices = row.options() or _split(text)[1]
    return Sample(
        id=row_id(row, "question_id", "index", "id"),
        question=text,
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=row.gold_letter("label", "answer", options=choices),
        categories=one_label(category=row.get("category")),
        cluster=row.optional_text("picture"),
    )


def _split(text: str) -> tuple[str, tuple[str, ...]]:
    """The bare question, and the options that the stored text holds."""
    return split_options(text.partition(f"\n{DIRECT}")[0], "({}) ")


sample = sample_maker(_sample)


# Prompts


def stored(one: Sample) -> list[Message]:
    """Picture, then the text as stored; from VLMEvalKit's table put together in the same form."""
    text = one.question
    if not split_options(text, "({}) ")[1]:
        options = "".join(f"({letter}) {option}\n" for letter, option in lettered(one.choices).items())
        text = f"{text}\n{options}{DIRECT}"
    return [Message.user(*one.media, text)]


def lmms_eval(one: Sample) -> list[Message]:
    """Options cut out and written again; the request that the stored text ends in comes twice."""
    question, options = split_options(one.question, "({}) ")
    return [Message.user(*one.media, f"{question}\n{option_lines(options or one.choices)}{DIRECT}")]


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's question, options and instruction."""
    return [Message.user(*one.media, vlmevalkit_text(one, _split(one.question)[0]))]


# Scoring


def lmms_letter(one: Sample, reply: str) -> str | None:
    """lmms-eval's letter: the first of five forms that matches anywhere in the upper-cased reply.

    At the very start, be it of a word; after ANSWER, CHOICE or OPTION; `(B)`; `B.`, `B)` or `B]`, be it a word's end;
    alone between blanks. Else the only character A to D.
    """
    del one
    text = reply.strip().upper()
    start, *forms = _LMMS
    for match in (start.match(text), *(form.search(text) for form in forms)):
        if match:
            return match[1]
    found = [character for character in text if character in "ABCD"]
    return found[0] if len(found) == 1 else None


def score_likelihood(one: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """The authors' rule over the options' losses, given as extraction: a JSON list in the order of the options."""
    del answer
    if not one.answers:
        return Score.not_scored("no_gold")
    if not isinstance(extraction, str):
        return Score.not_scored("the authors compare likelihoods: give the options' losses as extraction")
    try:
        losses = [float(loss) for loss in json.loads(extraction)]
    except (ValueError, TypeError):
        return Score.no_answer("no_losses")
    best = lowest_loss(losses)
    if best < 0 or len(losses) != len(one.choices):
        return Score.no_answer("no_losses")
    letter = list(lettered(one.choices))[best]
    return Score.of(letter in one.answers, letter, "likelihood")


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean over all questions, and by category."""
    plain = summarise(scored)
    if plain.score is None:
        return plain
    parts = {name: str(part.score) for name, part in plain.categories.get("category", {}).items()}
    undecided = sum(one.score.reason == UNDECIDED for one in scored)
    more = {"undecided replies": str(undecided)} if protocol == "vlmevalkit" else {}
    return summarise(scored, {"overall": str(plain.score), **parts, **more})


TASK = Task(
    name="vstar",
    title="V* Bench",
    group_title="General",
    doc=__doc__ or "",
    repos=(OFFICIAL, "lmms-lab/vstar-bench", "lmms-lab-encoder/vstar-bench"),
    licence="not stated for the data (code: MIT)",
    modality="image",
    access="open",
    other_names=(
        OtherName("lmms-eval", "vstar_bench"),
        OtherName("VLMEvalKit", "VStarBench"),
    ),
    splits={"test": Split(rows=191)},
    default_split="test",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "hub": ("question_id", "image", "text", "label", "category"),
            "VLMEvalKit TSV": ("index", "image", "question", "A ... D", "answer", "category"),
            "golden": ("id", "text", "choices", "label", "category"),
        },
        files=(
            "test_questions.jsonl, images in direct_attributes/ and relative_position/ (the authors')",
            "test-*.parquet or data/test-*.parquet (hub copies)",
            "VStarBench.tsv (VLMEvalKit)",
        ),
        count={"test": {"rows": 191}},
    ),
    prompts={
        "stored": Prompt(stored, "letter"),
        "lmms_eval": Prompt(lmms_eval, "letter"),
        "vlmevalkit": vlmevalkit,
    },
    default_prompt="stored",
    wanted=("letter",),
    prompt_evidence="the data set's own text; the report names no prompt",
    protocols={
        READER: reader_protocol(reader_letter(), "the published result seems to be one of generated answers"),
        "vlmevalkit": Protocol(
            score=inferred_score,
            label="vlmevalkit-rule",
            notes=("a reply that its matcher leaves undecided goes to a judge there, and is no_answer here",),
        ),
        "official": Protocol(
            score=score_likelihood,
            label="likelihood",
            notes=("the option of the smallest mean loss as the reply; nothing is generated, so it reads no answers",),
        ),
        "official-exact": Protocol(score=score_likelihood, label="likelihood", notes=("the same as official",)),
        "lmms-eval": Protocol(
            score=letter_score(lmms_letter, method="pattern"),
            notes=("a word's first letter counts: `Cannot` is a C, `A dog` an A", "its runs stop at 16 new tokens"),
        ),
    },
    default_protocol=READER,
    aggregate=aggregate,
    reference=Reference(benchmark="vstar"),
    groups=("thinking",),
    mini="vstar",
)
