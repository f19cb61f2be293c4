"""The protocol `reader`: what the reply says, read as `answers.read` reads it, compared as the task compares.

A task brings what its questions want, and what a value that was read is worth. A given extraction takes
the place of the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kvl_eval.scorers.answers import Kind, Reading, Wanted, read
from kvl_eval.types import GIVEN, MISSING, Extraction, Sample, Score, Scored

ScoreFunction = Callable[[Sample, str, Extraction], Score]
WantedOf = Callable[[Sample], Wanted]
CompareReading = Callable[[Sample, Reading], Score]
"""(sample, reading with a value) -> its score; how it was found and where it stands is added to that."""

READER_NOTES = (
    "a marked answer (a box, a tag, `Answer:`, `the answer is`), else one that stands alone, else a conclusion, else "
    "the only value the reply contains; refusals, hedges and two answers are no_answer",
)


def reader_score(wanted: WantedOf, compare: CompareReading) -> ScoreFunction:
    """A protocol's `score`: reads the answer, compares what it says.

    Args:
        wanted:  what a sample's question asks for.
        compare: what a value is worth; called only where there is gold and a value.
    """

    def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
        if not sample.answers:
            return Score.not_scored("no_gold")
        reading = reading_of(answer, extraction, wanted(sample))
        return scored(reading, None if reading.value is None else compare(sample, reading))

    return score


def reading_of(answer: str, extraction: Extraction, wanted: Wanted) -> Reading:
    """What an answer says, its thought off, or what the extraction given in its place does."""
    if extraction is MISSING:
        return read(answer, wanted, split=False)
    text = "" if extraction is None else str(extraction).strip()
    if not text:
        return Reading(reason="none")
    if wanted.kind in ("letter", "letters", "text"):
        return Reading(value=text, how=GIVEN)
    return replace(read(text, wanted, split=False), how=GIVEN, span=None, passed=())


def scored(reading: Reading, score: Score | None) -> Score:
    """A comparison's score with how the value was found and where; `no_answer` with the reason where there is none."""
    base = Score.no_answer(reading.reason) if score is None else score
    method = base.method if score is None else reading.how
    places: dict[str, object] = {}
    if reading.span is not None:
        places["span"] = list(reading.span)
    if reading.passed:
        places["passed"] = [[list(span), how, why] for span, how, why in reading.passed]
    return replace(base, method=method, detail={**base.detail, **places})


# Letters


def option_texts(sample: Sample, count: int = 4) -> tuple[str, ...]:
    """The options' texts; of a sample without any `count` that have none."""
    return sample.choices or ("",) * count


def letter_wanted(sample: Sample) -> Wanted:
    """One letter of the sample's options."""
    return Wanted(kind="letter", options=option_texts(sample), question=sample.question)


def kind_wanted(kind: Kind) -> WantedOf:
    """A value of a kind that needs no options."""
    return lambda sample: Wanted(kind=kind, question=sample.question)


def letter_compare(written: Callable[[str], object] = str) -> CompareReading:
    """Equality of a letter with gold, or of its option's text with that of gold's option.

    `written` is a letter, or a given extraction, as the data set writes gold: itself, an index, `(B)`.
    """

    def compare(sample: Sample, reading: Reading) -> Score:
        letter = str(reading.value)
        right = any(str(written(name)) in sample.answers for name in (letter, *_equal_options(sample, letter)))
        return Score.of(right, written(letter))

    return compare


def reader_letter(written: Callable[[str], object] = str) -> ScoreFunction:
    """The protocol `reader` of a multiple-choice question; `written` as in `letter_compare`."""
    return reader_score(letter_wanted, letter_compare(written))


def parsed_or_read(
    parse: Callable[[Sample, str], str | None], method: str, written: Callable[[str], object] = str
) -> ScoreFunction:
    """The letter that the authors' parser finds; where they ask a language model, the reader stands in for that."""
    compare = letter_compare(written)

    def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
        if not sample.answers:
            return Score.not_scored("no_gold")
        letter = parse(sample, answer) if extraction is MISSING else None
        if letter is None:
            reading = reading_of(answer, extraction, letter_wanted(sample))
        else:
            reading = Reading(value=letter, how=method)
        return scored(reading, None if reading.value is None else compare(sample, reading))

    return score


def without_answer(scored_answers: Sequence[Scored], reason: str | None = None) -> list[Sample]:
    """The samples without an answer: all of them, or those that a copied parser leaves for `reason`."""
    return [
        one.sample
        for one in scored_answers
        if (one.score.verdict == "no_answer" if reason is None else one.score.reason == reason)
    ]


def read_letter(sample: Sample, reply: str) -> str | None:
    """The letter that a reply, its thought off, says; None without one."""
    value = read(reply, letter_wanted(sample), split=False).value
    return None if value is None else str(value)


def _equal_options(sample: Sample, letter: str) -> list[str]:
    """The letters of other options with the same text."""
    texts = [text.strip() for text in sample.choices]
    place = ord(letter) - ord("A") if len(letter) == 1 else -1
    if not 0 <= place < len(texts) or not texts[place]:
        return []
    return [chr(ord("A") + other) for other, text in enumerate(texts) if text == texts[place] and other != place]
