"""Which letter a reply to MMMU-Pro names: the authors' rule without its draw, and VLMEvalKit's.

Sources: MMMU-Benchmark/MMMU mmmu-pro/evaluate.py @ bb0b95a; open-compass/VLMEvalKit vlmeval/dataset/image_mcq.py
(MMMUProDataset) @ e8e78f0. Time is linear in the response.
"""

from __future__ import annotations

import re

from kvl_eval.scorers.mmmu import lmms_letter
from kvl_eval.scorers.multiple_choice import can_infer, lettered, letters
from kvl_eval.types import Sample

ANSWER = "Answer:"
_CAPITAL = re.compile(r"[A-Z]")


def official_letter(sample: Sample, reply: str) -> str | None:
    """The letter that the authors' script reads; None where it draws one at random.

    The only option letter anywhere after the last `Answer:`, be it part of a word; else as `mmmu.lmms_letter` reads.
    """
    _, cue, tail = reply.rpartition(ANSWER)
    if cue:
        named = [letter for letter in letters(len(sample.choices)) if letter in tail]
        if len(named) == 1:
            return named[0]
    return listed_letter(sample, reply)


def listed_letter(sample: Sample, reply: str) -> str | None:
    """The authors' second rule, which is all that lmms-eval has: `(X)`, `X `, `X.`, then the options' texts."""
    found = lmms_letter(reply, sample.choices)
    return None if found is None else found.letter


def whole_reply(sample: Sample, reply: str) -> str | None:
    """The reply itself, which lmms-eval compares with the letter where a row has no question."""
    del sample
    return reply or None


def vlmevalkit_cot(sample: Sample, reply: str) -> str | None:
    """VLMEvalKit's letter from the last line that starts `Answer:`, else from the whole reply."""
    lines = [line for line in map(str.strip, reply.split("\n")) if line.startswith(ANSWER)]
    if lines:
        reply = lines[-1].removeprefix(ANSWER).strip()
        named = set(_CAPITAL.findall(reply))
        reply = named.pop() if len(named) == 1 else reply
    return can_infer(reply, lettered(sample.choices))
