"""Names and sizes of the small copies of images, frames and pages that the sample page shows.

An image is named by the hash of its file, a frame or page by the hash of its video or document and its number. Of one
sample at most `MOST_OF_SAMPLE` are shown, spread evenly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from kvl_eval.types import MediaInfo

SIDES = {"frame": 256, "page": 420}  # longest side in pixels of what comes in numbers
SIDE = 640  # of an image
MOST_OF_SAMPLE = 12
_SHA256 = re.compile(r"[0-9a-f]{64}")

P = TypeVar("P")


def picture_name(medium: MediaInfo) -> str | None:
    """The name of an image's small copy, without its ending; None where its hash is none."""
    if not _SHA256.fullmatch(medium.sha256):
        return None
    numbered = medium.index is not None and medium.kind in SIDES
    return f"{medium.sha256}-{medium.index}" if numbered else medium.sha256


def spread(media: Sequence[P]) -> list[P]:
    """At most `MOST_OF_SAMPLE` of a sample's images, evenly spread, the first and the last among them."""
    if len(media) <= MOST_OF_SAMPLE:
        return list(media)
    last = len(media) - 1
    return [media[round(place * last / (MOST_OF_SAMPLE - 1))] for place in range(MOST_OF_SAMPLE)]
