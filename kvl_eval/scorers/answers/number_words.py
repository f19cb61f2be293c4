"""Numbers written as words: English through `text2num` and what it does not know, other languages alone, Chinese."""

from __future__ import annotations

import re

from text_to_num import text2num

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl")
"""Languages whose number words are read where they are the whole answer."""

_UNITS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty|thirty|forty|fourty|fifty|sixty|seventy|eighty|ninety"
)
_SCALES = "hundred|thousand|million|billion|trillion"
_WORD = rf"(?:{_UNITS}|{_SCALES})"
_FRACTIONS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "thirds": 3,
    "quarter": 4,
    "quarters": 4,
    "fourths": 4,
    "fifth": 5,
    "fifths": 5,
}
_FRACTION = "|".join(_FRACTIONS)

RUN = re.compile(
    rf"\b(?:(?P<sign>minus|negative)\s+)?(?:"
    rf"(?P<article>an?\s+)?(?P<number>(?:(?<=a )|(?<=an )|(?=\w))(?:{_WORD})(?:(?:\s+and\s+|[\s-]+"
    rf"|\s+point\s+){_WORD}){{0,12}})"
    rf"(?P<tail>\s+dozens?\b|\s+and\s+(?:a|one)\s+(?:{_FRACTION})\b|[\s-]+(?:{_FRACTION})\b(?!\s+(?:row|column"
    rf"|place|floor)))?"
    rf"|(?P<dozen>(?:a|one)\s+dozen\b|(?:half\s+)?a\s+dozen\b)|(?P<part>(?:an?\s+)?(?:half"
    rf"|quarter)(?=\s*[.!]?\s*$|\s+(?:a|an|of)\b)))"
    rf"(?!\w)",
    re.IGNORECASE,
)
"""A run of English number words."""

_CHINESE = {
    "零": 0,
    "〇": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "兩": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_CHINESE_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "萬": 10_000}
CHINESE_RUN = re.compile(f"[{''.join(_CHINESE)}{''.join(_CHINESE_SCALES)}]{{1,12}}")


def english(match: re.Match[str]) -> int | float | None:
    """The number of a RUN; None where its words make none."""
    sign = -1 if match["sign"] else 1
    if match["dozen"]:
        return sign * (6 if "half" in match["dozen"].lower() else 12)
    if match["part"]:
        return sign / _FRACTIONS[match["part"].lower().split()[-1]]
    number = _read(" ".join(match["number"].lower().replace("fourty", "forty").split()), "en")
    if number is None:
        return None
    tail = (match["tail"] or "").lower().replace("-", " ").split()
    if not tail:
        return sign * number
    if tail[0].startswith("dozen"):
        return sign * number * 12
    part = _FRACTIONS[tail[-1]]
    return sign * (number + 1 / part if tail[0] == "and" else number / part)


def _read(text: str, language: str) -> int | float | None:
    if " point " in text:
        whole, _, digits = text.partition(" point ")
        first, rest = _read(whole, language), [_read(word, language) for word in digits.split()]
        if first is None or any(not isinstance(digit, int) or not 0 <= digit <= 9 for digit in rest):
            return None
        return float(f"{first}.{''.join(map(str, rest))}")
    try:
        return int(text2num(text, language))
    except (ValueError, OverflowError):
        return None


def in_any_language(text: str) -> int | float | None:
    """The number that a whole text of at most six words is in one of LANGUAGES; None where it is none."""
    words = text.lower().replace("-", " ").split()
    if not 1 <= len(words) <= 6 or not all(word.isalpha() for word in words):
        return None
    for language in LANGUAGES:
        number = _read(" ".join(text.lower().split()), language)
        if number is not None:
            return number
    return None


def chinese(text: str) -> int | None:
    """A Chinese numeral below 10^8; None where it is malformed."""
    total, section, digit = 0, 0, None
    for character in text:
        if character in _CHINESE:
            if digit not in (None, 0):
                return None
            digit = _CHINESE[character]
        elif (scale := _CHINESE_SCALES[character]) == 10_000:
            total, section, digit = (section + (digit or 0)) * scale, 0, None
        else:
            section += (1 if digit is None else digit) * scale
            digit = None
    return total + section + (digit or 0)
