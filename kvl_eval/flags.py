"""What may have changed an answer besides model and question: a closed list of flags.

A picture's flags stand in `MediaInfo.flags`, those of an answer in `Extra.flags`. `results.json` counts the answers
that carry each, and every view warns of each count above zero in the words given here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

EXIF_APPLIED = "exif_applied"
EXIF_IGNORED = "exif_ignored"
ALPHA_DROPPED = "alpha_dropped"
UNIFORM = "uniform"
DARK_16BIT = "dark_16bit"
NARROW_16BIT = "narrow_16bit"
FLOAT_SCALED = "float_scaled"
FIRST_FRAME_ONLY = "first_frame_only"
PRE_SHRUNK = "pre_shrunk"
FORM_DRAWN = "form_drawn"
FRAME_REPLACED = "frame_replaced"
FALLBACK_DECODER = "fallback_decoder"
FINISH_UNKNOWN = "finish_unknown"
ANSWER_IN_REASONING = "answer_in_reasoning"
FIELDS_OMITTED = "fields_omitted"
COUNT_UNUSABLE = "count_unusable"

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        EXIF_APPLIED: "image rotated by its EXIF orientation",
        EXIF_IGNORED: "EXIF orientation of an image not applied",
        ALPHA_DROPPED: "transparency of an image dropped",
        UNIFORM: "image decoded to a single color",
        DARK_16BIT: "16-bit image uses less than a sixteenth of its range, and is dark",
        NARROW_16BIT: "16-bit image has 8-bit values, and was read as such",
        FLOAT_SCALED: "float image in 0..1 scaled to 0..255",
        FIRST_FRAME_ONLY: "only the first frame of an image used",
        PRE_SHRUNK: "image shrunk to the longest side that the model accepts",
        FORM_DRAWN: "page rendered with its form fields",
        FRAME_REPLACED: "undecodable frame replaced by its neighbor",
        FALLBACK_DECODER: "video read by the fallback decoder",
        FINISH_UNKNOWN: "the server did not say how the reply ended",
        ANSWER_IN_REASONING: "the server put all text into reasoning_content",
        FIELDS_OMITTED: "fields of the request left out",
        COUNT_UNUSABLE: "the server's token counts are unusable",
    }
)
"""{flag: what happened, as a warning says it after a count}."""

SERVER_FLAGS = (FINISH_UNKNOWN, ANSWER_IN_REASONING, FIELDS_OMITTED, COUNT_UNUSABLE)
MEDIA_FLAGS = tuple(flag for flag in FLAGS if flag not in SERVER_FLAGS)

_ORDER = {flag: place for place, flag in enumerate(FLAGS)}


def in_order(flags: Iterable[str]) -> tuple[str, ...]:
    """Each flag once, in the order of `FLAGS`; those of a later version last."""
    return tuple(sorted(set(flags), key=lambda flag: (_ORDER.get(flag, len(_ORDER)), flag)))


def meaning(flag: str) -> str:
    """What happened, in words; a flag of a later version stands for itself."""
    return FLAGS.get(flag, flag)
