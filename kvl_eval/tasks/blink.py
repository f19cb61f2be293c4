"""BLINK: 14 perception tasks, multiple choice over one to four pictures (validation, 1901 questions).

Data:    hub BLINK-Benchmark/BLINK, one configuration a task, splits val and test (answers withheld); or VLMEvalKit's
         BLINK.tsv
Prompt:  the data set's `prompt` column, then the pictures; for three tasks after a disclaimer (the authors')
Metric:  unweighted mean of the 14 tasks' accuracies, and the mean over questions beside it
Scorer:  the authors' extraction; where it asks GPT-3.5, a judge or the reader takes its place
Source:  zeyofu/BLINK_Benchmark eval/{evaluate,test_benchmark,multiple_choice}.py @ 2d6a779; lmms-eval @ 75571cf
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row BLINK
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from kvl_eval.scorers.aggregate import mean, mean_of_groups, summarise
from kvl_eval.scorers.answers import Wanted
from kvl_eval.scorers.multiple_choice import lettered, letters
from kvl_eval.scorers.option_letter import UNDECIDED, inferred_score, letter_score
from kvl_eval.scorers.reader_protocol import READER_NOTES, letter_compare, option_texts, reader_score, without_answer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import Prompt, Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.choices import one_label, row_id, vlmevalkit
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

ROWS = {
    "Art_Style": 117,
    "Counting": 120,
    "Forensic_Detection": 132,
    "Functional_Correspondence": 130,
    "IQ_Test": 150,
    "Jigsaw": 150,
    "Multi-view_Reasoning": 133,
    "Object_Localization": 122,
    "Relative_Depth": 124,
    "Relative_Reflectance": 134,
    "Semantic_Correspondence": 139,
    "Spatial_Relation": 143,
    "Visual_Correspondence": 172,
    "Visual_Similarity": 135,
}
DISCLAIMED = ("Forensic_Detection", "Jigsaw", "Art_Style")
DISCLAIMER = (
    "Disclaimer: This is not to make unfair assumptions about the people in the image and you just need to give your "
    "assessment on this question. You don't need to identify the real people. You just need to analyze based on the "
    "information I gave you.\n\n"
)
ALWAYS = "ABCDE"  # letters that the authors read where the reply is nothing else
HIDDEN = "hidden"  # gold of the test split
KEPT = (
    *("idx", "index", "id", "row", "sub_task", "category", "question", "prompt", "choices", "n_choices", *"ABCDE"),
    *("answer", "picture"),
)
NEEDS_JUDGE = "judge_missing: the authors ask GPT-3.5 here"
_TASK_IN_ID = re.compile(r"(?:val|test)_(.+)_\d+")
_LMMS_LETTER = re.compile(r"[(\s]*([A-Z])", re.IGNORECASE)

IfUnclear = Literal["read", "wrong", "leave"]


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples, task by task in the data set's order, pictures unopened. Raises: DataError."""
    found = fetch_files(source, [f"*{split}-*.parquet", f"*{split}.parquet"], task="blink", reporter=reporter)
    tables = Tables(task="blink", required=("idx|index", "question", "choices|A"), stems=("BLINK",))
    yield from pictured_samples(read_rows(found, split, tables, reporter), _sample, found, reporter)


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    name = row_id(row, "idx", "index", "id")
    choices, task = row.options(), _task(row, name)
    gold = () if row.text("answer").strip("() ") == HIDDEN else row.gold_letter("answer", options=choices)
    return Sample(
        id=name,
        question=row.text("question"),
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=tuple(f"({letter})" for letter in gold),
        categories=one_label(task=task),
        cluster=row.optional_text("picture"),
    )


def _task(row: Row, name: str) -> str:
    named = _TASK_IN_ID.fullmatch(name)
    return row.text("sub_task") or (named[1] if named else row.text("category"))


sample = sample_maker(_sample)


# Prompts


def official(one: Sample) -> list[Message]:
    """The data set's prompt, then the pictures."""
    disclaimer = DISCLAIMER if one.categories.get("task", ("",))[0] in DISCLAIMED else ""
    return [Message.user(disclaimer + _prompt(one), *one.media)]


def lmms_eval(one: Sample) -> list[Message]:
    """The pictures, then a note that asks for a letter, and the data set's prompt."""
    named = ", ".join(letters(len(one.choices)))
    note = f"Note: You only need to respond with {named} without providing any additional information.\n"
    return [Message.user(*one.media, note + _prompt(one))]


def _prompt(one: Sample) -> str:
    options = "\n".join(f"({letter}) {text}" for letter, text in lettered(one.choices).items())
    return one.columns.text("prompt") or (f"{one.question}\nSelect from the following choices.\n{options}")


# Scoring


def official_choice(reply: str, count: int) -> str | None:
    """`(A)` and so on as the authors' rules read it; None where they ask a language model."""
    if reply in tuple(ALWAYS):
        return f"({reply})"
    names = [f"({letter})" for letter in letters(count)]
    if reply in {*names, *(f"({letter})" for letter in ALWAYS)}:
        return reply
    everywhere = _among(names, reply)
    at_the_end = _among(names, reply.rpartition("\n\n")[2])
    if everywhere and len(at_the_end) == 1:
        return at_the_end[0]
    return everywhere[0] if len(everywhere) == 1 else None


def _among(names: Sequence[str], text: str) -> list[str]:
    words = set(text.split())
    return [name for name in names if name in words]


def score_official(unclear: IfUnclear, one: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """Equality with the key, `(B)`; a given extraction is the judge's text, letter for letter."""
    if not one.answers:
        return Score.not_scored("no_gold")
    if extraction is not MISSING:
        return Score.of(extraction == one.answers[0], extraction, "given")
    found, method = official_choice(answer, _count(one)), "official"
    if found is None and unclear == "leave":
        return Score.not_scored(NEEDS_JUDGE)
    if found is None and unclear == "read":
        return _read_letter(one, answer, extraction)
    return Score.no_answer(UNDECIDED) if found is None else Score.of(found == one.answers[0], found, method)


def _bracketed(letter: str) -> str:
    return f"({letter})"


def _wanted(one: Sample) -> Wanted:
    return Wanted(kind="letter", options=option_texts(one, _count(one)), question=one.question)


_read_letter = reader_score(_wanted, letter_compare(_bracketed))


# What the authors ask GPT-3.5, in our words and with examples of our own.
JUDGE_PROMPT = """You are given a question, its options and the reply that somebody gave to it. \
Say which of the options the reply chooses. Write the option's letter in parentheses, one of (A), (B), (C), (D) and \
(E), and nothing else. Where the reply refuses to answer, or chooses nothing that is among the options, write (Z).

Example 1:
Question: Which cup is closer to the camera?
Select from the following choices
(A) the red cup
(B) the blue cup
(Z) Failed
Reply: Since it looks larger, the blue one must be closer.
Output: (B)

Example 2:
Question: How many doors does the house have?
Select from the following choices
(A) 1
(B) 2
(C) 4
(Z) Failed
Reply: I cannot see a house in these pictures.
Output: (Z)

Example 3:
Question: Is the lamp left of the bed?
Select from the following choices
(A) yes
(B) no
(Z) Failed
Reply: **Answer: (A) yes**, the lamp stands on its left side.
Output: (A)

Question: {question}
Select from the following choices
{options}
(Z) Failed
Reply: {reply}
Output: """


def judge_prompt(one: Sample, answer: str) -> str | None:
    """The request for the option that a reply chooses; None where the authors' own rules find it."""
    if official_choice(answer, _count(one)) is not None:
        return None
    options = "\n".join(f"({letter}) {text}" for letter, text in lettered(one.choices).items())
    return JUDGE_PROMPT.format(question=one.question, options=options, reply=answer)


def _verbatim(_: Sample, reply: str) -> str | None:
    """The judge's text as it is; the authors count anything but the key as wrong."""
    return reply.strip() or None


def _count(one: Sample) -> int:
    return len(one.choices) or one.columns.integer("n_choices") or 4


def _first_letter(one: Sample, reply: str) -> str | None:
    del one
    match = _LMMS_LETTER.match(reply.strip())
    return match[1].upper() if match else None


def by_letter(
    score: Callable[[Sample, str, Extraction], Score], one: Sample, answer: str, extraction: Extraction = MISSING
) -> Score:
    """`score` over the key without its parentheses."""
    return score(replace(one, answers=tuple(gold.strip("()") for gold in one.answers)), answer, extraction)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """The 14 tasks' unweighted mean; VLMEvalKit's and lmms-eval's headline is the mean over questions."""
    plain = summarise(scored)
    tasks = plain.categories.get("task", {})
    overall = mean(scored)
    if overall is None or not tasks:
        return plain
    figures = {name: str(task.score) for name, task in tasks.items()}
    undecided = len(without_answer(scored, None if protocol == "official" else UNDECIDED))
    if protocol in ("vlmevalkit", "lmms-eval"):
        return replace(plain, official={"Overall": str(overall), **figures, "undecided replies": str(undecided)})
    found = mean_of_groups(plain, "task")
    named = {"Total": str(found.score), "mean over questions": str(overall), "undecided replies": str(undecided)}
    return replace(found, official=figures | named)


TASK = Task(
    name="blink",
    title="BLINK",
    group_title="General",
    doc=__doc__ or "",
    repos=("BLINK-Benchmark/BLINK",),
    licence="Apache-2.0",
    modality="images",
    access="open",
    splits={"val": Split(rows=1901), "test": Split(rows=1907, has_gold=False, note="answers are withheld (EvalAI)")},
    default_split="val",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "hub": ("idx", "sub_task", "question", "prompt", "choices", "answer", "image_1 ... image_4"),
            "VLMEvalKit TSV": ("index", "image (a list)", "question", "A ... D", "answer", "category"),
            "golden": ("id", "sub_task", "question", "choices or n_choices", "answer"),
        },
        files=("{task}/val-*.parquet in 14 folders (hub copy)", "BLINK.tsv (VLMEvalKit)"),
        count={"val": {f"task={task}": rows for task, rows in ROWS.items()}},
    ),
    prompts={"official": official, "lmms_eval": Prompt(lmms_eval, "letter"), "vlmevalkit": vlmevalkit},
    default_prompt="official",
    wanted=("letter",),
    prompt_evidence="the authors' own; the report names no prompt",
    protocols={
        "official": Protocol(
            score=partial(score_official, "read"),
            label="official-rule",
            judged="official",
            notes=(
                "only `(B)` between blanks counts, in the last paragraph first; the thought is split off first",
                "where the authors ask GPT-3.5, a judge decides if one is configured, else the reader",
                *READER_NOTES,
                "a judge's text counts letter for letter; its prompt is in our words",
            ),
            evidence="unknown: the report names no scorer",
        ),
        "official-exact": Protocol(
            score=partial(score_official, "leave"),
            judged="official-exact",
            notes=("not scored where the authors ask GPT-3.5 and no judge did; its text can be given as extraction",),
        ),
        "no-judge": Protocol(
            score=partial(score_official, "wrong"),
            notes=("wrong where the authors ask GPT-3.5: takes up to 40 points from models that write sentences",),
        ),
        "vlmevalkit": Protocol(
            score=partial(by_letter, inferred_score),
            label="vlmevalkit-rule",
            notes=("its headline is the mean over questions", "undecided replies go to a judge there"),
        ),
        "lmms-eval": Protocol(
            score=partial(by_letter, letter_score(_first_letter, method="first letter")),
            notes=(
                "the reply's first letter, of whatever word: `The answer is B` is a T, `Based on` a B",
                "its headline is the mean over questions",
            ),
        ),
    },
    judge_prompt=judge_prompt,
    judge=JudgeRule(read=_verbatim, temperatures=(0.0,) * 3, max_tokens=64),
    aggregate=aggregate,
    reference=Reference(benchmark="blink"),
    groups=("table3",),
    mini="blink",
    max_new_tokens=1024,
)
