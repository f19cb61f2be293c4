"""MathVista's protocols: the authors' scripts, VLMEvalKit's and lmms-eval's comparison of an answer with the gold."""

from __future__ import annotations

from typing import Any

from kvl_eval.scorers.answers import Kind, Reading, Wanted, read
from kvl_eval.scorers.mathvista import Question, normalise, rule_extraction
from kvl_eval.scorers.multiple_choice import can_infer, lettered, letters
from kvl_eval.scorers.reader_protocol import scored
from kvl_eval.types import MISSING, Extraction, Sample, Score

_KINDS: dict[str, Kind] = {"integer": "integer", "float": "float", "list": "list"}
PREFETCH = "prefetch"  # `Score.method` of an answer that VLMEvalKit compares as it is, before it asks a judge


def score_official(one: Sample, answer: str, extraction: Extraction) -> Score:
    """The authors' scorer; the reader instead of GPT-4, and no credit for an empty answer."""
    if extraction is not MISSING:
        return _judged(one, extraction, "given", ignore_empty=True)
    missing = _without_gold(one)
    if missing is not None:
        return missing
    exact = rule_extraction(answer.strip(), question_of(one))
    if exact:
        return _judged(one, exact, "exact", ignore_empty=True)
    reading = read(answer, wanted(one), split=False)
    said = written(one, reading)
    return scored(reading, None if said is None else _judged(one, said, reading.how, ignore_empty=True))


def wanted(one: Sample) -> Wanted:
    """What a question asks the reader for."""
    if one.choices:
        return Wanted(kind="letter", options=one.choices, question=one.question)
    kind = _KINDS.get(one.columns.text("answer_type"), "text")
    return Wanted(kind=kind, items="float" if kind == "list" else "text", question=one.question)


def written(one: Sample, reading: Reading) -> str | None:
    """A reading as GPT-4 would have written it: a letter in brackets, a list as the data set writes gold."""
    value = reading.value
    if value is None:
        return None
    if isinstance(value, tuple):
        return str(list(value))
    return f"({value})" if one.choices else str(value)


def _stand_in(one: Sample, answer: str) -> tuple[str, str] | None:
    """What stands in for a judge: the extraction, by the authors' rules or the reader, and how it was found."""
    exact = rule_extraction(answer.strip(), question_of(one))
    if exact:
        return exact, "exact"
    reading = read(answer, wanted(one), split=False)
    said = written(one, reading)
    return None if said is None else (said, reading.how)


def score_exact(one: Sample, answer: str, extraction: Extraction) -> Score:
    """The authors' scripts letter for letter: where they ask GPT-4 and no extraction is given, nothing is scored."""
    found = rule_extraction(answer, question_of(one)) if extraction is MISSING else extraction
    if found is None and extraction is MISSING:
        return Score.not_scored("judge_missing")
    return _judged(one, found, "exact" if extraction is MISSING else "given")


def score_lmms_eval(one: Sample, answer: str, extraction: Extraction) -> Score:
    """As `official-exact` with the reader as its judge; a float question can never be right."""
    if extraction is MISSING:
        found = _stand_in(one, answer) or ("", "text")
        extraction, method = found
    else:
        method = "given"
    if one.columns.text("answer_type") == "float":
        return _without_gold(one) or Score.no_answer("precision_fault", method=method)
    return _judged(one, extraction, method)


def score_vlmevalkit(one: Sample, answer: str, extraction: Extraction) -> Score:
    """VLMEvalKit's comparison: of the answer itself first (its prefetch), then of the extraction."""
    missing = _without_gold(one)
    if missing is not None:
        return missing
    if extraction is not MISSING:
        return _compared(one, extraction, "given")
    prefetched = _compared(one, answer, PREFETCH)
    if prefetched.value == 1 or (prefetched.extracted is not None and one.choices):
        return prefetched
    found = _stand_in(one, answer)
    return Score.no_answer("nothing_extracted") if found is None else _compared(one, *found)


def _compared(one: Sample, text: Any, method: str) -> Score:
    gold, kind = one.answers[0], one.columns.text("answer_type")
    read: Any = None
    wanted: Any = gold
    if one.choices:
        read = can_infer(str(text), lettered(one.choices))
        wanted = letters(len(one.choices))[one.choices.index(gold)] if gold in one.choices else None
    elif kind != "list":  # a slip in the original compares the text "None" with a list's gold
        number = int if kind == "integer" else float
        try:
            read, wanted = number(text), number(gold)
        except (ValueError, TypeError):
            read = None
    if read is None:
        return Score.no_answer("nothing_extracted", method=method)
    return Score.of(float(read == wanted), read, method)


def _judged(one: Sample, extraction: Any, method: str, *, ignore_empty: bool = False) -> Score:
    missing = _without_gold(one)
    if missing is not None:
        return missing
    prediction = normalise(extraction, question_of(one), ignore_empty=ignore_empty)
    if prediction is None or (ignore_empty and extraction == ""):
        return Score.no_answer("empty" if extraction in ("", None) else "wrong_format", prediction, method)
    return Score.of(float(prediction == one.answers[0]), prediction, method)


def _without_gold(one: Sample) -> Score | None:
    return None if one.answers else Score.not_scored("no_gold")


def question_of(one: Sample) -> Question:
    """What the scorer needs of a sample's row."""
    row = one.columns
    return Question(
        question_type=row.text("question_type"),
        answer_type=row.text("answer_type"),
        choices=one.choices,
        precision=row.integer("precision"),
    )
