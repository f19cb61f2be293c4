"""The pages as files: strict, self-contained, equal from build to build, foreign text inert. Checks A4, A5, A7."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from kvl_eval.reports.pages.site import menu_of, page_views
from tests.reports.page_reports import PageText, context, sweep_run, task_row, three_runs, write
from tests.reports.report_folders import make_run
from tests.reports.report_rows import HOSTILE

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
SWEEP = {1024: ("correct", "wrong"), 4096: ("correct", "correct", "wrong")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("site")
    blind = make_run(folder, name="run-e", model="my-vlm", rows=[task_row("mathvista", 0.34, blind=True)])
    return [*three_runs(folder), sweep_run(folder, "run-d", "sweeper", SWEEP), blind]


@pytest.fixture(scope="module")
def out(runs: list[Path]) -> Path:
    return write(runs[0].parent / "out", *runs)


def pages(out: Path) -> list[Path]:
    return sorted(out.glob("*.html"))


def test_every_page_is_there(out: Path) -> None:
    names = {path.name for path in pages(out)}
    assert {"index.html", "compare.html", "budgets.html", "published.html", "provenance.html"} <= names
    assert {"task-mathvista.html", "task-mmmu.html"} <= names


def test_a_page_that_is_written_elsewhere_has_its_place_in_the_menu(runs: list[Path]) -> None:
    views = page_views(context(*runs))
    labels = [entry.label for entry in menu_of(views, ("samples.html", "explain.html", "trajectory.html"))]
    others = ["Samples", "Trajectories", "Why this number", "Published", "Provenance"]
    assert labels == ["Results", "Tasks", "Compare", "Budgets", *others]
    assert "Why this number" not in [entry.label for entry in menu_of(views)]


def test_report_a4_no_style_and_no_script_inside_a_page(out: Path) -> None:
    for path in pages(out):
        page = PageText(path)
        assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in page.elements
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path.name, tag)
            assert tag != "script" or attributes.get("src")


def test_report_a5_every_link_leads_to_a_file_and_an_id(out: Path) -> None:
    ids = {path.name: _ids(path) for path in pages(out)}
    for path in (path for path in pages(out) if path.name != "samples.html"):
        page = PageText(path)
        for link in [
            *page.attributes("a", "href"),
            *page.attributes("link", "href"),
            *page.attributes("script", "src"),
        ]:
            file, _, place = link.partition("#")
            if (file or path.name) == "samples.html":  # written with the sample browser
                continue
            assert (out / (file or path.name)).is_file(), (path.name, link)
            if place and "=" not in place:
                assert unquote(place) in ids[file or path.name], (path.name, link)


def _ids(path: Path) -> set[str]:
    return {str(attributes["id"]) for _, attributes in PageText(path).elements if "id" in attributes}


def test_an_id_stands_on_a_page_once(out: Path) -> None:
    for path in pages(out):
        found = [attributes["id"] for _, attributes in PageText(path).elements if "id" in attributes]
        assert len(found) == len(set(found)), path.name


def test_report_a7_two_builds_give_equal_bytes(out: Path, runs: list[Path], tmp_path: Path) -> None:
    again = write(tmp_path / "again", *runs)
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((out / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_hostile_text_stays_text_on_every_page(tmp_path: Path) -> None:
    part = {"n": 3, "score": 0.5, "ci95": [0.1, 0.9]}
    row = task_row("mathvista", 0.5, categories={HOSTILE: {HOSTILE: part}}, title=HOSTILE, official={HOSTILE: HOSTILE})
    runs = [
        make_run(tmp_path, model=HOSTILE, text=HOSTILE, rows=[row], n=10, command=["kvl-eval", HOSTILE]),
        make_run(tmp_path, name="run-b", model="m", text=HOSTILE, n=10, verdicts=("wrong",)),
    ]
    out = write(tmp_path / "out", *runs)
    for path in pages(out):
        source = path.read_text(encoding="utf-8")
        assert "<script>alert" not in source and "<img src=x" not in source, path.name
        assert not set(source) & set("\x00\x1b\u202e"), path.name
        assert not re.search(r'href="javascript', source)


def test_hostile_names_of_tasks_are_no_paths(tmp_path: Path) -> None:
    row = task_row("mathvista", 0.5, task="../../x", title="../../x")
    out = write(tmp_path / "out", make_run(tmp_path, rows=[row], task="../../x"))
    assert [path.name for path in pages(out) if path.name.startswith("task-")] and not (tmp_path / "x").exists()


def test_the_numbers_behind_the_charts_lie_in_data(out: Path, runs: list[Path]) -> None:
    board = json.loads((out / "data" / "board.json").read_text())
    report = context(*runs)
    assert [line["model"] for line in board["ours"]] == [line.series.name for line in report.board.ours]
    pairs = json.loads((out / "data" / "pairs.json").read_text())["pairs"]
    assert len(pairs) == 6 and {"a", "b", "tasks"} == set(pairs[0])
    for task in (task for pair in pairs for task in pair["tasks"]):
        assert task["task"] == "MathVista" and task["ci95"][0] <= task["difference"] <= task["ci95"][1]
        points = [cause["points"] for cause in task["causes"] or []]
        assert not points or sum(points) == pytest.approx(100 * task["difference"])
