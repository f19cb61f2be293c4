"""Writes a report of run folders in the forms that are asked for. Loads no model and downloads nothing."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kvl_eval.errors import StorageError
from kvl_eval.reports.costs import NO_PRICES, Prices
from kvl_eval.reports.former_files import remove_former
from kvl_eval.reports.image_copies import ENDINGS
from kvl_eval.reports.one_file import packed_report
from kvl_eval.reports.pages.compare import ComparePage, PairSettings, sample_causes
from kvl_eval.reports.pages.context import Context, context_of
from kvl_eval.reports.pages.markdown import markdown_page
from kvl_eval.reports.pages.site import SAMPLES, menu_of, page_views, write_pages
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.sample_index import Causes
from kvl_eval.reports.sample_page import Images, SamplePageChoice, image_cache, write_sample_page
from kvl_eval.reports.trajectory_page import FILE as TRAJECTORIES
from kvl_eval.reports.trajectory_page import EpisodeOfRun, write_trajectory_page
from kvl_eval.store.journal import remove_leftovers
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.trajectories import trajectories

ReportFormat = Literal["html", "file", "zip", "markdown"]
FILES: dict[ReportFormat, str] = {"markdown": "report.md", "zip": "report.zip", "file": "report.html"}
"""What the forms that are one file are called, in the order in which they are written."""
PIECE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportForm:
    """What is written.

    Attributes:
        formats:      `html` is a folder of pages with `report.md`, `file` all pages in one file, `zip` the folder as
                      one, `markdown` `report.md` alone.
        images:       whether samples are shown with images, and of which size; an image that cannot be reached, or has
                      changed since the run, is a box with its hash.
        include_demo: whether results of demo models stand beside published tables, marked.
        title:        of the front page; empty for one that counts models and tasks.
        cache_dir:    the cache folder, which keeps copies of images for later reports; None for the usual one.
        prices:       what costs are computed with.
    """

    formats: Sequence[ReportFormat] = ("html",)
    images: Images = "small"
    include_demo: bool = False
    title: str = ""
    cache_dir: Path | None = None
    prices: Prices = NO_PRICES


def write_report(
    run_folders: Sequence[Path],
    out: Path | None = None,
    form: ReportForm | None = None,
    settings: Sequence[PairSettings] = (),
) -> list[Path]:
    """Write a report; returns its files, the page last.

    Args:
        out:      the folder, by default `report/` in the first run; of a form that is one file, that file.
        settings: what differs between the runs, pair by pair.
    Raises: UsageError for no run or too large a file, DataError for a run that cannot be read, StorageError.
    """
    form = form or ReportForm()
    context = context_of(open_runs(run_folders), form.title, form.prices)
    folder, names = _places(run_folders[0], out, form.formats)
    report = _Report(context, form, settings)
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.root)  # of a report that was killed
        written = [folder.write(report.file(kind), name) for kind, name in names.items()]
        if "html" in form.formats:
            written.append(report.pages(folder))
    except OSError as error:
        message, fix = f"cannot write the report: {error}", "use another --output-dir"
        raise StorageError("storage.write", message, where=str(folder.root), fix=fix) from error
    return written


def _causes(pages: Iterable[object]) -> Causes:
    """What the sample browser filters by: why runs differ on a sample, and the parts of explained scores."""
    from kvl_eval.reports.pages.explain import ExplainPage, part_causes  # numpy, which report.md does not need

    causes: dict[tuple[str, str], list[str]] = {}
    for page in pages:
        made: Causes = {}
        if isinstance(page, ComparePage):
            made = sample_causes(page)
        elif isinstance(page, ExplainPage):
            made = part_causes(page)
        for key, names in made.items():
            causes.setdefault(key, []).extend(names)
    return causes


def _places(
    run: Path, out: Path | None, formats: Sequence[ReportFormat]
) -> tuple[OutputFolder, dict[ReportFormat, str]]:
    """The folder, and what the files that are forms of their own are called in it."""
    chosen = {*formats, "markdown"} if "html" in formats else {*formats}
    names = {kind: name for kind, name in FILES.items() if kind in chosen}
    if out is None:
        return OutputFolder.inside(Path(run), "report"), names
    if "html" in formats or len(names) != 1 or out.is_dir():
        return OutputFolder(out), names
    return OutputFolder(out.parent), dict.fromkeys(names, out.name)


@dataclass(frozen=True, slots=True)
class _Report:
    """A report before it is written."""

    context: Context
    form: ReportForm
    settings: Sequence[PairSettings]

    def pages(self, folder: OutputFolder) -> Path:
        """Write all pages with their data and images; returns the front page."""
        for place in (folder.path("data"), folder.path("media")):
            remove_leftovers(place)
        views = page_views(self.context, self.settings, self.form.include_demo)
        episodes = self._episodes()
        others = (SAMPLES, *([TRAJECTORIES] if episodes else []))
        menu = menu_of(views, others)
        choice = SamplePageChoice(
            images=self.form.images,
            cache_dir=self.form.cache_dir,
            menu=menu,
            causes=_causes(view.page for view in views.values()),
        )
        notices = write_sample_page([model.run for model in self.context.series], folder, choice)
        cache = None if self.form.images == "none" else image_cache(self.form.cache_dir)
        write_trajectory_page(episodes, folder, cache, menu)
        page = write_pages(self.context, views, folder, others, notices)
        remove_former(folder)
        return page

    def _episodes(self) -> list[EpisodeOfRun]:
        """The episodes of all runs, by the names of their models."""
        runs = [(model.run.folder.path, model.name) for model in self.context.series]
        return [EpisodeOfRun(path, name, episode) for path, name in runs for episode in trajectories(path)]

    def file(self, kind: ReportFormat) -> Iterator[bytes]:
        """The content of a form that is one file."""
        if kind == "markdown":
            yield self.markdown("html" in self.form.formats)
            return
        with tempfile.TemporaryDirectory(prefix="kvl-eval-report-") as place:
            folder = Path(place) / "report"
            self.pages(OutputFolder(folder))
            if kind == "file":
                pages = sorted(path.name for path in folder.glob("*.html"))
                yield packed_report(folder, sorted(pages, key=lambda name: (name != "index.html", name == SAMPLES)))
            else:
                (folder / FILES["markdown"]).write_bytes(self.markdown(with_pages=True))
                yield from _pieces(_zipped(folder))

    def markdown(self, with_pages: bool) -> bytes:
        """`report.md`, with links to the pages where they are beside it."""
        return markdown_page(self.context, with_pages).encode()


def _zipped(folder: Path) -> Path:
    """The folder as a zip file beside it; equal bytes for an equal folder."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder.parent).as_posix())
            entry.compress_type = zipfile.ZIP_STORED if file.suffix in ENDINGS else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return path


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
