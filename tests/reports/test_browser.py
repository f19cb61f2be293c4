"""Whole reports in a headless Chromium, from disk: hostile texts stay inside, links and keys lead everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.view.server import ReportServer
from tests.reports.report_folders import make_run
from tests.reports.watched import FITS, Watched, axe_violations

if TYPE_CHECKING:
    from playwright import sync_api as playwright

pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_playwright_python")
pytestmark = pytest.mark.browser
PAGES = ("index.html", "task-mathvista.html", "samples.html", "published.html", "provenance.html")
TASK = {
    "task": "mathvista",
    "title": "MathVista",
    "planned": 80,
    "ok": 20,
    "failed": 1,
    "reasons": [["oom", 1]],
    "scored": 20,
    "score": 0.5,
    "ci95": [0.3, 0.7],
}
LAST = {
    "task": "mathvista",
    "id": "7",
    "repeat": 0,
    "budget": 1024,
    "question": "How many?",
    "gold": "4",
    "answer": "four",
    "verdict": "wrong",
    "reason": "",
    "seconds": 1.25,
    "tokens": 12,
}
STATE = {
    "run_id": "run-a",
    "model": "kimi-vl-nano",
    "demo": True,
    "status": "running",
    "created": None,
    "left": 59,
    "seconds_left": 61.0,
    "tasks": [TASK],
    "last": [LAST],
    "report": False,
    "problem": "",
}


@pytest.fixture(params=[("light", 1440), ("dark", 390)], ids=["light-1440", "dark-390"])
def watch(chromium: playwright.Browser, hostile: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A fresh page over a report whose texts are all hostile; its problems fail the test."""
    theme, width = request.param
    with Watched.opened(chromium, hostile, width=width, theme=theme) as watched:
        yield watched
    assert watched.problems == []


def violations(watched: Watched) -> list[str]:
    """What axe-core finds; its own requests are no problems of the page."""
    problems = list(watched.problems)
    found = axe_violations(watched.page)
    watched.problems[:] = problems
    return found


def test_hostile_texts_stay_text_and_inside_the_window(watch: Watched) -> None:
    for name in PAGES:
        page = watch.open(name)
        page.wait_for_load_state("networkidle")
        assert page.evaluate(FITS), name
        assert page.locator("script:not([src]), img[src='x'], a[href^='javascript']").count() == 0, name
        assert violations(watch) == [], name


def test_the_page_of_a_run_in_progress_follows_the_rules(chromium: playwright.Browser, tmp_path: Path) -> None:
    server = ReportServer(tmp_path, state=lambda: STATE)
    server.start()
    try:
        for theme, width in (("light", 1440), ("dark", 390)):
            with Watched.opened(chromium, tmp_path, width=width, theme=theme) as watched:
                page = watched.page
                page.goto(server.url)
                page.locator("#tasks tr").wait_for()
                page.locator("#last article").wait_for()
                assert page.evaluate(FITS)
                assert axe_violations(page) == []
    finally:
        server.close()


FOCUS: Any = """async () => {
  const node = document.activeElement, style = getComputedStyle(node);
  if (node === document.body) return null;
  const seen = () => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  };
  for (let frame = 0; frame < 60 && !seen(); frame += 1) await new Promise(requestAnimationFrame);
  return { name: `${node.tagName} ${node.id || node.textContent.trim().slice(0, 40)}`, seen: seen(),
           ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 };
}"""


@pytest.mark.parametrize("name", ["index.html", "task-mathvista.html", "compare.html", "samples.html"])
def test_everything_is_reached_by_keyboard_and_shows_it(
    chromium: playwright.Browser, two_runs: Path, name: str
) -> None:
    with Watched.opened(chromium, two_runs) as watched:
        page = watched.open(name)
        if name == "samples.html":
            page.locator("#read h2").first.wait_for()
        wanted = page.evaluate(
            "[...document.querySelectorAll('a[href],button:not(:disabled),select,input,summary,[tabindex=\"0\"]')]"
            ".filter((node) => node.tabIndex >= 0)"
            ".filter((node) => node.checkVisibility()).length"
        )
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            at = page.evaluate(FOCUS)
            if at is None:
                break
            reached.append(at)
        assert len(reached) >= wanted - 1  # the browser's own controls may take a turn
        assert [one["name"] for one in reached if not (one["seen"] and one["ring"])] == []


def test_the_skip_link_leads_to_the_content(chromium: playwright.Browser, two_runs: Path) -> None:
    with Watched.opened(chromium, two_runs) as watched:
        page = watched.open("index.html")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#main"


def test_a_score_opens_its_samples(chromium: playwright.Browser, two_runs: Path) -> None:
    with Watched.opened(chromium, two_runs) as watched:
        page = watched.open("index.html")
        page.locator("#board td.ours a, #board td a[href^='samples.html']").first.click()
        page.locator("#count").wait_for()
        assert page.locator("#count").inner_text().startswith("25")


@pytest.fixture(scope="session")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two runs in one file, alone in its folder."""
    folder = tmp_path_factory.mktemp("one")
    other = ("wrong", "correct", "no_answer", "correct", "partial")
    runs = [make_run(folder), make_run(folder, name="run-b", model="other", family="other", verdicts=other)]
    form = ReportForm(formats=("file",), cache_dir=folder / "cache")
    return write_report(runs, folder / "alone" / "report.html", form)[0]


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_report_a9_the_single_file_works_alone(
    chromium: playwright.Browser, one_file: Path, theme: str, width: int
) -> None:
    with Watched.opened(chromium, one_file.parent, width=width, theme=theme) as watched:
        page = watched.open(one_file.name)
        assert page.locator(".sheet:visible").count() == 1
        page.goto(f"{one_file.as_uri()}#/compare")
        page.locator(".flip a").first.click()
        page.locator("#read h2").first.wait_for()
        assert page.evaluate("location.hash").startswith("#/samples?task=mathvista")
        page.wait_for_function("document.querySelector('#look img').naturalWidth > 0")
        page.go_back()
        page.locator(".sheet[data-page=compare]").wait_for()
        for name in ("index", "task-mathvista", "compare", "samples", "published", "provenance"):
            page.goto(f"{one_file.as_uri()}#/{name}")
            page.locator(f".sheet[data-page={name}]").wait_for()
            assert page.evaluate(FITS), name
            assert violations(watched) == [], name
        page.keyboard.press("Escape")
        page.evaluate("location.hash = '#main'")
        assert page.locator(".sheet[data-page=provenance]").is_visible()
    assert watched.problems == []
