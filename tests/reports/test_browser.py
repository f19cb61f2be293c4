"""The report in a real headless Chromium, opened from disk: nothing leaves, nothing foreign runs, controls work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
SLOW = 120_000  # milliseconds after which something hangs
playwright.expect.set_options(timeout=SLOW)


class Watched:
    """A page that remembers console errors, script errors, dialogs and requests that leave the report's folder."""

    def __init__(self, page: playwright.Page, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.problems: list[str] = []
        page.on("console", lambda message: self._keep("console", message.type in ("error", "warning"), message.text))
        page.on("pageerror", lambda error: self._keep("script", True, str(error)))
        page.on("dialog", lambda dialog: (self._keep("dialog", True, dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self._keep("request", not self._inside(request.url), request.url))
        page.on("requestfailed", lambda request: self._keep("failed request", True, request.url))

    def _keep(self, kind: str, bad: bool, text: str) -> None:
        if bad:
            self.problems.append(f"{kind}: {text}")

    def _inside(self, url: str) -> bool:
        return url.startswith(self.folder.as_uri() + "/")

    def open(self, name: str, **state: str) -> playwright.Page:
        """The page, loaded; `state` goes behind its `#`."""
        self.page.goto("about:blank")
        self.page.goto(f"{(self.folder / name).as_uri()}#{urlencode(state)}")
        return self.page


@pytest.fixture
def watch(chromium: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A fresh page over the report that the test's parameter or marker names; its problems fail the test."""
    folder: Path = request.getfixturevalue(getattr(request, "param", "two_runs"))
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SLOW)
    watched = Watched(context.new_page(), folder)
    yield watched
    context.close()
    assert watched.problems == []


PAGES = ("index.html", "task-mathvista.html", "samples.html", "provenance.html")


@pytest.mark.parametrize("watch", ["two_runs", "hostile"], indirect=True)
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_load_from_disk_and_fit_their_window(watch: Watched, width: int) -> None:
    watch.page.set_viewport_size({"width": width, "height": 800})
    for name in PAGES:
        page = watch.open(name)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("watch", ["hostile"], indirect=True)
def test_hostile_texts_stay_text(watch: Watched) -> None:
    for name in PAGES:
        page = watch.open(name)
        page.wait_for_load_state("networkidle")
        assert page.locator("script:not([src])").count() == 0
        assert page.locator("img[src='x']").count() == 0
        assert page.locator("a[href^='javascript']").count() == 0
    page = watch.open("samples.html")
    page.locator("#sample h2").wait_for()
    for fold in page.locator("#sample details").all():
        fold.evaluate("node => { node.open = true; }")
    shown = page.locator("#sample").inner_text()
    assert shown.count("<script>alert(1)</script>") >= 4, "question, answer, thinking, prompt"
    assert "\\u202egnp.exe" in shown
    assert "{{ 7*7 }}" in shown


@pytest.mark.parametrize("watch", ["hostile"], indirect=True)
def test_nothing_escapes_its_box(watch: Watched) -> None:
    page = watch.open("samples.html")
    page.locator("#sample h2").wait_for()
    outside = page.evaluate(
        """() => [...document.querySelectorAll('#sample pre, #sample .scroll, .list')].filter((node) => {
          const inner = node.getBoundingClientRect(), outer = document.body.getBoundingClientRect();
          return inner.right > outer.right + 1 || getComputedStyle(node).contain === 'none';
        }).length"""
    )
    assert outside == 0


def test_tables_sort_by_a_click_and_keep_their_groups(watch: Watched) -> None:
    page = watch.open("index.html")
    board = page.locator("table.board")
    board.get_by_role("button", name="Qwen2.5-VL-7B").click()
    head = board.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "descending"
    rows = board.locator("tbody").nth(2).locator("tr")
    assert [rows.nth(i).locator("th").inner_text() for i in range(3)] == ["Math", "MathVista", "MathVision"]
    head.get_by_role("button").click()
    assert rows.nth(1).locator("th").inner_text() == "MathVision"


def test_tables_need_no_script(chromium: playwright.Browser, two_runs: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((two_runs / "index.html").as_uri())
    assert "67.9" in page.locator("table.board").inner_text()
    page.goto((two_runs / "samples.html").as_uri())
    assert "needs JavaScript" in page.locator("noscript").inner_text()
    context.close()


def test_filters_narrow_the_list_and_the_address_keeps_them(watch: Watched) -> None:
    page = watch.open("samples.html")
    count = page.locator("#count")
    playwright.expect(count).to_have_text("50 of 50 samples")
    page.locator("select[name=verdict]").select_option("no_answer")
    playwright.expect(count).to_have_text("9 of 50 samples")
    page.locator("select[name=run]").select_option("1")
    playwright.expect(count).to_have_text("4 of 50 samples")
    page.reload()
    playwright.expect(count).to_have_text("4 of 50 samples")
    page.get_by_role("button", name="Clear").click()
    playwright.expect(count).to_have_text("50 of 50 samples")
    page.get_by_label("differs between runs").check()
    playwright.expect(count).to_have_text("20 of 50 samples")


def test_search_reads_the_texts_of_samples(watch: Watched) -> None:
    page = watch.open("samples.html")
    page.get_by_label("Search").fill("the answer is 17.")
    playwright.expect(page.locator("#count")).to_have_text("2 of 50 samples")
    page.get_by_label("Search").fill("no such words")
    playwright.expect(page.locator("#count")).to_have_text("0 of 50 samples")


def test_keys_lead_from_sample_to_sample(watch: Watched) -> None:
    page = watch.open("samples.html")
    head = page.locator("#sample h2")
    playwright.expect(head).to_contain_text("mathvista 1 ")
    page.keyboard.press("j")
    playwright.expect(head).to_contain_text("mathvista 2 ")
    page.keyboard.press("ArrowRight")
    playwright.expect(head).to_contain_text("mathvista 3 ")
    page.keyboard.press("k")
    playwright.expect(head).to_contain_text("mathvista 2 ")
    page.keyboard.press("/")
    page.keyboard.type("j")
    playwright.expect(head).to_contain_text("mathvista 2 ")


def test_a_link_opens_its_sample(watch: Watched) -> None:
    page = watch.open("samples.html", sample="1/mathvista/7")
    sample = page.locator("#sample")
    playwright.expect(sample.locator("h2")).to_contain_text("mathvista 7")
    shown = sample.inner_text()
    assert "kimi-vl-thinking (run-b)" in shown
    assert "Thought, 31 tokens" in shown
    assert "seen as 112 × 84" in shown
    assert "vlmevalkit" in shown
    playwright.expect(page.locator(".list a[aria-current]")).to_have_count(1)


def test_flips_on_the_task_page_lead_to_their_samples(watch: Watched) -> None:
    page = watch.open("task-mathvista.html")
    page.get_by_text("vlmevalkit gives 5 different verdicts").first.click()
    page.locator("details a").first.click()
    playwright.expect(page.locator("#sample h2")).to_contain_text("mathvista 3 ∅ no answer")


def test_pictures_show_with_point_and_box(watch: Watched) -> None:
    page = watch.open("samples.html", sample="0/mathvista/1")
    image = page.locator("#sample img")
    image.wait_for()
    page.wait_for_function("document.querySelector('#sample img').naturalWidth > 0")
    assert page.locator("#sample svg .box").count() == 1
    assert page.locator("#sample svg .point").count() == 1


def test_failed_samples_show_their_reason_and_pending_ones_that_they_wait(watch: Watched) -> None:
    page = watch.open("samples.html", sample="1/mathvista/24")
    playwright.expect(page.locator("#sample .mark")).to_contain_text("failed: oom")
    page.locator("select[name=reason]").select_option(label="oom")
    playwright.expect(page.locator("#count")).to_have_text("2 of 50 samples")
    page = watch.open("samples.html", sample="1/mathvista/25")
    playwright.expect(page.locator("#sample .mark")).to_have_text("not answered yet")


@pytest.mark.parametrize("watch", ["sweeps"], indirect=True)
@pytest.mark.parametrize("width", [360, 1280])
def test_budget_curves_fit_and_can_be_read(watch: Watched, width: int) -> None:
    watch.page.set_viewport_size({"width": width, "height": 800})
    page = watch.open("index.html")
    page.get_by_role("link", name="Thinking budgets").click()
    drawing = page.get_by_role("img", name="MathVista: score by thinking budget")
    page.wait_for_function("document.querySelector('.drawing img').naturalWidth > 0")
    box = drawing.bounding_box()
    assert box is not None and box["width"] > 0.8 * min(width, 700) and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(drawing.evaluate("(image) => image.currentSrc"))
    sizes = page.evaluate(TEXTS, box["width"])
    assert min(size for size, _ in sizes) >= 10, "pixels, as shown"
    assert all(inside for _, inside in sizes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_budget_curves_need_no_script_and_stand_out(
    chromium: playwright.Browser, sweeps: Path, scheme: playwright.ColorScheme
) -> None:
    """Lines at least 3 to 1 against their ground, text 4.5 to 1 (WCAG AA)."""
    context = chromium.new_context(java_script_enabled=False, color_scheme=scheme)
    page = context.new_page()
    for picture in sweeps.glob("budgets-*.svg"):
        page.goto(picture.as_uri())
        colours = page.evaluate(CURVE_COLOURS)
        assert len(colours["lines"]) >= 3
        assert all(luminance_ratio(line, colours["paper"]) >= 3 for line in colours["lines"]), picture.name
        assert luminance_ratio(colours["text"], colours["paper"]) >= 4.5
    page.goto((sweeps / "budgets.html").as_uri())
    assert "kimi-vl-thinking, force run-b" in page.locator(".scroll").nth(1).inner_text()
    context.close()


def luminance_ratio(one: list[float], other: list[float]) -> float:
    """Contrast of two colours of three bytes."""

    def light(colour: list[float]) -> float:
        parts = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


TEXTS = """(width) => {
  const drawing = document.documentElement, outer = drawing.getBoundingClientRect();
  const scale = width / drawing.viewBox.baseVal.width;
  return [...drawing.querySelectorAll('text')].map((node) => {
    const inner = node.getBoundingClientRect();
    const fits = inner.left >= outer.left - 1 && inner.right <= outer.right + 1
      && inner.top >= outer.top - 3 && inner.bottom <= outer.bottom + 3;
    return [parseFloat(getComputedStyle(node).fontSize) * scale, fits];
  });
}"""

CURVE_COLOURS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const found = (name) => [...document.querySelectorAll(`[id^="${name}"] > path`)];
  const line = (name) => found(name).map((node) => getComputedStyle(node).stroke);
  return {
    lines: ['scores-', 'shares-', 'published'].flatMap(line).map(parse),
    text: parse(getComputedStyle(document.querySelector('text')).fill),
    paper: parse(getComputedStyle(document.querySelector('#patch_1 path')).fill),
  };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(chromium: playwright.Browser, two_runs: Path, scheme: str) -> None:
    """Every visible text against the nearest background behind it: at least 4.5 to 1 (WCAG AA)."""
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    for name in PAGES:
        page.goto((two_runs / name).as_uri())
        page.wait_for_load_state("networkidle")
        assert page.evaluate(CONTRAST) == [], name
    context.close()


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${node.tagName}.${node.className}: ${node.textContent.slice(0, 30)}`);
  }
  return [...new Set(poor)];
}"""
