"""Replies with the reading that a person would give: generated forms, cases met in the field, labels of people."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.scorers.answers import NOT_ANSWERABLE, Reading, Wanted, read
from tests.golden import rows

NAMES = {field.name for field in dataclasses.fields(Wanted)}
MISSED: dict[str, str] = {}  # id of a row that is read otherwise, and why; none today


def wanted(row: dict[str, Any]) -> Wanted:
    return Wanted(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in NAMES}
    )


def folded(value: object) -> str:
    return " ".join(str(value).split()).strip(" \"'“”").rstrip(".").casefold()


def agrees(reading: Reading, expected: Any, kind: str) -> bool:
    """Whether a reading is the expected one, compared as the README of the vectors says."""
    value = reading.value
    if expected is None or value is None:
        return expected is value
    if expected == "not_answerable":
        return value is NOT_ANSWERABLE
    if isinstance(expected, list):
        if not isinstance(value, tuple) or len(value) != len(expected):
            return False
        if kind in ("point", "box"):
            return all(abs(float(a) - b) <= 0.002 for a, b in zip(value, expected, strict=True))
        return all(folded(a) == folded(b) for a, b in zip(value, expected, strict=True))
    if isinstance(expected, int | float):
        return isinstance(value, int | float) and math.isclose(value, expected, rel_tol=1e-6)
    return folded(value) == folded(expected)


@pytest.mark.shared
def test_every_form_is_read_as_expected(shared: Path) -> None:
    total, agreed = Counter[str](), Counter[str]()
    for row in rows(shared / "answers" / "forms.jsonl"):
        reading = read(row["reply"], wanted(row))
        total[row["group"]] += 1
        agreed[row["group"]] += agrees(reading, row["expected"]["reading"], row["kind"]) or row["id"] in MISSED
    assert len(total) == 10
    assert agreed == total


@pytest.mark.shared
def test_no_refusal_no_hedge_and_no_double_answer_is_read(shared: Path) -> None:
    silent = [row for row in rows(shared / "answers" / "forms.jsonl") if row["expected"]["reading"] is None]
    assert len(silent) > 300
    assert [row["id"] for row in silent if read(row["reply"], wanted(row)).value is not None] == []


@pytest.mark.shared
def test_a_span_holds_what_was_read(shared: Path) -> None:
    for row in rows(shared / "answers" / "forms.jsonl"):
        reading = read(row["reply"], wanted(row))
        if reading.value is None:
            assert reading.span is None
            assert reading.reason
            continue
        assert reading.span is not None
        start, end = reading.span
        assert 0 <= start < end <= len(row["reply"]), row["id"]
        assert reading.how and not reading.reason
        if row["kind"] == "text" and isinstance(reading.value, str):
            assert folded(reading.value) in folded(row["reply"][start:end]), row["id"]
        again = read(row["reply"][start:end], wanted(row), split=False)
        if row["kind"] in ("letter", "yesno", "integer", "float") and not row["form"].startswith("tricky"):
            assert again.value == reading.value, row["id"]
