"""MMLongBench-Doc under each protocol: what is extracted of a response, and its comparison with gold."""

from __future__ import annotations

from collections.abc import Callable

from kvl_eval.scorers.answers import read
from kvl_eval.scorers.document_answer import given_answer, wanted, written
from kvl_eval.scorers.reader_protocol import scored
from kvl_eval.types import MISSING, Extraction, Sample, Score

NOT_COMPARABLE = "not_comparable"  # a score's reason where the authors' comparison raises

Compare = Callable[[str, str, str], float]
"""(gold, short answer, type of gold) -> score. Raises: ValueError where the two cannot be compared."""


def document_scorer(compare: Compare, *, reads: bool) -> Callable[[Sample, str, Extraction], Score]:
    """A protocol's `score`: one that `reads` shortens a response by the reader, unless an extraction is given."""

    def score(one: Sample, answer: str, extraction: Extraction) -> Score:
        if not one.answers:
            return Score.not_scored("no_gold")
        kind = one.categories["answer_format"][0]
        if extraction is MISSING:
            if reads:
                return _read(one, answer, kind, compare)
            text, method = answer, "whole"
        elif isinstance(extraction, str):
            text, method = given_answer(extraction), "given"
        else:
            return Score.no_answer("nothing_extracted", method="given")
        return _compared(one, text, kind, method, compare)

    return score


def _read(one: Sample, answer: str, kind: str, compare: Compare) -> Score:
    reading = read(answer, wanted(one.question, kind), split=False)
    if reading.value is None:
        return scored(reading, None)
    return scored(reading, _compared(one, written(reading.value), kind, reading.how, compare))


def _compared(one: Sample, text: str, kind: str, method: str, compare: Compare) -> Score:
    try:
        value = compare(one.answers[0], text, kind)
    except ValueError as error:  # the authors' code raises, which its own driver counts as 0
        return Score(
            value=0.0,
            verdict="wrong",
            extracted=text,
            method=method,
            reason=NOT_COMPARABLE,
            detail={"error": str(error)},
        )
    if not text.strip() and value == 0:
        return Score.no_answer("empty", extracted=text, method=method)
    return Score.of(value, text, method)
