"""The HTML report: a folder that opens from disk, loads nothing from outside and shows foreign text as text."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from kvl_eval import __version__
from kvl_eval.decode import encode_object
from kvl_eval.flags import meaning
from kvl_eval.references import TABLES
from kvl_eval.reports import numbers
from kvl_eval.reports.browser import write_browser
from kvl_eval.reports.budgets import Chart, budget_charts, cells_of, header_of, picture_file, policies_of
from kvl_eval.reports.comparison import Comparison, comparison_page
from kvl_eval.reports.curves import spoken
from kvl_eval.reports.flagged import FlaggedAnswers, flagged
from kvl_eval.reports.leaderboard import leaderboard
from kvl_eval.reports.links import sample_address, task_file
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.origins import ShardText, differences, flatten, shards
from kvl_eval.reports.pictures import DataSetPictures
from kvl_eval.reports.runs import ReportRun, shown_rows, task_names, task_of
from kvl_eval.reports.table import ProtocolFlip, short
from kvl_eval.reports.task_view import Sections, TaskSection
from kvl_eval.reports.thumbnails import Thumbnails
from kvl_eval.reports.warnings import FEW, row_notes, warning_lines, warnings_of
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.result_records import PublishedRow, ResultRow

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.bccache import BytecodeCache

HERE = Path(__file__).resolve().parent
LABEL = 40  # characters of a task's title in the navigation
FLIPS_SHOWN = 200  # rows of a table of differing verdicts; the sample browser has all


def write_html(
    runs: Sequence[ReportRun],
    sections: Sections,
    out: OutputFolder,
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
    environment.globals |= {"pages": pages, "demo": any(run.demo for run in runs), "demo_text": numbers.DEMO}
    assets = out.path("assets")
    assets.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "assets", assets, dirs_exist_ok=True)
    media = DataSetPictures(runs) if pictures else None
    write_browser(runs, out, Thumbnails(out.path("media"), media))
    views: dict[str, tuple[str, Mapping[str, object]]] = {
        "index.html": ("index.html.j2", _index(runs, include_demo, media.notices if media else [])),
        "samples.html": ("samples.html.j2", {"title": "Samples"}),
        "provenance.html": ("provenance.html.j2", _provenance(runs)),
    }
    for task, results in sections.items():
        views[task_file(task)] = ("task.html.j2", {"title": _title(runs, task), "sections": results})
    if comparisons:
        views["compare.html"] = ("compare.html.j2", comparison_page(runs, comparisons))
    if charts:
        views["budgets.html"] = ("budgets.html.j2", _budgets(charts))
    for file, (template, values) in views.items():
        text = environment.get_template(template).render(file=file, **values)
        out.write([text.encode()], file)
    return out.path("index.html")


def _environment() -> Environment:
    """Jinja with escaping always on; every value passes `plain` on its way into a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> object:
        return plain(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled_templates(),
    )
    environment.globals |= {
        "version": __version__,
        "show": result_texts,
        "percent": numbers.percent,
        "beside": numbers.beside,
        "share": numbers.share,
        "reasons": numbers.reasons,
        "small": numbers.SMALL,
        "flips_shown": FLIPS_SHOWN,
        "link": _filter_link,
        "sample_link": _sample_link,
        "short": lambda value: short(value, 200),
    }
    return environment


@cache
def _compiled_templates() -> BytecodeCache:
    """Templates that a page of this process was made by, so that each is compiled once."""
    from jinja2.bccache import Bucket, BytecodeCache

    class Compiled(BytecodeCache):
        def __init__(self) -> None:
            self.codes: dict[tuple[str, str], CodeType | None] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            bucket.code = self.codes.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket: Bucket) -> None:
            self.codes[bucket.key, bucket.checksum] = bucket.code

    return Compiled()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTexts:
    """One result as pages print it.

    Attributes:
        reference: the published result as a fraction, where it is drawn beside the score: only where comparable.
        source:    where the published result comes from.
        spoken:    score, interval and published result, in words.
    """

    name: str
    budget: str
    n: str
    score: str
    interval: str
    published: str
    reference: float | None
    source: str
    delta: str
    no_answer: str
    failed: int
    protocol: str
    notes: list[str]
    spoken: str


def result_texts(row: ResultRow, demo: bool) -> ResultTexts:
    """The texts of one result; `demo` says whether a demo model gave it."""
    reference = row.reference
    published = numbers.published_value(row, demo)
    comparable = reference is not None and reference.delta is not None
    spoken = f"{numbers.headline(row)}, interval {numbers.interval(row)}"
    return ResultTexts(
        name=numbers.task_name(row),
        budget=numbers.budget(row),
        n=numbers.counted(row),
        score=numbers.headline(row),
        interval=numbers.interval(row),
        published=published,
        reference=reference.value if reference is not None and comparable else None,
        source=_source(reference) if reference is not None and published else "",
        delta=numbers.delta(row),
        no_answer=numbers.no_answer_share(row),
        failed=row.n_failed,
        protocol=numbers.protocol_name(row),
        notes=row_notes(row, demo),
        spoken=f"{spoken}, published {published}" if published else spoken,
    )


def _source(reference: PublishedRow) -> str:
    """`kimi-vl-a3b-instruct, report, Table 3`."""
    return f"{reference.system}, {TABLES.get(str(reference.table), reference.source)}"


def _pages(runs: Sequence[ReportRun], with_comparison: bool, with_budgets: bool) -> list[dict[str, str]]:
    tasks = [(task_file(task), _title(runs, task)[:LABEL]) for task in task_names(runs)]
    last = [
        *([("compare.html", "Comparison")] if with_comparison else []),
        *([("budgets.html", "Thinking budgets")] if with_budgets else []),
        ("samples.html", "Samples"),
        ("provenance.html", "Provenance"),
    ]
    kinds = {"first": [("index.html", "Leaderboard")], "task": tasks, "last": last}
    return [{"kind": kind, "file": file, "label": label} for kind, group in kinds.items() for file, label in group]


def _title(runs: Sequence[ReportRun], task: str) -> str:
    row = next(row for run in runs for row in run.rows if row.task == task)
    known = task_of(row)
    return plain(row.title or (known.title if known else task))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLine:
    """A line of the first page's table: a result, its texts, its task's page and what is odd about it."""

    run: ReportRun
    row: ResultRow
    texts: ResultTexts
    page: str
    marks: list[str]


def _index(runs: Sequence[ReportRun], include_demo: bool, notices: Sequence[str]) -> dict[str, object]:
    board = leaderboard(runs, include_demo)
    results = [
        ResultLine(
            run=run,
            row=row,
            texts=result_texts(row, run.demo),
            page=task_file(row.task),
            marks=_marks(run, row, runs),
        )
        for run in runs
        for row in shown_rows(run)
    ]
    texts = [line.texts for line in results if line.texts.source]
    models = list(dict.fromkeys(run.model for run in runs))
    return {
        "title": f"Results of {', '.join(models)}",
        "cautions": [*warning_lines(warnings_of(runs), FEW), *notices],
        "links": {one.line: _filter_link(one, flag=meaning(one.flag)) for one in flagged(runs)},
        "results": results,
        "result_sources": list(dict.fromkeys(f"{one.name}: published result of {one.source}" for one in texts)),
        "board": board,
        "groups": [(group, list(rows)) for group, rows in groupby(board.rows, key=lambda row: row.group)],
    }


def _budgets(charts: Sequence[Chart]) -> dict[str, object]:
    return {
        "title": "Thinking budgets",
        "charts": charts,
        "policies": policies_of(charts),
        "picture": picture_file,
        "spoken": spoken,
        "header": header_of,
        "cells": cells_of,
        "label": numbers.budget_label,
    }


def _marks(run: ReportRun, row: ResultRow, runs: Sequence[ReportRun]) -> list[str]:
    """What is odd about a result; that it is a demo's only beside others, as the page says it once for all."""
    marks = [numbers.DEMO] if run.demo and not all(other.demo for other in runs) else []
    marks += [f"partial, {plain(row.partial)}"] if row.partial else []
    return marks + ([] if row.complete else ["incomplete"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where one run's numbers come from: how to repeat it, its manifest as {name: text}, its parts if it was merged."""

    run_id: str
    config: str
    command: str
    manifest: dict[str, str]
    merged: list[ShardText]


def _provenance(runs: Sequence[ReportRun]) -> dict[str, object]:
    origins = [
        Provenance(
            run_id=run.run_id,
            config=shlex.quote(f"{run.run_id}/config.yaml"),
            command=shlex.join(run.manifest.command or ("kvl-eval", "run")),
            manifest=flatten(encode_object(run.manifest)),
            merged=shards(run),
        )
        for run in runs
    ]
    changed = differences(runs) if len(runs) > 1 else []
    return {"title": "Provenance", "runs": runs, "provenance": origins, "differences": changed}


def _filter_link(result: TaskSection | FlaggedAnswers, **filters: str) -> str:
    """Address of the sample browser with filters set."""
    budget = {} if result.row.budget is None else {"budget": numbers.budget(result.row)}
    wanted = {"run": str(result.run.number), "task": plain(result.row.task), **budget, **filters}
    return f"samples.html#{urlencode({name: plain(value) for name, value in wanted.items()})}"


def _sample_link(section: TaskSection, flip: ProtocolFlip) -> str:
    return sample_address(section.run.number, section.row.task, flip.key)
