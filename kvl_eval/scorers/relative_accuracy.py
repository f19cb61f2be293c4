"""Mean relative accuracy, and the numbers and letters that VSI-Bench's scripts read from a reply.

Sources: vision-x-nyu/thinking-in-space lmms_eval/tasks/vsibench/utils.py @ 51e089c3; EvolvingLMMs-Lab/lmms-eval
lmms_eval/tasks/vsibench/utils.py @ 75571cfe. Time is linear in the reply.
"""

from __future__ import annotations

import re

_STEP = (0.95 - 0.5) / 9
TOLERANCES = tuple(1 - (0.95 if k == 9 else 0.5 + k * _STEP) for k in range(10))
"""1 - linspace(0.5, 0.95, 10), in doubles: the authors' range has ten thresholds, not eleven."""

_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = dict(zip(_WORDS, range(20), strict=True)) | {word: 10 * k for k, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1000}
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|[a-z]+")


def mean_relative_accuracy(prediction: float, target: float) -> float:
    """The share of ten tolerances, 0.50 down to 0.05, that the relative error stays within; NaN and infinity get 0.

    A target of 0 is met by 0 alone, and of a negative one the absolute value divides: the authors' script stops at the
    one and gives full marks to anything at the other.
    """
    if target == 0:
        return float(prediction == 0)
    return _share_met(abs(prediction - target) / abs(target))


def vlmevalkit_relative_accuracy(prediction: float, target: float) -> float:
    """The same as VLMEvalKit counts it: at a target of 0 the error is the prediction itself."""
    return _share_met(abs(prediction)) if target == 0 else mean_relative_accuracy(prediction, target)


def _share_met(error: float) -> float:
    return sum(error <= tolerance for tolerance in TOLERANCES) / len(TOLERANCES)


def first_word(reply: str) -> str:
    """The reply up to its first blank (a line break is none), without dots at the end, stripped."""
    return reply.partition(" ")[0].rstrip(".").strip()


def as_float(text: str) -> float | None:
    """What Python reads as a number, `nan` and `inf` included; None for anything else."""
    try:
        return float(text)
    except ValueError:
        return None


def scanned_number(reply: str) -> float | None:
    """lmms-eval's number: the one that stands first, in digits or in English words; None without any.

    Words join over anything but words ("twenty-one"), and over "and"; "a hundred" is 100; `1,200` reads 1.
    """
    spoken: list[str] = []
    for token in _TOKEN.finditer(reply.lower()):
        word = token[0]
        if word in _VALUES or word in _SCALES:
            spoken.append(word)
        elif spoken and word == "and":
            continue
        elif spoken:
            break
        elif not word.isalpha():
            return float(word)
    return float(_value(spoken)) if spoken else None


def _value(words: list[str]) -> int:
    total = current = 0
    for word in words:
        if word in _VALUES:
            current += _VALUES[word]
        elif word == "hundred":
            current = max(1, current) * 100
        else:
            total, current = total + max(1, current) * 1000, 0
    return total + current
