"""What the flags say about pictures, videos and documents. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kvl_eval.decode import omitted
from kvl_eval.types import ImageStyle

MAX_IMAGE_PIXELS = 178_956_970  # where Pillow stops, too: 512 MiB as RGB

MEDIA_RULES: Mapping[str, int] = MappingProxyType(
    {
        "image_orientation": 1,  # turned upright where a picture is opened
        "image_depth": 1,  # grey of more than 8 bits, as `pixels` says
        "pdf_forms": 1,  # drawn, as `documents` says
        "video_frames": 1,  # edit lists, frames without times of their own, as `pyav_reader` says
    }
)
"""{rule that can change what a model sees: its version}; part of every run's fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """How media are sampled, prepared and kept."""

    num_workers: int | None = None  # processes that prepare media; None: one, and a second for more than 16 images
    timeout: int | float = 300.0  # seconds to prepare the media of one sample
    image_prep: ImageStyle = "reference"
    blind: bool = False
    frames: int | None = None  # of a video; None means as the task says
    fps: int | float | None = None  # frames a second, instead or as a further limit
    max_pixels: int | None = None  # of a picture, frame or page as the model sees it
    max_image_pixels: int | None = omitted()  # of a picture's file; larger ones are refused
    video_decoder: str = "auto"
    cache_dir: str | None = None
    no_cache: bool = False  # decode again what an earlier run had decoded
