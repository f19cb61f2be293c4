"""The number of a clause: which of its numbers is meant, and when none is."""

from __future__ import annotations

import math
import re

from kvl_eval.scorers.answers import number_words
from kvl_eval.scorers.answers.asked import asked_noun, following, is_copied
from kvl_eval.scorers.answers.dress import after_bullet, last_of, unwrapped
from kvl_eval.scorers.answers.numerals import Numeral, factorial, numerals
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue
from kvl_eval.scorers.answers.wordings import refuses

ALONE_LIMIT = 300
SENTENCE_LIMIT = 600  # characters in which the only number is looked for
_ABOUT = (
    r"(?:about|approximately|approx\.?|around|roughly|nearly|almost|circa|ca\.|some|exactly|only|just|precisely"
    r"|a total of"
    r"|at least|at most|up to|equal to|#|no\.|nr\.|number|estimated(?: at| to be)?|ungefähr|etwa|environ|约|大约"
    r"|[~≈∼≃∴=:])"
)
_BEFORE = re.compile(rf"(?:[\s=:(\[{{]|{_ABOUT}(?![a-z]))*", re.IGNORECASE)
_IT_IS = re.compile(
    r"\s*(?:it(?: is|'s|’s| was| has| shows)?|that(?: is|'s)|this is|there (?:are|is|were|was)|they are|we (?:have|get)"
    r"|i (?:see|count|get|counted)|you (?:see|get|have)|hay|es sind|il y en a|一共有?|共有?|总共有?|全部で|共计)\s*",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:\b(?:more|less|fewer|greater|larger|smaller|higher|lower|bigger) than|\b(?:over|under|above|below"
    r"|beyond|exceeds"
    r"|exceeding)|(?<![-=<])[<>])\s*(?:about\s+|approximately\s+)?$",
    re.IGNORECASE,
)
_TO = re.compile(r"\s*(?:-{1,3}|–|—|−|~|\bto\b|\buntil\b|\bthrough\b|\bbis\b|\bà\b|至|到)\s*", re.IGNORECASE)
_OR = re.compile(
    r"\s*;\s*|"
    r"[\s)]*(?:,\s*)?(?:\b(?:or|and|oder|und|ou|et)\b(?:\s+(?:maybe|perhaps|possibly))?|/|&|,|或者?|和|、)[\s(]*",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"\b(?:between|from|zwischen|von|entre|介于)\s*$", re.IGNORECASE)
_BOTH = re.compile(r"\b(?:either|both|torn between|could be|might be|may be)\s*$", re.IGNORECASE)
_EQUALS = re.compile(
    r"(?<![<>!=])=(?!=)|≈|→|⇒|=>|->|\b(?:equals|makes|gives|yields|comes to|amounts to|is equal to|simplifies to)\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(
    r"\n|±|[!?。！？;]|\.(?=\s|$)|[,;]?\s+(?:because|since|as shown|as seen|as can|as per|as the|based on|according"
    r" to|due to|given"
    r"|which|where|considering|weil|parce|porque|rather than|not)\b|因为|由于|\s[-–—]\s(?=[^\d\s])"
    r"|\s?\((?!\s*[-−]?\d+\s*\))",
    re.IGNORECASE,
)
_SO = re.compile(
    r"\b(?:so|thus|hence|therefore|making(?: it)?"
    r"|which (?:makes|gives|means(?: that)?|is (?:approximately|about|roughly))"
    r"|for a (?:grand )?total of|totall?ing|in total"
    r"|total (?:is|of))\b"
    r"|∴|因此|所以",
    re.IGNORECASE,
)
_PLACES = re.compile(
    r"(?:\b(?:page|p|pp|figure|fig(?=s?\.)|table|step|image|picture|photo|frame|object|chart|section|row|line|point"
    r"|position|option"
    r"|question|slide|item|example|part|case|appendix|chapter|note|panel|column|version|no|number|series|room"
    r"|group|level|day"
    r"|box|label|choice|problem|method|equation|eq|stage|phase|type|class|grade|footnote|scenario|cell|bar|node"
    r"|angle)s?\.?"
    r"|#|第)\s*[(\[]?$",
    re.IGNORECASE,
)
_PLACES_JOINED = re.compile(r"\s*(?:,|-|–|and|to|&|through|or)\s*$")
_OUT_OF = re.compile(
    r"(?:\bout of(?: the| all| a total of)?|(?:\d|%|percent|rows?|half|some|many|most|none|all|each|one)\s+of(?:"
    r" the| all| these)?)"
    r"\s+$",
    re.IGNORECASE,
)
_AMONG = re.compile(
    r"\b(?:in|of|from|over|across|among|through|throughout|within|all)(?: (?:the|all|these|those))?\s+$", re.IGNORECASE
)
_FRAMES = re.compile(
    r"\s*(?:\w+ )?(?:frames?|images?|pictures?|photos?|pages?|slides?|clips?|videos?|sentences?|steps?|options?)\b",
    re.IGNORECASE,
)
_YEAR_BEFORE = re.compile(
    r"\b(?:in|since|of|by|from|until|till|year|for|during|to|and|between|fy|q[1-4]|early|late|mid)[\s-]$", re.IGNORECASE
)
_NEGATED = re.compile(r"(?:\b(?:not|never|nicht|pas|rather than|instead of|unlike)|n't)\s+(?:be\s+)?$", re.IGNORECASE)
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?\s*$", re.IGNORECASE)
_ITEM = re.compile(r"(?:^|\n)[ \t]*[(\[]?$")
_ITEM_END = re.compile(r"[.)\]:](?!\d)[ \t]*\S")
_OPERATOR = re.compile(r"\s*(?:[+×*÷·^]|\bx\b|\bplus\b|\btimes\b|\bminus\b)\s*[(]?\s*", re.IGNORECASE)
_THE_NUMBER = re.compile(r"\bthe number $", re.IGNORECASE)
_KNOWN = re.compile(r"\b(?:the|these|those|both|all|its|their) $", re.IGNORECASE)
_THINGS = re.compile(r" (?:[a-z-]{2,20} ){0,2}(?:[a-z]{2,20}s|people|men|women|children)\b")
_UNIT_ONLY = re.compile(r"[\s°%]*(?:[^\W\d_][\w²³·/^%°-]*[\s,]*){0,4}[.!。]*$")


class ClauseReader:
    """Reads an integer or a float exactly as it is written; `question` may name the noun whose number is asked for."""

    def __init__(self, question: str = "") -> None:
        self.question = question

    def lead(self, text: str, start: int, end: int) -> Attempt:
        """The number that a mark's content gives."""
        start = after_bullet(text, start, end)
        stop = self._clause_end(text, start, end)
        outcome = self._claimed(text, start, stop)
        if outcome is None and refuses(text[start:stop][:300]):
            return Fault("refusal")
        return outcome

    def _clause_end(self, text: str, start: int, end: int) -> int:
        """Where the first clause that holds a number ends."""
        end = min(end, start + SENTENCE_LIMIT)
        before = _BEFORE.match(text, start, end)
        first = before.end() if before else start
        for match in _CLAUSE_END.finditer(text, first, end):
            if match.start() > first and numerals(text, start, match.start()):
                return match.start()
            if match.group().startswith("\n") and match.start() > first:
                return match.start()
        return end

    def _claimed(self, text: str, start: int, end: int) -> Attempt:
        """The number of a clause: after its last equation sign, else at its begin, else the only one."""
        if self._is_passed_over(text, start, end):
            return None
        equals = last_of(_EQUALS.finditer(text, start, end))
        if equals is not None and (right := numerals(text, equals.end(), end)):
            left = numerals(text, start, equals.start())
            is_open = len(right) > 1 and isinstance(self._fault(text, right, 0, equals.end()), Fault)
            start, end = (start, equals.start()) if is_open and len(left) == 1 else (equals.end(), end)
        found = numerals(text, start, end)
        if not found:
            return self._worded(text, start, end)
        said = last_of(_SO.finditer(text, found[0].end, end))
        if said is not None and (after := numerals(text, said.end(), end)):
            return self._hit(text, after[0], start)
        before = _BEFORE.match(text, start, found[0].start)
        it_is = _IT_IS.match(text, start, found[0].start)
        if it_is:
            before = _BEFORE.match(text, it_is.end(), found[0].start)
        if fault := self._fault(text, found, 0, start):
            return fault
        if (before and before.end() >= found[0].start) or text[start : found[0].start].strip(" \"'“‘«「([{$") == "":
            return self._hit(text, found[0], start)
        return self._picked(text, start, end)

    def _worded(self, text: str, start: int, end: int) -> Attempt:
        """A content that is one number word of another language, with a unit at most."""
        first, last = unwrapped(text, start, end)
        value = number_words.in_any_language(text[first:last]) if last - first <= 60 else None
        return None if value is None else FoundValue(value, first, last)

    def _fault(self, text: str, found: list[Numeral], index: int, start: int) -> Fault | None:
        """What is wrong with the number at an index: a bound, a range, a second answer."""
        numeral = found[index]
        before = text[max(start, numeral.start - 40) : numeral.start].rstrip("$€£ ([{")
        before = before + " " if before else before
        following = found[index + 1] if index + 1 < len(found) else None
        if following is not None:
            between = text[numeral.stop : following.start]
            tight = text[numeral.end : following.start]
            for gap in (between, tight):
                if _TO.fullmatch(gap) and not gap.isspace():
                    return Fault("range")
                if _OR.fullmatch(gap) and following.value != numeral.value:
                    return Fault("range" if _BETWEEN.search(before) else "two_answers")
            if _OPERATOR.fullmatch(tight) or (tight.isspace() and text[following.start] == "+"):
                return Fault("none")  # a sum that is not worked out
            signed = text[following.start] in "-−–" and not between.strip()
            if signed:
                return Fault("range")
        if index and self._ends_range(text, found[index - 1], numeral, start):
            return Fault("range")
        return Fault("bound") if _BOUND.search(before) else None

    def _ends_range(self, text: str, first: Numeral, second: Numeral, start: int) -> bool:
        """Whether two numbers are the bounds of a range: "40 to 50", "between 40 and 50"."""
        gap = text[first.end : second.start]
        if _TO.fullmatch(gap):
            return bool(gap.strip())
        return (
            _OR.fullmatch(gap) is not None
            and _BETWEEN.search(text[max(start, first.start - 20) : first.start]) is not None
        )

    def _hit(self, text: str, numeral: Numeral, start: int) -> Attempt:
        found = numerals(text, numeral.start, min(len(text), numeral.stop + 60))
        if fault := self._fault(text, found, 0, start) if found else None:
            return fault
        return FoundValue(numeral.value, numeral.start, numeral.end, numeral.unit)

    def alone(self, text: str, start: int, end: int) -> Attempt:
        """The number of a text that is nothing but the answer, with a unit, an equation or an explanation at most."""
        if end - start > ALONE_LIMIT:
            return None
        start, end = unwrapped(text, after_bullet(text, start, end), end)
        if start >= end:
            return None
        before = _BEFORE.match(text, start, end)
        first = before.end() if before else start
        found = numerals(text, start, end)
        if not found:
            return self._worded(text, start, end)
        if text[found[0].end : end] == "!" and found[0].start == first:
            value = factorial(found[0].value)
            return None if value is None else FoundValue(value, found[0].start, end)
        if self.is_formula(text, start, end):
            return self._claimed(text, start, end)
        if found[0].start > first and not self._hedged_begin(text, first, found):
            return None
        if fault := self._fault(text, found, 0, start):
            return fault
        stop = self._clause_end(text, start, end)
        if len(found) > 1 and found[1].start < stop:
            return None
        rest = text[found[0].end : stop]
        return (
            FoundValue(found[0].value, found[0].start, found[0].end, found[0].unit)
            if _UNIT_ONLY.fullmatch(rest)
            else None
        )

    def _hedged_begin(self, text: str, first: int, found: list[Numeral]) -> bool:
        """Whether before the first number stands only what makes it a range, a bound or one of two."""
        before = text[first : found[0].start].strip().lower()
        return bool(
            re.fullmatch(
                r"(?:it (?:is|could be|might be|may be) )?(?:between|from|either|both|(?:more|less|fewer"
                r"|greater) than|over|under|[<>])",
                before,
            )
        )

    def is_formula(self, text: str, start: int, end: int) -> bool:
        """Whether a text is an equation and no prose."""
        if not _EQUALS.search(text, start, end):
            return False
        return len(re.findall(r"[A-Za-z]{3,}", text[start:end])) <= 4

    def _noun(self) -> str:
        return asked_noun(self.question) if self.question else ""

    def _is_passed_over(self, text: str, start: int, end: int) -> bool:
        """Whether the last equation is not the answer: another number follows it in its line, or another is asked for.

        "2 + 9 = 11, perimeter 22"; "area = 12, perimeter = 22" asked for the area.
        """
        equals = last_of(_EQUALS.finditer(text, start, end))
        if equals is None or _SO.search(text, equals.end(), end):
            return False
        right = numerals(text, equals.end(), self._line_end(text, equals.end(), end))
        if not right or self._fault(text, right, 0, equals.end()):
            return False
        if (noun := self._noun()) and (named := following(noun, text, numerals(text, start, equals.start()))):
            return named.value != right[0].value
        return any(
            right[index].value != right[0].value
            and right[index].start >= right[0].stop
            and not self._is_noise(text, right, index, [0], equals.end(), end)
            for index in range(1, min(len(right), 8))
        )

    def equations(self, text: str, start: int, end: int) -> list[re.Match[str]]:
        """The equation signs of a part of a text."""
        return list(_EQUALS.finditer(text, start, end))

    def _behind_about(self, text: str, start: int, end: int) -> int:
        """Where a number begins before which "about" and the like may stand."""
        before = _BEFORE.match(text, start, end)
        return before.end() if before else start

    def _is_asked_for(self, text: str, found: list[Numeral]) -> bool:
        """Whether the noun of the question tells which of several numbers is meant."""
        return following(self._noun(), text, found) is not None

    def _line_end(self, text: str, start: int, end: int) -> int:
        """Where the line of a place ends."""
        line = text.find("\n", start, end)
        return end if line < 0 else line

    def _picked(self, text: str, start: int, end: int) -> Attempt:
        found = numerals(text, start, end)
        left: list[int] = []
        for index in range(len(found)):
            if not self._is_noise(text, found, index, left, start, end):
                left.append(index)
        if len(left) > 1:
            without_years = [index for index in left if not self._is_year(text, found[index])]
            left = without_years or left
        if len(left) > 1:
            left = [index for index in left if not self._is_known(text, found[index], end)] or left
        if len(left) > 1 and (named := following(self._noun(), text, [found[index] for index in left])):
            return self._hit(text, named, start)
        if len(left) > 1:
            with_unit = [index for index in left if found[index].unit]
            left = with_unit if len(with_unit) == 1 else left
        if not left:
            numbers = [
                number for number in found if _THE_NUMBER.search(text[max(start, number.start - 12) : number.start])
            ]
            return self._hit(text, numbers[0], start) if len(numbers) == len(found) == 1 else None
        if any(found[index].value != found[left[0]].value for index in left):
            return self._fault(text, found, left[0], start)
        return self._fault(text, found, left[0], start) or self._hit(text, found[left[0]], start)

    def _is_known(self, text: str, numeral: Numeral, end: int) -> bool:
        """Whether a number counts things that are known already: "the two cars"."""
        before = text[max(0, numeral.start - 12) : numeral.start]
        return 1 < numeral.value < 10 and bool(_KNOWN.search(before)) and bool(_THINGS.match(text, numeral.end, end))

    def _is_year(self, text: str, numeral: Numeral) -> bool:
        is_year = isinstance(numeral.value, int) and 1500 <= numeral.value < 2100 and numeral.end - numeral.start == 4
        return is_year and _YEAR_BEFORE.search(text[max(0, numeral.start - 12) : numeral.start]) is not None

    def _is_noise(self, text: str, found: list[Numeral], index: int, left: list[int], start: int, end: int) -> bool:
        """Whether a number names or counts places, stands in a note, or numbers an item."""
        numeral = found[index]
        before = text[max(start, numeral.start - 60) : numeral.start]
        if self.question and is_copied(self.question, text, numeral):
            return True
        if _PLACES.search(before) or _MONTH.search(before) or _NEGATED.search(before):
            return True
        if index and index - 1 not in left and _PLACES_JOINED.fullmatch(text[found[index - 1].end : numeral.start]):
            return True
        if _OUT_OF.search(before) or (_AMONG.search(before) and _FRAMES.match(text, numeral.end, end)):
            return True
        if _ITEM.search(before) and _ITEM_END.match(text, numeral.end, end) and isinstance(numeral.value, int):
            return True
        opened = before.rfind("(")
        if opened > before.rfind(")") and bool(left):
            return True
        cause = re.search(
            r"\b(?:because|since|as shown|as seen|based on|according to|due to)\b[^.\n]*$", before, re.IGNORECASE
        )
        return cause is not None and bool(left)

    def is_bare(self, text: str, start: int, end: int) -> bool:
        """Whether a line is a number with no more than its unit sign."""
        return not re.search(r"[^\W\d_]{2,}", text[start:end])

    def same(self, one: FoundValue, other: FoundValue) -> bool:
        """Whether two readings are one answer."""
        if isinstance(one.value, int | float) and isinstance(other.value, int | float):
            return math.isclose(one.value, other.value, rel_tol=1e-6)
        return one.value == other.value
