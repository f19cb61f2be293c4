"""The noun that a question asks for, and the number that directly follows it in a reply."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.numerals import Numeral

_BEHIND = (
    r"(?=\s*(?:[?!.,;:(]|$)|\s+(?:of|in|on|for|at|between|from|to|that|which|when|where|if|as|with|by|is|are|was|were|do"
    r"|does|did|can|could|will|would|have|has|had|there|shown|given|visible|you|we|i)\b)"
)
_ASKED = re.compile(
    r"\b(?:how many|(?:what(?:'s|’s| is| are| was| were| would be| will be)|find|calculate|compute|determine)"
    r"\s+(?:the|its|their))\s+(?:[^\W\d_][\w-]{0,20}\s+){0,3}?(?P<noun>[^\W\d_]{3,24})" + _BEHIND,
    re.IGNORECASE,
)
_UNSAID = frozenset({"number", "total", "value", "answer", "result", "sum", "count", "amount"})
_WORKED_ON = re.compile(r"\s*(?:[=+×*/÷^(·−–-]|(?:x|by|times|plus|minus|to|or|out of)\b)", re.IGNORECASE)
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
