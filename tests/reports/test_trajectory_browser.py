"""The page of episodes in a headless Chromium: marks stand where actions were, keys move frame, step and address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvl_eval.reports.image_copies import ImageCache
from kvl_eval.reports.page_templates import MenuEntry, copy_assets
from kvl_eval.reports.trajectory_page import EpisodeOfRun, write_trajectory_page
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.trajectories import StoredTrajectory, trajectory_name
from kvl_eval.store.trajectory_records import StoredAction
from tests.hand_made_trajectories import FOLDER, hand_made
from tests.reports.report_folders import make_record, make_run
from tests.reports.sample_reports import sample_page
from tests.reports.watched import CONTRAST, FITS, Watched, axe_violations

playwright = pytest.importorskip("playwright.sync_api")
if TYPE_CHECKING:
    from playwright import sync_api
pytestmark = pytest.mark.browser


def write_page(out: Path, *episodes: StoredTrajectory) -> Path:
    """The page of these episodes, with assets and screens."""
    copy_assets(OutputFolder(out))
    of_runs = [EpisodeOfRun(FOLDER, "my-model", one) for one in episodes]
    write_trajectory_page(of_runs, OutputFolder(out), ImageCache(out.parent / "cache"))
    return out


@pytest.fixture(scope="module")
def two_episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("episodes") / "out", *hand_made())


@pytest.fixture(scope="module")
def long_episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An episode of 100 steps, each with a screen file of its own."""
    _, solved = hand_made()
    steps = tuple(replace(solved.steps[place % 6], n=place + 1) for place in range(100))
    out = write_page(tmp_path_factory.mktemp("long") / "out", replace(solved, steps=steps))
    page = (out / "trajectory.html").read_text(encoding="utf-8")
    parts = page.split('src="media/')
    for number, part in enumerate(parts[1:], 1):
        name, rest = part.split('"', 1)
        copy = f"{number}-{name}"
        (out / "media" / copy).write_bytes((out / "media" / name).read_bytes())
        parts[number] = f'{copy}"{rest}'
    (out / "trajectory.html").write_text('src="media/'.join(parts), encoding="utf-8")
    return out


CENTER = """id => {
  const shot = document.querySelector(`#${id} .shot`), screen = shot.querySelector('img').getBoundingClientRect();
  const mark = shot.querySelector('path.said-point').getBoundingClientRect();
  return [(mark.x + mark.width / 2 - screen.x) / screen.width, (mark.y + mark.height / 2 - screen.y) / screen.height];
}"""


def test_report_r1_a_mark_stands_where_the_action_was(chromium: sync_api.Browser, two_episodes: Path) -> None:
    _, solved = hand_made()
    with Watched.opened(chromium, two_episodes) as watched:
        page = watched.open("trajectory.html")
        for number in (1, 2, 4):
            point = solved.steps[number - 1].actions[0].point
            assert point is not None
            page.evaluate("id => { location.hash = id; }", f"t2-step-{number}")
            page.locator(f"#t2-step-{number}").wait_for()
            page.wait_for_function(f"document.querySelector('#t2-step-{number} .shot img').naturalWidth > 0")
            assert page.evaluate(CENTER, f"t2-step-{number}") == pytest.approx(
                [point[0] / 960, point[1] / 600], abs=0.01
            )


@pytest.mark.parametrize("width", [1440, 390])
def test_report_r1_a_small_screen_grows_with_its_marks(tmp_path: Path, chromium: sync_api.Browser, width: int) -> None:
    _, solved = hand_made()
    step = replace(solved.steps[0], actions=(StoredAction(kind="click", point=(126, 50)),))
    out = write_page(tmp_path / "out", replace(solved, head=replace(solved.head, screen=(160, 100)), steps=(step,)))
    with Watched.opened(chromium, out, width=width) as watched:
        page = watched.open("trajectory.html")
        page.wait_for_function("document.querySelector('.shot img').naturalWidth > 0")
        assert page.evaluate(CENTER, "t1-step-1") == pytest.approx([126 / 160, 0.5], abs=0.01)
        assert page.evaluate(FITS)


def test_report_r2_right_moves_frame_step_and_address(chromium: sync_api.Browser, two_episodes: Path) -> None:
    with Watched.opened(chromium, two_episodes) as watched:
        page = watched.open("trajectory.html")
        page.locator("#episode").select_option("t2")
        page.evaluate("document.activeElement.blur()")

        def state() -> list[object]:
            where: list[object] = page.evaluate(
                """() => [location.hash, document.querySelector('.journey.on .step.on').id,
                  document.querySelector('.journey.on .film a[aria-current]').getAttribute('href')]"""
            )
            return where

        for key, number in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 6), ("Home", 1)):
            page.keyboard.press(key)
            assert state() == [f"#t2-step-{number}", f"t2-step-{number}", f"#t2-step-{number}"]
        page.locator(".journey.on .film a").nth(3).click()
        assert state() == ["#t2-step-4", "t2-step-4", "#t2-step-4"]
        page.reload()
        assert state() == ["#t2-step-4", "t2-step-4", "#t2-step-4"]
        assert page.locator(".journey.on .shot img >> visible=true").count() == 1
        assert watched.problems == []


def test_the_sample_page_leads_to_the_steps_of_its_episode(tmp_path: Path, chromium: sync_api.Browser) -> None:
    journal = trajectory_name("desktop-mini", "menu-1", 0)
    run = make_run(tmp_path, n=1, missing=1, model="my-model")
    records = RunFolder.open(run).journal("mathvista")
    records.append(make_record(0, "mathvista", "", extra={"trajectory": journal}))
    records.close()
    menu = [MenuEntry(label="Samples", file="samples.html"), MenuEntry(label="Trajectories", file="trajectory.html")]
    sample_page(tmp_path / "out", [run], images="none", menu=menu)
    write_page(tmp_path / "out", *hand_made())
    with Watched.opened(chromium, tmp_path / "out") as watched:
        page = watched.open("samples.html")
        page.get_by_role("link", name="steps of this episode").click()
        page.locator("#t2.on").wait_for()
        assert page.locator(".journey.on .step.on").get_attribute("id") == "t2-step-1"
        assert watched.problems == []


def test_report_r3_screens_out_of_view_are_not_loaded(chromium: sync_api.Browser, long_episode: Path) -> None:
    with Watched.opened(chromium, long_episode) as watched:
        screens: list[str] = []
        watched.page.on("request", lambda request: screens.append(request.url) if "/media/" in request.url else None)
        page = watched.open("trajectory.html")
        page.wait_for_load_state("networkidle")
        assert 1 <= len(screens) < 100
        assert page.evaluate("document.querySelectorAll('*').length") < 3000
        assert watched.problems == []


def test_without_script_all_steps_follow_each_other(chromium: sync_api.Browser, two_episodes: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((two_episodes / "trajectory.html").as_uri())
    assert page.locator(".step >> visible=true").count() == 9
    assert not page.locator("#episode").is_visible()
    context.close()


def test_all_steps_of_all_episodes_are_printed(chromium: sync_api.Browser, two_episodes: Path) -> None:
    with Watched.opened(chromium, two_episodes) as watched:
        page = watched.open("trajectory.html")
        page.emulate_media(media="print")
        assert page.locator(".step >> visible=true").count() == 9
        assert not page.locator("#episode").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_report_a1_a2_a3_the_page_loads_fits_and_can_be_used_by_all(
    chromium: sync_api.Browser, two_episodes: Path, theme: str, width: int
) -> None:
    with Watched.opened(chromium, two_episodes, width=width, theme=theme) as watched:
        page = watched.open("trajectory.html")
        page.locator("#episode").select_option("t2")
        page.evaluate("document.activeElement.blur()")
        page.wait_for_load_state("networkidle")
        assert page.evaluate(FITS)
        assert watched.problems == []
        assert axe_violations(page) == []  # which asks for style sheets, in vain: the policy forbids it
        assert page.evaluate(CONTRAST) == []
