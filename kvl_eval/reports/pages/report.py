"""Writes a whole report of run folders: pages with the sample browser, and `report.md`. Loads no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kvl_eval.errors import StorageError
from kvl_eval.reports.browser import write_browser
from kvl_eval.reports.pages.compare import PairSettings
from kvl_eval.reports.pages.context import context_of
from kvl_eval.reports.pages.markdown import markdown_page
from kvl_eval.reports.pages.site import write_pages
from kvl_eval.reports.pictures import DataSetPictures
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.thumbnails import Thumbnails
from kvl_eval.store.journal import remove_leftovers
from kvl_eval.store.outputs import OutputFolder

ReportFormat = Literal["html", "markdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportForm:
    """What is written.

    Attributes:
        formats:      `html` writes pages and `report.md`, `markdown` that file alone.
        images:       whether the sample browser shows images, where the data set is on this machine.
        include_demo: whether results of demo models stand beside published tables.
        title:        of the front page; empty for one that counts models and tasks.
    """

    formats: Sequence[ReportFormat] = ("html",)
    images: bool = True
    include_demo: bool = False
    title: str = ""


def write_form(
    run_folders: Sequence[Path],
    out: Path | None = None,
    form: ReportForm | None = None,
    settings: Iterable[PairSettings] = (),
) -> list[Path]:
    """Write a report into `out`, by default `report/` in the first run; returns its files, the page last.

    Raises: UsageError for no run, DataError for one that cannot be read, StorageError.
    """
    form = form or ReportForm()
    runs = open_runs(run_folders)
    folder = OutputFolder.inside(Path(run_folders[0]), "report") if out is None else OutputFolder(out)
    context = context_of(runs, form.title)
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        for place in (folder.root, folder.path("data"), folder.path("media")):  # of a report that was killed
            remove_leftovers(place)
        with_pages = "html" in form.formats
        written = [folder.write([markdown_page(context, with_pages).encode()], "report.md")]
        if with_pages:
            images = DataSetPictures(runs) if form.images else None
            write_browser(runs, folder, Thumbnails(folder.path("media"), images))
            written.append(write_pages(context, folder, settings, form.include_demo))
    except OSError as error:
        message, fix = f"cannot write the report: {error}", "use another --output-dir"
        raise StorageError("storage.write", message, where=str(folder.root), fix=fix) from error
    return written
