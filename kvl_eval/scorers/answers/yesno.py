"""Yes or no as an answer."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.dress import after_bullet
from kvl_eval.scorers.answers.polarity import is_negative, polarity
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue
from kvl_eval.scorers.answers.wordings import hedges, refuses

_WORD = re.compile(r"[^\W\d_]{3,}")
_STOP = frozenset((
    "the", "and", "are", "was", "were", "has", "have", "had", "does", "did", "can", "could", "will", "would", "this",
    "that", "there", "these", "those", "its", "his", "her", "their", "with", "for", "from", "than", "then", "but",
    "not", "any", "all", "more", "most", "which", "what", "who", "whom", "whose", "how", "when", "where", "why",
    "into", "onto", "over", "under", "about", "between",
))  # fmt: skip
_STATED = re.compile(
    r"\b(?:statement|claim|it|this|that|answer|premise|hypothesis)\s+(?:is|would be|must be)\s+(?:therefore "
    r"|thus |clearly |actually )?",
    re.IGNORECASE,
)


class YesNoReader:
    """Reads "yes" or "no"."""

    def lead(self, text: str, start: int, end: int) -> Attempt:
        """The polarity that a content begins with."""
        start = after_bullet(text, start, end)
        said = polarity(text, start, end)
        if said is not None:
            return FoundValue(said[0], said[1], said[2])
        line = text[start : _line_end(text, start, end)]
        if refuses(line):
            return Fault("refusal")
        return Fault("hedge") if hedges(line) else None

    def alone(self, text: str, start: int, end: int) -> Attempt:
        """The polarity of a text that begins with it and does not ask."""
        start = after_bullet(text, start, end)
        said = polarity(text, start, end)
        if said is None or (text[said[2] : end].rstrip(" \"'”*").endswith("?") and "\n" not in text[said[2] : end]):
            return None
        return FoundValue(said[0], said[1], said[2])

    def stated(self, text: str, start: int, end: int) -> Attempt:
        """The polarity of "the statement is false"."""
        values: list[FoundValue] = []
        for match in list(_STATED.finditer(text, start, end))[-20:]:
            said = polarity(text, match.end(), end)
            if said is not None:
                values.append(FoundValue(said[0], said[1], said[2]))
        return values[-1] if values and len({value.value for value in values}) == 1 else None

    def concluded(self, text: str, start: int, end: int) -> Attempt:
        """The polarity of a concluding sentence."""
        said = polarity(text, start, end)
        return FoundValue(said[0], said[1], said[2]) if said else self.stated(text, start, _line_end(text, start, end))

    def contained(self, text: str, start: int, end: int) -> Attempt:
        """A polarity word is not part of a statement."""
        return None

    def restated(self, text: str, start: int, end: int, question: str) -> Attempt:
        """Yes where a short statement says what the question asks, no where it negates it."""
        asked = {word.casefold() for word in _WORD.findall(question)} - _STOP
        line = text[start:end].strip()
        if not asked or not line or len(line) > 300 or refuses(line) or hedges(line) or line.endswith("?"):
            return None
        said = {word.casefold() for word in _WORD.findall(line)} - _STOP
        if 2 * len(asked & said) < len(asked):
            return None
        negated = is_negative(line) != is_negative(question)
        return FoundValue("no" if negated else "yes", start, end)

    def same(self, one: FoundValue, other: FoundValue) -> bool:
        """Whether two readings are one answer."""
        return one.value == other.value


def _line_end(text: str, start: int, end: int) -> int:
    line = text.find("\n", start, end)
    return end if line < 0 else line
