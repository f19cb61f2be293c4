"""The report's pages as files: a folder that opens from disk and loads nothing from outside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

from kvl_eval import __version__
from kvl_eval.decode import encode_object
from kvl_eval.reports.links import task_file
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.budgets import budget_page
from kvl_eval.reports.pages.chart_data import chart_data
from kvl_eval.reports.pages.compare import PairSettings, compare_page
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.front import front_page
from kvl_eval.reports.pages.provenance import provenance_page, run_file
from kvl_eval.reports.pages.published import published_page
from kvl_eval.reports.pages.task import TaskPage, task_page
from kvl_eval.store.outputs import OutputFolder

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.bccache import BytecodeCache

HERE = Path(__file__).resolve().parent
SIGN_TEXTS = {"up": "▲", "down": "▼", "same": "≈", "pays": "↗", "warn": "!"}
LINK_WORDS = {
    "compare.html": "Compare",
    "published.html": "Published results",
    "budgets.html": "Budgets",
    "provenance.html": "Provenance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """A page in the menu, or several below one word."""

    label: str
    file: str = ""
    note: str = ""
    entries: tuple[MenuEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """A page before it is written: its template, title, kind and what the template shows as `page`."""

    template: str
    title: str
    kind: str
    page: object = None


def write_pages(
    context: Context, out: OutputFolder, settings: Iterable[PairSettings] = (), include_demo: bool = False
) -> Path:
    """Write every page, `assets/`, and the numbers behind the charts in `data/`; returns the front page.

    The data of the sample browser come from `write_browser`.
    """
    assets = out.path("assets")
    assets.parent.mkdir(parents=True, exist_ok=True)
    for source in (HERE.parent / "assets", HERE / "assets"):  # the browser's, and then the pages' own
        shutil.copytree(source, assets, dirs_exist_ok=True)
    views = page_views(context, settings, include_demo)
    environment = page_environment(context, views)
    environment.globals["images"] = {path.name for path in out.path("media").glob("*.webp")}
    for file, view in views.items():
        template = environment.get_template(view.template)
        text = template.render(file=file, title=view.title, kind=view.kind, page=view.page)
        out.write([text.encode()], file)
    for model in context.series:
        out.write([_json(encode_object(model.run.manifest))], "data", run_file(model))
    for name, numbers in chart_data(context).items():
        out.write([_json(numbers)], "data", name)
    return out.path("index.html")


def page_views(
    context: Context, settings: Iterable[PairSettings] = (), include_demo: bool = False
) -> dict[str, PageView]:
    """{file: what it shows} of every page of this report."""
    views = {
        "index.html": PageView(template="index.html.j2", title=context.title, kind="index", page=front_page(context))
    }
    for task in dict.fromkeys(row.task for model in context.series for row in model.run.rows):
        page = task_page(context, task)
        views[task_file(task)] = PageView(template="task.html.j2", title=page.title, kind="task", page=page)
    comparison = compare_page(context, settings)
    if comparison is not None:
        views["compare.html"] = PageView(
            template="compare.html.j2", title="Comparison", kind="compare", page=comparison
        )
    budgets = budget_page(context)
    if budgets is not None:
        views["budgets.html"] = PageView(
            template="budgets.html.j2", title="Thinking budgets", kind="budgets", page=budgets
        )
    views["samples.html"] = PageView(template="samples.html.j2", title="Samples", kind="samples")
    published = published_page(context, include_demo)
    views["published.html"] = PageView(
        template="published.html.j2", title="Published results", kind="published", page=published
    )
    views["provenance.html"] = PageView(
        template="provenance.html.j2", title="Provenance", kind="provenance", page=provenance_page(context)
    )
    return views


def page_environment(context: Context, views: Mapping[str, PageView]) -> Environment:
    """The templates' environment with what all pages share: menu, models, signs."""
    environment = _environment()
    shown = {line.series.key for line in context.board.ours}
    environment.globals |= {
        "version": __version__,
        "menu": menu_of(views),
        "files": set(views),
        "demo": context.demo,
        "series": context.series,
        "board_series": [model for model in context.series if model.key in shown],
        "signs": SIGN_TEXTS,
        "link_words": LINK_WORDS,
        "published_key": charts.key("diamond", "pub"),
    }
    return environment


def menu_of(views: Mapping[str, PageView]) -> list[MenuEntry]:
    """The entries of the menu, each only if its page exists."""
    tasks = [
        MenuEntry(label=view.title, file=file, note=f"{view.page.n:,}")
        for file, view in views.items()
        if isinstance(view.page, TaskPage)
    ]
    labels = {
        "compare.html": "Compare",
        "budgets.html": "Budgets",
        "samples.html": "Samples",
        "trajectory.html": "Trajectories",
        "explain.html": "Why this number",
        "published.html": "Published",
        "provenance.html": "Provenance",
    }
    return [
        MenuEntry(label="Results", file="index.html"),
        MenuEntry(label="Tasks", entries=tuple(tasks)),
        *(MenuEntry(label=label, file=file) for file, label in labels.items() if file in views),
    ]


def _environment() -> Environment:
    """Jinja with escaping always on; every value passes `plain` on its way into a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> object:
        return plain(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FileSystemLoader([HERE / "templates", HERE.parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled_templates(),
    )


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


def _json(value: Mapping[str, object] | Sequence[object]) -> bytes:
    """A value as JSON in ASCII, with a line end."""
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode("ascii")
