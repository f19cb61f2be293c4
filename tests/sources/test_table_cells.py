"""What a cell says: the letter of the right option, one of several known values, a list in any writing."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.cells import ANSWER_FORMATS, QUESTION_TYPES, Spellings, bare_options, list_cell, spelled
from kvl_eval.errors import DataError
from kvl_eval.sources import gold_letter

FOUR = ("12", "15", "18", "21")
TEXTS = st.lists(st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1).filter(str.strip), max_size=6)


@pytest.mark.parametrize(
    ("known", "name", "writings"),
    [
        (QUESTION_TYPES, "multiple-choice", "multiple-choice multiple_choice multi_choice multi-choice mcq choice"),
        (QUESTION_TYPES, "open", "open open-ended free_form short-answer"),
        (ANSWER_FORMATS, "Int", "Int Integer"),
        (ANSWER_FORMATS, "Float", "Float"),
        (ANSWER_FORMATS, "Str", "Str String Text"),
        (ANSWER_FORMATS, "List", "List"),
        (ANSWER_FORMATS, "None", "None Not_answerable"),
    ],
)
def test_a_known_value_is_spelled_in_many_ways(known: Spellings, name: str, writings: str) -> None:
    for writing in writings.split():
        for mark in "-_ ":
            text = writing.replace("-", mark).replace("_", mark)
            assert {spelled(text, known), spelled(text.upper(), known), spelled(f" {text} ", known)} == {name}, text


@pytest.mark.parametrize("value", ["", " ", "essay", "Number", None, math.nan, 3, ["Int"]])
def test_any_other_value_is_unknown(value: object) -> None:
    assert spelled(value, QUESTION_TYPES) is None
    assert spelled(value, ANSWER_FORMATS) is None


@pytest.mark.parametrize("value", ["C", "c", "(C)", "(c)", "[C]", "C.", "C)", " (C). ", "18", " 18 "])
def test_a_letter_or_a_text_names_the_option(value: str) -> None:
    assert gold_letter(value, FOUR, "row 1") == "C"


@pytest.mark.parametrize("value", [2, 2.0, "2", "2.0", " 2 "])
def test_an_index_counts_from_zero_where_the_layout_has_one(value: object) -> None:
    assert gold_letter(value, FOUR, "row 1", is_index=True) == "C"
    with pytest.raises(DataError):
        gold_letter(value, FOUR, "row 1")


@pytest.mark.parametrize("value", ["E", "", " ", "CD", "17", 4, -1, 1.5, "4", True, ["C"], {"A": 1}])
@pytest.mark.parametrize("is_index", [True, False])
def test_anything_else_is_no_gold(value: object, is_index: bool) -> None:
    with pytest.raises(DataError) as caught:
        gold_letter(value, FOUR, "t.json row 1, id 7", is_index=is_index)
    assert (caught.value.code, caught.value.where) == ("data.field", "t.json row 1, id 7")


@pytest.mark.parametrize("value", [None, math.nan])
def test_missing_gold_is_none(value: object) -> None:
    assert gold_letter(value, FOUR, "row 1") is None


@given(TEXTS)
def test_a_list_is_the_same_in_every_writing(texts: list[str]) -> None:
    assert list_cell(json.dumps(texts)) == list_cell(repr(texts)) == list_cell(tuple(texts)) == texts
    if len(texts) > 1:
        assert list_cell(f"[{' '.join(map(repr, texts))}]") == texts


@given(st.text() | st.text("[]{}()'\", 01a\n"))
def test_no_text_breaks_the_reader_of_lists(text: str) -> None:
    cell = list_cell(text)
    assert cell is None or isinstance(cell, list | dict)


def test_letters_go_only_where_all_have_theirs_in_order() -> None:
    assert bare_options(["A. red", "(B) blue", "c) green"]) == ("red", "blue", "green")
    for options in (
        ["A. red", "blue"],
        ["B. red", "A. blue"],
        ["A. red"],
        ["A", "B"],
        ["(A)", "(B)"],
        ["A is", "B is"],
    ):
        assert bare_options(options) == tuple(options)
