"""Links from pages to samples: each leads to exactly as many as it says. Checks F8, T4, and flips of the comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvl_eval.audit.pair_settings import pair_settings
from kvl_eval.evaluation import evaluate
from kvl_eval.reports.write import ReportForm, write_report

if TYPE_CHECKING:
    from playwright import sync_api as playwright

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
LINKS = """(rule) => [...document.querySelectorAll(rule)].map(a => [
    a.getAttribute("href"),
    parseInt((a.closest("tr")?.querySelector("td[data-v].muted") || a).textContent.replace(/,/g, "")),
])"""
COUNTS = """async (links) => {
    const counts = [];
    for (const link of links) {
        location.hash = link.split("#")[1];
        await new Promise(done => addEventListener("hashchange", () => setTimeout(done), { once: true }));
        counts.push(parseInt(document.getElementById("count").textContent.replace(/,/g, "")));
    }
    return counts;
}"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two whole runs that answer at random, without images."""
    folder = tmp_path_factory.mktemp("links")
    options: dict[str, Any] = {"model": "fake", "tasks": ["mathvista", "mmstar"], "output_dir": str(folder)}
    runs = [evaluate(seed=seed, **options).path for seed in (1, 2)]
    write_report(runs, folder / "out", ReportForm(images="none"), pair_settings(runs))
    return folder / "out"


@pytest.fixture
def counted(chromium: playwright.Browser, out: Path) -> Any:
    """Opens a page; gives its links that match a rule with the number each says, and how many samples it lists."""
    page = chromium.new_page()

    def of(file: str, rule: str) -> list[tuple[str, int, int]]:
        page.goto((out / file).as_uri())
        links = page.evaluate(LINKS, rule)
        page.goto((out / "samples.html").as_uri())
        page.locator("#count").wait_for()
        counts = page.evaluate(COUNTS, [href for href, _ in links])
        return [(href, says, found) for (href, says), found in zip(links, counts, strict=True)]

    yield of
    page.close()


def test_report_f8_a_score_leads_to_all_its_samples(counted: Any, out: Path) -> None:
    models = json.loads((out / "data" / "board.json").read_text(encoding="utf-8"))["ours"]
    expected = [score["n"] for model in models for score in model["scores"].values()]
    assert [found for _, _, found in counted("index.html", "#board .ours td a")] == expected


@pytest.mark.parametrize("rule", [".counts td a", ".sub-scores tbody th a", ".protocols a.sub"])
def test_report_t4_a_count_leads_to_that_many_samples(counted: Any, rule: str) -> None:
    links = counted("task-mmstar.html", rule)
    assert links and all(says == found for _, says, found in links), links


def test_flips_lead_to_the_samples_that_differ(counted: Any) -> None:
    links = counted("compare.html", ".forest td.num a")
    assert len(links) == 2 and all(says == found > 0 for _, says, found in links), links


def test_a_cause_leads_to_the_flips_that_have_it(counted: Any, out: Path) -> None:
    links = counted("compare.html", ".flips h3 a.more, .flips h4 a.more")
    assert links and all(found > 0 for _, _, found in links), links
