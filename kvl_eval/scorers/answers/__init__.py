"""Reading answers: how a reply becomes the value that is compared with gold.

`read` is pure, linear in the reply, never guesses and never draws. It knows no task. What is announced how, in which
language, stands in `languages`; what a refusal is in `wordings`; markers of thoughts in `kvl_eval.thinking`.
"""

from kvl_eval.scorers.answers.reading import (
    HOWS,
    NOT_ANSWERABLE,
    REASONS,
    Coords,
    Kind,
    NotAnswerable,
    Reading,
    Sought,
    Value,
    Wanted,
)


def read(reply: str, wanted: Wanted, *, split: bool = True) -> Reading:
    """What a reply says: `reader.read`, whose tables are loaded when the first reply is read."""
    from kvl_eval.scorers.answers import reader

    return reader.read(reply, wanted, split=split)


__all__ = [
    "HOWS",
    "NOT_ANSWERABLE",
    "REASONS",
    "Coords",
    "Kind",
    "NotAnswerable",
    "Reading",
    "Sought",
    "Value",
    "Wanted",
    "read",
]
