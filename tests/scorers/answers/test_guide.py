"""What `describe` tells of extraction is what the reader does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.answers import generated_accuracy
from kvl_eval.scorers.answers import HOWS, REASONS, Kind, Wanted, read
from kvl_eval.scorers.answers.accuracy import GENERATED
from kvl_eval.scorers.answers.forms import ANSWER_FORMS
from kvl_eval.scorers.answers.guide import (
    EXAMPLES,
    FORMS,
    KINDS,
    NO_ANSWER,
    OPTIONS,
    PLACES,
    REASON_TEXTS,
    UNANSWERABLE,
    Example,
)


def wanted(kind: Kind) -> Wanted:
    return Wanted(kind=kind, options=OPTIONS if kind == "letter" else ())


def rows() -> list[tuple[Kind, str, Example]]:
    return [(kind, place, example) for kind, places in EXAMPLES.items() for place, example in places.items()]


@pytest.mark.parametrize(("kind", "place", "example"), rows())
def test_an_example_of_a_place_is_extracted_there(kind: Kind, place: str, example: Example) -> None:
    assert "\n" not in example.answer
    reading = read(example.answer, wanted(kind))
    value = ", ".join(map(str, reading.value)) if isinstance(reading.value, tuple) else str(reading.value)
    assert value == example.extracted
    assert reading.how in PLACES[place][1]


@pytest.mark.parametrize(
    ("kind", "example"), [(kind, example) for kind, examples in NO_ANSWER.items() for example in examples]
)
def test_an_example_of_no_answer_has_its_reason(kind: Kind, example: Example) -> None:
    reading = read(example.answer, wanted(kind))
    assert (reading.value, reading.reason) == (None, example.extracted)


@pytest.mark.parametrize("kind", ["integer", "float", "text", "list", "point"])
def test_that_a_question_has_no_answer_is_one_where_that_may_be(kind: Kind) -> None:
    reading = read(UNANSWERABLE.answer, replace(wanted(kind), unanswerable=True))
    assert str(reading.value) == UNANSWERABLE.extracted
    assert read(UNANSWERABLE.answer, wanted(kind)).value is None


def test_everything_has_a_text() -> None:
    assert tuple(FORMS) == ANSWER_FORMS
    assert set(REASON_TEXTS) == set(REASONS)
    assert [how for _, hows in PLACES.values() for how in hows] == list(HOWS)
    assert set(KINDS) == set(GENERATED)
    assert set(EXAMPLES) == set(NO_ANSWER) and set(EXAMPLES) <= set(KINDS)


@pytest.mark.shared
def test_recorded_accuracy_is_what_the_vectors_give(shared: Path) -> None:
    assert generated_accuracy(shared) == GENERATED
