r"""Which option's letter a reply names, for several benchmarks: lmms-eval's ranked forms, and scores.

A reader takes the sample and the reply and returns a letter or None; time is linear in the reply.
Sources: EvolvingLMMs-Lab/lmms-eval lmms_eval/tasks/_task_utils/mcq_extract.py @ 75571cf; open-compass/VLMEvalKit
vlmeval/utils/matching_util.py @ e8e78f0 (`inferred_letter`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kvl_eval.scorers.multiple_choice import can_infer, lettered, letters
from kvl_eval.types import MISSING, Extraction, Sample, Score

LetterReader = Callable[[Sample, str], str | None]
Unread = Callable[[Sample], Score]

NO_LETTER = "no_letter"
UNDECIDED = "undecided"  # where VLMEvalKit asks a judge

_PHRASES = (
    *("answer is", "the answer is", "correct answer is", "the correct answer is", "best answer is"),
    *("the best answer is", "correct option is", "the correct option is", "best option is", "the best option is"),
    *("choice is", "the choice is", "correct choice is", "the correct choice is", "my answer is", "my choice is"),
    *("i choose", "i select", "i pick"),
    *("옵션", "정답은", "답은", "답:"),
    *("答案是", "答案为", "选", "答えは"),
)


# Readers


def ranked_letter(reply: str, names: str) -> str | None:
    """lmms-eval's letter for Video-MME: of several forms the surest, within a form the last place.

    From sure to unsure: the reply starts with it, ends with it, it follows "the answer is" or alike, `(A)`, `A.`,
    `A:`, `A)`, `A `, and any other place only if none of these is found.
    """
    text = reply.strip()
    for mark in (",", ".", "!", "?", ";", ":", "'", '"'):
        text = text.strip(mark)
    padded = f" {text} "
    found = [*_formatted(padded, names), *_after_phrases(padded, names), *_at_ends(padded, names)]
    if not found:
        found = [(0, padded.rfind(letter), letter) for letter in names if letter in padded]
    return max(found, key=lambda one: one[:2])[2] if found else None


def _formatted(text: str, names: str) -> Iterator[tuple[int, int, str]]:
    for rank, form in ((6, "({})"), (5, "{}."), (4, "{}:"), (3, "{})"), (2, "{} ")):
        for letter in names:
            place = text.rfind(form.format(letter))
            if place >= 0:
                yield rank, place, letter


def _after_phrases(text: str, names: str) -> Iterator[tuple[int, int, str]]:
    lowered = text.lower()
    for phrase in _PHRASES:
        start = lowered.find(phrase)
        if start >= 0:
            for letter in names:
                place = text.find(letter, start + len(phrase))
                if place >= 0:
                    yield 7, place, letter


def _at_ends(text: str, names: str) -> Iterator[tuple[int, int, str]]:
    bare = text.strip()
    for letter in names:
        if bare.startswith(letter) and not bare[1:2].isalpha():
            yield 10, 0, letter
        if bare.endswith(letter) and not bare[-2:-1].isalpha():
            yield 9, len(text) - 1, letter


def ranked_over(sample: Sample, reply: str) -> str | None:
    """`ranked_letter` over the letters of the sample's options, A to D where it has none."""
    return ranked_letter(reply, "".join(letters(len(sample.choices) or 4)))


def inferred_letter(sample: Sample, reply: str) -> str | None:
    """VLMEvalKit's letter without a judge over the sample's options; `Z` for a refusal, None for undecided."""
    return can_infer(reply, lettered(sample.choices))


def lowest_loss(losses: Sequence[float]) -> int:
    """The option a model finds likeliest, from 0: that of the lowest loss, the first of equal ones, -1 without any.

    How lmms-eval reads EgoSchema's MC_PPL configuration.
    """
    best = min(range(len(losses)), key=losses.__getitem__, default=-1)
    return best if best >= 0 and losses[best] < float("inf") else -1


# Scores


def letter_score(
    read: LetterReader, *, unread: Unread | None = None, value: Callable[[str], Any] = str, method: str = "letter"
) -> Callable[[Sample, str, Extraction], Score]:
    """A protocol's `score` that compares one letter with gold.

    Args:
        read:   finds the letter.
        unread: what a reply without one is worth; None means `no_answer`.
        value:  the letter, or a given extraction, as the data set writes gold: itself, or an index.
        method: what scores say of how the letter was found.
    """

    def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
        if not sample.answers:
            return Score.not_scored("no_gold")
        found = read(sample, answer) if extraction is MISSING else _given(extraction)
        if found is None:
            return Score.no_answer(NO_LETTER) if unread is None else unread(sample)
        compared = value(found)
        return Score.of(str(compared) in sample.answers, compared, method if extraction is MISSING else "given")

    return score


def _given(extraction: Any) -> str | None:
    text = "" if extraction is None else str(extraction).strip()
    return text or None


def undecided(sample: Sample) -> Score:
    """A reply for which VLMEvalKit would ask a judge."""
    del sample
    return Score.no_answer(UNDECIDED)


inferred_score = letter_score(inferred_letter, unread=undecided, method="can_infer")
"""The protocol `vlmevalkit` of multiple-choice tasks, without its judge."""
