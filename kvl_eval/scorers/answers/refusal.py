"""Whether an answer declines: the table of `wordings`, with what the reader exempts from it."""

from __future__ import annotations

from kvl_eval.scorers.answers.reader import read
from kvl_eval.scorers.answers.reading import Wanted
from kvl_eval.scorers.answers.view import undress
from kvl_eval.scorers.answers.wordings import HARNESS_FAILED, refuses


def refused(answer: str) -> bool:
    """Whether an answer, its thought off, is a refusal: a wording stands there, and no marked answer beside it.

    It never changes a score.
    """
    if HARNESS_FAILED.match(answer):
        return True
    if not refuses(undress(answer).text):  # most answers: nothing to read
        return False
    return read(answer, Wanted(kind="text"), split=False).reason == "refusal"
