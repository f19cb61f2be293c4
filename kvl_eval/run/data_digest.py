"""What tells one set of samples from another: hashes over texts and over the files they name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kvl_eval.errors import MediaError
from kvl_eval.types import ImageRef, MediaRef, PdfRef, Sample, VideoRef

END = 1 << 20  # bytes hashed at each end of a large file


def data_fingerprint(digests: Mapping[str, bytes]) -> str:
    """The fingerprint of data from the digest of each sample, {id: `sample_digest`}."""
    return hashlib.sha256(b"".join(digests[key] for key in sorted(digests))).hexdigest()


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What one look at the bytes of a medium tells.

    Attributes:
        digest: of the content: of videos and documents in files the size and both ends, and a video's subtitles whole.
                An unreadable file has its reason instead; of a frame that a rule draws, the rule's values count.
        size:   (width, height) of a picture; None where its header is broken, was not looked at, or there is none.
        fault:  why the medium cannot be had, as a record's reason; None where it can, as far as one look tells.
    """

    digest: str
    size: tuple[int, int] | None = None
    fault: str | None = None


def sample_digest(sample: Sample, media: Sequence[str] | None = None) -> bytes:
    """A hash over id, question, options, gold and the content of the media, whose digests may be known already."""
    if media is None:
        media = [media_digest(ref) for ref in sample.media]
    fields = [sample.id, sample.question, list(sample.choices), list(sample.answers), list(media)]
    return hashlib.sha256(canonical(fields)).digest()


def media_digest(ref: MediaRef) -> str:
    """The content's hash, as `MediaFacts` tells."""
    return media_facts(ref, sized=False).digest


def media_facts(ref: MediaRef, *, sized: bool) -> MediaFacts:
    """Hash and, if `sized`, a picture's size, of bytes that are read once."""
    from kvl_eval.media.images import read_bytes

    try:
        if isinstance(ref, ImageRef) and ref.drawn is not None:
            digest = hashlib.sha256(canonical(asdict(ref.drawn))).hexdigest()
            return MediaFacts(digest, (ref.drawn.width, ref.drawn.height))
        if isinstance(ref, ImageRef):
            data = read_bytes(ref)
            return MediaFacts(hashlib.sha256(data).hexdigest(), _size(data, ref.name) if sized else None)
        if isinstance(ref, PdfRef) and ref.data is not None:
            return MediaFacts(hashlib.sha256(ref.data).hexdigest())
    except MediaError as error:
        return MediaFacts(f"!{error.reason}", fault=error.reason)
    ends = _ends_digest(ref)
    spoken = _subtitles_digest(ref) if isinstance(ref, VideoRef) else None
    fault = next((digest[1:] for digest in (ends, spoken) if digest is not None and digest.startswith("!")), None)
    return MediaFacts(ends + (f" subtitles {spoken}" if spoken is not None else ""), fault=fault)


def _size(data: bytes, name: str) -> tuple[int, int] | None:
    from kvl_eval.media.images import size_in_header

    try:
        return size_in_header(data, name)
    except MediaError:
        return None


def _ends_digest(ref: VideoRef | PdfRef) -> str:
    from kvl_eval.media.images import safe_path
    from kvl_eval.media.regular import open_regular

    try:
        with open_regular(safe_path(ref.path, ref.root, ref.name), ref.name) as handle:
            digest = hashlib.sha256(handle.read(END))
            size = handle.seek(0, 2)
            handle.seek(max(0, size - END))
            digest.update(handle.read())
        return f"{size}:{digest.hexdigest()}"
    except MediaError as error:
        return f"!{error.reason}"
    except OSError:
        return "!media_missing"


def _subtitles_digest(ref: VideoRef) -> str | None:
    """Of the lines that come with a video; None where it has none."""
    from kvl_eval.media.subtitles import read_subtitles

    if ref.subtitles is None:
        return None
    try:
        text = read_subtitles(ref.subtitles)
    except MediaError as error:
        return f"!{error.reason}"
    return None if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON of which equal values have one form."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
