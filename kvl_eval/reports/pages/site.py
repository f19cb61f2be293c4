"""The report's pages as files: a folder that opens from disk and loads nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.decode import encode_object
from kvl_eval.reports.columns import quantity
from kvl_eval.reports.links import task_file
from kvl_eval.reports.page_templates import MenuEntry, copy_assets, page_environment
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.budgets import budget_page
from kvl_eval.reports.pages.chart_data import chart_data
from kvl_eval.reports.pages.compare import ComparePage, PairSettings, compare_page
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.front import front_page
from kvl_eval.reports.pages.provenance import provenance_page, run_file
from kvl_eval.reports.pages.published import published_page
from kvl_eval.reports.pages.task import TaskPage, task_page
from kvl_eval.store.outputs import OutputFolder

if TYPE_CHECKING:
    from jinja2 import Environment

SAMPLES = "samples.html"
SIGN_TEXTS = {"up": "▲", "down": "▼", "same": "≈", "pays": "↗", "warn": "!"}
LINK_WORDS = {
    "compare.html": "Compare",
    "published.html": "Published results",
    "budgets.html": "Budgets",
    "provenance.html": "Provenance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """A page before it is written: its template, title, kind and what the template shows as `page`."""

    template: str
    title: str
    kind: str
    page: object = None


def write_pages(
    context: Context,
    views: Mapping[str, PageView],
    out: OutputFolder,
    others: Collection[str] = (SAMPLES,),
    notices: Sequence[str] = (),
) -> Path:
    """Write pages, `assets/`, and the numbers behind the charts in `data/`; returns the front page.

    Args:
        others:  pages of the menu that are written elsewhere.
        notices: what the front page says about images that are not shown.
    """
    copy_assets(out)
    environment = _environment(context, views, others)
    environment.globals["images"] = {path.stem: path.name for path in out.path("media").glob("*.*")}
    environment.globals["notices"] = notices
    for file, view in views.items():
        template = environment.get_template(view.template)
        text = template.render(file=file, title=view.title, kind=view.kind, page=view.page)
        out.write([text.encode()], file)
    for model in context.series:
        out.write([_json(encode_object(model.run.manifest))], "data", run_file(model))
    for name, numbers in chart_data(context, comparison_of(views)).items():
        out.write([_json(numbers)], "data", name)
    return out.path("index.html")


def comparison_of(views: Mapping[str, PageView]) -> ComparePage | None:
    """The comparison among these pages, if there is one."""
    return next((view.page for view in views.values() if isinstance(view.page, ComparePage)), None)


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
    from kvl_eval.reports.pages.explain import explain_page  # numpy, which report.md does not need

    explained = explain_page(context)
    if explained is not None:
        views["explain.html"] = PageView(
            template="explain.html.j2", title=explained.title, kind="explain", page=explained
        )
    published = published_page(context, include_demo)
    views["published.html"] = PageView(
        template="published.html.j2", title="Published results", kind="published", page=published
    )
    views["provenance.html"] = PageView(
        template="provenance.html.j2", title="Provenance", kind="provenance", page=provenance_page(context)
    )
    return views


def _environment(context: Context, views: Mapping[str, PageView], others: Collection[str]) -> Environment:
    """The templates' environment with what all pages share: menu, models, signs."""
    environment = page_environment()
    shown = {line.series.key for line in context.board.ours}
    environment.globals |= {
        "menu": menu_of(views, others),
        "files": {*views, *others},
        "demo": context.demo,
        "series": context.series,
        "board_series": [model for model in context.series if model.key in shown],
        "signs": SIGN_TEXTS,
        "link_words": LINK_WORDS,
        "quantity": quantity,
        "prices": context.prices.words,
        "published_key": charts.key("diamond", "pub"),
    }
    return environment


def menu_of(views: Mapping[str, PageView], others: Collection[str] = (SAMPLES,)) -> list[MenuEntry]:
    """The entries of the menu, each only if its page is among `views` or `others`."""
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
        *(MenuEntry(label=label, file=file) for file, label in labels.items() if file in views or file in others),
    ]


def _json(value: Mapping[str, object] | Sequence[object]) -> bytes:
    """A value as JSON in ASCII, with a line end."""
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode("ascii")
