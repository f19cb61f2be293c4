"""The options of a question, and where one of them stands in a text."""

from __future__ import annotations

import math
import re

from kvl_eval.scorers.answers.dress import alike, folded
from kvl_eval.scorers.answers.numerals import Numeral, numerals
from kvl_eval.scorers.answers.reading import Numeric
from kvl_eval.scorers.answers.view import undress

_ARTICLE = re.compile(r"^(?:the|an?)\s+")
_GIVEN_LETTERS = re.compile(r"\s*[(\[]?([A-Za-z])[)\].:、]\s*")


class OptionTexts:
    """The options of a question, and where one of them stands in a text."""

    def __init__(self, options: tuple[str, ...]) -> None:
        options = _without_letters(options)
        self.count = len(options)
        self.texts = [folded(undress(option).text) for option in options]
        self.longest = max(map(len, self.texts), default=0)
        self._bare = [_ARTICLE.sub("", text) for text in self.texts]
        self._numbers: list[Numeral] | None = None
        self.are_yesno = {"yes", "no"} <= set(self.texts)

    def equal(self, text: str) -> int | None:
        """The first option whose text a text is."""
        wanted = folded(text)
        if wanted and wanted in self.texts:
            return self.texts.index(wanted)
        bare = _ARTICLE.sub("", wanted)
        return self._bare.index(bare) if len(bare) > 2 and self._bare.count(bare) == 1 else None

    def at(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """The longest option that begins at a place as whole words, and where it ends."""
        best: tuple[int, int] | None = None
        window = alike(text[start : min(end, start + self.longest + 8)])
        for index, option in enumerate(self.texts):
            if option and window.startswith(option) and (best is None or len(option) > best[1] - start):
                stop = start + len(option)
                if is_boundary(text, stop, end, option):
                    best = (index, stop)
        return best

    def numbered(self, value: Numeric, unit: str) -> int | None:
        """The option that is a number, where all are, different ones; its unit may be left out or spelled otherwise."""
        if self._numbers is None:
            found = [numerals(text, 0, len(text)) for text in self.texts]
            numbers = [numbers[0] for numbers in found if len(numbers) == 1]
            are_numbers = len({number.value for number in numbers}) == self.count
            self._numbers = numbers if are_numbers and all(_is_short(text) for text in self.texts) else []
        for index, number in enumerate(self._numbers):
            if math.isclose(number.value, value, rel_tol=1e-9) and _are_alike(number.unit, unit):
                return index
        return None

    def inside(self, text: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """(option, start, end) of the options in a part of a text as whole words, without those inside longer ones."""
        window = alike(text[start:end])
        places: list[tuple[int, int, int]] = []
        for index, option in enumerate(self.texts):
            if not option or self.texts.index(option) != index:
                continue
            at = window.find(option)
            while at >= 0 and len(places) < 60:
                is_word = not (at and window[at - 1].isalnum() and option[0].isalnum())
                if (
                    is_word
                    and is_boundary(window, at + len(option), len(window), option)
                    and not _mid_number(window, at)
                ):
                    places.append((index, start + at, start + at + len(option)))
                at = window.find(option, at + 1)
        return [p for p in places if not any(q != p and q[1] <= p[1] and p[2] <= q[2] for q in places)]


def _without_letters(options: tuple[str, ...]) -> tuple[str, ...]:
    """The options without their letters, if all have them in order."""
    labels = [_GIVEN_LETTERS.match(option) for option in options]
    letters = "".join(label[1].upper() for label in labels if label)
    if letters != "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options)]:
        return options
    return tuple(option[label.end() :] for option, label in zip(options, labels, strict=True) if label)


def _is_short(text: str) -> bool:
    """Whether an option is a number with a unit at most."""
    return len(text.split()) <= 3


def _are_alike(one: str, other: str) -> bool:
    """Whether two units may be one: equal, left out, in another script, or one the first letter of the other."""
    one, other = one.casefold(), other.casefold()
    if not one or not other or one == other:
        return True
    if not (one.isascii() and other.isascii()):
        return "%" not in one + other
    return one[0] == other[0] and min(len(one), len(other)) == 1 and max(len(one), len(other)) > 3


def is_boundary(text: str, stop: int, end: int, option: str) -> bool:
    after = text[stop : min(end, stop + 2)]
    if not after or not option[-1].isalnum():
        return True
    if option[-1].isdigit() and (after[0] in "%°" or (after[0] in ".,/:^" and after[1:].isdigit())):
        return False
    goes_on = after[0] == "_" or (after[0].isalnum() and after[0].isascii())
    return not goes_on and not (after[0] == "-" and after[1:].isalnum())


def _mid_number(text: str, at: int) -> bool:
    before = text[max(0, at - 2) : at]
    return (
        text[at].isdigit()
        and bool(before)
        and ((before[-1] in ".,/^-" and before[:-1].isdigit()) or before[-1] in "-−.$")
    )
