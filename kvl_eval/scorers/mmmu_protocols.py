"""MMMU under each protocol: which answer is read, and what it is worth.

A question is multiple choice or open (`question_type` among a sample's categories). An open answer is read as a list of
candidate values. A given extraction is a letter or, for open questions, text to read or the list itself.
Sources: as in `kvl_eval.scorers.mmmu`; open-compass/VLMEvalKit vlmeval/dataset/utils/multiple_choice.py @ e8e78f0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from kvl_eval.scorers.answers import Kind, Reading, Wanted
from kvl_eval.scorers.mmmu import (
    Candidate,
    Letter,
    in_order,
    lmms_letter,
    normalised,
    official_letter,
    open_candidates,
    open_correct,
)
from kvl_eval.scorers.multiple_choice import can_infer, lettered, letters
from kvl_eval.scorers.option_letter import UNDECIDED
from kvl_eval.scorers.reader_protocol import ScoreFunction, reader_letter, reader_score
from kvl_eval.types import MISSING, Extraction, Sample, Score

MULTIPLE_CHOICE = "multiple-choice"
NO_LETTER = "no_letter"  # where the authors' code draws a letter at random
DRAW_SEED = 42
OTHER = "Other Answers"
LMMS_OPEN = "lmms-eval compares an open answer character by character and never finds it right"

ReadLetter = Callable[[str, Sequence[str]], Letter | None]


def is_choice(sample: Sample) -> bool:
    """Whether the question is multiple choice."""
    return sample.categories.get("question_type") == (MULTIPLE_CHOICE,)


def score_official(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """The authors' verdict; a reply without a letter, and an empty open reply, are `no_answer`."""
    return _score(sample, answer, extraction, official_letter)


def open_reader(gold_of: Callable[[Sample], Sequence[str]]) -> ScoreFunction:
    """The protocol `reader` of an open question: a number where a gold answer is one, else a text; MMMU's verdict."""

    def wanted(sample: Sample) -> Wanted:
        values = [value for gold in gold_of(sample) for value in normalised(gold)]
        kind: Kind = "float" if any(isinstance(value, float) for value in values) else "text"
        return Wanted(kind=kind, question=sample.question)

    def compare(sample: Sample, reading: Reading) -> Score:
        return Score.of(open_correct(gold_of(sample), normalised(str(reading.value))), reading.value)

    return reader_score(wanted, compare)


_read_letter = reader_letter()
_read_open = open_reader(lambda sample: sample.answers)


def score_reader(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """The authors' verdict on what the reply says."""
    return (_read_letter if is_choice(sample) else _read_open)(sample, answer, extraction)


def score_exact(items: Sequence[tuple[Sample, str, Extraction]], order: Sequence[str]) -> list[Score]:
    """A whole run as the authors' script scores it, its draws included.

    Python's generator, seeded 42, draws one letter for each reply without one, subject by subject in `order`, within a
    subject in the order of `items`.
    """
    ranks = {subject: rank for rank, subject in enumerate(order)}
    draws = random.Random(DRAW_SEED)
    scores: dict[int, Score] = {}
    for index in sorted(range(len(items)), key=lambda one: _rank(items[one][0], ranks)):
        sample, answer, extraction = items[index]
        scores[index] = _score_or_draw(sample, answer, extraction, draws)
    return [scores[index] for index in range(len(items))]


def score_vlmevalkit(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """The letter VLMEvalKit infers without a judge; open questions become `A` (the gold) or `B` (other answers)."""
    if not sample.answers:
        return Score.not_scored("no_gold")
    gold = sample.answers[0]
    options = lettered(sample.choices)
    if not is_choice(sample):
        gold_text = str(list(sample.answers)) if len(sample.answers) > 1 else gold
        options = {"A": gold_text, "B": OTHER}
        gold = gold if len(gold) == 1 and "A" <= gold <= "Z" else "A"
    found = can_infer(answer, options) if extraction is MISSING else extraction
    if found is None:
        return Score.no_answer(UNDECIDED)
    return Score.of(found == gold, found, "can_infer" if extraction is MISSING else "given")


def score_lmms_eval(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """Letters as lmms-eval reads them; no open answer is ever right."""
    if not sample.answers or is_choice(sample):
        return _score(sample, answer, extraction, lmms_letter)
    candidates, method = _candidates(answer, extraction)
    return Score(value=0.0, verdict="wrong", extracted=candidates, method=method, reason=LMMS_OPEN)


def _score(sample: Sample, answer: str, extraction: Extraction, read: ReadLetter, method: str | None = None) -> Score:
    if not sample.answers:
        return Score.not_scored("no_gold")
    if not is_choice(sample):
        candidates, found_by = _candidates(answer, extraction)
        if candidates in ([""], None):
            return Score.no_answer("empty", candidates)
        return Score.of(open_correct(sample.answers, candidates), candidates, method or found_by)
    letter = read(answer, sample.choices) if extraction is MISSING else _given_letter(extraction)
    if letter is None:
        return Score.no_answer(NO_LETTER)
    return Score.of(letter.letter in sample.answers, letter.letter, method or letter.method)


def _score_or_draw(sample: Sample, answer: str, extraction: Extraction, draws: random.Random) -> Score:
    score = score_official(sample, answer, extraction)
    if score.verdict != "no_answer":
        return score
    if not is_choice(sample):
        return Score.of(0.0, score.extracted, "text")
    if extraction is not MISSING or not sample.choices:
        return Score.of(0.0, None, "given")
    drawn = draws.choice(letters(len(sample.choices)))
    return Score.of(drawn in sample.answers, drawn, "random_guess")


def _given_letter(extraction: Any) -> Letter | None:
    return None if extraction is None else Letter(str(extraction), "given")


def _candidates(answer: str, extraction: Any) -> tuple[list[Candidate] | None, str]:
    """The values of an open answer, and how they were found."""
    if extraction is MISSING:
        return open_candidates(answer), "text"
    if isinstance(extraction, list | tuple):
        return in_order({float(one) if isinstance(one, int | float) else str(one) for one in extraction}), "given"
    return None if extraction is None else open_candidates(str(extraction)), "given"


def _rank(sample: Sample, ranks: dict[str, int]) -> int:
    subject = sample.categories.get("subject", ("",))[0]
    return ranks.get(subject, len(ranks))
