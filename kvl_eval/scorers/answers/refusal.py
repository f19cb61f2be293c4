"""Whether an answer declines: the table of `wordings`, with what the reader exempts from it."""

from __future__ import annotations

from functools import lru_cache

from kvl_eval.scorers.answers.reader import read
from kvl_eval.scorers.answers.reading import Wanted
from kvl_eval.scorers.answers.view import undress
from kvl_eval.scorers.answers.wordings import HARNESS_FAILED, refuses

REMEMBERED = 4000  # characters of an answer whose outcome is kept: pages ask for the same ones again


def refused(answer: str) -> bool:
    """Whether an answer, its thought off, is a refusal: a wording stands there, and no marked answer beside it.

    It never changes a score.
    """
    return _known(answer) if len(answer) <= REMEMBERED else _declines(answer)


@lru_cache(maxsize=4096)
def _known(answer: str) -> bool:
    return _declines(answer)


def _declines(answer: str) -> bool:
    if HARNESS_FAILED.match(answer):
        return True
    if not refuses(undress(answer).text):  # most answers: nothing to read
        return False
    return read(answer, Wanted(kind="text"), split=False).reason == "refusal"
