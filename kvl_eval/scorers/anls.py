"""ANLS, the average normalised Levenshtein similarity of the document question-answering challenges."""

from __future__ import annotations

from collections.abc import Sequence


def anls(prediction: str, answers: Sequence[str], threshold: float = 0.5) -> float:
    """Similarity of `prediction` to the nearest of `answers`: 1 minus the smallest normalised distance.

    Both sides are stripped, lower-cased, and runs of whitespace become one space before edits are counted; the count
    is divided by the longer of the two *raw* texts, whitespace included (in upper case, where a sharp s has two
    letters). Nothing else is normalised. So white space around a wrong answer raises its score.

    Returns: a number in [0, 1]; below `threshold` it becomes 0, exactly `threshold` stays.
    Raises:  ValueError, if `answers` is empty.
    Source:  the challenge's script as copied in QwenLM/Qwen-VL eval_mm/infographicsvqa_eval.py @ aa00ed0.
    """
    if not answers:
        raise ValueError("anls() needs at least one reference answer, got none")
    similarity = 1.0 - min(_distance(prediction, answer) for answer in answers)
    return similarity if similarity >= threshold else 0.0


def _distance(prediction: str, answer: str) -> float:
    from rapidfuzz.distance import Levenshtein

    longest = max(len(prediction.upper()), len(answer.upper()))
    if longest == 0:
        return 0.0
    return Levenshtein.distance(_cleaned(answer), _cleaned(prediction)) / longest


def _cleaned(text: str) -> str:
    return " ".join(text.strip().lower().split())
