"""Whether an open answer, as the reader read it, is gold: a text, a number with its unit, or an abbreviation of it."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers import Reading, Wanted, read

CLOSE = 0.01
_RAISED = {ord(sign): f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_HALVES = re.compile(r"([^()]+) \(([^()]+)\)")
_NEGATED = re.compile(r"(?:\b(?:not|no|never|nor|neither|without|cannot)|n't)\b(?! doubt)[^.;,:!?\n]*\Z")
_BUT = re.compile(r"\bbut\b")


def same_open_answer(said: str, gold: str) -> bool:
    """Whether a text says the same as gold.

    Equal after cleaning; or a number equal to gold's within 0.01 or after rounding to gold's decimals, in the same
    unit; or gold, its abbreviation or its long form stands in the text as whole words, not negated.
    """
    text, wanted = _cleaned(said), _cleaned(gold)
    if text == wanted:
        return True
    number = _number(gold)
    if number is not None:
        return _same_number(said, gold, number)
    halves = _HALVES.fullmatch(wanted)
    return any(_holds(text, form) for form in (wanted, *(halves.groups() if halves else ())))


def _cleaned(text: str) -> str:
    """Small letters, raised digits as `^n`, blanks as one, without a full stop at the end."""
    return " ".join(text.lower().translate(_RAISED).split()).removesuffix(".")


def _number(text: str) -> Reading | None:
    """The number that a text is, with its unit; None where it is none."""
    reading = read(text, Wanted(kind="float"), split=False)
    if not isinstance(reading.value, int | float) or reading.how != "whole":
        return None
    return reading


def _same_number(said: str, gold: str, wanted: Reading) -> bool:
    reading = read(said, Wanted(kind="float"), split=False)
    value, right = reading.value, wanted.value
    if not isinstance(value, int | float) or not isinstance(right, int | float) or reading.span is None:
        return False
    if _NEGATED.search(_BUT.sub(".", said[: reading.span[0]].lower())):
        return False
    decimals = re.search(r"\.(\d+)", gold)
    is_near = abs(value - right) < CLOSE or round(value, len(decimals[1]) if decimals else 0) == right
    return is_near and _has_unit(said, reading, _unit(gold, wanted))


def _unit(gold: str, reading: Reading) -> str:
    """The unit of gold without blanks: what follows its number, or stands before it."""
    after = gold[reading.span[1] :] if reading.span else ""
    return re.sub(r"[\s$]", "", _cleaned(after)) or _cleaned(reading.unit)


def _has_unit(said: str, reading: Reading, unit: str) -> bool:
    """Whether the number read has a unit, which may be written with blanks."""
    if not unit or _cleaned(reading.unit) == unit:
        return True
    after = _cleaned(said[reading.span[1] :]) if reading.span else ""
    return re.match(r"\s*".join(map(re.escape, unit)) + r"(?!\s*[\^/]|\w)", after) is not None


def _holds(text: str, wanted: str) -> bool:
    """Whether a text holds another as whole words, and does not deny it before."""
    if not wanted:
        return False
    for match in re.finditer(rf"(?<![\w.,^/-]){re.escape(wanted)}(?![\w^/]|[.,-]\w)", text):
        if not _NEGATED.search(_BUT.sub(".", text[: match.start()])):
            return True
    return False
