"""Yes or no: the first word of an answer decides."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.dress import QUOTES

YES = (
    "yes", "yeah", "yep", "yup", "true", "correct", "right", "indeed", "affirmative",
    "是的", "是", "对的", "对", "正确", "對",
    "ja", "jawohl", "oui", "sí", "si", "vrai", "wahr", "richtig", "verdadero",
    "はい", "네", "예", "да", "sim", "hai",
    "हाँ", "हां", "نعم", "tak", "evet", "ใช่", "có", "ya", "так", "ναι", "igen", "ano",
)  # fmt: skip
"""First words that say yes."""

NO = (
    "no", "nope", "nah", "false", "incorrect", "wrong", "negative", "untrue",
    "否", "不是", "不对", "不對", "错误", "错", "不", "nein",
    "falsch", "non", "faux", "falso", "いいえ", "아니요", "아니오", "нет", "não", "nee", "नहीं", "لا", "nie", "hayır",
    "ไม่", "không", "tidak", "ні", "όχι", "nem",
)  # fmt: skip
"""First words that say no."""

NOT_NO = (
    r"one|body|person|people",
    r"images?|picture|video|figure|text|document",
    r"idea|clue",
    r"information|info|data|evidence|context|mention",
    r"such|target|objects?|elements?",
    r"answer|options?",
    r"way to|way",
    r"lo sé|sé|se|puedo",
    r"lo so|so|sei",
    r"clear|definit\w+|specific|visible",
    r"sufficient|enough",
    r"further|more|longer",
)
"""Words before which "no" denies a thing and not the question."""

_NOT_NO = rf"(?:\s+(?:{'|'.join(NOT_NO)})\b)"
_OPENING = re.compile(
    rf"[\s{QUOTES}(\[{{]*"
    r"(?:(?:based on|according to|looking at|from|in|judging by|after|upon)\b[^,:.\n]{1,60}[,:]\s*)?"
    r"(?:(?:so|thus|hence|therefore|well|then|hmm+|sure|sorry|unfortunately|in conclusion|in short|overall"
    r"|the answer is"
    r"|i(?:'d| would) say|i (?:think|believe|guess)(?: that)?(?: the answer is)?"
    rf"|clearly|definitely"
    r"|probably|most likely)[,:]?\s+)?"
    r"(?:(?:it|that|this)(?: is|'s|’s)(?: (?:actually|indeed|probably|clearly|therefore))?\s+"
    r"|(?:the|this|that) (?:\w{1,16} )?(?:statement|claim|sentence|assertion|proposition|premise|hypothesis|inequality"
    r"|equation|answer) (?:is|would be|must be)(?: (?:actually|indeed|clearly|therefore))?\s+)?"
    rf"[{QUOTES}(\[]*(?P<not>not\s+)?",
    re.IGNORECASE,
)


def _pattern(names: tuple[str, ...]) -> str:
    latin = [re.escape(name) for name in names if not _is_joined(name)]
    joined = [re.escape(name) for name in names if _is_joined(name)]
    return rf"(?:(?:{'|'.join(latin)})(?!\w)|{'|'.join(sorted(joined, key=len, reverse=True))})"


def _is_joined(name: str) -> bool:
    """Whether a word's script writes words without blanks, so that no boundary ends it."""
    return any("\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" for character in name)


_POLARITY = re.compile(rf"(?P<no>{_pattern(NO)}(?!{_NOT_NO}))|(?P<yes>{_pattern(YES)})", re.IGNORECASE)
_FLAT_NO = re.compile(
    rf"[\s{QUOTES}]*(?P<no>(?:definitely|certainly|absolutely|of course|surely) not\b"
    r"(?! (?:sure|certain|clear|possible|enough|visible))|not at all\b(?! (?:sure|certain|clear)))",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|no|never|none|neither|cannot|without)\b|n't\b", re.IGNORECASE)
_UNDONE = re.compile(
    rf"[\s{QUOTES}]*(?:and|or|/|&|und|et|y|和|或)\s*[{QUOTES}]*(?:yes|no|nein|non|true|false|是|否|ja|oui|sí)\b"
    rf"|[ ]?(?:answer|idea)\b",
    re.IGNORECASE,
)


def polarity(text: str, start: int, end: int) -> tuple[str, int, int] | None:
    """("yes" or "no", start, end) of the word that an answer begins with; None where it begins with neither."""
    if flat := _FLAT_NO.match(text, start, end):
        return "no", *flat.span("no")
    opening = _OPENING.match(text, start, end)
    first = opening.end() if opening else start
    word = _POLARITY.match(text, first, end)
    if word is None or _UNDONE.match(text, word.end(), end):
        return None
    said = "yes" if word["yes"] else "no"
    if opening is not None and opening["not"]:
        if said == "no" or word.group().casefold() in ("yes", "sure", "right"):
            return None
        return "no", opening.start("not"), word.end()
    return said, word.start(), word.end()


def is_negative(text: str) -> bool:
    """Whether a text denies something."""
    return _NEGATION.search(text) is not None
