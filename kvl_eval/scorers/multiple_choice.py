"""Which option a reply names, without a judge: VLMEvalKit's matcher.

Source of `can_infer`: open-compass/VLMEvalKit vlmeval/utils/matching_util.py @ e8e78f0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

API_FAILURE = "Failed to obtain answer via API"
REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
REFUSED = "Z"
_BLANKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"(?:correct\s+)?answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)


def letters(count: int) -> list[str]:
    """The letters of `count` options: A, B, C, ..."""
    return [chr(ord("A") + index) for index in range(count)]


def lettered(choices: Sequence[str]) -> dict[str, str]:
    """{letter: text} of options in order."""
    return dict(zip(letters(len(choices)), choices, strict=True))


def can_infer(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter that VLMEvalKit reads from `reply` without a judge; `Z` for a refusal, None for undecided.

    Time is linear in the reply. Source: see the module.
    """
    return _by_letter(reply, options) or contained_option(reply, options)


def _by_letter(reply: str, options: Mapping[str, str]) -> str | None:
    if API_FAILURE in reply:
        return None
    if any(refusal in reply for refusal in REFUSALS):
        return REFUSED
    tokens = reply.translate(_BLANKS).split()
    first = {token: index for index, token in reversed(list(enumerate(tokens)))}
    named = [letter for letter in options if letter in first]
    if len(named) == 1 and first[named[0]] > len(tokens) - 5:
        return named[0]
    if not named and REFUSED in first:
        return REFUSED
    cued = _ANSWER_IS.search(reply)
    return cued[1].upper() if cued and cued[1].upper() in options else None


def contained_option(reply: str, options: Mapping[str, str]) -> str | None:
    """The only option whose text the reply contains, case aside; None for a reply twice as long as all options."""
    lowered = reply.lower()
    if len(lowered) > 2 * sum(len(text) for text in options.values()):
        return None
    contained = [letter for letter, text in options.items() if text.lower() in lowered]
    return contained[0] if len(contained) == 1 else None
