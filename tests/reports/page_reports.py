"""Runs and contexts for the tests of the report's pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from kvl_eval.reports.pages.compare import PairSettings
from kvl_eval.reports.pages.context import Context, context_of
from kvl_eval.reports.pages.site import page_views, write_pages
from kvl_eval.reports.runs import open_runs
from kvl_eval.scorers.statistics import wilson
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.result_records import ResultRow, Spread
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task
from tests.reports.report_folders import make_run, make_score
from tests.reports.report_rows import make_row

SCORES = {"mathvista": 0.68, "mathvision": 0.246, "mmmu": 0.579, "mmstar": 0.627}
WRONG, RIGHT = ("wrong",), ("correct",)


def task_row(name: str, score: float, n: int = 1000, **changes: Any) -> ResultRow:
    """A whole result of a task as it is published, without a published result beside it."""
    task = get_task(name)
    right = round(score * n)
    fields = {
        "task": name,
        "title": task.title,
        "split": task.published_split,
        "protocol": task.default_protocol,
        "label": task.default_protocol,
        "n_planned": n,
        "n_ok": n,
        "n_scored": n,
        "verdicts": {"correct": right, "wrong": n - right},
        "score": score,
        "ci95": list(wilson(right, n)),
        "reference": None,
    }
    return make_row(**{**fields, **changes})


def board_run(folder: Path, name: str, model: str, scores: Mapping[str, float], **changes: Any) -> Path:
    """A run with a result for each task; only the first has samples."""
    rows = [task_row(task, score) for task, score in scores.items()]
    return make_run(folder, name=name, model=model, family="other", rows=[*rows, *changes.pop("more", [])], **changes)


def three_runs(folder: Path) -> list[Path]:
    """Two models on four tasks, and one on two of them."""
    better = {task: score + 0.03 for task, score in SCORES.items()}
    few = {"mathvista": 0.7, "mathvision": 0.36}
    return [
        board_run(folder, "20261128-100000_a", "my-vlm", SCORES),
        board_run(folder, "20261129-100000_b", "my-vlm-v2", better),
        board_run(folder, "20261129-200000_c", "thinker", few),
    ]


def context(*folders: Path, title: str = "") -> Context:
    """The context of a report of these run folders."""
    return context_of(open_runs(folders), title)


def write(out: Path, *folders: Path, settings: tuple[PairSettings, ...] = ()) -> Path:
    """The pages of these run folders, in `out`."""
    report = context(*folders)
    write_pages(report, page_views(report, settings), OutputFolder(out))
    return out


class PageText(HTMLParser):
    """A page: its elements with attributes, its text, and its tables as rows of cell texts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self._cell = False
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell:
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes_of_all(self, name: str) -> list[str]:
        """Every value of an attribute, of whatever element."""
        return [str(found[name]) for _, found in self.elements if name in found]

    def attributes(self, tag: str, name: str) -> list[str]:
        """Every value of an attribute of one kind of element."""
        return [str(found[name]) for kind, found in self.elements if kind == tag and name in found]


def section(source: str, start: str, end: str) -> str:
    """What stands between two texts of a page's source."""
    found = re.search(re.escape(start) + "(.*?)" + re.escape(end), source, re.DOTALL)
    assert found, (start, end)
    return found[1]


def sweep_run(folder: Path, name: str, model: str, verdicts: Mapping[int, tuple[str, ...]], n: int = 60) -> Path:
    """A sweep of MathVista: at each budget these verdicts over and over, with score lines."""
    rows, lines = [], []
    for budget, given in verdicts.items():
        repeated = [given[number % len(given)] for number in range(n)]
        score = repeated.count("correct") / n
        tokens = {**make_row().tokens, "thinking": Spread(mean=budget / 2, median=1, p95=2)}
        row = task_row("mathvista", score, n=n, budget=budget, policy="cut", unclosed_share=0.1)
        rows.append(replace(row, tokens=tokens))
        lines += [
            replace(make_score(number, verdict, ""), budget=budget, policy="cut")
            for number, verdict in enumerate(repeated)
        ]
    path = make_run(folder, name=name, model=model, family="thinking", n=n, rows=rows)
    run = RunFolder.open(path)
    run.lock()
    run.write_scores("mathvista", "official", "1", lines)
    run.unlock()
    return path
