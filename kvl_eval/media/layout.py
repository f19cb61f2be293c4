"""From messages with videos and documents to prepared pictures, in two steps that both run in worker processes.

    messages -> lay_out -> PromptLayout (texts, places for pictures, sizes)   opens files, decodes no frame
    layout's references, a limit of patches -> prepare_media -> pictures      decodes, one at a time

Between them the engine counts the text's tokens and finds the limit (`fit.fit_limit`). Frames and pages reach
their final size as they are decoded, exactly as the checkpoint's processor would shrink them; only patches are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from kvl_eval.flags import in_order
from kvl_eval.media.cache import CachedPicture, MediaCache, PictureFacts
from kvl_eval.media.documents import Document, Page, probe_document, render_pages
from kvl_eval.media.fit import limited, seen_size, within_pixels
from kvl_eval.media.frame_rules import FrameSampling, with_flags
from kvl_eval.media.images import BLIND, ImagePrep, PreparedImage, header_size, prepare_image
from kvl_eval.media.settings import MAX_IMAGE_PIXELS, MEDIA_RULES, MediaSettings
from kvl_eval.media.subtitles import Clip, ShownFrame, spelled_out
from kvl_eval.media.video import (
    Frame,
    as_shown,
    check_decoder,
    chosen_frames,
    decode_frames,
    joined,
    probe_video,
    video_file,
)
from kvl_eval.pictures import PictureRule, Shrink, Size
from kvl_eval.types import ImageRef, MediaInfo, MediaRef, Message, PdfRef, Role, VideoRef

P = TypeVar("P", bound=Any)  # a frozen dataclass with the field `info`
Finish = Callable[[Image.Image, PictureFacts, MediaInfo], P]
NO_LIMIT = 10**9  # patches: the picture has its size already


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPrep:
    """How pictures, videos and documents become patches; travels to worker processes.

    All but `cache` and `time_limit` belong in the run's fingerprint.

    Attributes:
        images:      the checkpoint's configuration, style and `--blind`.
        decoder:     `--video-decoder`.
        frames, fps: `--frames` and `--fps`; None leaves the task's rule.
        max_pixels:  `--max-pixels`, for every picture, frame and page.
        cache:       where decoded frames and pages are kept, or None.
        time_limit:  seconds one video may take.
    """

    images: ImagePrep
    decoder: str = "auto"
    frames: int | None = None
    fps: float | None = None
    max_pixels: int | None = None
    cache: MediaCache | None = None
    time_limit: float = 300.0

    def __post_init__(self) -> None:
        """Raises ConfigError for what no sample could be prepared with."""
        check_decoder(self.decoder)
        if self.frames is not None or self.fps is not None:
            FrameSampling(rule="vlmevalkit", n=self.frames, fps=self.fps)
        within_pixels(self.images.config, self.max_pixels)

    @classmethod
    def of(cls, rule: PictureRule, settings: MediaSettings, cache: MediaCache | None = None) -> MediaPrep:
        """How settings want media prepared. Raises: ConfigError, for what no sample could be prepared with."""
        return cls(
            images=ImagePrep(
                config=rule,
                style=settings.image_prep,
                blind=settings.blind,
                most=settings.max_image_pixels or MAX_IMAGE_PIXELS,
            ),
            decoder=settings.video_decoder,
            frames=settings.frames,
            fps=settings.fps,
            max_pixels=settings.max_pixels,
            cache=cache,
            time_limit=settings.timeout,
        )

    @property
    def config(self) -> PictureRule:
        """The checkpoint's configuration under `--max-pixels`."""
        return within_pixels(self.images.config, self.max_pixels)

    def sampled(self, ref: MediaRef) -> MediaRef:
        """The reference under `--frames` and `--fps`."""
        return with_flags(ref, self.frames, self.fps) if isinstance(ref, VideoRef) else ref


@dataclass(frozen=True, slots=True)
class PicturePlace:
    """Where a picture stands: the `position`-th of those that `Layout.refs[ref]` gives, (width, height) in its file."""

    ref: int
    position: int
    size: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLayout:
    """A prompt whose videos and documents are spelled out as places for pictures.

    Attributes:
        turns: (role, texts and places in reading order) of each message.
        refs:  what the pictures come from, with the run's flags applied; the argument of `prepare_media`.
    """

    turns: tuple[tuple[Role, tuple[str | PicturePlace, ...]], ...]
    refs: tuple[MediaRef, ...]

    @property
    def places(self) -> tuple[PicturePlace, ...]:
        """The pictures in reading order."""
        return tuple(part for _, parts in self.turns for part in parts if isinstance(part, PicturePlace))

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Their sizes, as `fit_limit` takes them."""
        return tuple(place.size for place in self.places)


# -- places -----------------------------------------------------------------------------------------------------


def lay_out(messages: Sequence[Message], prep: MediaPrep) -> PromptLayout:
    """The messages with every video as its frames, every document as its pages, every subtitle file as its text.

    Raises: MediaError, for a file that cannot be used; ConfigError, for a sampling that cannot be.
    """
    refs: dict[MediaRef, int] = {}  # and their places among those met so far
    turns = []
    for message in messages:
        parts = [part if isinstance(part, str) else _flagged(part, prep) for part in message.parts]
        videos = {part.name: part for part in parts if isinstance(part, VideoRef)}
        clips = {name: _clip(ref, prep) for name, ref in videos.items()}
        places: list[str | PicturePlace] = []
        for part in spelled_out(parts, {name: clip for name, (clip, _) in clips.items()}):
            if isinstance(part, str):
                places.append(part)
            elif isinstance(part, ShownFrame):
                number = refs.setdefault(videos[part.video], len(refs))
                places.append(PicturePlace(number, part.position, clips[part.video][1]))
            else:
                number = refs.setdefault(part, len(refs))
                sizes = _sizes(part, prep)
                places += [PicturePlace(number, position, size) for position, size in enumerate(sizes)]
        turns.append((message.role, tuple(places)))
    return PromptLayout(turns=tuple(turns), refs=tuple(refs))


def _flagged(part: Any, prep: MediaPrep) -> Any:
    return prep.sampled(part) if isinstance(part, VideoRef) else part


def _clip(ref: VideoRef, prep: MediaPrep) -> tuple[Clip, Size]:
    video = probe_video(ref, prep.decoder)
    indices = chosen_frames(ref, video).indices
    return Clip(fps=video.fps, total=video.frames, indices=indices), video.size


def _sizes(ref: MediaRef, prep: MediaPrep) -> tuple[Size, ...]:
    """Sizes of the pages of a document, or of a picture."""
    if isinstance(ref, PdfRef):
        return probe_document(ref).sizes
    assert isinstance(ref, ImageRef)
    return (header_size(ref, prep.images.opening),)


# -- pictures ---------------------------------------------------------------------------------------------------


def prepare_media(
    refs: Sequence[MediaRef], prep: MediaPrep, *, limit: int | None = None
) -> tuple[tuple[PreparedImage, ...], ...]:
    """The pictures of each reference: one of a picture, the frames of a video, the pages of a document, in order.

    Args:
        refs:  `Layout.refs`, or any with the run's flags still to be applied.
        limit: most patches of one picture, where `fit_limit` lowered it.
    Raises: MediaError, for the first that cannot be used.
    """
    config = limited(prep.config, limit)
    lowered = config.limit if config.limit < prep.config.limit else None
    return tuple(tuple(_pictures(prep.sampled(ref), prep, config, lowered)) for ref in refs)


def _pictures(ref: MediaRef, prep: MediaPrep, config: PictureRule, lowered: int | None) -> Iterator[PreparedImage]:
    if isinstance(ref, ImageRef):
        one = prepare_image(ref, replace(prep.images, config=config))
        yield replace(one, info=replace(one.info, limit=lowered))
        return
    shrink, finish = partial(seen_size, config=config), partial(_prepared, style=prep.images)
    yield from unrolled(ref, prep, shrink, finish, lowered)


def unrolled(
    ref: VideoRef | PdfRef, prep: MediaPrep, shrink: Shrink, finish: Finish[P], lowered: int | None = None
) -> Iterator[P]:
    """The frames of a video or the pages of a document, decoded at the size that `shrink` says, as `finish` makes them.

    `finish` gets an RGB picture, what is known of it and a MediaInfo to fill; what it
    makes has that as `info`. Raises: MediaError.
    """
    return (
        _frames(ref, prep, shrink, finish, lowered)
        if isinstance(ref, VideoRef)
        else _pages(ref, prep, shrink, finish, lowered)
    )


def _frames(ref: VideoRef, prep: MediaPrep, shrink: Shrink, finish: Finish[P], lowered: int | None) -> Iterator[P]:
    """Frames of a video; one that is shown twice is decoded and kept once."""
    video = probe_video(ref, prep.decoder)
    choice = chosen_frames(ref, video)
    path, facts = video_file(ref)
    sha256 = _file_sha256(path, (facts.st_size, facts.st_mtime_ns, facts.st_ino))
    key = {
        "file": sha256,
        "frames": choice.unique,
        "size": shrink(*video.size),
        "decoder": video.decoder,
        "rule": MEDIA_RULES["video_frames"],
    }
    decoded = decode_frames(video, choice.unique, shrink=shrink, time_limit=prep.time_limit)
    entries = _cached(prep.cache, key, map(_frame_entry, decoded))
    base = MediaInfo(
        sha256=sha256,
        kind="frame",
        w=video.size[0],
        h=video.size[1],
        resized_to=shrink(*video.size),
        tokens=0,
        decoder=video.decoder,
        limit=lowered,
        flags=video.flags,
    )
    prepared = (finish(image, facts, base) for image, facts in entries)
    file_notes = video.notes
    for one, note in as_shown(choice, prepared):
        yield replace(one, info=replace(one.info, note=joined(*file_notes, one.info.note, note)))
        file_notes = ()  # what is odd about the whole file is said once


def _pages(ref: PdfRef, prep: MediaPrep, shrink: Shrink, finish: Finish[P], lowered: int | None) -> Iterator[P]:
    document: Document = probe_document(ref)
    sizes = [shrink(*size) for size in document.sizes]
    key = {
        "file": document.sha256,
        "dpi": ref.dpi,
        "sizes": sizes,
        "decoder": document.renderer,
        "rule": MEDIA_RULES["pdf_forms"],
    }
    entries = _cached(prep.cache, key, map(_page_entry, render_pages(ref, shrink=shrink)))
    note = document.note
    for number, (image, facts) in enumerate(entries):
        base = MediaInfo(
            sha256=document.sha256,
            kind="page",
            w=document.sizes[number][0],
            h=document.sizes[number][1],
            resized_to=sizes[number],
            tokens=0,
            note=note,
            decoder=document.renderer,
            limit=lowered,
        )
        note = None
        yield finish(image, facts, base)


def _cached(
    cache: MediaCache | None, key: Mapping[str, object], make: Iterable[CachedPicture]
) -> Iterator[CachedPicture]:
    return iter(make) if cache is None else cache.pictures(key, make)


def _frame_entry(frame: Frame) -> CachedPicture:
    return frame.image, PictureFacts(frame.index, frame.timestamp, frame.note, frame.flags)


def _page_entry(page: Page) -> CachedPicture:
    return page.image, PictureFacts(page.index, flags=page.flags)


def _prepared(image: Image.Image, facts: PictureFacts, base: MediaInfo, style: ImagePrep) -> PreparedImage:
    """Patches of a picture that has its final size already, grey under `--blind`."""
    if style.blind:
        image = Image.new("RGB", image.size, BLIND)
    config = style.config.with_limit(NO_LIMIT)
    patches, grid = config.patches(image)
    info = replace(
        base,
        tokens=len(patches) // config.patches_per_token,
        index=facts.index,
        timestamp=facts.timestamp,
        note=joined(base.note, facts.note, "blind" if style.blind else None),
        flags=() if style.blind else in_order((*base.flags, *facts.flags)),
    )
    return PreparedImage(patches=patches, grid=grid, info=info)


@lru_cache(maxsize=64)
def _file_sha256(path: Path, state: tuple[int, int, int]) -> str:
    """`state` only tells one version of the file from another."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- jobs of worker processes -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayoutJob:
    """Lay these messages out."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class PictureJob:
    """Prepare the pictures of these references under that limit of patches."""

    refs: tuple[MediaRef, ...]
    limit: int | None = None


def run_media_job(job: LayoutJob | PictureJob, prep: MediaPrep) -> PromptLayout | tuple[tuple[PreparedImage, ...], ...]:
    """What a worker process of the media pool does: a `Layout`, or pictures by reference. Raises: SampleError."""
    if isinstance(job, LayoutJob):
        return lay_out(job.messages, prep)
    return prepare_media(job.refs, prep, limit=job.limit)
