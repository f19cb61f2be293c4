r"""Which option a reply to a question about a video names: readers of the published scripts.

A reader takes the sample and the reply and returns a letter or None; time is linear in the reply.
Sources: the Video-MME evaluation script @ 4e7566d3; open-compass/VLMEvalKit
vlmeval/dataset/utils/{videomme,longvideobench}.py @ e8e78f0; EvolvingLMMs-Lab/lmms-eval @ 75571cf
lmms_eval/tasks/_task_utils/mcq_extract.py and tasks/{longvideobench,egoschema}/utils.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from kvl_eval.scorers.multiple_choice import letters
from kvl_eval.scorers.option_letter import NO_LETTER, Unread
from kvl_eval.types import Sample, Score

LEFT_OUT = "no_letter: left out of the denominator"
DRAWN = "random_guess"  # `Score.method` of a letter drawn at random
NONE_OF_THEM = "Z"  # VLMEvalKit's letter for a reply that names no option

# Deleted wherever they stand, in this order. The fused ones come from missing commas and practically never match.
_ANSWER_IS = ("The best answer is", "The correct answer is", "The answer is", "The answer")
_FUSED = ("The best option isThe correct option is", "Best answer:Best option:")
VIDEOMME_PREFIXES = (*_ANSWER_IS, *_FUSED)
VLMEVALKIT_PREFIXES = (*VIDEOMME_PREFIXES, "Answer:", "Option:")
LONGVIDEOBENCH_PREFIXES = (
    *_ANSWER_IS,
    *("The best option is", "The correct option is", "Best answer:", "Best option:"),
)


# Readers


def first_letter(reply: str, prefixes: Sequence[str], names: str) -> str | None:
    """The first letter of `names` that is left once `prefixes` are deleted, be it part of a word."""
    text = reply.strip()
    for prefix in prefixes:
        text = text.replace(prefix, "")
    return next((letter for letter in text if letter in names), None)


def egoschema_letter(reply: str, options: Sequence[str]) -> str | None:
    """lmms-eval's letter for EgoSchema, without its random one; `options` carry their letters ("A. ...").

    Letters as `(X)`, `X ` and `X.` are collected; where there are none and the reply has more than five words, options
    contained in it. Of several the one whose last place comes first. So every word that ends in A to E counts, and
    the "C" that stands for the camera wearer.
    """
    text = reply
    for mark in (",", ".", "!", "?", ";", ":", "'"):
        text = text.strip(mark)
    text = f" {text} "
    names = letters(len(options) or 5)
    marked = [(text.rfind(form.format(name)), name) for form in ("({})", "{} ", "{}.") for name in names]
    found = [one for one in marked if one[0] >= 0]
    if not found and len(text.split()) > 5:
        lowered = text.lower()
        contained = [
            (lowered.rfind(option.strip().lower()), name) for option, name in zip(options, names, strict=False)
        ]
        found = [one for one in contained if one[0] >= 0]
    return min(found, key=lambda one: one[0])[1] if found else None


# Scores


def left_out(sample: Sample) -> Score:
    """A reply without a letter is not counted: outside numerator and denominator."""
    return Score.not_scored(LEFT_OUT)


def none_of_them(sample: Sample) -> Score:
    """A reply without a letter gets VLMEvalKit's Z, which is never right."""
    return Score.no_answer(NO_LETTER, extracted=NONE_OF_THEM, method="fallback")


def drawn(value: Callable[[str], Any] = str) -> Unread:
    """A reply without a letter gets one at random, by a generator seeded with the sample's id.

    lmms-eval draws without a seed. Nothing was extracted; the letter drawn stands in the score's `detail`.
    """

    def draw(sample: Sample) -> Score:
        letter = random.Random(sample.id).choice(letters(len(sample.choices) or 5))
        right = str(value(letter)) in sample.answers
        return Score(
            value=float(right),
            verdict="correct" if right else "wrong",
            method=DRAWN,
            reason=NO_LETTER,
            detail={"drawn": letter},
        )

    return draw
