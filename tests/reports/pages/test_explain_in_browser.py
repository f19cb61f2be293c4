"""The page "Why this number" in a headless Chromium: in a report, and as one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvl_eval.reports.explain_file import explain_html
from kvl_eval.reports.write import ReportForm, write_report
from tests.explanation.small_runs import answered, explained, gold
from tests.reports.explained_reports import explained_report
from tests.reports.watched import CONTRAST, FITS, Watched, axe_violations
from tests.tiny_task import tiny

playwright = pytest.importorskip("playwright.sync_api")
if TYPE_CHECKING:
    from playwright import sync_api
pytestmark = pytest.mark.browser
LISTED = "[...document.querySelectorAll('#rows a')].length"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that explains two runs, and beside it one explanation as a file."""
    folder = tmp_path_factory.mktemp("explained")
    write_report(explained_report(folder), folder / "out", ReportForm(images="none"))
    said = gold(40) | {f"q/{n}": {"response": ""} for n in range(6)} | {"q/7": {"fail": "oom"}}
    found = explained(answered(folder / "tiny", said, tiny(40)), tiny(40), to="90", as_="lenient")
    (folder / "out" / "why.html").write_bytes(explain_html(found))
    return folder / "out"


@pytest.mark.parametrize("file", ["explain.html", "why.html"])
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)])
def test_explain_x10_the_page_is_quiet_narrow_and_accessible(
    chromium: sync_api.Browser, out: Path, file: str, theme: str, width: int
) -> None:
    pytest.importorskip("axe_playwright_python")
    with Watched.opened(chromium, out, width=width, theme=theme) as watched:
        page = watched.open(file)
        assert page.locator(".falls tbody tr").count() >= 4
        for fold in page.locator("details.settings").all():
            fold.evaluate("fold => { fold.open = true; }")
        assert page.evaluate(FITS)
        assert page.evaluate(CONTRAST) == []
        assert watched.problems == []
        assert axe_violations(page) == []


def test_report_e2_a_link_opens_the_samples_of_its_part(chromium: sync_api.Browser, out: Path) -> None:
    with Watched.opened(chromium, out) as watched:
        page = watched.open("explain.html")
        links = page.locator(".falls a.sub").evaluate_all(
            "links => links.map(a => [a.getAttribute('href'), a.innerText])"
        )
        assert len(links) >= 4
        for href, text in links:
            page.goto("about:blank")
            page.goto(f"{out.as_uri()}/{href}")
            n = text.split()[0]
            playwright.expect(page.locator("#count")).to_have_text(f"{n} of 40 samples")
        assert watched.problems == []


def test_one_result_is_shown_the_chosen_one(chromium: sync_api.Browser, out: Path) -> None:
    with Watched.opened(chromium, out) as watched:
        page = watched.open("explain.html")
        playwright.expect(page.locator("#why-1-title")).to_be_visible()
        page.locator("select[data-choose]").select_option(index=1)
        playwright.expect(page.locator("#why-2-title")).to_be_in_viewport()
        playwright.expect(page.locator("#why-1-title")).to_be_hidden()
        assert not re.search(r"\d{8}-\d{6}_", page.locator("#why-2 .lead").inner_text()), "models, not run ids"
        assert watched.problems == []
