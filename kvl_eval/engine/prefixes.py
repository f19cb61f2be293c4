"""Names for the beginnings of prompts: equal names stand for equal tokens and pictures, so for equal pages too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from itertools import chain, repeat

from kvl_eval.types import MediaInfo

WIDTH = 16  # bytes of a name, and of a token in what is hashed


def page_names(
    ids: Sequence[int], places: Collection[int], pictures: Sequence[MediaInfo], page_size: int
) -> list[bytes]:
    """A name for each full page of a prompt, which stands for all that comes before it, too.

    Args:
        ids:      token ids, with a placeholder for each visual token.
        places:   where in `ids` the visual tokens stand.
        pictures: what the visual tokens show, in order; a picture counts by its content and how it was prepared.
    """
    shown = chain.from_iterable(repeat(_hash(repr(one).encode()), one.tokens) for one in pictures)
    visual = set(places)
    spelled = [next(shown) if place in visual else token.to_bytes(WIDTH, "big") for place, token in enumerate(ids)]
    so_far, names = blake2b(digest_size=WIDTH), []
    for end in range(page_size, len(ids) + 1, page_size):
        so_far.update(b"".join(spelled[end - page_size : end]))
        names.append(so_far.digest())
    return names


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=WIDTH).digest()
