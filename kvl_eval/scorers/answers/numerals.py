"""Numbers in a text: every writing of section "integer and float", each with its sign, factor and unit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kvl_eval.scorers.answers import number_words
from kvl_eval.scorers.answers.reading import Numeric

_LONGEST = 40  # digits of a numeral; longer ones are no answers
_FACTORS = {
    "k": 1e3, "thousand": 1e3, "million": 1e6, "millions": 1e6, "mn": 1e6, "mio": 1e6, "billion": 1e9, "bn": 1e9,
    "trillion": 1e12, "hundred": 100, "dozen": 12, "百": 100, "千": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8,
}  # fmt: skip
_VULGAR = {
    "½": 1 / 2, "⅓": 1 / 3, "⅔": 2 / 3, "¼": 1 / 4, "¾": 3 / 4, "⅕": 1 / 5, "⅖": 2 / 5, "⅗": 3 / 5, "⅘": 4 / 5,
    "⅙": 1 / 6, "⅚": 5 / 6, "⅛": 1 / 8, "⅜": 3 / 8, "⅝": 5 / 8, "⅞": 7 / 8,
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_UNIT_STOPS = frozenset((
    "because", "since", "as", "which", "where", "for", "given", "and", "or", "but", "so", "thus", "hence", "in",
    "on", "of", "to", "at", "by", "from", "with", "is", "are", "was", "were", "be", "the", "a", "an", "that", "this",
    "it", "if", "when", "while", "after", "before", "between", "than", "not", "no", "we", "i", "you", "they", "he",
    "she", "there", "then", "into", "per", "out", "over", "und", "oder", "et", "ou", "y", "o", "plus", "minus",
    "times", "equals", "divided", "makes", "leaves", "gives", "have", "has", "had", "can", "do", "does", "did",
    "all", "such", "so", "also", "only", "just", "respectively", "each", "left", "right", "overall", "total",
))  # fmt: skip

_GROUPED = (
    r"\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?(?![\d]|,\d)"
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!\d)"
    r"|\d{1,3}(?:[ ]\d{3})+(?:[.,]\d+)?(?![\d])"
    r"|\d{1,3}(?:['’_]\d{3})+(?:[.,]\d+)?(?!\d)"
    r"|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?!\d)|\d{1,3}(?:\.\d{3})+,\d+(?!\d)"
)
_PLAIN = r"(?<![,\d])\d+,\d{1,2}(?!\d|,\d|\.\d)|\d+\.\d+|(?<!\d)\.\d+|\d+"
_POWER = r"(?:\s{0,2}\^\s{0,2}\{?\s?[-−–+]?\d{1,4}\s?\}?|[⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4}(?=\D|$))"
NUMERAL = re.compile(
    rf"""
    (?:(?P<word>\b(?:minus|negative|neg\.)\s+)|(?P<sign>
        (?<![A-Za-z0-9_)\]}}%]) [-−–]\s?(?=[$€£¥]?\s?[\d.\\½¼¾⅓⅔])
        |(?<![A-Za-z0-9_)])\+(?=[\d.$]))|)
    (?:(?P<currency>(?:US)?\$|[€£¥₹])\s?(?P<late_sign>[-−–](?=\d))?)?
    (?:
        (?P<latex>(?P<latex_whole>\d{{1,9}}\s{{0,2}})?\\frac\s{{0,2}}(?:\{{\s?(?P<a>[-−]?\d{{1,15}}(?:\.\d{{1,9}})?)\s?\}}\s?\{{\s?(?P<b>\d{{1,15}}(?:\.\d{{1,9}})?)\s?\}}
            |\s?(?P<a1>\d)\s?(?P<b1>\d)))
      | (?P<mixed>(?P<mixed_whole>\d{{1,9}})[ ](?P<mixed_a>\d{{1,4}})/(?P<mixed_b>\d{{1,4}})(?![\d/]))
      | (?P<vulgar>\d{{0,9}}\s?[{"".join(_VULGAR)}])
      | (?P<fraction>(?P<over>\d{{1,15}}(?:\.\d{{1,9}})?)\s?[/⁄]
            \s?(?P<under>\d{{1,15}}(?:\.\d{{1,9}})?)(?![\d/]|\s?[/]))
      | (?P<digits>(?<![\d.,])(?:{_GROUPED})|{_PLAIN})
        (?:(?P<exponent>[eE][+-]?\d{{1,3}}(?!\w))
          |(?P<ten>\s{{0,2}}(?:[×⋅·*x]|\bby\b)\s{{0,2}}10(?P<ten_power>{_POWER}))|(?P<power>{_POWER}))?
    )
    (?P<factor>[kK](?![\w])|\s?(?:thousand|millions?|billion|trillion|hundred|dozen|mn|bn|mio)\b|\s?[百千万萬亿億])?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_UNIT = re.compile(
    r"\s{0,2}(?P<unit>%|℃|℉|°\s?[CFK]?(?![a-zA-Z])|percent(?:age)?\b(?!\s+points?)|per\s?cent\b|[$€£¥₹]"
    r"|[A-Za-zµμΩÅ]+(?:[·/*^-]?[A-Za-z0-9µμ²³]+){0,4}[²³]?)"
)
_NO_NUMBER = re.compile(r"(?:st|nd|rd|th)\b|:\d|\s?(?:π|√|\\pi\b|\\sqrt\b)", re.IGNORECASE)
"""What stands behind the digits of an ordinal, a time, a ratio, a product with a root or pi."""

_RATIO = re.compile(r"\d:$")
_WORDS_BEFORE_ONE = re.compile(
    r"(?:\b(?:are|is|see|count|only|exactly|just|has|have|contains?|shows?|was|were|be|approximately|about|total"
    r" of|answer:?)"
    r"|^|[:=])\s*$",
    re.IGNORECASE,
)
_WORDS_AFTER_ONE = re.compile(
    r"\s+(?:of|can|could|would|may|might|should|is|are|that|who|which|another|has|in|on|with|at|to|must|will|by"
    r"|shown)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number of a text: where it stands with its factor, and behind its unit (`stop`)."""

    value: Numeric
    start: int
    end: int
    unit: str
    stop: int


def numerals(text: str, start: int, end: int) -> list[Numeral]:
    """The numbers of a part of a text, in order."""
    found = [*_digits(text, start, end), *_words(text, start, end), *_chinese(text, start, end)]
    found.sort(key=lambda numeral: (numeral.start, -numeral.end))
    kept: list[Numeral] = []
    for numeral in found:
        if not kept or numeral.start >= kept[-1].end:
            kept.append(numeral)
    return kept


def _digits(text: str, start: int, end: int) -> Iterator[Numeral]:
    for match in NUMERAL.finditer(text, start, end):
        first, last = _digits_begin(match), match.end()
        if text[first - 1 : first].isalpha() and text[first - 1].isascii() and first > start:
            continue  # inside a word: B2, x1
        if (
            text[last : last + 1].isdigit()
            or _NO_NUMBER.match(text, last)
            or _RATIO.search(text[max(0, first - 2) : first])
        ):
            continue
        value = _value(match)
        if value is not None:
            unit, stop = _unit(text, match, end)
            begin = match.start() + len(match.group()) - len(match.group().lstrip())
            yield Numeral(value, begin, last, unit, stop)


def _digits_begin(match: re.Match[str]) -> int:
    for name in ("latex", "mixed", "vulgar", "fraction", "digits"):
        if match[name] is not None:
            return match.start(name)
    return match.start()


def _value(match: re.Match[str]) -> Numeric | None:
    value = _unsigned(match)
    if value is None:
        return None
    if match["factor"]:
        factor = _FACTORS[match["factor"].strip().lower()]
        value = value * factor if isinstance(value, float) or factor != int(factor) else value * int(factor)
    sign = (match["sign"] or match["late_sign"] or "").strip()
    return -value if match["word"] or sign in ("-", "−", "–") else value


def _unsigned(match: re.Match[str]) -> Numeric | None:
    if match["latex"]:
        over, under = match["a"] or match["a1"], match["b"] or match["b1"]
        return _ratio(match["latex_whole"], over, under)
    if match["mixed"]:
        return _ratio(match["mixed_whole"], match["mixed_a"], match["mixed_b"])
    if match["vulgar"]:
        whole = match["vulgar"][:-1].strip()
        return (int(whole) if whole else 0) + _VULGAR[match["vulgar"][-1]]
    if match["fraction"]:
        return _ratio(None, match["over"], match["under"])
    value = _decimal(match["digits"])
    if value is None:
        return None
    if match["exponent"]:
        return float(f"{value}{match['exponent']}")
    if match["ten"]:
        return _times(value, _raised(10, match["ten_power"]))
    return _raised(value, match["power"]) if match["power"] else value


def _ratio(whole: str | None, over: str, under: str) -> Numeric | None:
    top, bottom = float(over.replace("−", "-")), float(under)
    return (float(whole) if whole else 0) + top / bottom if bottom else None


def _times(value: Numeric, factor: Numeric | None) -> Numeric | None:
    return None if factor is None else value * factor


def _raised(base: Numeric, power: str) -> Numeric | None:
    digits = re.sub(r"[\s^{}+]", "", power.translate(_SUPERSCRIPTS)).replace("−", "-").replace("–", "-")
    exponent = int(digits)
    if abs(exponent) > 300 or abs(base) > 1e6 or (not base and exponent < 0):
        return None
    try:
        return base**exponent
    except OverflowError:
        return None


def _decimal(digits: str) -> Numeric | None:
    if len(digits) > _LONGEST:
        return None
    digits = re.sub(r"[ '’_]|\{,\}", "", digits) if "{,}" in digits or re.search(r"[ '’_]", digits) else digits
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d+,\d{1,2}|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?", digits):
        digits = digits.replace(".", "").replace(",", ".")
    else:
        digits = digits.replace(",", "")
    return float(digits) if "." in digits else int(digits)


def _unit(text: str, match: re.Match[str], end: int) -> tuple[str, int]:
    """The unit of a number, and where it ends."""
    if match["currency"]:
        return match["currency"], match.end()
    after = _UNIT.match(text, match.end(), end)
    if after is None or after["unit"].lower() in _UNIT_STOPS:
        return "", match.end()
    unit = after["unit"]
    if unit.lower().startswith("per"):
        unit = "%" if unit.lower().replace(" ", "") in ("percent", "percentage") else unit
    return unit, after.end()


def _words(text: str, start: int, end: int) -> Iterator[Numeral]:
    for match in number_words.RUN.finditer(text, start, end):
        words = match.group().lower()
        if words in ("one", "a half", "half") and not _is_count(text, match, start, end):
            continue
        value = number_words.english(match)
        if value is not None:
            after = _UNIT.match(text, match.end(), end)
            has_unit = after is not None and after["unit"].lower() not in _UNIT_STOPS
            unit = after["unit"] if after is not None and has_unit else ""
            yield Numeral(value, match.start(), match.end(), unit, after.end() if after and has_unit else match.end())


def _is_count(text: str, match: re.Match[str], start: int, end: int) -> bool:
    """Whether "one" counts things, unlike the pronoun."""
    before = text[max(start, match.start() - 24) : match.start()]
    return bool(_WORDS_BEFORE_ONE.search(before)) and not _WORDS_AFTER_ONE.match(text, match.end(), end)


def _chinese(text: str, start: int, end: int) -> Iterator[Numeral]:
    if text.isascii():
        return
    for match in number_words.CHINESE_RUN.finditer(text, start, end):
        near = text[match.end() : match.end() + 1]
        before = text[match.start() - 1 : match.start()]
        if before in ("第", "唯") or near in (
            "样",
            "般",
            "起",
            "定",
            "些",
            "切",
            "致",
            "下",
            "共",
            "直",
            "旦",
            "步",
            "点",
        ):
            continue
        if before.isdigit() or (len(match.group()) == 1 and match.group() in "十百千万萬" and before.isdigit()):
            continue
        value = number_words.chinese(match.group())
        if value is not None:
            yield Numeral(value, match.start(), match.end(), near if near.isalpha() else "", match.end())


def factorial(value: Numeric) -> Numeric | None:
    """`value!` for whole numbers up to 170."""
    return math.factorial(value) if isinstance(value, int) and 0 <= value <= 170 else None
