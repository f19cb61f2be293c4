"""The HTML report: a folder that opens from disk, loads nothing from outside and shows foreign text as text."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from kvl_eval import __version__
from kvl_eval.references import TABLES
from kvl_eval.reports import figures
from kvl_eval.reports.browser import write_browser
from kvl_eval.reports.budgets import POLICIES, Chart, budget_charts, cells_of, header_of, picture_file
from kvl_eval.reports.cautions import cautions, differences, flatten, shards
from kvl_eval.reports.comparison import Comparison, comparison_page
from kvl_eval.reports.curves import spoken
from kvl_eval.reports.figures import Row, plain
from kvl_eval.reports.leaderboard import leaderboard
from kvl_eval.reports.links import sample_address
from kvl_eval.reports.pictures import DataSetPictures
from kvl_eval.reports.runs import Run, main_rows, task_names, task_of
from kvl_eval.reports.table import Flip, row_notes, short
from kvl_eval.reports.task_view import Sections, TaskSection
from kvl_eval.reports.thumbnails import Thumbnails
from kvl_eval.store.journal import Disk

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).resolve().parent
LABEL = 40  # characters of a task's title in the navigation
FLIPS_SHOWN = 200  # rows of a table of differing verdicts; the sample browser has all


def write_html(
    runs: Sequence[Run],
    sections: Sections,
    out: Path,
    pictures: bool = True,
    include_demo: bool = False,
    comparisons: Sequence[Comparison] = (),
) -> Path:
    """Write the report's pages into `out` and return the first one's path.

    Pages: leaderboard, one for each task, comparison and thinking budgets where there are any, samples, provenance;
    beside them `assets/`, `data/` and `media/`.
    """
    charts = budget_charts(runs)
    pages = _pages(runs, bool(comparisons), bool(charts))
    environment = _environment()
    environment.globals |= {"pages": pages, "demo": any(run.demo for run in runs), "demo_text": figures.DEMO}
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "assets", out / "assets", dirs_exist_ok=True)
    media = DataSetPictures(runs) if pictures else None
    write_browser(runs, out, Thumbnails(out / "media", media))
    views: dict[str, tuple[str, Mapping[str, Any]]] = {
        "index.html": ("index.html.j2", _index(runs, include_demo, media.notices if media else [])),
        "samples.html": ("samples.html.j2", {"title": "Samples"}),
        "provenance.html": ("provenance.html.j2", _provenance(runs)),
    }
    for task, found in sections.items():
        views[task_file(task)] = ("task.html.j2", {"title": _title(runs, task), "sections": found})
    if comparisons:
        views["compare.html"] = ("compare.html.j2", comparison_page(runs, comparisons))
    if charts:
        views["budgets.html"] = ("budgets.html.j2", _budgets(charts))
    for file, (template, values) in views.items():
        text = environment.get_template(template).render(file=file, **values)
        Disk().replace(out / file, [text.encode()])
    return out / "index.html"


def _environment() -> Environment:
    """Jinja with escaping always on; every value passes `plain` on its way into a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: object) -> object:
        return plain(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "version": __version__,
        "show": show,
        "percent": figures.percent,
        "share": figures.share,
        "reasons": figures.reasons,
        "small": figures.SMALL,
        "flips_shown": FLIPS_SHOWN,
        "link": _filter_link,
        "sample_link": _sample_link,
        "short": lambda value: short(value, 200),
    }
    return environment


def show(row: Row) -> dict[str, Any]:
    """The texts of one result as pages print them."""
    reference = row.get("reference") or {}
    published = figures.published_value(row)
    spoken = f"{figures.headline(row)}, interval {figures.interval(row)}" + (
        f", published {published}" if published else ""
    )
    return {
        "name": figures.task_name(row),
        "budget": figures.budget(row),
        "n": figures.counted(row),
        "score": figures.headline(row),
        "interval": figures.interval(row),
        "published": published,
        "reference": reference.get("value") if reference.get("delta") is not None else None,  # drawn where comparable
        "source": _source(reference) if published else "",
        "delta": figures.delta(row),
        "no_answer": figures.share(row.get("verdicts", {}).get("no_answer", 0), row.get("n_scored", 0)),
        "failed": row.get("n_failed", 0),
        "protocol": figures.protocol_name(row),
        "notes": row_notes(row),
        "spoken": spoken,
    }


def _source(reference: Row) -> str:
    """`kimi-vl-a3b-instruct, report, Table 3`."""
    return f"{reference.get('system')}, {TABLES.get(str(reference.get('table')), reference.get('source'))}"


def task_file(task: str) -> str:
    """File name of a task's page; names with other characters than a-z, 0-9 and - get a hash."""
    slug = re.sub(r"[^a-z0-9-]+", "-", task.lower())[:40].strip("-")
    exact = slug == task
    return (
        f"task-{slug}.html"
        if exact
        else f"task-{slug}-{hashlib.sha256(task.encode(errors='replace')).hexdigest()[:8]}.html"
    )


def _pages(runs: Sequence[Run], with_comparison: bool, with_budgets: bool) -> list[dict[str, str]]:
    tasks = [(task_file(task), _title(runs, task)[:LABEL]) for task in task_names(runs)]
    last = [
        *([("compare.html", "Comparison")] if with_comparison else []),
        *([("budgets.html", "Thinking budgets")] if with_budgets else []),
        ("samples.html", "Samples"),
        ("provenance.html", "Provenance"),
    ]
    kinds = {"first": [("index.html", "Leaderboard")], "task": tasks, "last": last}
    return [{"kind": kind, "file": file, "label": label} for kind, found in kinds.items() for file, label in found]


def _title(runs: Sequence[Run], task: str) -> str:
    row = next(row for run in runs for row in run.rows if row["task"] == task)
    known = task_of(row)
    return plain(row.get("title") or (known.title if known else task))


def _index(runs: Sequence[Run], include_demo: bool, notices: Sequence[str]) -> dict[str, Any]:
    board = leaderboard(runs, include_demo)
    results = [
        {**show(row), "run": run, "row": row, "page": task_file(row["task"]), "marks": _marks(run, row, runs)}
        for run in runs
        for row in main_rows(run)
    ]
    sources = [f"{one['name']}: published figure of {one['source']}" for one in results if one["source"]]
    models = list(dict.fromkeys(run.model for run in runs))
    return {
        "title": f"Results of {', '.join(models)}",
        "cautions": [*cautions(runs), *notices],
        "results": results,
        "result_sources": list(dict.fromkeys(sources)),
        "board": board,
        "groups": [(group, list(rows)) for group, rows in groupby(board.rows, key=lambda row: row.group)],
    }


def _budgets(charts: Sequence[Chart]) -> dict[str, Any]:
    return {
        "title": "Thinking budgets",
        "charts": charts,
        "policies": POLICIES,
        "picture": picture_file,
        "spoken": spoken,
        "header": header_of,
        "cells": cells_of,
        "label": figures.budget_label,
    }


def _marks(run: Run, row: Row, runs: Sequence[Run]) -> list[str]:
    """What is odd about a result; that it is a demo's only beside others, as the page says it once for all."""
    marks = [figures.DEMO] if run.demo and not all(other.demo for other in runs) else []
    marks += [f"partial, {plain(row['partial'])}"] if row.get("partial") else []
    return marks + ([] if row.get("complete", True) else ["incomplete"])


def _provenance(runs: Sequence[Run]) -> dict[str, Any]:
    shown = [
        {
            "run_id": run.run_id,
            "config": shlex.quote(f"{run.run_id}/config.yaml"),
            "command": shlex.join(str(part) for part in run.legacy_manifest.get("command") or ["kvl-eval", "run"]),
            "manifest": flatten(run.legacy_manifest),
            "merged": shards(run),
        }
        for run in runs
    ]
    changed = differences(runs) if len(runs) > 1 else []
    return {"title": "Provenance", "runs": runs, "provenance": shown, "differences": changed}


def _filter_link(section: TaskSection, **filters: str) -> str:
    """Address of the sample browser with filters set."""
    budget = {} if section.row.get("budget") is None else {"budget": figures.budget(section.row)}
    wanted = {"run": str(section.run.number), "task": plain(section.row["task"]), **budget, **filters}
    return f"samples.html#{urlencode({name: plain(value) for name, value in wanted.items()})}"


def _sample_link(section: TaskSection, flip: Flip) -> str:
    entry = {"task": section.row["task"], "sample_id": flip.sample_id, "repeat": flip.repeat, "budget": flip.budget}
    return sample_address(section.run.number, {**entry, "policy": section.row.get("policy")})
