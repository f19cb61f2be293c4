"""Needle in a haystack: whether a reply holds the hidden number, by the rules of the design `kvl-niah 1`."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN

_GROUPED = re.compile(r"(?<![0-9])[0-9]{1,3}(?:([,_' ])[0-9]{3})(?:\1[0-9]{3})*(?![0-9])")
_DIGITS = re.compile(r"[0-9]+")
WRAPPING = string.whitespace + '*`"$'


def numbers(reply: str) -> list[str]:
    """All runs of ASCII digits in the answer; `1,234,567` is one run, as are groups set apart by `_`, `'` or a blank.

    The answer is what follows the first `◁/think▷`; a thought that was never closed leaves none.
    """
    return _DIGITS.findall(_GROUPED.sub(lambda found: "".join(_DIGITS.findall(found[0])), _answer(reply)))


def is_recalled(found: Sequence[str], value: str, distractors: Sequence[str] = ()) -> bool:
    """Whether `numbers` found the needle's value and none of the distractors'."""
    return value in found and not set(distractors) & set(found)


def is_exact(reply: str, value: str) -> bool:
    """Whether the answer is the value and nothing else but blanks, marks of emphasis and one final dot."""
    return _answer(reply).strip(WRAPPING).removesuffix(".") == value


def _answer(reply: str) -> str:
    before, closed, after = reply.partition(THINK_CLOSE)
    answer = after if closed else "" if THINK_OPEN in before else before
    return unicodedata.normalize("NFKC", answer)
