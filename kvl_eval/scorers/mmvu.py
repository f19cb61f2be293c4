"""MMVU's rules: lmms-eval's for choices and for open answers. Time is linear in the reply.

Source: EvolvingLMMs-Lab/lmms-eval lmms_eval/tasks/mmvu/utils.py @ 75571cf.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

_SUPERSCRIPTS = {sign: f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_LETTER = re.compile(r"\b[A-E]\b")
_NUMBER = re.compile(r"\d++\.?\d*+")
_ORDER = re.compile(r"[oO]\([^)(]*+\)")


def choice_correct(reply: str, gold: str, choices: Mapping[str, str]) -> bool:
    """lmms-eval's rule for choices: the gold letter or its option anywhere, so that a list of all letters is right."""
    if re.search(rf"\b{re.escape(gold)}\b", reply, re.IGNORECASE):
        return True
    text, option = reply.lower(), choices.get(gold, "").strip().lower()
    if option and option in text:
        return True
    words = [word.strip(string.punctuation) for word in option.split()]
    return gold.lower() in text and any(len(word) > 2 and word in text for word in words)


def logged_letter(reply: str) -> str | None:
    """The first capital A to E that stands alone: what lmms-eval's log shows, while its verdict knows no case."""
    found = _LETTER.search(reply)
    return None if found is None else found[0]


def cleaned(text: str) -> str:
    """Stripped, small letters, raised digits as `^n`, blanks as one."""
    text = text.strip().lower()
    for sign, plain in _SUPERSCRIPTS.items():
        text = text.replace(sign, plain)
    return " ".join(text.split())


def open_correct(reply: str, gold: str) -> bool:
    """Whether an open answer is right by lmms-eval's rule.

    Equal; gold in the reply, or the reply in gold; first numbers closer than 0.01; every longer word of a gold answer
    of two to five words; equal orders `O(...)`.
    """
    found, wanted = cleaned(reply), cleaned(gold)
    return (
        found == wanted
        or wanted in found
        or found in wanted
        or _numbers_agree(found, wanted)
        or _words_agree(found, wanted)
        or _orders_agree(found, wanted)
    )


def _numbers_agree(found: str, wanted: str) -> bool:
    one, other = _NUMBER.search(found), _NUMBER.search(wanted)
    return one is not None and other is not None and abs(float(one[0]) - float(other[0])) < 0.01


def _words_agree(found: str, wanted: str) -> bool:
    words = wanted.split()
    if not 2 <= len(words) <= 5:
        return False
    long = [word.strip(string.punctuation) for word in words]
    long = [word for word in long if len(word) > 2]
    spoken = {word.strip(string.punctuation) for word in found.split()}
    return all(word in spoken for word in long)


def _orders_agree(found: str, wanted: str) -> bool:
    one, other = _ORDER.search(found), _ORDER.search(wanted)
    return one is not None and other is not None and one[0].lower() == other[0].lower()
