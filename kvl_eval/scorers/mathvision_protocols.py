"""MathVision under each protocol: what is extracted, and whether it is right.

A given extraction is compared as it is, as the authors' script does with answers extracted before.
Sources: as in `kvl_eval.scorers.mathvision`; the matcher of `vlmevalkit` is in `kvl_eval.scorers.multiple_choice`.
"""

from __future__ import annotations

from kvl_eval.scorers.answers import Reading, Wanted
from kvl_eval.scorers.mathvision import Extracted, extract, matched_by, vlmevalkit_equal
from kvl_eval.scorers.multiple_choice import can_infer, lettered
from kvl_eval.scorers.option_letter import UNDECIDED
from kvl_eval.scorers.reader_protocol import reader_score
from kvl_eval.types import MISSING, Extraction, Sample, Score


def score_exact(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """The authors' verdict: the letter and the value of its option both count."""
    if not sample.answers:
        return Score.not_scored("no_gold")
    found = extract(answer) if extraction is MISSING else Extracted(str(extraction or ""), "given")
    match = matched_by(found.text, sample.answers[0], sample.choices)
    return Score.of(match is not None, found.text, found.method, **({"matched_by": match} if match else {}))


def score_official(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """As `score_exact`, but an answer of which nothing is left is `no_answer`."""
    score = score_exact(sample, answer, extraction)
    return Score.no_answer("empty", None if extraction is None else score.extracted) if _is_empty(score) else score


def _is_empty(score: Score) -> bool:
    return score.verdict == "wrong" and not str(score.extracted).strip()


def _wanted(sample: Sample) -> Wanted:
    if sample.choices:
        return Wanted(kind="letter", options=sample.choices, question=sample.question)
    return Wanted(kind="text", question=sample.question)


def _compared(sample: Sample, reading: Reading) -> Score:
    """The authors' equality of what was read: a letter, or a text that their repairs of LaTeX go over first."""
    said = str(reading.value)
    match = matched_by(
        said if sample.choices else extract(f"\\boxed{{{said}}}").text, sample.answers[0], sample.choices
    )
    return Score.of(match is not None, said, **({"matched_by": match} if match else {}))


score_reader = reader_score(_wanted, _compared)
"""A letter, or the text of an answer, by the reader; compared by the authors' equality."""


def score_vlmevalkit(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """VLMEvalKit without its judge: a choice by its matcher, letter against letter; other answers whole."""
    if not sample.answers:
        return Score.not_scored("no_gold")
    gold = sample.answers[0]
    found = _prefetched(sample, answer) if extraction is MISSING else str(extraction or "")
    if not found:
        return Score.no_answer(UNDECIDED)
    return Score.of(vlmevalkit_equal(gold, found), found, "can_infer" if sample.choices else "text")


def _prefetched(sample: Sample, answer: str) -> str | None:
    """What VLMEvalKit finds before it asks its judge."""
    return can_infer(answer, lettered(sample.choices)) if sample.choices else answer.strip()
