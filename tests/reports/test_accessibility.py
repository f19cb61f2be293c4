"""Every page under axe-core's rules (WCAG 2.2 AA and its best practices), and by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvl_eval.view.server import ReportServer

if TYPE_CHECKING:
    from playwright import sync_api as playwright

pytest.importorskip("axe_playwright_python")
pytestmark = pytest.mark.browser
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SAMPLE = "samples.html#sample=0%2Fmathvista%2F1"
PAGES = [
    ("two_runs", "index.html"),
    ("two_runs", "task-mathvista.html"),
    ("two_runs", "samples.html"),
    ("two_runs", SAMPLE),
    ("two_runs", "samples.html#sample=1%2Fmathvista%2F24"),
    ("two_runs", "provenance.html"),
    ("compared", "compare.html"),
    ("sweeps", "budgets.html"),
    ("hostile", "index.html"),
    ("hostile", "samples.html"),
]
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


def violations(page: playwright.Page) -> list[str]:
    """What axe-core finds, one text for each rule and element."""
    page.evaluate(AXE)
    found = page.evaluate("(tags) => axe.run(document, { runOnly: { type: 'tag', values: tags } })", RULES)
    return [f"{rule['id']}: {node['html'][:160]}" for rule in found["violations"] for node in rule["nodes"]]


@pytest.fixture(params=[("light", 1280), ("dark", 360)], ids=str)
def page(chromium: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A light page of a desktop, and a dark one of a telephone: colors do not depend on the width."""
    scheme, width = request.param
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def test_the_rules_are_really_checked(page: playwright.Page) -> None:
    page.set_content("<main><img src='x.png'><p style='color:#999;background:#fff'>grey</p></main>")
    rules = {text.partition(":")[0] for text in violations(page)}
    assert {"image-alt", "color-contrast", "html-has-lang"} <= rules


@pytest.mark.parametrize(("report", "name"), PAGES, ids=[f"{report}-{name}" for report, name in PAGES])
def test_pages_follow_the_rules(page: playwright.Page, report: str, name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(report)
    file, _, state = name.partition("#")
    page.goto(f"{(folder / file).as_uri()}#{state}")
    if file == "samples.html":
        page.locator("#sample h2").wait_for()
        for folded in page.locator("#sample details").all():
            folded.locator("summary").click()
    assert violations(page) == []


def test_the_page_of_a_run_in_progress_follows_the_rules(page: playwright.Page, tmp_path: Path) -> None:
    server = ReportServer(tmp_path, state=lambda: STATE)
    server.start()
    try:
        page.goto(server.url)
        page.locator("#tasks tr").wait_for()
        page.locator("#last article").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
        assert violations(page) == []
    finally:
        server.close()


FOCUS: Any = """() => {
  const node = document.activeElement, box = node.getBoundingClientRect(), style = getComputedStyle(node);
  if (node === document.body) return null;
  const seen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return { name: `${node.tagName} ${node.id || node.textContent.trim().slice(0, 40)}`, seen,
           ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 };
}"""


@pytest.mark.parametrize("name", ["index.html", "task-mathvista.html", SAMPLE])
def test_everything_is_reached_by_keyboard_and_shows_it(page: playwright.Page, two_runs: Path, name: str) -> None:
    file, _, state = name.partition("#")
    page.goto(f"{(two_runs / file).as_uri()}#{state}")
    if file == "samples.html":
        page.locator("#sample h2").wait_for()
    wanted = page.evaluate(
        "[...document.querySelectorAll('a[href],button:not(:disabled),select,input,summary,[tabindex=\"0\"]')]"
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


def test_the_skip_link_leads_to_the_content(page: playwright.Page, two_runs: Path) -> None:
    page.goto((two_runs / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
