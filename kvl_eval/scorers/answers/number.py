"""A number as an answer: of a clause, and where a reply states it or gives it in its last line."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.asked import asked_place
from kvl_eval.scorers.answers.number_clause import SENTENCE_LIMIT, ClauseReader
from kvl_eval.scorers.answers.numerals import Numeral, numerals
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue

_TOTAL_LIMIT = 2_400  # characters at the end of a reply in which "in total" is looked for
_DEFINITE = (
    r"(?:total|sum|result|number|count|value|answer|height|width|length|distance|size|area|difference|ratio|average"
    r"|mean|median|mode|range|percentage|age|price|amount|area)(?: (?:of|for|in|between)\b[^.\n]{0,60}?)? "
    r"(?:is|are|was|were|comes to|equals|would be)(?: (?:therefore|thus|typically|usually|now))?:?\s+"
)
_STATED = re.compile(
    rf"\b(?:(?P<definite>{_DEFINITE})"
    r"|(?:there (?:are|is|were|was|will be)|there're|i (?:can )?(?:see|count|counted|found|find|identified|observe)"
    r"|we (?:can )?(?:see|count|get|have|find|obtain)|you (?:get|have|obtain)|makes?|contains?|shows?|hay|es sind"
    r"|es gibt|il y en a|il y a)\s+)"
    r"|\b(?:total|sum|result|count)(?: [^:.\n]{0,40})?:\s*|\ba (?:grand )?total of\s+"
    r"|(?:一共有?|共有|总共有?|全部で|合計|合计|총)\s*",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"[ \t*•-]{0,8}(?:\d{1,2}[.)] )?"
    r"(?:(?:(?:and )?(?:so|therefore|thus|hence|finally|overall)\b,? |since [^,.\n]{1,80}, )?"
    r"(?:the|our|its|this|that)\b[^.=:\n]{0,160}?"
    r" (?:is|are|was|were|equals|will be|would be|must be)\b"
    r"(?: (?:therefore|thus|exactly|equal to|approximately|about))?:?"
    r"|(?:final|total|overall|result|remaining)\b[^.=:\d\n]{0,60}:)\s*",
    re.IGNORECASE,
)
_IS = re.compile(
    r"\b(?:is|are|was|were|would be|will be|must be)\s+(?:(?:about|approximately|around|roughly|exactly|only"
    r"|equal to)\s+)?(?=\S)",
    re.IGNORECASE,
)
_IN_TOTAL = re.compile(r"(?:[ ]\w+){0,3}[ ](?:in total|in all|altogether|total|overall)\b", re.IGNORECASE)
_FURTHER = re.compile(r"[^.!?\n]{0,60}?\band (?:(?:about|another|the other|also)\s+)?$", re.IGNORECASE)


class NumberReader(ClauseReader):
    """Reads an integer or a float exactly as it is written; `question` may name the noun whose number is asked for."""

    def stated(self, text: str, start: int, end: int) -> Attempt:
        """The number that a reply states: its last equation, "there are 12", "the total is 12", "12 in total"."""
        if (place := asked_place(self.question, text, start, end)) is not None:
            return FoundValue(place.value, place.start, place.end)
        if (last := self._equated(text, start, end)) is not None:
            return last
        values: list[FoundValue] = []
        definite: list[FoundValue] = []
        fault: Fault | None = None
        for match in list(_STATED.finditer(text, start, end))[-50:]:
            outcome = self._right_behind(text, match, end)
            if isinstance(outcome, FoundValue):
                values.append(outcome)
                if match["definite"]:
                    definite.append(outcome)
            fault = outcome if isinstance(outcome, Fault) else fault
        if fault is not None and (not values or fault.reason == "none"):
            return fault if not values else None
        if values:
            last_is_definite = bool(definite) and definite[-1] is values[-1]
            return (
                self._agreed(values)
                or (self._agreed(definite) if last_is_definite else None)
                or self._in_total(text, start, end)
            )
        return self._in_total(text, start, end) or self._said_to_be(text, start, end)

    def final(self, text: str, start: int, end: int) -> Attempt:
        """The number that the last one of several lines gives as the answer: "The number of dogs is 3"."""
        end = len(text[start:end].rstrip()) + start
        line = text.rfind("\n", start, end) + 1
        if not line or not text[start:line].strip():
            return None
        match = _FINAL.match(text, line, end)
        if match is None:
            return None
        found = numerals(text, match.end(), end)
        if not found or text[match.end() : found[0].start].strip(" ~$≈€£({[*") or len(found) > 1:
            return None
        outcome = self._hit(text, found[0], line)
        return outcome if isinstance(outcome, FoundValue) else None

    def _equated(self, text: str, start: int, end: int) -> Attempt:
        """The right side of the last equation."""
        last = None
        for equals in self.equations(text, start, end)[-20:]:
            stop = self._line_end(text, equals.end(), end)
            found = numerals(text, equals.end(), min(stop, equals.end() + 80))
            if self._is_passed_over(text, start, stop):
                last = None
            elif found and not text[equals.end() : found[0].start].strip(" ~$≈€£({["):
                last = self._hit(text, found[0], equals.end())
        return last

    def _right_behind(self, text: str, match: re.Match[str], end: int) -> Attempt:
        """The number behind a statement's words; no value where the sentence counts other things too."""
        first = self._behind_about(text, match.end(), end)
        found = numerals(text, match.end(), min(end, first + 160))
        if not found or found[0].start > first:
            return None
        if len(found) > 1 and self._counts_on(text, found):
            return Fault("none")
        return self._hit(text, found[0], match.start())

    def _counts_on(self, text: str, found: list[Numeral]) -> bool:
        """Whether a second number is joined by "and": "2 cars and 3 vans"."""
        first, second = found[:2]
        if second.value == first.value or self._is_asked_for(text, found):
            return False
        return _FURTHER.fullmatch(text, first.stop, second.start) is not None and not self._is_noise(
            text, found, 1, [0], first.start, len(text)
        )

    def _said_to_be(self, text: str, start: int, end: int) -> Attempt:
        """The number right behind "is", where all that stand there agree."""
        values: list[FoundValue] = []
        for match in list(_IS.finditer(text, start, end))[-50:]:
            found = numerals(text, match.end(), min(end, match.end() + 40))
            if found and found[0].start == match.end():
                outcome = self._hit(text, found[0], match.start())
                if isinstance(outcome, FoundValue):
                    values.append(outcome)
        return self._agreed(values)

    def _in_total(self, text: str, start: int, end: int) -> Attempt:
        hits = [n for n in numerals(text, max(start, end - _TOTAL_LIMIT), end) if _IN_TOTAL.match(text, n.end, end)]
        return self._hit(text, hits[-1], start) if hits else None

    def _agreed(self, values: list[FoundValue]) -> Attempt:
        if values and all(self.same(values[0], value) for value in values):
            return values[-1]
        return None

    def concluded(self, text: str, start: int, end: int) -> Attempt:
        """The number of a concluding sentence."""
        stop = self._clause_end(text, start, end)
        outcome = self.stated(text, start, stop)
        return outcome if outcome is not None else self._claimed(text, start, stop)

    def contained(self, text: str, start: int, end: int) -> Attempt:
        """The only number of a reply that is left without noise."""
        if end - start > 4 * SENTENCE_LIMIT:
            return None
        return self._picked(text, start, end)
