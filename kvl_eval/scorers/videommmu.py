"""VideoMMMU's letter, as the authors' script reads it.

Source: EvolvingLMMs-Lab/VideoMMMU lmms_eval/tasks/videommmu/utils.py @ 88b4ac3e; VLMEvalKit
vlmeval/dataset/videommmu.py @ e8e78f0 reads the same after the last `Answer:`. Time is linear in the reply.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.scorers.multiple_choice import letters

OPEN_CUES = (
    *("are ", "in total ", "total ", "identify ", "recognize ", "calculated as ", "counted as ", "measured as "),
    *("observed as ", "concluded as ", "found to be ", "equals ", "determined to be ", "number of ", "value is "),
    *("adds up to ", "have ", "has "),
)
"""Words before an open answer that this benchmark's copy of MMMU's parser knows besides MMMU's own."""


def official_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter as `X.` or `X:`, without any as `(X)`, then `X `, then the option's text; of several the last.

    All candidates are looked up in one form, that of `X.` if any has a dot; what ends in a letter counts (`DNA `).
    """
    text = reply
    for mark in (",", ".", "!", "?", ";", ":", "'"):
        text = text.strip(mark)
    text = f" {text} "
    names = letters(len(choices))
    dotted = [name for name in names if f"{name}." in text]
    marked = [*dotted, *(name for name in names if f"{name}:" in text)]
    if marked:
        return _last(text, marked, "{}." if dotted else "{}:")
    bracketed = [name for name in names if f"({name})" in text]
    if bracketed:
        return _last(text, bracketed, "({})")
    spaced = [name for name in names if f"{name} " in text]
    if spaced:
        return _last(text, spaced, " {} ")
    if len(text.split()) <= 5:
        return None
    lowered = text.lower()
    places = {name: lowered.rfind(option.lower()) for name, option in zip(names, choices, strict=True)}
    found = [name for name in names if places[name] >= 0]
    return max(found, key=lambda name: places[name], default=None)


def _last(text: str, found: Sequence[str], form: str) -> str:
    """The one whose form stands last; the earlier of equal ones."""
    return max(found, key=lambda name: text.rfind(form.format(name)))
