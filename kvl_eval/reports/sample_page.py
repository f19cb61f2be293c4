"""Writes the page that shows samples: `samples.html`, its data, its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kvl_eval.reports.image_copies import CopyFiles, ImageCache, ImageCopies
from kvl_eval.reports.page_templates import MenuEntry, copy_assets, rendered_page
from kvl_eval.reports.pictures import DataSetPictures
from kvl_eval.reports.runs import ReportRun
from kvl_eval.reports.sample_index import Causes, sample_media, voices_of, write_samples
from kvl_eval.sources.media_files import cache_home
from kvl_eval.store.outputs import OutputFolder

FILE = "samples.html"
Images = Literal["none", "small", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePageChoice:
    """How the page is made.

    Attributes:
        images:    whether it has images, and of which size.
        cache_dir: the cache folder; None means the usual one.
        menu:      the pages of the report, the front page first.
        causes:    why runs differ on a sample, where that is known.
        workers:   processes that make copies of images; None means as many as pay.
    """

    images: Images = "small"
    cache_dir: Path | None = None
    menu: Sequence[MenuEntry] = ()
    causes: Causes | None = None
    workers: int | None = None


def write_sample_page(runs: Sequence[ReportRun], out: OutputFolder, choice: SamplePageChoice) -> list[str]:
    """Write the page into `out`; returns why images of a task cannot be shown, one text a task.

    Raises: StorageError.
    """
    copy_assets(out)
    stored, notices = _images(runs, out, choice)
    write_samples(runs, out, stored, choice.causes)
    page = rendered_page("sample_page.html.j2", FILE, choice.menu, {"title": "Samples", "kind": "samples"})
    out.write([page], FILE)
    return notices


def _images(runs: Sequence[ReportRun], out: OutputFolder, choice: SamplePageChoice) -> tuple[CopyFiles, list[str]]:
    """The copies in `media/`, and why some are missing."""
    if choice.images == "none":
        return {}, []
    data_sets = DataSetPictures(runs)
    copies = ImageCopies(
        out,
        image_cache(choice.cache_dir),
        data_sets.refs,
        choice.images,
        tuple(run.folder.path for run in runs),
        choice.workers,
    )
    stored = copies.make(list(sample_media(runs, voices_of(runs))))
    return stored, data_sets.notices


def image_cache(cache_dir: Path | None) -> ImageCache:
    """Where copies of images are kept for later reports."""
    return ImageCache(cache_home(cache_dir) / "thumbnails")
