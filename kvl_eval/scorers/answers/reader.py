"""The reader: the place of the best rank that yields a reading decides."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers import comparison, statements
from kvl_eval.scorers.answers import languages as words
from kvl_eval.scorers.answers.alone import Alone, KindReader
from kvl_eval.scorers.answers.dress import last_of
from kvl_eval.scorers.answers.letter import LabelReader
from kvl_eval.scorers.answers.letters import LettersReader
from kvl_eval.scorers.answers.listing import ListReader
from kvl_eval.scorers.answers.marks import HEADING, Mark, are_apart, marks, sentence_end
from kvl_eval.scorers.answers.number import NumberReader
from kvl_eval.scorers.answers.point import read_place
from kvl_eval.scorers.answers.reading import (
    NOT_ANSWERABLE,
    Attempt,
    CharSpan,
    Fault,
    FoundValue,
    Passed,
    Reading,
    Wanted,
)
from kvl_eval.scorers.answers.surplus import next_question, without_program
from kvl_eval.scorers.answers.text import TextReader
from kvl_eval.scorers.answers.view import View, undress
from kvl_eval.scorers.answers.wordings import HARNESS_FAILED, declines, denies, hedges, misses, refuses
from kvl_eval.scorers.answers.yesno import YesNoReader
from kvl_eval.thinking import split_thought

_PASSED_LIMIT = 8
_PLAIN_LIMIT = 20  # characters of a reply that may be a letter or a number and nothing else
_PLAIN_LETTER = re.compile(r"\s{0,4}\(?([A-Z])[).]{0,2}\s{0,4}")
_PLAIN_NUMBER = re.compile(r"\s{0,4}(\d{1,9}(?:\.\d{1,6})?)\s{0,4}", re.ASCII)
_NOTHING = re.compile(r"[\s\W_]*")
_EMPTY_MARK = re.compile(
    rf"\s*(?:the )?(?:final )?{words.ANSWER_NOUN}(?: is)?\s*[:=]?\s*|\s*(?:{'|'.join(words.LINES)})\s*[:=]?\s*",
    re.IGNORECASE,
)
_PHRASE = 3  # words of a last line that says nothing but that there is no answer
_SHORT = 200  # characters of a reply in which a word of doubt concerns the answer
_NOUN_PHRASE = re.compile(rf"\b(?:(?:the|my|your|our|an?)\s)?(?:{words.PRAISE}\s){{0,2}}$", re.IGNORECASE)
_ASIDE = re.compile(r"[,;(–—]|\s(?:but|although|though|which)\b")
_UNSURE = ("contained", "restated", "statement")  # how a value is found before a question that may belong to it
_STRONG = ("two_answers", "not_an_option", "letter_and_text_differ", "range", "bound")


class _OneLetter(LabelReader):
    """Ranks 3 and 4 of a letter live in `statements`."""

    def stated(self, text: str, start: int, end: int) -> Attempt:
        return statements.stated(self, text, start, end)

    def concluded(self, text: str, start: int, end: int) -> Attempt:
        return statements.concluded(self, text, start, end)

    def contained(self, text: str, start: int, end: int) -> Attempt:
        return statements.contained(self, text, start, end)


def read(reply: str, wanted: Wanted, *, split: bool = True) -> Reading:
    """What a reply says.

    Args:
        reply:  text of a model.
        wanted: what the question asks for.
        split:  whether a thought may stand in the reply; False where it is off already.
    Returns: a value with its place and how it was found, or the reason why there is none. Spans are those of `reply`.
    """
    if (plain := _plain(reply, wanted)) is not None:
        return plain
    start, end = 0, len(reply)
    if split:
        thought = split_thought(reply)
        if thought.closed is False:
            return Reading(reason="thought_unclosed")
        start, end = thought.start, thought.end
    if HARNESS_FAILED.match(reply, start, end):
        return Reading(reason="refusal")
    if wanted.kind in ("point", "box"):
        return _moved(read_place(undress(reply[start:end]), wanted), start)
    if (cut := next_question(reply, (start, end), wanted)) is not None:
        reading = _Ranks(undress(reply[start:cut]), wanted).read()
        if reading.value is not None and reading.how not in _UNSURE:
            return _moved(reading, start)
    return _moved(_Ranks(undress(reply[start:end]), wanted).read(), start)


def _plain(reply: str, wanted: Wanted) -> Reading | None:
    """The reading of a reply that is a letter or a number and nothing else, as the ranks give it too, at once."""
    if len(reply) > _PLAIN_LIMIT:
        return None
    if wanted.kind == "letter":
        letter = _PLAIN_LETTER.fullmatch(reply)
        if letter is None or ord(letter[1]) - ord("A") >= len(wanted.options):
            return None
        return Reading(value=letter[1], how="whole", span=letter.span(1))
    number = _PLAIN_NUMBER.fullmatch(reply) if wanted.kind in ("integer", "float") else None
    if number is None:
        return None
    return Reading(value=float(number[1]) if "." in number[1] else int(number[1]), how="whole", span=number.span(1))


def _moved(reading: Reading, offset: int) -> Reading:
    """A reading of an answer as one of the whole reply."""
    if not offset:
        return reading

    def moved(span: CharSpan) -> CharSpan:
        return span[0] + offset, span[1] + offset

    passed: tuple[Passed, ...] = tuple((moved(span), how, why) for span, how, why in reading.passed)
    span = moved(reading.span) if reading.span else None
    return Reading(
        value=reading.value, how=reading.how, reason=reading.reason, span=span, unit=reading.unit, passed=passed
    )


class _Ranks:
    """The places of one reply, by rank."""

    def __init__(self, view: View, wanted: Wanted) -> None:
        self.view = view
        self.text = view.text
        self.wanted = wanted
        self.kind = self._kind_reader()
        self.rest = view.text  # without programs and sentences whose marks do not count; as long as `text`
        if wanted.kind not in ("text", "list"):
            self.rest = without_program(view.text)
        self.passed: list[Passed] = []
        self.weak = ""  # a reason that a place gave without being decisive

    def _kind_reader(self) -> KindReader:
        kind = self.wanted.kind
        if kind == "letter":
            return _OneLetter(self.wanted.options)
        if kind == "letters":
            return LettersReader(self.wanted.options)
        if kind == "yesno":
            return YesNoReader()
        if kind in ("integer", "float"):
            return NumberReader(self.wanted.question)
        bolds = tuple(self.view.bolds)
        return ListReader(self.wanted.items, bolds) if kind == "list" else TextReader(bolds, self.wanted.question)

    def read(self) -> Reading:
        """The reading of the best rank."""
        if self._is_empty():
            return Reading(reason="empty")
        if words.INSTRUCTION.match(self.text):
            return self._without("none")
        for rank in (self._marked, self._denied, self._alone, self._declined, self._stated, self._contained):
            reading = rank()
            if reading is not None:
                return reading
        return self._without(self.weak or "none")

    def _is_empty(self) -> bool:
        return _NOTHING.fullmatch(self.text) is not None or (
            len(self.text) < 100 and _EMPTY_MARK.fullmatch(self.text) is not None
        )

    def _with(self, hit: FoundValue, how: str) -> Reading:
        span = self.view.body.origin(hit.start, hit.end)
        return Reading(value=hit.value, how=how, span=span, unit=hit.unit, passed=tuple(self.passed[-_PASSED_LIMIT:]))

    def _without(self, reason: str) -> Reading:
        """No value; where "not answerable" is an answer, a refusal is that answer."""
        if reason == "refusal" and self.wanted.unanswerable:
            return self._with(FoundValue(NOT_ANSWERABLE, *self._trimmed()), "whole")
        return Reading(reason=reason, passed=tuple(self.passed[-_PASSED_LIMIT:]))

    def _pass(self, start: int, end: int, how: str, why: str) -> None:
        if len(self.passed) < 4 * _PASSED_LIMIT:
            self.passed.append((self.view.body.origin(start, min(end, start + 80)), how, why))

    # rank 1

    def _marked(self) -> Reading | None:
        places = marks(self.view, self.wanted.question)
        for index in range(len(places) - 1, -1, -1):
            mark = places[index]
            if mark.why_not:
                self._pass(mark.begin, mark.end, mark.how, mark.why_not)
                self._leave_out(mark)
                continue
            outcome = self._of_mark(mark)
            if outcome is None:
                self._pass(mark.begin, mark.end, mark.how, "not of the wanted kind")
                continue
            if isinstance(outcome, Fault):
                return self._unanswerable(mark, outcome) or self._without(outcome.reason)
            if self.wanted.unanswerable and self._unanswerable_text(outcome):
                return self._with(FoundValue(NOT_ANSWERABLE, outcome.start, outcome.end), mark.how)
            if self._conflicts(places[:index], mark, outcome):
                return self._without("two_answers")
            return self._with(outcome, mark.how)
        return None

    def _leave_out(self, mark: Mark) -> None:
        """Blank the sentence of a mark that does not count, so that no later rank reads it."""
        if mark.why_not == HEADING:
            return
        if mark.why_not == "somebody else's" and words.BUT.search(
            self.text, mark.start, min(mark.end, mark.start + 200)
        ):
            return
        end = sentence_end(self.text, mark.start, mark.end)
        noun_phrase = _NOUN_PHRASE.search(self.text[max(0, mark.begin - 40) : mark.begin])
        begin = mark.begin - (len(noun_phrase.group()) if noun_phrase else 0)
        self.rest = self.rest[:begin] + " " * (end - begin) + self.rest[end:]

    def _of_mark(self, mark: Mark) -> Attempt:
        start, end = mark.content
        end = min(end, start + 2_000) if self.wanted.kind != "list" else end
        if start >= end:
            return None
        if mark.how == "boxed" and self.wanted.kind != "list":
            outcome = self.kind.alone(self.text, start, end)
            if outcome is not None:
                return outcome
        outcome = self.kind.lead(self.text, start, end)
        if outcome is None and self.wanted.unanswerable and denies(self.text[start:end]):
            return Fault("refusal")
        if isinstance(outcome, FoundValue) and not self.wanted.unanswerable and self._unanswerable_text(outcome):
            return Fault("refusal")
        return outcome

    def _unanswerable(self, mark: Mark, fault: Fault) -> Reading | None:
        content = self.text[mark.start : mark.end]
        if self.wanted.unanswerable and (fault.reason == "refusal" or denies(content)):
            return self._with(FoundValue(NOT_ANSWERABLE, mark.start, mark.end), mark.how)
        return None

    def _unanswerable_text(self, hit: FoundValue) -> bool:
        return (isinstance(hit.value, str) and denies(hit.value)) or (
            isinstance(hit.value, tuple) and len(hit.value) == 1 and denies(str(hit.value[0]))
        )

    def _conflicts(self, earlier: list[Mark], mark: Mark, hit: FoundValue) -> bool:
        """Whether a mark shortly before says something else, with neither a blank line nor a correction between."""
        begin = mark.begin
        for other in reversed(earlier[-12:]):
            if other.why_not or other.end <= other.start or other.start >= mark.begin:
                continue
            outcome = self._of_mark(other)
            if not isinstance(outcome, FoundValue):
                continue
            if are_apart(self.text, outcome.end, begin):
                return False
            if not self.kind.same(outcome, hit) and outcome.end <= hit.start:
                return True
        return False

    # rank 2

    def _alone(self) -> Reading | None:
        outcome, how = Alone(self.rest, self.wanted, self.kind, self.view.bolds).outcome()
        if isinstance(outcome, FoundValue):
            return self._with(outcome, how)
        return None if outcome is None else self._without(outcome.reason)

    # refusals

    def _denied(self) -> Reading | None:
        """A reply that says that its question has no answer, where that is one and no value stands before it."""
        if not self.wanted.unanswerable or not denies(self.text):
            return None
        sentences = [part for part in re.split(r"(?<=[.!?。;])\s+|\n+", self.text) if part.strip()]
        line = self.text.rstrip().rpartition("\n")[2]
        if "\n" in self.text.strip() and denies(line) and len(line.split()) <= _PHRASE:
            end = len(self.text.rstrip())
            return self._with(FoundValue(NOT_ANSWERABLE, end - len(line.strip()), end), "last_line")
        if not sentences or not denies(sentences[0]):
            return None
        inner = re.search(r"\([^()]*\)", sentences[0])
        if inner and not denies(sentences[0].replace(inner.group(), "")):
            return None
        return self._before_aside(sentences[0]) or self._with(FoundValue(NOT_ANSWERABLE, *self._trimmed()), "whole")

    def _before_aside(self, sentence: str) -> Reading | None:
        """The number that a sentence gives before it says what is missing: "The total is 12, which is not stated"."""
        aside = _ASIDE.search(sentence)
        if aside is None or not isinstance(self.kind, NumberReader) or denies(sentence[: aside.start()]):
            return None
        start = self.text.find(sentence)
        end = start + aside.start()
        outcome = self.kind.alone(self.text, start, end) or self.kind.stated(self.text, start, end)
        return self._with(outcome, "statement") if isinstance(outcome, FoundValue) else None

    def _trimmed(self) -> CharSpan:
        return len(self.text) - len(self.text.lstrip()), len(self.text.rstrip())

    def _declined(self) -> Reading | None:
        if self._refuses():
            return self._without("two_answers" if self.weak == "two_answers" else "refusal")
        if self.wanted.kind not in ("text", "list") and self._hedges():
            return self._without(self._hedged())
        return None

    def _hedges(self) -> bool:
        """Whether a short reply hedges, or the first or the last sentence of a longer one."""
        if len(self.text) <= _SHORT:
            return hedges(self.text)
        start, end = self._trimmed()
        last = max(self.text.rfind(". ", 0, end - 2), self.text.rfind("\n", 0, end - 2)) + 1
        return hedges(self.text[start : sentence_end(self.text, start, end)]) or hedges(self.text[last:end])

    def _refuses(self) -> bool:
        """Whether the reply refuses; of a text or a list it may also say what is missing, once it has begun."""
        if isinstance(self.kind, LabelReader):
            return declines(self.text) or (
                misses(self.text) and misses(comparison.without_clauses(self.kind.options, self.text))
            )
        if self.wanted.kind not in ("text", "list"):
            return refuses(self.text)
        return declines(self.text) or refuses(self.text[: sentence_end(self.text, self._trimmed()[0], len(self.text))])

    def _hedged(self) -> str:
        """A hedge that names two values is two answers."""
        if self.wanted.kind in ("letter", "integer", "float"):
            outcome = self.kind.stated(self.text, 0, len(self.text)) or self.kind.concluded(
                self.text, 0, len(self.text)
            )
            if isinstance(outcome, Fault) and outcome.reason in _STRONG:
                return outcome.reason
        return "hedge"

    # ranks 3 and 4

    def _stated(self) -> Reading | None:
        last = last_of(words.CONCLUSION.finditer(self.rest))
        if isinstance(self.kind, NumberReader) and isinstance(
            final := self.kind.final(self.rest, 0, len(self.rest)), FoundValue
        ):
            return self._with(final, "statement")
        places = [("conclusion", last.end(), self._paragraph_end(last.end()))] if last else []
        for how, start, end in [*places, ("statement", 0, len(self.rest))]:
            read_there = self.kind.concluded if how == "conclusion" else self.kind.stated
            outcome = read_there(self.rest, start, end)
            if isinstance(outcome, FoundValue):
                return self._with(outcome, how)
            if isinstance(outcome, Fault):
                return self._without(outcome.reason)
        return None

    def _paragraph_end(self, start: int) -> int:
        end = self.rest.find("\n\n", start)
        return len(self.rest) if end < 0 else end

    def _contained(self) -> Reading | None:
        if self.wanted.question and self.wanted.kind == "letter" and (reading := self._restated()):
            return reading
        outcome = self.kind.contained(self.rest, 0, len(self.rest))
        if isinstance(outcome, FoundValue):
            return self._with(outcome, "contained")
        if isinstance(outcome, Fault):
            return self._without(outcome.reason)
        return self._restated() if self.wanted.question else None

    def _restated(self) -> Reading | None:
        """Yes or no, as a kind or as options, or an option, where a statement says what the question asks."""
        is_choice = isinstance(self.kind, LabelReader)
        if isinstance(self.kind, LabelReader) and not self.kind.options.are_yesno and self.wanted.kind == "letter":
            hit = comparison.restated(self.kind.options, self.rest, 0, len(self.rest), self.wanted.question)
            return None if hit is None else self._with(hit, "restated")
        if not is_choice and self.wanted.kind != "yesno":
            return None
        said = YesNoReader().restated(self.rest, 0, len(self.rest), self.wanted.question)
        if not isinstance(said, FoundValue):
            return None
        if isinstance(self.kind, LabelReader):
            said = self.kind.hit(self.kind.options.texts.index(str(said.value)), said.start, said.end)
        return self._with(said, "restated") if isinstance(said, FoundValue) else None
