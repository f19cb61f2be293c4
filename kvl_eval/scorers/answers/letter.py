"""The letter of an option: read from a label, from the option's text, or from both."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kvl_eval.scorers.answers import languages as words
from kvl_eval.scorers.answers import spellings as spelled
from kvl_eval.scorers.answers.dress import QUOTES, after_bullet, alike, unwrapped
from kvl_eval.scorers.answers.number import NumberReader
from kvl_eval.scorers.answers.options import OptionTexts, is_boundary
from kvl_eval.scorers.answers.polarity import polarity
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue
from kvl_eval.scorers.answers.wordings import refuses

ALONE_LIMIT = 800  # characters of a line that can be an answer alone
_JOIN = re.compile(
    r"\s*(?:[/&+,;、|]|,?\s*(?:and/or|(?:and|or|oder|und|ou|y|o|et)(?: (?:maybe|perhaps|possibly|even|also|rather"
    r"|else))?)"
    r"(?=[\s(\[\"'])|和|或者?|及)\s*",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"[\s.,;:—–-]{0,6}\b(?:actually|no|wait|sorry|correction|i mean|rather|make that)\b[\s,.:—-]{1,4}"
    r"(?:(?:actually|no|wait|sorry|it's|it is|make that|the answer is)[\s,.:]{1,3}){0,3}(?=[(\[]?[A-Z]\b)",
    re.IGNORECASE,
)
_JOINED_LETTERS = re.compile(r"[A-Z]{2,26}(?![\w'’-])")
_BOTH = re.compile(
    r"\b(?:either|both|torn between|between|could be|might be|may be|hesitat\w+ between)\s+(?:the\s+)?(?=\S)",
    re.IGNORECASE,
)
_IT_IS = re.compile(
    r"(?:it(?: is|'s| was)|that(?: is|'s)|this is|they are|there (?:is|are)|he is|she is|i see)\s+(?:the |an? )?"
    r"|(?:the|an?)\s+",
    re.IGNORECASE,
)
_WORD_AFTER_A = re.compile(
    r"\s*(?:$|[.!?。,;:\n()\[\]–—-]|[\u0370-\u1fff\u3040-\uffdc]|(?:because|since|as|which|for|due|given|based|is|was|with|where|so|but|not"
    r"|and|or|from"
    r"|considering|according|instead|rather|over|in (?:this|the)|although|though|while)\b)",
    re.IGNORECASE,
)
_TEXT_END = re.compile(r"[\s\"'”]*(?:$|[.!?。;)\]\n]|[-–—(]|(?:because|since|as|which)\b)")
_INITIAL = re.compile(
    r"[A-Z]\.\s*(?!(?:There|It|This|The|That|He|She|They|What|Both|None|All|One|No|Yes|Not)\b)[A-Z][a-z]+"
    r"(?:\s(?:was|is|were|has|had|said|wrote|et al)\b|\s\()"
)
_NEXT_ITEM = re.compile(r"(?:[ \t]{1,3}[-–—:][^\n]{1,30}|[.,;])?[ \t]*\n(?!\s*\n)|[.,;]?[ \t]{1,4}(?=[(\[][A-Z][)\]])")
_NAME = 6  # words that may name an option without a text
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？\n]")


@dataclass(frozen=True, slots=True)
class Label:
    """A letter that stands where a label may stand; `is_set` tells that a bracket, a dot or a word sets it apart."""

    index: int
    start: int
    end: int
    is_set: bool
    is_small: bool
    has_word: bool


class LabelReader:
    """Reads one letter; see the tables of `spec` in docs/answers.md."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self.options = OptionTexts(options)

    def label(self, text: str, start: int, end: int) -> Label | None:
        """The label at a place, whatever its letter."""
        match = spelled.LABEL.match(text, start, end)
        if match is None:
            return None
        letter = match["letter"]
        closed = match["close"] is not None
        is_set = closed or match["word"] is not None
        if match["open"] and (not closed or match["close"].strip(" )]}>】")):
            return None
        index = ord(letter.upper()) - ord("A")
        return Label(index, match.start("letter"), match.end(), is_set, letter.islower(), match["word"] is not None)

    def hit(self, index: int, start: int, end: int) -> FoundValue | Fault:
        if index >= self.options.count:
            return Fault("not_an_option")
        return FoundValue(chr(ord("A") + index), start, end)

    def lead(self, text: str, start: int, end: int) -> Attempt:
        """The letter that a mark's content begins with."""
        start = after_bullet(text, start, end)
        line_end = _first_line_end(text, start, end)
        label = self.label(text, start, end)
        option = self.options.at(text, start, end)
        if label is not None and option is not None and self._is_text(label, option, text, line_end):
            return self._option_hit(text, start, option, end)
        if label is not None and self._is_label(label, text, end):
            return self._label_hit(text, label, end)
        if option is not None and self._is_said(text, start, option, end):
            return self._option_hit(text, start, option, end)
        return self._otherwise(text, start, line_end)

    def _is_said(self, text: str, start: int, option: tuple[int, int], end: int) -> bool:
        """Whether an option that begins a text is meant: "no" before "idea" is not a no."""
        if self.options.texts[option[0]] not in ("yes", "no"):
            return True
        return polarity(text, start, end) is not None

    def _otherwise(self, text: str, start: int, end: int) -> Attempt:
        """What remains of a content that begins with neither a label nor an option."""
        both = _BOTH.match(text, start, end)
        if both and isinstance(outcome := self.lead(text, both.end(), end), Fault):
            return outcome
        if self.options.are_yesno and (said := polarity(text, start, end)) is not None:
            value, first, last = said
            return self.hit(self.options.texts.index(value), first, last)
        if joined := _JOINED_LETTERS.match(text, start, end):
            letters = joined.group()
            fits = all(ord(letter) - ord("A") < self.options.count for letter in letters)
            if fits and list(letters) == sorted(set(letters)) and _WORD_AFTER_A.match(text, joined.end(), end):
                return Fault("two_answers")
        it_is = _IT_IS.match(text, start, end)
        if it_is:
            option = self.options.at(text, it_is.end(), end)
            if option is not None:
                return self._option_hit(text, it_is.end(), option, end)
            label = self.label(text, it_is.end(), end)
            if label is not None and not label.is_small and self._is_label(label, text, end):
                return self._label_hit(text, label, end)
        if numbered := self.numbered(text, start, end, NumberReader().lead(text, start, end)):
            return numbered
        return Fault("refusal") if refuses(first_sentence(text, start, end)[:90]) else None

    def numbered(self, text: str, start: int, end: int, number: Attempt) -> FoundValue | None:
        """The option whose number a reading of a number is."""
        if not isinstance(number, FoundValue) or not isinstance(number.value, int | float):
            return None
        index = self.options.numbered(number.value, number.unit)
        return None if index is None else FoundValue(chr(ord("A") + index), number.start, number.end)

    def _is_text(self, label: Label, option: tuple[int, int], text: str, end: int) -> bool:
        """Whether a place that begins like a label is an option's text: "A and B", "B only", a numeral."""
        index, stop = option
        if label.index < self.options.count and len(self.options.texts[index]) == 1:
            return False
        if stop <= label.end or label.has_word:
            return label.index >= self.options.count
        return not label.is_set or text[label.end - 1] not in ")]}.:>"

    def _is_label(self, label: Label, text: str, end: int) -> bool:
        """Whether the letter is a label and not a word of its sentence."""
        if label.has_word:
            return True
        rest = text[label.end : min(end, label.end + 40)]
        if label.is_small:
            is_closed = text[label.end - 1] in ")]}>" and label.is_set
            return (
                is_closed
                or not rest.strip(" .\n" + QUOTES)
                or rest[:1] == "\n"
                or (label.index not in (0, 8) and _WORD_AFTER_A.match(rest) is not None)
            )
        if label.is_set:
            return not self._is_initial(text, label, end)
        if label.index in (0, 8):
            return _WORD_AFTER_A.match(rest) is not None or not rest[:1].isascii()
        return label.index < self.options.count or _WORD_AFTER_A.match(rest) is not None

    def _is_initial(self, text: str, label: Label, end: int) -> bool:
        """Whether a letter with a dot begins a name."""
        if _INITIAL.match(text, label.start, end) is None:
            return False
        return label.index >= self.options.count or self._behind_text(text, label, end) is None

    def _label_hit(self, text: str, label: Label, end: int) -> Attempt:
        hit = self.hit(label.index, label.start, label.start + 1)
        if isinstance(hit, Fault):
            return hit
        corrected = _CORRECTED.match(text, label.end, end)
        if corrected and (second := self.label(text, corrected.end(), end)) and not second.is_small:
            return self._label_hit(text, second, end)
        named = self._behind_text(text, label, end)
        if self._joined(text, label.index, label.end, end) or (named and self._joined(text, label.index, named, end)):
            return Fault("two_answers")
        if named:
            return Fault("two_answers") if self._is_listed(text, label, named, end) else hit
        rest = _skipped(text, label.end, end, " \t:.,-–—=)\n" + QUOTES)
        if "\n" in text[label.end : rest] and self.label(text, rest, end) is not None:
            return hit
        other = self.options.at(text, rest, end)
        if other is not None and self.options.texts[other[0]] != self.options.texts[label.index]:
            is_label = len(self.options.texts[other[0]]) == 1 and self.options.texts[label.index] != ""
            if self._is_whole(text, other, end) and not (is_label and not label.is_set):
                return Fault("letter_and_text_differ")
        return hit

    def _behind_text(self, text: str, label: Label, end: int) -> int | None:
        """Where a label's own text ends that stands beside it; None where it does not."""
        own = self.options.texts[label.index]
        if not own:
            return None
        first = _skipped(text, label.end, end, " \t\n.:,)(=" + QUOTES)
        if text.startswith("for ", first, end):
            first = _skipped(text, first + 4, end, " (" + QUOTES)
        for start in (first, _skipped(text, first, end, "-–— ")):
            window = alike(text[start : min(end, start + len(own) + 1)])
            if window.startswith(own) and is_boundary(text, start + len(own), end, own):
                longer = self.options.at(text, start, end)
                is_own = longer is None or self.options.texts[longer[0]] == own
                return _skipped(text, start + len(own), end, QUOTES + ")") if is_own else None
        return None

    def _is_listed(self, text: str, label: Label, position: int, end: int) -> bool:
        """Whether another option follows in full, on the next line or this one: the answer is a list of options."""
        line = _NEXT_ITEM.match(text, position, end)
        if line is None:
            return False
        second = self.label(text, after_bullet(text, line.end(), end), end)
        if second is None or not second.is_set or not 0 <= second.index < self.options.count:
            return False
        return second.index != label.index and self._behind_text(text, second, end) is not None

    def is_exact(self, text: str, start: int, end: int) -> bool:
        """Whether a line that reads as an answer is a label, an option, or both, and no sentence."""
        start, end = unwrapped(text, after_bullet(text, start, end), end)
        label = self.label(text, start, end)
        if label is None or label.index >= self.options.count:
            return True
        behind = self._behind_text(text, label, end)
        if not self.options.texts[label.index] and label.is_set and len(text[label.end : end].split()) <= _NAME:
            return True  # an option without a text is named in the reply's own words
        return not text[label.end : end].strip(" .*") or (behind is not None and not text[behind:end].strip(" .*)"))

    def _is_whole(self, text: str, option: tuple[int, int], end: int) -> bool:
        """Whether a clause ends behind an option's text, so that the text is named and not merely begun."""
        return _TEXT_END.match(text, option[1], end) is not None

    def _option_hit(self, text: str, start: int, option: tuple[int, int], end: int) -> Attempt:
        index, stop = option
        join = _JOIN.match(text, stop, end)
        if join and (other := self.options.at(text, join.end(), end)) and other[0] != index:
            return Fault("two_answers")
        if (
            join
            and (second := self.label(text, join.end(), end))
            and second.is_set
            and second.index < self.options.count
            and second.index != index
        ):
            return Fault("two_answers")
        after = _skipped(text, stop, end, " .," + QUOTES)
        label = self.label(text, after, end) if text[after : after + 1] in ("(", "[") else None
        if label is not None and label.index < self.options.count and not label.is_small and label.index != index:
            return Fault("letter_and_text_differ")
        return self.hit(index, start, stop)

    def _joined(self, text: str, index: int, position: int, end: int) -> bool:
        """Whether a second letter follows, joined by and, or, a comma or a slash."""
        join = _JOIN.match(text, position, end)
        if join is None:
            return False
        second = self.label(text, join.end(), end)
        if second is None:
            return False
        if second.index == index or second.index >= self.options.count:
            return False
        if second.is_small and text[position - 1 : position].isupper():
            return False
        rest = text[second.end : min(end, second.end + 30)]
        return second.is_set or _WORD_AFTER_A.match(rest) is not None or _JOIN.match(rest) is not None

    def alone(self, text: str, start: int, end: int) -> Attempt:
        """The letter of a text that is nothing but the answer."""
        if end - start > ALONE_LIMIT:
            return self._begun(text, start, end)
        start, end = unwrapped(text, after_bullet(text, start, end), end)
        if lone := self._lone(text, start, end):
            return lone
        if (polite := words.COPULA_AFTER.search(text, max(start, end - 12), end)) and polite.start() > start:
            end = polite.start()
        end = len(text[:end].rstrip("! ;,:"))
        if numbered := spelled.NUMBERED.match(text, start, end):
            start = numbered.end()
        surely = spelled.SURELY.match(text, start, end)
        start = surely.end() if surely else start
        if start >= end:
            return None
        equal = self.options.equal(text[start:end])
        label = self.label(text, start, end)
        is_bare = label is not None and label.end >= end
        if equal is not None and not (is_bare and label is not None and label.index < self.options.count):
            return self.hit(equal, start, end)
        if self.options.are_yesno and (said := polarity(text, start, end)) is not None:
            return self.hit(self.options.texts.index(said[0]), said[1], said[2])
        if label is None:
            outcome = self._joined_alone(text, start, end) or self._text_and_letter(text, start, end)
            return outcome or self._begun(text, start, end)
        if is_bare:
            return self.hit(label.index, label.start, label.start + 1)
        if self._joined(text, label.index, label.end, end) and label.index < self.options.count:
            rest = text[label.end : end]
            return Fault("two_answers") if len(rest) < 60 else None
        if not label.is_set or (label.is_small and not label.has_word and text[label.start - 1 : label.start] != "("):
            if not label.is_small and (
                (label.index not in (0, 8) and spelled.REMARK.match(text, label.end, end))
                or (label.index != 8 and spelled.AFTERWARD.match(text, label.end, end))
            ):
                return self._label_hit(text, label, end)
            return self._text_and_letter(text, start, end) or self._begun(text, start, end)
        if label.index >= self.options.count or self._is_initial(text, label, end):
            return None
        if spelled.ONLY_LABELS.match(text, label.end, end) and self._behind_text(text, label, end) is None:
            return Fault("two_answers")
        is_closed = text[label.end - 1] in ")]}>.:、项" or text[label.end : label.end + 2] in (" -", " –", " —")
        if not is_closed and self._behind_text(text, label, end) is None:
            return None
        return self._label_hit(text, label, end)

    def _lone(self, text: str, start: int, end: int) -> FoundValue | None:
        """The one letter of a text that has no other letter or digit, or that repeats it."""
        match = spelled.ORNAMENTED.fullmatch(text, start, end) or spelled.REPEATED.fullmatch(text, start, end)
        if match is None or self.options.equal(text[start:end]) is not None:
            return None
        name = "letter" if match["letter"] else "run"
        index = ord(match[name].upper()) - ord("A")
        at = match.start(name)
        return FoundValue(chr(ord("A") + index), at, at + 1) if index < self.options.count else None

    def _begun(self, text: str, start: int, end: int) -> Attempt:
        """The letter of a long text that begins with a label and its own text, or with an option as a sentence."""
        start = after_bullet(text, start, end)
        label = self.label(text, start, end)
        if label is not None and label.index < self.options.count and label.is_set:
            return self._label_hit(text, label, end) if self._behind_text(text, label, end) is not None else None
        option = self.options.at(text, start, end)
        if option is None or not self._is_said(text, start, option, end) or len(self.options.texts[option[0]]) < 3:
            return None
        return (
            self._option_hit(text, start, option, end) if re.match(r"[.!\n]", text[option[1] : option[1] + 1]) else None
        )

    def _joined_alone(self, text: str, start: int, end: int) -> Attempt:
        joined = _JOINED_LETTERS.fullmatch(text, start, end)
        if joined is None:
            return None
        letters = joined.group()
        fits = all(ord(letter) - ord("A") < self.options.count for letter in letters)
        return Fault("two_answers") if fits and list(letters) == sorted(set(letters)) else None

    def _text_and_letter(self, text: str, start: int, end: int) -> Attempt:
        """`T (X)`, and `It is T`."""
        it_is = _IT_IS.match(text, start, end)
        for first in (start, *([it_is.end()] if it_is else [])):
            option = self.options.at(text, first, end)
            if option is None:
                continue
            rest = text[option[1] : end].strip(" .," + QUOTES)
            label = self.label(rest, 0, len(rest))
            if not rest or (label is not None and label.end == len(rest) and label.is_set):
                return self._option_hit(text, first, option, end)
        return None

    def has_own_text(self, text: str, label: Label, end: int) -> bool:
        """Whether an option's text stands beside its letter."""
        return self._behind_text(text, label, end) is not None

    def same(self, one: FoundValue, other: FoundValue) -> bool:
        """Whether two readings are one answer."""
        return one.value == other.value


def first_sentence(text: str, start: int, end: int) -> str:
    """The first sentence of a part of a text."""
    match = _SENTENCE_END.search(text, start, end)
    return text[start : match.end() if match else end]


def _skipped(text: str, start: int, end: int, characters: str) -> int:
    while start < end and text[start] in characters:
        start += 1
    return start


def _first_line_end(text: str, start: int, end: int) -> int:
    line = text.find("\n", start, end)
    return end if line < 0 else line
