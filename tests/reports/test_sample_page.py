"""The sample page in a headless Chromium, opened from disk: the filter is always true, foreign texts stay texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvl_eval.reports.page_data import literal
from tests.reports.sample_reports import (
    index_of,
    sample_page,
    samples_of,
    solved_runs,
    spanned_run,
    stretched,
    swept_run,
    three_runs,
)
from tests.reports.watched import CONTRAST, FITS, Watched, axe_violations

playwright = pytest.importorskip("playwright.sync_api")
if TYPE_CHECKING:
    from playwright import sync_api
pytestmark = pytest.mark.browser
ROWS = 20_000
FOREIGN = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](http://h/x.png) <b>x</b>"
MATH = r"So $\frac{1}{2}$ and \(x^2\), **bold**, but \frac{1 costs $5 and $6; $\frac{1$ is broken."


FASTEST_KEY = """() => Math.min(...Array.from({ length: 10 }, () => {
  const begin = performance.now();
  document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }));
  document.body.offsetHeight;
  return performance.now() - begin;
}))"""  # milliseconds, layout included


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three runs of 25 samples, with causes for two of them."""
    folder = tmp_path_factory.mktemp("three")
    causes = {("mathvista", "1"): ("truncated",), ("mathvista", "2"): ("content",)}
    sample_page(folder / "out", three_runs(folder), causes=causes)
    return folder / "out"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose texts try to be markup."""
    folder = tmp_path_factory.mktemp("foreign")
    sample_page(folder / "out", [spanned_run(folder, n=3, text=FOREIGN)], images="none")
    return folder / "out"


@pytest.fixture(scope="module")
def formulas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose texts hold Markdown and formulas, whole and broken."""
    folder = tmp_path_factory.mktemp("formulas")
    sample_page(folder / "out", [spanned_run(folder, n=3, text=MATH)], images="none")
    return folder / "out"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 20,000 rows."""
    folder = tmp_path_factory.mktemp("many")
    sample_page(folder / "out", three_runs(folder), images="none")
    stretched(folder / "out", ROWS)
    return folder / "out"


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one problem with formulas and choices, solved by three models."""
    folder = tmp_path_factory.mktemp("solved")
    sample_page(folder / "out", solved_runs(folder))
    return folder / "out"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one run with two budgets."""
    folder = tmp_path_factory.mktemp("swept")
    sample_page(folder / "out", [swept_run(folder)], images="none")
    return folder / "out"


@pytest.fixture
def watch(chromium: sync_api.Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A fresh page over the folder that the test's parameter names; what goes wrong there fails the test."""
    folder: Path = request.getfixturevalue(getattr(request, "param", "three"))
    with Watched.opened(chromium, folder) as watched:
        yield watched
        assert watched.problems == []


def opened(watch: Watched, **state: str) -> sync_api.Page:
    """The page, with a sample shown."""
    page = watch.open("samples.html", **state)
    page.locator("#read .head, #read .nothing").first.wait_for()
    return page


def shown(page: sync_api.Page) -> dict[str, Any]:
    """What the page's own state and panes say."""
    state: dict[str, Any] = page.evaluate(
        """() => {
          const { state, voices } = kvl, text = (query) => document.querySelector(query)?.innerText ?? '';
          const run = state.voice === null ? null : voices[state.voice].run;
          return { found: state.found, current: state.current, run, budget: voices[state.voice]?.budget,
            count: text('#count'), head: text('#read h2'), tab: text('#read [aria-selected=true]'),
            line: text('.readline b'),
            height: document.querySelector('#space').offsetHeight };
        }"""
    )
    return state


@pytest.mark.parametrize(
    ("watch", "names", "size"),
    [
        ("three", ("task", "run", "outcome", "category", "cause", "reason"), 25),
        ("swept", ("outcome", "budget", "flag"), 6),
    ],
    indirect=["watch"],
)
def test_report_s1_everything_shown_passes_the_filter(watch: Watched, names: tuple[str, ...], size: int) -> None:
    page = opened(watch)
    for name in names:
        select = page.locator(f"select[name={name}]")
        assert name == "task" or select.is_visible()
        values = select.locator("option").evaluate_all("options => options.map((option) => option.value)")
        for value in filter(None, values):
            if not select.is_visible():
                continue
            select.select_option(value)
            page.wait_for_timeout(50)
            now = shown(page)
            assert now["found"] and now["current"] in now["found"], (name, value)
            assert now["count"].startswith(f"{len(now['found'])} of {size}"), (name, value)
            assert now["height"] == 46 * len(now["found"])
            if name == "outcome":
                assert value.replace("_", " ") in now["line"]
            if name == "run":
                assert str(now["run"]) == value
            if name == "budget":
                assert now["budget"] == value
        if select.is_visible():
            select.select_option("")


def test_report_s2_a_filter_that_nothing_passes_says_so_and_can_be_cleared(watch: Watched) -> None:
    page = opened(watch)
    page.locator("[name=q]").fill("no such words")
    page.get_by_text("No sample passes this filter.").wait_for()
    assert page.locator("#rows li").count() == 0
    page.locator("#look").focus()
    page.keyboard.press("j")
    page.get_by_text("No sample passes this filter.").wait_for()
    page.get_by_role("button", name="Clear the filter").click()
    playwright.expect(page.locator("#count")).to_have_text("25 of 25 samples")


def test_report_s3_keys_work_with_focus_in_a_checkbox_and_in_a_select(watch: Watched) -> None:
    page = opened(watch)
    page.locator("[name=differ]").check()
    page.wait_for_timeout(50)
    before = shown(page)
    page.keyboard.press("j")
    after = shown(page)
    assert after["current"] == before["found"][1]
    page.locator("select[name=outcome]").focus()
    page.keyboard.press("k")
    assert shown(page)["current"] == before["found"][0]
    assert page.locator("select[name=outcome]").input_value() == ""


def test_keys_choose_runs_and_search_can_be_left(watch: Watched) -> None:
    page = opened(watch)
    page.keyboard.press("2")
    assert shown(page)["tab"].startswith("kimi-vl-thinking")
    page.keyboard.press("/")
    page.keyboard.type("k")
    assert page.locator("[name=q]").input_value() == "k"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    assert shown(page)["tab"].startswith("other")


@pytest.mark.parametrize("watch", ["solved"], indirect=True)
def test_report_s4_a_sample_fits_its_window(watch: Watched) -> None:
    page = opened(watch)
    page.wait_for_function("document.querySelector('.look img').naturalWidth > 0")
    assert page.locator(".question math").count() == 8
    assert page.locator(".choices > *").count() == 4
    bottoms = page.evaluate(
        """['.look img', '.question', '.choices', '.readline', '.answer', '.others'].map((query) =>
          document.querySelector(query).getBoundingClientRect().bottom)"""
    )
    assert max(bottoms) <= 900


@pytest.mark.parametrize("watch", ["many"], indirect=True)
def test_report_s5_of_20_000_rows_few_are_nodes(watch: Watched) -> None:
    page = opened(watch)
    assert shown(page)["count"] == "20,000 of 20,000 samples"
    for place in (0, 460_000, 919_000):
        page.evaluate("top => { document.querySelector('#list').scrollTop = top; }", place)
        page.wait_for_timeout(50)
        assert 0 < page.locator("#rows li").count() <= 120
    page.keyboard.press("j")
    assert page.locator("#rows a[aria-current]").count() == 1
    assert page.evaluate("document.querySelectorAll('*').length") < 1500
    assert page.evaluate(FASTEST_KEY) < 50
    page.locator("select[name=outcome]").select_option("correct")
    page.wait_for_timeout(50)
    assert page.locator("#rows li").count() <= 120


def test_report_s6_the_mark_in_a_reply_is_its_span(watch: Watched) -> None:
    page = opened(watch, id="9", task="mathvista")
    for mode in ("rendered", "text"):
        assert page.locator(".answer mark").all_inner_texts() == ["8"], mode
        page.keyboard.press("r")


@pytest.mark.parametrize("watch", ["three", "formulas"], indirect=True)
def test_report_s7_r_twice_changes_nothing(watch: Watched) -> None:
    page = opened(watch)
    before = page.locator("#read").inner_text()
    page.keyboard.press("r")
    assert page.get_by_role("button", name="show rendered").count() == 1
    page.keyboard.press("r")
    assert page.locator("#read").inner_text() == before


@pytest.mark.parametrize("watch", ["foreign"], indirect=True)
def test_report_s8_foreign_markup_is_text(watch: Watched) -> None:
    page = opened(watch)
    for _ in ("rendered", "text"):
        assert page.locator("#read").locator("img, script, iframe").count() == 0
        assert page.locator(".answer b, .question b").count() == 0
        assert page.locator("#read .answer a, #read .question a").count() == 0
        for query in (".answer", ".question"):
            words = page.locator(query).first.inner_text()
            assert "<img src=x onerror=alert(1)>" in words and "javascript:alert(1)" in words
            assert "![b](http://h/x.png)" in words and "<b>x</b>" in words
        page.keyboard.press("r")


@pytest.mark.parametrize("watch", ["formulas"], indirect=True)
def test_report_s9_formulas_are_drawn_and_broken_ones_stay_as_typed(watch: Watched) -> None:
    page = opened(watch)
    answer = page.locator(".answer")
    assert answer.locator("math").count() == 2 and answer.locator("mfrac").count() == 1
    assert answer.locator("strong").inner_text() == "bold"
    words = answer.inner_text()
    assert "\\frac{1 costs $5 and $6;" in words
    assert "$\\frac{1$ is broken" in words or "$\\frac{1$" in answer.locator("code").inner_text()
    page.keyboard.press("r")
    assert page.locator(".answer math").count() == 0 and MATH in page.locator(".answer").inner_text()


def test_report_s10_a_copied_address_shows_the_same_again(watch: Watched) -> None:
    page = opened(watch)
    page.locator("select[name=outcome]").select_option("wrong")
    page.locator("[name=differ]").check()
    page.wait_for_timeout(100)
    page.keyboard.press("j")
    page.keyboard.press("2")
    page.wait_for_timeout(50)
    before, address = shown(page), page.url
    page.goto("about:blank")
    page.goto(address)
    page.locator("#read .head").wait_for()
    assert shown(page) == before


@pytest.mark.parametrize(
    ("state", "head", "run"),
    [
        ({"sample": "1/mathvista/7"}, "MathVista 7", 1),
        ({"task": "mathvista", "run": "run-b", "verdict": "wrong"}, "MathVista 1", 1),
        ({"of": "mathvista", "id": "9", "tab": "2"}, "MathVista 9", 2),
    ],
)
def test_addresses_of_other_pages_and_versions_lead_to_their_samples(
    watch: Watched, state: dict[str, str], head: str, run: int
) -> None:
    now = shown(opened(watch, **state))
    assert (now["head"], now["run"]) == (head, run)


def test_search_reads_questions_and_replies(watch: Watched) -> None:
    page = opened(watch)
    page.locator("[name=q]").fill("the answer is 17.")
    playwright.expect(page.locator("#count")).to_have_text("1 of 25 samples")
    assert shown(page)["head"] == "MathVista 18"


def test_what_is_folded_is_there(watch: Watched) -> None:
    page = opened(watch, id="2", task="mathvista")
    for fold in page.locator("#read details").all():
        fold.evaluate("node => { node.open = true; }")
    words = page.locator(".folds").inner_text()
    for part in ("Let me look.", "<image:1>What is drawn", "vlmevalkit", "finish reason", "task: counting"):
        assert part in words, part
    page.keyboard.press("z")
    assert page.locator("dialog img").is_visible()
    page.get_by_role("button", name="300 %").click()
    page.keyboard.press("Escape")
    assert not page.locator("dialog img").is_visible()


def test_boxes_and_points_are_drawn_and_can_be_hidden(watch: Watched) -> None:
    page = opened(watch, id="1", task="mathvista")
    overlay = page.locator(".look .frame svg")
    assert overlay.locator(".gold-box").count() == 1 and overlay.locator("circle.said-point").count() == 1
    assert "kimi-vl-instruct clicked" in page.locator(".caption").inner_text()
    page.keyboard.press("b")
    assert not overlay.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_report_a1_a2_a3_the_page_loads_fits_and_can_be_used_by_all(
    chromium: sync_api.Browser, three: Path, theme: str, width: int
) -> None:
    with Watched.opened(chromium, three, width=width, theme=theme) as watched:
        page = opened(watched, id="2", task="mathvista")
        page.wait_for_load_state("networkidle")
        assert page.evaluate(FITS)
        assert watched.problems == []
        assert axe_violations(page) == []  # which asks for style sheets, in vain: the policy forbids it
        assert page.evaluate(CONTRAST) == []


def test_report_a4_no_style_and_no_handler_stands_in_the_page(three: Path) -> None:
    import re

    assert re.search(r"\sstyle=|\son[a-z]+=", (three / "samples.html").read_text(encoding="utf-8")) is None


def test_report_a8_without_script_the_page_says_so(chromium: sync_api.Browser, three: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((three / "samples.html").as_uri())
    assert "needs JavaScript" in page.locator("noscript").inner_text()
    context.close()


@pytest.mark.parametrize("watch", ["solved"], indirect=True)
def test_the_shown_sample_is_what_is_printed(watch: Watched) -> None:
    page = opened(watch)
    page.emulate_media(media="print")
    for query in (".look img", ".question", ".choices", ".readline", ".answer", ".others"):
        assert page.locator(query).is_visible(), query
    for query in ("#list", "#filters", ".keysline"):
        assert not page.locator(query).is_visible(), query
    assert (
        page.evaluate(
            "(() => { const box = document.querySelector('#read'); return box.scrollHeight - box.clientHeight; })()"
        )
        <= 1
    )


@pytest.mark.parametrize(
    ("source", "words", "nodes"),
    [
        ("# Head\n\n- a\n- b\n\n3. c", "Head", ["p", "ul", "ol"]),
        ("| a | b |\n|---|---|\n| 1 | $x$ |", "a", ["table"]),
        ("```python\nprint('<b>')\n```", "print('<b>')", ["pre"]),
        ("$$\n\\begin{aligned}a&=b\\\\\n- c&=d\\end{aligned}\n$$", "a", ["p"]),
        ("[x]: http://h/y", "[x]: http://h/y", ["p"]),
        ("5~10 and ~~20~~", "5~10 and ~~20~~", ["p"]),
        ("see http://a.b/c", "see http://a.b/c", ["p"]),
        (">" * 5000, ">>>>", ["p"]),
        ("{" * 5000, "{{{{", ["p"]),
        ("$" + "{" * 1000 + "$", "{{{{", ["p"]),
    ],
)
def test_markdown_becomes_nodes_of_a_few_kinds(watch: Watched, source: str, words: str, nodes: list[str]) -> None:
    page = opened(watch)
    made = page.evaluate(
        f"""(() => {{ const box = document.createElement('div');
        box.append(...kvlText.rendered({literal(source)}, null));
        return [box.textContent.includes({literal(words)}), [...box.children].map((node) => node.localName),
          box.querySelectorAll('a, img, script, iframe, input').length]; }})()"""
    )
    assert made == [True, nodes, 0]


@pytest.mark.parametrize(
    ("source", "span", "marked"),
    [
        ("The answer is **C**.", [16, 17], "C"),
        ("$\\boxed{A}$", [8, 9], "A"),
        ("`code B` and", [6, 7], "B"),
        ("1. first\n2. second", [12, 18], "second"),
        ("a\n\nb c", [0, 6], "ab c"),
        ("[B](http://h)", [1, 2], "B"),
        ("[text](http://B)", [14, 15], "B"),
    ],
)
def test_the_extracted_answer_is_marked_wherever_it_stands(
    watch: Watched, source: str, span: list[int], marked: str
) -> None:
    page = opened(watch)
    text = page.evaluate(
        f"""(() => {{ const box = document.createElement('div');
        box.append(...kvlText.rendered({literal(source)}, {span}));
        return [...box.querySelectorAll('mark')].map((node) => node.textContent).join(''); }})()"""
    )
    assert text == marked


def test_few_chunks_stay_in_memory(tmp_path: Path, chromium: sync_api.Browser) -> None:
    sample_page(tmp_path / "out", three_runs(tmp_path, 3), images="none")
    (sample, *_), index = samples_of(tmp_path / "out"), index_of(tmp_path / "out")
    for number in range(30):
        (tmp_path / "out" / "data" / f"c{number}.js").write_text(f"kvl.chunk({number},[{literal(sample)}]);\n")
    from kvl_eval.reports.page_data import parsed

    columns = {name: [values[0]] * 30 for name, values in index["columns"].items()}
    columns |= {"id": [f"{row}" for row in range(30)], "chunk": list(range(30)), "place": [0] * 30}
    script = f"kvl.index({parsed({**index, 'columns': columns})});\n"
    (tmp_path / "out" / "data" / "index.js").write_text(script)
    with Watched.opened(chromium, tmp_path / "out") as watched:
        page = opened(watched)
        page.locator("[name=q]").fill("no such words")
        page.get_by_text("No sample passes this filter.").wait_for()
        page.wait_for_timeout(300)
        assert page.evaluate("kvl.chunks.size") <= 24
        assert page.evaluate("document.querySelectorAll('head script[src^=\"data/c\"]').length") == 0
        assert watched.problems == []
