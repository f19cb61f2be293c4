"""Replies on which the readers of an earlier version failed, as far as one reading decides them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.scorers.answers import NOT_ANSWERABLE, Kind, Reading, Wanted, read
from tests.golden import rows

DOCUMENT_KINDS: dict[str, Kind] = {"int": "integer", "integer": "integer", "float": "float", "list": "list"}
MATHVISTA_KINDS: dict[str, Kind] = {"integer": "integer", "float": "float", "list": "list"}
NOT_READ = {"infovqa", "ocrbench", "mathvision", "mmvet"}  # the whole answer is the answer, or the authors' box
OF_THE_PROTOCOL = {
    "case-p-229", "case-p-230",  # options as numpy prints them: rows
    "case-p-243",  # the authors write (C)
    "case-p-257",  # `official` reads the article; a reader does not
}  # fmt: skip


def options(row: dict[str, Any]) -> tuple[str, ...]:
    for name in ("options", "choices", "candidates"):
        value = row.get(name)
        if isinstance(value, dict) and "nan" not in value:
            texts = tuple(str(text) for text in value.values())
            return texts if any(texts) else ()
        if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
            return tuple(value)
    return ()


def wanted(case: dict[str, Any]) -> Wanted | None:
    """What the case's task asks its reader for; None where no reader stands in that task."""
    task, row = case["task"], case["row"]
    choices = options(row)
    if task in NOT_READ:
        return None
    if task == "mmlongbench-doc":
        kind = DOCUMENT_KINDS.get(str(row.get("answer_format")).lower(), "text")
        return Wanted(kind=kind, unanswerable=True)
    if task.startswith("screenspot"):
        return Wanted(kind="point", size=(2000, 1000))
    if choices:
        return Wanted(kind="letter", options=choices)
    if task in ("mmstar", "mlvu"):
        listed = re.findall(r"\(([A-D])\) *([^\n]*)", row["question"])
        return Wanted(kind="letter", options=tuple(text for _, text in listed) or ("12", "15", "18", "21"))
    if task == "mathvista":
        return Wanted(kind=MATHVISTA_KINDS.get(row.get("answer_type", ""), "text"))
    if task == "vsi-bench":
        return Wanted(kind="float")
    if task == "mmvu":
        return Wanted(kind="text")
    if task.startswith("file:"):
        gold = row["answer"]
        return Wanted(kind="yesno" if gold in ("yes", "no") else "integer" if str(gold).isdigit() else "text")
    return None


def is_as_expected(case: dict[str, Any], reading: Reading, asked: Wanted) -> bool:
    value, extracted = reading.value, case["expected"]["extracted"]
    if case["expected"]["verdict"] == "no_answer":
        return value is None
    if extracted is None:
        return True
    if asked.kind == "letter" and isinstance(value, str) and not re.fullmatch("[A-Z]", str(extracted)):
        value = asked.options[ord(value) - ord("A")]
    if asked.kind == "list" and isinstance(value, tuple):
        return (
            str([int(item) if str(item).isdigit() else item for item in value]) == str(extracted)
            or list(value) == extracted
        )
    if isinstance(extracted, list):
        return isinstance(value, tuple) and all(
            abs(float(a) - b) < 0.002 for a, b in zip(value, extracted, strict=True)
        )
    if isinstance(value, int | float):
        return math.isclose(value, float(str(extracted).rstrip("%")), rel_tol=1e-6)
    said = "Not answerable" if value is NOT_ANSWERABLE else str(value)
    return said.casefold().rstrip(".") == str(extracted).casefold().rstrip(".")


@pytest.mark.shared
def test_every_reply_that_was_misread_is_read(shared: Path) -> None:
    count, failed = 0, []
    for index, case in enumerate(rows(shared / "answers" / "cases.jsonl")):
        name = case.get("id", f"case-p-{index:03d}")
        judged = case.get("response") is not None and case["expected"]["verdict"] in ("correct", "wrong", "no_answer")
        asked = wanted(case) if judged and name not in OF_THE_PROTOCOL else None
        if asked is None:
            continue
        count += 1
        if not is_as_expected(case, read(case["response"], asked), asked):
            failed.append((name, case["response"]))
    assert count > 230
    assert failed == []
