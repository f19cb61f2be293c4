"""Which option a reply names, without a judge: VLMEvalKit's matcher, and rules of our own.

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
_IN_PARENTHESES = re.compile(r"(?<!\w)\(([a-zA-Z])\)")
_AFTER_OPTION = re.compile(r"(?i:option|choice|选项|選項)[\s*\"':为是為]*([A-Z])(?![\w'’])")
_STANDING_FIRST = re.compile(r"(?:(?i:option|choice)\s)?([A-Z])(?![\w'’])")


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


def named_letter(text: str, count: int, *, first: bool) -> str | None:
    """The letter of one of `count` options that `text` names; None where it names none, or lists all of them.

    In parentheses, else standing first in the text, else after the word option. Of several in parentheses the first
    or the last one. A rule of this project, not of any published script.
    """
    names = letters(count)
    marked = [match[1].upper() for match in _IN_PARENTHESES.finditer(text)]
    marked = [name for name in marked if name in names]
    if marked and (first or len(set(marked)) < count):
        return marked[0 if first else -1]
    standing = _STANDING_FIRST.match(text.lstrip(" \t\r\n*\"'"))
    if standing and standing[1] in names:
        return standing[1]
    after = [match[1] for match in _AFTER_OPTION.finditer(text) if match[1] in names]
    return after[-1] if after else None


def spoken_choice(text: str, choices: Sequence[str]) -> str | None:
    """The option whose text ends last in `text` as whole words, of two that end together the longer; None without one.

    Case does not count, but for options of one letter. A rule of this project, not of any published script.
    """
    lowered = text.lower()
    best: tuple[int, int, str] | None = None
    for choice in choices:
        wanted = choice.strip()
        alone = len(wanted) == 1 and wanted.isalpha()
        end = _last_whole(text if alone else lowered, wanted if alone else wanted.lower())
        if end is not None and (best is None or (end, len(wanted)) > best[:2]):
            best = (end, len(wanted), choice)
    return None if best is None else best[2]


def _last_whole(text: str, wanted: str) -> int | None:
    """Where `wanted` ends for the last time between characters that are no part of a word."""
    end = None
    if wanted:
        for match in re.finditer(rf"(?<!\w){re.escape(wanted)}(?!\w)", text):
            end = match.end()
    return end
