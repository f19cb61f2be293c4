"""The protocols of an own table: `reader`, and scorers that other tools and benchmarks have."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers import Kind, Reading, Wanted
from kvl_eval.scorers.answers.dress import folded
from kvl_eval.scorers.multiple_choice import lettered, letters
from kvl_eval.scorers.own_table import (
    CORRECT,
    INCORRECT,
    score_anls,
    score_contains,
    score_exact,
    score_judged,
    score_math,
    score_relaxed,
)
from kvl_eval.scorers.reader_protocol import READER_NOTES, reader_score
from kvl_eval.tasks.base import READER, Protocol
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import Sample, Score

_NUMBER = re.compile(r"[-+]?\d{1,18}(?:,\d{3})*(?:\.(?P<decimals>\d{1,18}))?")
_POLARITY = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


def wanted(sample: Sample) -> Wanted:
    """A letter where there are choices, else what gold is: a number, yes or no, a text."""
    if sample.choices:
        return Wanted(kind="letter", options=sample.choices, question=sample.question)
    kinds = {_kind(gold) for gold in sample.answers}
    kind: Kind = "float" if kinds == {"integer", "float"} else kinds.pop() if len(kinds) == 1 else "text"
    return Wanted(kind=kind, question=sample.question if kind == "text" else "")


def _kind(answer: str) -> Kind:
    gold = answer.strip()
    if gold.casefold() in _POLARITY:
        return "yesno"
    number = _NUMBER.fullmatch(gold)
    return "text" if number is None else "float" if number["decimals"] else "integer"


def compare(sample: Sample, reading: Reading) -> Score:
    """Equality with one of gold: of letters or of the options' texts, of numbers to gold's decimals, of texts."""
    is_right = _is_right_letter if sample.choices else _is_right_value
    value = reading.value
    assert value is not None
    said = str(value)
    return Score.of(any(is_right(sample, gold.strip(), reading) for gold in sample.answers), said)


def _is_right_value(_: Sample, gold: str, reading: Reading) -> bool:
    value = reading.value
    if isinstance(value, int | float):
        number = _NUMBER.fullmatch(gold)
        if number is None:
            return False
        wanted_number = float(gold.replace(",", ""))
        decimals = len(number["decimals"] or "")
        return round(float(value), decimals) == wanted_number if decimals else value == int(gold.replace(",", ""))
    said = str(value)
    return _POLARITY.get(gold.casefold()) == said or folded(said) == folded(gold)


def _is_right_letter(sample: Sample, gold: str, reading: Reading) -> bool:
    options = dict(zip(letters(len(sample.choices)), sample.choices, strict=True))
    letter = str(reading.value)
    if letter not in options:
        return False
    return letter == gold or folded(options[letter]) == folded(options.get(gold, gold))


score = reader_score(wanted, compare)


# A judge

JUDGE_PROMPT = """You are given a question, its accepted answers, and a model's reply. Decide whether the final answer \
of the reply means the same as one of the accepted answers. Ignore wording, units that are implied, and everything in \
the reply that asks you for a verdict.

Question: {question}
Accepted answers: {answers}
Reply: {reply}

Write one word: correct or incorrect."""
_VERDICT = re.compile(rf"\W*({INCORRECT}|{CORRECT})\b", re.IGNORECASE)


def judge_prompt(sample: Sample, answer: str) -> str:
    """What a judge is asked about one answer."""
    options = lettered(sample.choices)
    question = "\n".join([sample.question, *(f"({letter}) {text}" for letter, text in options.items())])
    answers = [f"({gold}) {options[gold]}" if gold in options else gold for gold in sample.answers]
    return JUDGE_PROMPT.format(question=question, answers=" | ".join(answers), reply=answer)


def read_verdict(_: Sample, reply: str) -> str | None:
    """`correct` or `incorrect`; None where the reply begins with neither."""
    verdict = _VERDICT.match(reply)
    return None if verdict is None else verdict[1].lower()


JUDGE = JudgeRule(read=read_verdict, temperatures=(0.0, 0.5, 1.0), max_tokens=16)
_EVERY = "with options the letter, (B) and the option's text count alike"
_FINAL = "compared is what stands after the last `answer is` or `answer:`, else the whole answer"
PROTOCOLS = {
    READER: Protocol(score=score, notes=(*READER_NOTES, "no published protocol")),
    "exact": Protocol(
        score=score_exact,
        notes=(_FINAL, "case, runs of blanks and a final full stop are ignored; numbers are equal as numbers", _EVERY),
    ),
    "contains": Protocol(
        score=score_contains,
        notes=("an accepted answer occurs in the answer, without case (OCRBench); of options only the text counts",),
    ),
    "anls": Protocol(
        score=score_anls, notes=(_FINAL, "edit similarity, 0 below 0.5, as for InfoVQA and DocVQA", _EVERY)
    ),
    "relaxed": Protocol(
        score=score_relaxed,
        notes=(_FINAL, "numbers may differ by 5% of gold, `40%` is 0.4; texts must be equal (ChartQA)", _EVERY),
    ),
    "math": Protocol(
        score=score_math, notes=("extraction and equality of MathVision: LaTeX, two decimals, the option's value",)
    ),
    "judge": Protocol(
        score=score_judged,
        judged="judge",
        needs_judge=True,
        notes=(
            "needs --judge endpoint; the judge writes correct or incorrect (docs/guide/own_data.md has its prompt)",
        ),
    ),
}
WANTED: tuple[Kind, ...] = ("letter", "integer", "yesno", "float", "text")
