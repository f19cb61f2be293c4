"""RealWorldQA: 765 questions about photographs of streets and places, answered by a letter or by a word or number.

Data:    hub lmms-lab/RealWorldQA, split test; or VLMEvalKit's RealWorldQA.tsv (x.ai released data without code)
Prompt:  picture, then the question as it is, which asks for a letter itself
Metric:  mean over all questions; letters, numbers and words as the reader finds them, compared by equality
Source:  lmms-eval lmms_eval/tasks/realworldqa/utils.py @ 75571cf; VLMEvalKit vlmeval/dataset/image_mcq.py @ e8e78f0
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row RealWorldQA; the Thinking-2506 model card
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.answers import Kind, Reading, Wanted, read
from kvl_eval.scorers.option_letter import (
    UNDECIDED,
    LetterReader,
    inferred_letter,
    letter_score,
    ranked_letter,
    undecided,
)
from kvl_eval.scorers.reader_protocol import reader_letter, reader_score, without_answer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
    Prompt,
    Protocol,
    Reference,
    Split,
    Task,
    TaskData,
    TaskView,
    reader_protocol,
)
from kvl_eval.tasks.choices import row_id, split_options, vlmevalkit_text
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

REQUEST = "\nPlease answer directly with"
KEPT = ("index", "id", "row", "image_path", "question", "choices", *"ABCD", "answer", "picture")


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, pictures unopened. Raises: DataError."""
    tables = Tables(task="realworldqa", required=("question", "answer"), stems=("RealWorldQA",))
    yield from pictured_samples(read_rows(source, split, tables, reporter), _sample, source, reporter)


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    question, gold = row.text("question"), "".join(row.gold_text("answer")).strip()
    is_letter = gold.upper() in ("A", "B", "C", "D")
    choices = (row.options() or _split(question)[1]) if is_letter else ()
    return Sample(
        id=row_id(row, "index", "id"),
        question=question,
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=row.gold_letter("answer", options=choices) if is_letter else (gold,) if gold else (),
        categories={"answer": ("letter" if is_letter else "open",)},
        cluster=row.optional_text("picture"),
    )


def _split(question: str) -> tuple[str, tuple[str, ...]]:
    """The bare question, and the options that the hub's text holds, a line each."""
    return split_options(question.partition(REQUEST)[0], "\n{}. ")


sample = sample_maker(_sample)


# Prompts


def lmms_eval(one: Sample) -> list[Message]:
    """Picture and question, stripped."""
    return [Message.user(*one.media, one.question.strip())]


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's question, options and instruction; an open question alone."""
    return [Message.user(*one.media, vlmevalkit_text(one, _split(one.question)[0] if one.choices else one.question))]


# Scoring


def _wanted(one: Sample) -> Wanted:
    """What an open question's gold is: yes or no, a number, a text."""
    gold = one.answers[0]
    kind: Kind = "text"
    if gold.lower() in ("yes", "no"):
        kind = "yesno"
    elif read(gold, Wanted(kind="float"), split=False).how == "whole":
        kind = "float"
    return Wanted(kind=kind, question=one.question)


def _compared(one: Sample, reading: Reading) -> Score:
    gold = read(one.answers[0], _wanted(one), split=False).value if isinstance(reading.value, float | int) else None
    if gold is not None:
        return Score.of(reading.value == gold, reading.value)
    return Score.of(_bare(str(reading.value)) == _bare(one.answers[0]), reading.value)


def _bare(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .\"'")


_read_letter, _read_open = reader_letter(), reader_score(_wanted, _compared)


def score_reader(one: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """A letter, a number or a word as the reader finds it; open answers must be equal, numbers as numbers."""
    return (_read_letter if one.categories["answer"] == ("letter",) else _read_open)(one, answer, extraction)


def score(letter: LetterReader, one: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """A letter as `letter` finds it; any other answer by equality of the whole reply."""
    if one.categories["answer"] == ("letter",):
        return letter_score(letter, unread=undecided)(one, answer, extraction)
    if not one.answers:
        return Score.not_scored("no_gold")
    text = answer if extraction is MISSING else extraction
    found = text.lower().strip().rstrip(".") if isinstance(text, str) else ""
    if not found:
        return Score.no_answer("empty", found)
    return Score.of(found == one.answers[0].lower(), found, "whole" if extraction is MISSING else "given")


def matched_letter(one: Sample, reply: str) -> str | None:
    """VLMEvalKit's letter where the options' texts are known, else lmms-eval's."""
    return inferred_letter(one, reply) if one.choices else ranked_letter(reply, "ABCD")


def _lmms_letter(one: Sample, reply: str) -> str | None:
    del one
    return ranked_letter(reply, "ABCD")


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean over all questions; and how many replies to choices the matcher left undecided."""
    plainly = summarise(scored)
    if plainly.score is None:
        return plainly
    open_ones = len(without_answer(scored, None if protocol == READER else UNDECIDED))
    official = {"exact_match" if protocol == "lmms-eval" else "Overall": str(plainly.score)}
    return summarise(scored, official | ({"undecided replies": str(open_ones)} if protocol != "lmms-eval" else {}))


_EXACT = "an open answer must be equal: `zero` is not 0, `35 mph` not 35, a bold or boxed answer is wrong"
_RULE = "a reply that VLMEvalKit's matcher leaves undecided goes to a judge there, and is no_answer here"

TASK = Task(
    name="realworldqa",
    title="RealWorldQA",
    group_title="General",
    doc=__doc__ or "",
    repos=("lmms-lab/RealWorldQA", "lmms-lab-encoder/RealWorldQA"),
    licence="CC BY-ND 4.0 (as remembered; not read on the card)",
    modality="image",
    access="open",
    splits={"test": Split(rows=765)},
    default_split="test",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "hub": ("image_path", "image", "question", "answer"),
            "VLMEvalKit TSV": ("index", "image", "question", "A ... D", "answer"),
            "golden": ("id", "question", "choices", "answer"),
        },
        files=("test-*.parquet or data/test-*.parquet (hub copy)", "RealWorldQA.tsv (VLMEvalKit)"),
        count={"test": {"rows": 765}},
    ),
    prompts={"lmms_eval": Prompt(lmms_eval, "short"), "vlmevalkit": vlmevalkit},
    default_prompt="lmms_eval",
    wanted=("letter", "yesno", "float", "text"),
    prompt_evidence="the data set's own text; the report names no prompt",
    protocols={
        "official": Protocol(
            score=partial(score, matched_letter),
            label="vlmevalkit-rule",
            notes=("x.ai published no scorer: letters by VLMEvalKit, open answers by lmms-eval", _RULE, _EXACT),
        ),
        "official-exact": Protocol(
            score=partial(score, matched_letter), notes=("the same as official: there is no official script",)
        ),
        "vlmevalkit": Protocol(
            score=partial(score, inferred_letter),
            label="vlmevalkit-rule",
            notes=(_RULE, "its table has letters alone", _EXACT),
        ),
        "lmms-eval": Protocol(
            score=partial(score, _lmms_letter),
            notes=(_EXACT, "`A look at the sign` is an A, and `B, not C` a C", "its runs stop at 16 new tokens"),
        ),
        READER: reader_protocol(
            score_reader, "open answers: a number, yes or no, or a text; numbers are equal as numbers"
        ),
    },
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    aggregate=aggregate,
    reference=Reference(benchmark="realworldqa"),
    groups=("table3",),
    mini="realworldqa",
    max_new_tokens=2048,
)
