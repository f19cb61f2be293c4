"""Writes a report of run folders. Loads no model, no data set and nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kvl_eval.errors import StorageError
from kvl_eval.reports.budgets import budget_charts, budgets_markdown, picture_file
from kvl_eval.reports.comparison import Comparison
from kvl_eval.reports.curves import NARROW, WIDE, chart_file
from kvl_eval.reports.heatmap_picture import heatmap_file
from kvl_eval.reports.html import write_html
from kvl_eval.reports.markdown import markdown
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.task_view import task_sections
from kvl_eval.store.journal import remove_leftovers
from kvl_eval.store.outputs import OutputFolder

Format = Literal["markdown", "html"]


def write_report(
    run_folders: Sequence[Path],
    out: Path | None = None,
    formats: Sequence[Format] = ("markdown", "html"),
    *,
    pictures: bool = True,
    include_demo: bool = False,
    comparisons: Sequence[Comparison] = (),
) -> list[Path]:
    """Write `report.md` and the HTML pages into `out`, by default `report/` in the first run; returns their paths.

    For each task that was answered within thinking budgets there is a chart in two sizes, as SVG, and a heat map for
    each result of a task that names two categories for one.

    Args:
        pictures:     put thumbnails into the sample browser where the data set lies on this machine; a picture that
                      cannot be reached, or has changed since, is a placeholder with its hash.
        comparisons:  what the page that sets the runs side by side shows; none without any.
        include_demo: give runs of the demo model a (marked) column beside the published results.

    Raises: UsageError for no run, DataError for one that cannot be read, StorageError.
    """
    runs = open_runs(run_folders)
    folder = OutputFolder.inside(Path(run_folders[0]), "report") if out is None else OutputFolder(out)
    out = folder.root
    sections = task_sections(runs)
    written: list[Path] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for place in (out, folder.path("data"), folder.path("media")):  # of a report that was killed
            remove_leftovers(place)
        charts = budget_charts(runs)
        for chart in charts:
            for narrow, form in ((False, WIDE), (True, NARROW)):
                folder.write([chart_file(chart, form).encode()], picture_file(chart, narrow))
        results = [section for group in sections.values() for section in group]
        for heatmap in (section.heatmap for section in results if section.heatmap is not None):
            for narrow, form in ((False, WIDE), (True, NARROW)):
                folder.write([heatmap_file(heatmap, form).encode()], heatmap.file(narrow))
        if "markdown" in formats:
            text = markdown(runs, sections, include_demo, budgets_markdown(charts))
            written.append(folder.write([text.encode()], "report.md"))
        if "html" in formats:
            written.append(write_html(runs, sections, folder, pictures, include_demo, comparisons))
    except OSError as error:
        message, fix = f"cannot write the report: {error}", "use another --output-dir"
        raise StorageError("storage.write", message, where=str(out), fix=fix) from error
    return written
