"""Questions on one document that share its pages, against the same without sharing: `python -m benchmarks.documents`.

The demo model and a document of plain text; without names for their pages, prompts share none. Answers must be equal,
so both sides compute in float64. Prefilled tokens are counted by the engine; seconds are CPU time, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from unittest.mock import patch

from benchmarks.engine import THINKING, answers, engine, texts
from benchmarks.measure import Row, Times, main
from kvl_eval.backends.base import Request
from kvl_eval.types import Generation, Message

QUESTIONS, LINES, NEW, ROUNDS = 10, 150, 40, 3


def measure(tiny: bool = False) -> Sequence[Row]:
    """Two rows; raises AssertionError if an answer depends on what is shared."""
    questions, lines, new, rounds = (2, 10, 4, 1) if tiny else (QUESTIONS, LINES, NEW, ROUNDS)
    asked = requests(questions, lines, new)
    spent: dict[bool, list[float]] = {True: [], False: []}
    prefilled: dict[bool, int] = {}
    found = {}
    for _ in range(rounds):
        for shares in (True, False):
            found[shares], prefilled[shares], seconds = answered(asked, shares)
            spent[shares].append(seconds)
        assert found[True] == found[False], "an answer depends on what is shared"
    ours, theirs = Times(tuple(spent[True])), Times(tuple(spent[False]))
    ratio, spread = theirs.times(ours)
    what = f"{questions} questions on a document of {prefilled[False] // questions:,} tokens, {new} tokens each"
    return [
        Row(
            what=f"{what}: prefilled tokens",
            against="the same without sharing",
            ours=f"{prefilled[True]:,}",
            theirs=f"{prefilled[False]:,}",
            ratio=prefilled[True] / prefilled[False],
        ),
        Row(
            what=f"{what}: speed",
            against="the same without sharing",
            ours=ours.text(),
            theirs=theirs.text(),
            ratio=ratio,
            spread=spread,
        ),
    ]


def requests(questions: int, lines: int, new: int) -> list[Request]:
    """The document comes first, what is asked of it last."""
    document = "".join(f"row {line} has value {line * line % 97}. " for line in range(lines))
    return [
        Request(
            key=f"q/{number}",
            messages=(Message.user(document, f"What is in row {7 * number}?"),),
            generation=Generation(max_new_tokens=new),
        )
        for number in range(questions)
    ]


def answered(asked: Sequence[Request], shares: bool) -> tuple[dict[tuple[str, int, int | None], str], int, float]:
    """Texts, prefilled tokens and CPU seconds."""
    model = engine(THINKING, dtype="float64")
    answers(model, asked[:1])  # loads the weights
    begin = time.process_time()
    if shares:
        found = answers(model, asked)
    else:
        with patch("kvl_eval.engine.schedule.page_names", lambda *_: []):
            found = answers(model, asked)
    return texts(found), model.counts["prefill_tokens"], time.process_time() - begin


if __name__ == "__main__":
    main(__doc__, measure)
