"""What a question asks for: the noun whose number it is, or the place ("which week") that a number names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kvl_eval.scorers.answers.numerals import Numeral, numerals

_BEHIND = (
    r"(?=\s*(?:[?!.,;:(]|$)|\s+(?:of|in|on|for|at|between|from|to|that|which|when|where|if|as|with|by|is|are|was|were|do"
    r"|does|did|can|could|will|would|have|has|had|there|shown|given|visible|you|we|i)\b)"
)
_ASKED = re.compile(
    r"\b(?:how many|(?:what(?:'s|’s| is| are| was| were| would be| will be)|find|calculate|compute|determine)"
    r"\s+(?:the|its|their))\s+(?:[^\W\d_][\w-]{0,20}\s+){0,3}?(?P<noun>[^\W\d_]{3,24})" + _BEHIND,
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(?:which|what) (?P<noun>year|week|month|day|quarter|round|page|row|column|step|level|grade|question"
    r"|frame|chapter|slide|floor|season|episode|decade)\b(?! (?:old|long|high|wide))",
    re.IGNORECASE,
)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_UNSAID = frozenset({"number", "total", "value", "answer", "result", "sum", "count", "amount"})
_WORKED_ON = re.compile(r"\s*(?:[=+×*/÷^(·−–-]|(?:x|by|times|plus|minus|to|or|out of)\b)", re.IGNORECASE)
_LAST_WORD = re.compile(r"\b([^\W\d_]{2,20}) $")
_NEXT_WORD = re.compile(r" ([^\W\d_]{2,20})\b")
_LOOK_BACK = 60  # characters before a number in which its noun stands
_QUESTION_LIMIT = 4_000  # characters of a question that are looked at, from its end


def asked_noun(question: str) -> str:
    """The one noun of "What is the perimeter ..?" or "How many dogs ..?"; "" where a question has none or several."""
    nouns = {match["noun"].casefold() for match in _ASKED.finditer(question[-_QUESTION_LIMIT:])}
    noun = nouns.pop() if len(nouns) == 1 else ""
    return "" if noun in _UNSAID else noun


def following(noun: str, text: str, candidates: list[Numeral]) -> Numeral | None:
    """The one of some numbers that directly follows a noun: "perimeter 22", "dogs: 5"; None where several do.

    A number inside a longer sum does not count: "perimeter = 2 x 11".
    """
    if not noun:
        return None
    stem = noun[:-1] if noun.endswith("s") else noun
    before = re.compile(
        rf"\b{re.escape(stem)}(?:e?s)?\s*(?:[:=≈(]|\b(?:is|are|was|were)\b)?\s*(?:\b(?:about|approximately)\s+)?$",
        re.IGNORECASE,
    )
    hits = [
        number
        for number in candidates
        if before.search(text[max(0, number.start - _LOOK_BACK) : number.start])
        and not _WORKED_ON.match(text, number.end)
    ]
    return hits[-1] if len({hit.value for hit in hits}) == 1 else None


def asked_place(question: str, text: str, start: int, end: int) -> Numeral | None:
    """The number of the place that a question asks for: "week 4", "the 4th week", "in 2012"; None where several stand.

    Asked for are "which week", "what year" and the like.
    """
    asked = {match["noun"].lower() for match in _PLACE.finditer(question[-_QUESTION_LIMIT:])}
    if len(asked) != 1:
        return None
    noun = asked.pop()
    named = list(_named_places(noun, text, start, end))
    if noun == "year" and not named:
        named = [
            number
            for number in numerals(text, start, end)
            if isinstance(number.value, int) and 1000 <= number.value < 2200 and number.end - number.start == 4
        ]
    return named[-1] if named and len({number.value for number in named}) == 1 else None


def _named_places(noun: str, text: str, start: int, end: int) -> Iterator[Numeral]:
    pattern = re.compile(
        rf"\b{noun} (?:number )?#?(?P<number>\d{{1,4}})\b|\b(?P<ordinal>\d{{1,4}})(?:st|nd|rd|th) {noun}\b"
        rf"|\b(?P<word>{'|'.join(_ORDINALS)}) {noun}\b",
        re.IGNORECASE,
    )
    for match in pattern.finditer(text, start, end):
        name = match.lastgroup or ""
        said = match[name].lower()
        value = int(said) if said.isdigit() else _ORDINALS.index(said) + 1
        yield Numeral(value, match.start(name), match.end(name), "", match.end(name))


def is_copied(question: str, text: str, numeral: Numeral) -> bool:
    """Whether a number stands in the question between the same words: "at least 40 pounds", "the two people"."""
    before = _LAST_WORD.search(text[max(0, numeral.start - 24) : numeral.start])
    after = _NEXT_WORD.match(text, numeral.end)
    if before is None or after is None:
        return False
    said = re.escape(text[numeral.start : numeral.end])
    words = "the|these|those" if before[1].lower() in ("the", "these", "those") else re.escape(before[1])
    copied = rf"\b(?:{words}) {said} {re.escape(after[1])}\b"
    return re.search(copied, question[-_QUESTION_LIMIT:], re.IGNORECASE) is not None
