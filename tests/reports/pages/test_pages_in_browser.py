"""The pages in a headless Chromium, from disk: A1 to A3, A6, A8, F1, F5, F6, F9, C3, T1, V1, V3, themes and keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvl_eval.reports.pages.compare import PairSettings
from kvl_eval.reports.warnings import CODES, ResultWarning
from tests.reports.page_reports import SCORES, sweep_run, task_row, three_runs, write
from tests.reports.report_folders import make_run

if TYPE_CHECKING:
    from playwright import sync_api as playwright

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
SWEEP = {1024: ("correct", "wrong"), 4096: ("correct", "correct", "wrong"), 16384: ("correct",) * 3 + ("wrong",)}
FILES = (
    *("index.html", "task-mathvista.html", "compare.html", "budgets.html"),
    *("published.html", "provenance.html"),
)
SCREENS = [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)]
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three models on four tasks, a sweep, a blind and a partial run, with many warnings."""
    folder = tmp_path_factory.mktemp("browser")
    part = {"n": 208, "score": 0.6, "ci95": [0.53, 0.67]}
    fields = {f"field {n}": {f"a value of the field {m}": part for m in range(5)} for n in range(9)}
    rows = [
        task_row("mathvista", 0.68, n=30, categories=fields),
        *(task_row(t, s) for t, s in SCORES.items() if t != "mathvista"),
    ]
    other = ("wrong", "correct", "no_answer", "correct", "partial")
    runs = [
        make_run(folder, name="20261127-100000_x", model="my-vlm-7b-preview", n=30, rows=rows, family="other"),
        *three_runs(folder),
        make_run(folder, name="run-f", model="odd", n=30, failed=3, missing=2, verdicts=other, family="other"),
        sweep_run(folder, "run-d", "sweeper", SWEEP),
        make_run(folder, name="run-e", model="my-vlm", rows=[task_row("mathvista", 0.34, blind=True)], family="other"),
        make_run(
            folder, name="run-g", model="part", rows=[task_row("mmmu", 0.5, partial="300 samples")], family="other"
        ),
    ]
    return write(folder / "out", *runs, settings=(PairSettings(a=0, b=5, settings=("seed 1 → 2",)),))


@contextmanager
def opened(
    browser: playwright.Browser, path: Path, screen: tuple[str, int] = ("light", 1440), scripts: bool = True
) -> Iterator[tuple[playwright.Page, list[str]]]:
    """A page, loaded, and its console messages and requests that leave the folder."""
    scheme, width = screen
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 900},
        java_script_enabled=scripts,
    )
    context.set_default_timeout(120_000)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(path.parent.as_uri()) else problems.append(request.url),
    )
    page.goto(path.as_uri())
    yield page, problems
    context.close()


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: f"{screen[0]}-{screen[1]}")
@pytest.mark.parametrize("file", FILES)
def test_report_a1_a2_a3_pages_are_quiet_narrow_and_accessible(
    chromium: playwright.Browser, out: Path, file: str, screen: tuple[str, int]
) -> None:
    pytest.importorskip("axe_playwright_python")
    with opened(chromium, out / file, screen) as (page, problems):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        # Preloading fetches the style sheet, which the pages' policy forbids; violations alone are listed, for speed.
        options = "{ runOnly: { type: 'tag', values: tags }, preload: false, resultTypes: ['violations'] }"
        found = page.evaluate(f"(tags) => axe.run(document, {options})", RULES)["violations"]
        assert [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]] == []
        assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_f1_our_rows_are_visible_without_scrolling(chromium: playwright.Browser, out: Path, scheme: str) -> None:
    with opened(chromium, out / "index.html", (scheme, 1440)) as (page, _):
        last = "[...document.querySelectorAll('#board tr.ours')].at(-1).getBoundingClientRect().bottom"
        assert page.evaluate(last) < 900


def test_report_f5_a_head_sorts_both_groups_and_a_third_click_restores_them(
    chromium: playwright.Browser, out: Path
) -> None:
    groups = "[...document.querySelector('#board').tBodies].map(b => [...b.rows].map(r => r.innerText).join('|'))"
    scores = (
        "[...document.querySelectorAll('#board tbody tr:not(.group)')]"
        ".map(r => parseFloat(r.cells[1].dataset.v)).filter(v => !isNaN(v))"
    )
    with opened(chromium, out / "index.html") as (page, _):
        before = page.evaluate(groups)
        head = page.locator("#board thead th:nth-child(2) button")
        head.click()
        found = page.evaluate(scores)
        assert found == sorted(found, reverse=True) and len(found) > 5
        head.click()
        found = page.evaluate(scores)
        assert found == sorted(found)
        head.click()
        assert page.evaluate(groups) == before


def test_report_f6_intervals_are_shown_on_demand(chromium: playwright.Browser, out: Path) -> None:
    with opened(chromium, out / "index.html") as (page, _):
        interval = page.locator("#board tr.ours .ci").first
        assert not interval.is_visible()
        page.check("#show-ci")
        assert interval.is_visible()


def test_differences_to_a_chosen_model_are_shown_beside_every_score(chromium: playwright.Browser, out: Path) -> None:
    with opened(chromium, out / "index.html") as (page, _):
        page.select_option("#delta-to", "model-1")
        assert page.locator("#board tr[data-key='model-3'] .delta").first.inner_text() == "+3.0"
        page.select_option("#which", "none")
        assert page.locator("#board tr.pub:visible").count() == 0


def test_report_f9_the_warnings_are_one_line_until_opened(chromium: playwright.Browser, out: Path) -> None:
    with opened(chromium, out / "index.html") as (page, _):
        height = "document.querySelector('.cautions').offsetHeight"
        assert page.evaluate(height) <= 44
        page.locator(".cautions summary").click()
        assert page.evaluate(height) > 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_f1_f9_twelve_long_warnings_take_one_line(
    chromium: playwright.Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    many = [
        ResultWarning(code=code, text="a long warning, " * 30, run="my-vlm", name="mathvista") for code in CODES[:12]
    ]
    monkeypatch.setattr("kvl_eval.reports.pages.warning_table.named_warnings", lambda series: many)
    write(tmp_path / "out", *three_runs(tmp_path))
    with opened(chromium, tmp_path / "out" / "index.html", (scheme, 1440)) as (page, _):
        assert page.locator(".cautions b").first.inner_text() == "12 warnings"
        assert page.evaluate("document.querySelector('.cautions').offsetHeight") <= 44
        last = "[...document.querySelectorAll('#board tr.ours')].at(-1).getBoundingClientRect().bottom"
        assert page.evaluate(last) < 900


def test_report_c3_the_replies_of_a_flip_stand_side_by_side(chromium: playwright.Browser, out: Path) -> None:
    tops = (
        "[...document.querySelectorAll('.flip')]"
        ".map(f => [...f.querySelectorAll('.flip-a')].map(a => a.getBoundingClientRect().top))"
    )
    with opened(chromium, out / "compare.html") as (page, _):
        page.select_option("#pair", page.locator(".pair:has(.flip)").first.get_attribute("id"))
        found = [pair for pair in page.evaluate(tops) if any(pair)]  # those of pairs that are not chosen have no place
        assert found and all(left == right for left, right in found)


def test_the_pairs_of_earlier_models_are_opened_by_the_select(chromium: playwright.Browser, out: Path) -> None:
    visible = "[...document.querySelectorAll('.pair')].filter(p => p.checkVisibility()).map(p => p.id)"
    with opened(chromium, out / "compare.html") as (page, _):
        before = page.evaluate(visible)
        assert len({key.split("-model-")[1] for key in before[1:]}) == 1
        other = page.locator(".pair.other").first.get_attribute("id")
        page.select_option("#pair", other)
        assert {*page.evaluate(visible)} == {*before, other}


def test_a_budget_is_chosen_for_the_lower_half_of_a_task_page(chromium: playwright.Browser, out: Path) -> None:
    visible = "[...document.querySelectorAll('.at-budget')].filter(v => v.checkVisibility()).map(v => v.dataset.budget)"
    with opened(chromium, out / "task-mathvista.html") as (page, _):
        assert page.evaluate(visible) == ["16k"]
        page.select_option(".budget-choice", "4k")
        assert page.evaluate(visible) == ["4k"]


def test_report_t1_a_task_page_stays_short(chromium: playwright.Browser, tmp_path: Path) -> None:
    part = {"n": 208, "score": 0.6, "ci95": [0.53, 0.67]}
    fields = {f"field {n}": {f"a value of the field {m}": part for m in range(5)} for n in range(9)}
    rows = [task_row("mathvista", 0.68, n=30, categories=fields)]
    runs = [make_run(tmp_path, name=f"run-{n}", model=f"model-{n}", n=30, rows=rows) for n in range(3)]
    with opened(chromium, write(tmp_path / "out", *runs) / "task-mathvista.html") as (page, _):
        assert page.evaluate("document.documentElement.scrollHeight") <= 4500


@pytest.mark.parametrize(("width", "height"), [(1440, 2000), (390, 3000)])
def test_report_v1_provenance_is_short(chromium: playwright.Browser, tmp_path: Path, width: int, height: int) -> None:
    write(tmp_path / "out", *three_runs(tmp_path))
    with opened(chromium, tmp_path / "out" / "provenance.html", ("light", width)) as (page, _):
        assert page.evaluate("document.documentElement.scrollHeight") <= height


def test_report_v3_copy_takes_exactly_the_command(chromium: playwright.Browser, out: Path) -> None:
    with opened(chromium, out / "provenance.html") as (page, _):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        command = page.locator(".cmd code").first.inner_text()
        page.locator(".cmd .copy").first.click()
        page.locator(".cmd .copy", has_text=re.compile("copied|selected")).first.wait_for()
        text = page.evaluate("navigator.clipboard.readText().catch(() => getSelection().toString())")
        assert text == command


def test_report_v3_without_permission_the_command_is_selected(chromium: playwright.Browser, out: Path) -> None:
    with opened(chromium, out / "provenance.html") as (page, _):
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
        page.locator(".cmd .copy").first.click()
        page.locator(".cmd .copy", has_text=re.compile("copied|selected")).first.wait_for()
        assert page.evaluate("getSelection().toString()") == page.locator(".cmd code").first.inner_text()


def test_intervals_and_warnings_are_on_the_paper(chromium: playwright.Browser, out: Path) -> None:
    import pypdfium2

    with opened(chromium, out / "index.html") as (page, _):
        interval = page.locator("#board tr.ours .ci").first.text_content()
        means = page.locator(".cautions td").last.text_content()
        document = pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True))
    width, height = document[0].get_size()
    assert width > height, "the front page is printed landscape"
    text = "".join(document[place].get_textpage().get_text_range() for place in range(len(document)))
    squeezed = re.sub(r"\s+", "", text)
    assert all(re.sub(r"\s+", "", part or "?") in squeezed for part in (interval, means))


@pytest.mark.parametrize("file", FILES)
def test_report_a6_the_last_column_is_on_the_paper(chromium: playwright.Browser, out: Path, file: str) -> None:
    import pypdfium2

    with opened(chromium, out / file) as (page, _):
        heads = page.evaluate(
            "[...document.querySelectorAll('table')].filter(t => t.tHead && t.checkVisibility())"
            ".map(t => [...t.tHead.rows[0].cells].at(-1)).flatMap(h => h.querySelector('svg.row-axis')"
            " ? [...h.querySelectorAll('text')].map(text => text.textContent) : [h.innerText.trim()]).filter(Boolean)"
        )
        document = pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True))
    text = "".join(document[place].get_textpage().get_text_range() for place in range(len(document)))
    squeezed = re.sub(r"\s+", "", text)
    assert [head for head in heads if re.sub(r"\s+", "", head) not in squeezed] == []


@pytest.mark.parametrize("file", FILES)
def test_report_a8_without_scripts_every_table_has_all_its_cells(
    chromium: playwright.Browser, out: Path, file: str
) -> None:
    cells = 'document.querySelectorAll("main td, main th").length'
    with opened(chromium, out / file) as (page, _):
        expected = page.evaluate(cells)
    with opened(chromium, out / file, scripts=False) as (page, _):
        assert page.locator("main td, main th").count() == expected


def test_the_theme_button_cycles_and_escape_closes_the_menu(chromium: playwright.Browser, out: Path) -> None:
    with opened(chromium, out / "index.html") as (page, _):
        theme = "document.documentElement.dataset.theme || 'system'"
        seen = [page.evaluate(theme)]
        for _ in range(3):
            page.click("#theme")
            seen.append(page.evaluate(theme))
        assert seen == ["system", "light", "dark", "system"]
        page.click(".drop summary")
        assert page.locator(".drop div").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator(".drop div").is_visible()
