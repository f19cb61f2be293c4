"""MMBench: rotations of a question's options, and lmms-eval's reading of a reply.

Sources: open-compass/VLMEvalKit vlmeval/tools.py (CIRCULAR) @ e8e78f0; EvolvingLMMs-Lab/lmms-eval
lmms_eval/tasks/mmbench/mmbench_evals.py @ 75571cf. Time is linear in the reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kvl_eval.scorers.multiple_choice import API_FAILURE, lettered, letters
from kvl_eval.scorers.option_letter import ranked_letter
from kvl_eval.types import Sample

_FORMS = (
    *(("", "."), ("", ","), ("", ":"), ("", ")"), ("", ")."), ("(", ")"), ("(", ").")),
    *((":", ""), (":", ","), (":", "."), (":", ")"), (":", ").")),
)
_CAPITAL_WORD = re.compile(r"\b[A-Z]\b")


def rotated(choices: Sequence[str], answer: str | None, turns: int) -> tuple[tuple[str, ...], str | None]:
    """Options and their right letter after `turns` places: of four the text of A goes to D, that of B to A."""
    names = letters(len(choices))
    shift = turns % len(choices)
    moved = None if answer is None else names[(names.index(answer) - shift) % len(names)]
    return (*choices[shift:], *choices[:shift]), moved


def may_be_rotated(choices: Sequence[str]) -> bool:
    """Whether no option is a letter, or names two of the options by their letters."""
    names = set(letters(len(choices)))
    if any(len(text) == 1 and "A" <= text <= "Z" for text in choices):
        return False
    return all(len(names & set(_CAPITAL_WORD.findall(text))) < 2 for text in choices)


def prefetched_letter(sample: Sample, reply: str) -> str | None:
    """The letter lmms-eval reads before it asks: one alone between blanks, then with marks, then an option's text.

    Letters A to E count whatever the options are; an `A` among more than three words is taken for the article. None
    counts beside a harness's own words for a request that failed.
    """
    return (None if API_FAILURE in reply else _standing_letter(reply)) or _named_option(sample, reply)


def _standing_letter(reply: str) -> str | None:
    words = reply.split()
    standing = [letter for letter in "ABCDE" if letter in words]
    if len(standing) == 1 and not (standing[0] == "A" and len(words) > 3):
        return standing[0]
    present = set(words)
    for before, after in _FORMS:
        marked = [letter for letter in "ABCDE" if f"{before}{letter}{after}" in present]
        if len(marked) == 1:
            return marked[0]
    return None


def _named_option(sample: Sample, reply: str) -> str | None:
    lowered = reply.lower()
    named = [letter for letter, text in lettered(sample.choices).items() if text.lower() in lowered]
    return named[0] if len(named) == 1 else None


def static_letter(sample: Sample, reply: str) -> str | None:
    """lmms-eval's letter without a judge: as `prefetched_letter`, else its ranked forms."""
    return prefetched_letter(sample, reply) or ranked_letter(reply, "".join(letters(len(sample.choices))))
