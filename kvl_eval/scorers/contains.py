"""Containment: an answer counts as given if its text stands anywhere in the response (OCRBench)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def contains(prediction: str, answers: Sequence[str], *, formula: bool) -> str | None:
    """The first of `answers` that stands in `prediction`; None where none does.

    Ordinary text is compared in lower case, stripped, each newline as one space; runs of spaces and carriage returns
    stay. A formula keeps its case and loses every space (U+0020 only: tabs and no-break spaces stay).

    Source: the loop of Yuliang-Liu/MultimodalOCR OCRBench/example.py @ 794c36d.
    """
    key = _formula_key if formula else _text_key
    return _first(prediction, answers, key)


def contains_half_width(prediction: str, answers: Sequence[str], *, formula: bool) -> str | None:
    """As `contains`, but full-width ASCII and U+3000 of ordinary text count as their half-width forms.

    Source: lmms-eval lmms_eval/tasks/ocrbench/utils.py since 2026-08 (#1415).
    """
    key = _formula_key if formula else _half_width_key
    return _first(prediction, answers, key)


def contains_lower_formula(prediction: str, answers: Sequence[str], *, formula: bool) -> str | None:
    """As `contains`, but a formula's prediction is lower-cased and its answers are not, so capitals never match.

    Source: lmms-eval lmms_eval/tasks/ocrbench/utils.py before 2026-04 (#1278); the fault is theirs.
    """
    key = _formula_key if formula else _text_key
    return _first(prediction.lower(), answers, key)


def _first(prediction: str, answers: Sequence[str], key: Callable[[str], str]) -> str | None:
    text = key(prediction)
    return next((answer for answer in answers if key(answer) in text), None)


def _text_key(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _half_width_key(text: str) -> str:
    return _text_key(text.translate(_HALF_WIDTH))


def _formula_key(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")
