"""Drawn desktops, and the figures that the scripted agents reach on the bundled tasks (agents.md, section 7)."""

from __future__ import annotations

import ast
import asyncio
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from kvl_eval.agent.actions import AgentAction, ButtonDown, Click, Done, Drag, Fail, Press, ScreenSize
from kvl_eval.agent.base import ScriptedAgent
from kvl_eval.agent.desk import DesktopDied, DrawnDesk, SetupFailed, desk_of
from kvl_eval.agent.protocols import agents_of
from kvl_eval.agent.scripted import read_script
from kvl_eval.agent.watch import WatchedDesk
from kvl_eval.run.plan import sample_seed
from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.desktop_mini import EPISODE, TASK
from kvl_eval.types import ImageRef, Sample

# For Linux alone; drawn desktops import none of them.
SANDBOXED = {"app_desk.py", "evaluators.py", "guest.py", "guest_boards.py", "guest_display.py", "guest_server.py"}
SANDBOXED |= {"sandbox.py", "xvfb_desk.py"}
AGENT_FILES = [
    path for path in sorted((Path(__file__).parents[2] / "kvl_eval/agent").glob("*.py")) if path.name not in SANDBOXED
]
LINUX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "Xlib", "pyautogui", "tkinter"}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(open_split(TASK, Source(), "mini"))


def played(sample: Sample, agent: ScriptedAgent) -> float:
    """The value of an episode, without the loop of `kvl_eval.agent.episodes`."""
    desk, pointer, last = DrawnDesk(ScreenSize(*EPISODE.screen)), (84, 70), None
    desk.reset(sample)
    for number in range(1, EPISODE.max_steps + 1):
        seed = sample_seed(number, TASK.name, sample.id, 0)
        move = read_script(agent.reply(sample, number, seed, desk.size), desk.size, pointer)
        assert move.parse == "ok"
        last = move.actions[-1]
        for action in move.actions:
            desk.act(action)
        if desk.is_over or isinstance(last, Done | Fail):
            break
    return desk.evaluate(last).value


def scores(samples: list[Sample], name: str) -> dict[str, float]:
    agent = agents_of(EPISODE)[name]
    assert isinstance(agent, ScriptedAgent)
    return {sample.id: played(sample, agent) for sample in samples}


def test_there_are_twelve_tasks_of_boards_and_three_that_cannot_be_done(samples: list[Sample]) -> None:
    boards = [len(sample.media) for sample in samples if sample.row["level"] == "A"]
    assert sorted(boards) == [1] * 6 + [2] * 4 + [3] * 2
    assert [sample.row["feasible"] for sample in samples if sample.row["level"] == "C"] == [False] * 3
    assert [sample.id for sample in open_split(TASK, Source(), "test")] == [sample.id for sample in samples]


def test_scripted_agents_score_what_they_must(samples: list[Sample]) -> None:
    infeasible = {sample.id for sample in samples if not sample.row["feasible"]}
    assert set(scores(samples, "oracle").values()) == {1.0}
    assert set(scores(samples, "wrong").values()) == {0.0}
    assert set(scores(samples, "idle").values()) == {0.0}
    assert {name for name, value in scores(samples, "fail").items() if value} == infeasible
    assert sum(scores(samples, "random").values()) <= 1


def test_a_click_on_every_side_of_the_box_hits(samples: list[Sample]) -> None:
    sample = samples[0]
    left, top, right, bottom = sample.row["box_1"]  # type: ignore[misc]
    for point, value in (((left, top), 1.0), ((right, bottom), 1.0), ((left - 1, top), 0.0), ((left, bottom + 1), 0.0)):
        desk = DrawnDesk(ScreenSize(*EPISODE.screen))
        desk.reset(sample)
        desk.act(Click(point))
        assert desk.evaluate(Click(point)).value == value, point


def drawn(count: int) -> Sample:
    """A task of plain boards, whose named thing fills the upper half."""

    def png(shade: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (20, 10), (shade, shade, shade)).save(buffer, "PNG")
        return buffer.getvalue()

    return Sample(
        id="one",
        question="click it",
        row={"feasible": True, **{f"box_{number}": [0, 0, 19, 4] for number in range(1, count + 1)}},
        media=tuple(ImageRef(name=f"board {number}", data=png(number)) for number in range(count)),
    )


def presses(*actions: AgentAction) -> tuple[bool, float]:
    """Whether three boards are over after these actions, and the value."""
    desk = DrawnDesk(ScreenSize(20, 10))
    desk.reset(drawn(3))
    for action in actions:
        desk.act(action)
    return desk.is_over, desk.evaluate(actions[-1]).value


def test_every_press_of_a_button_leads_to_the_next_board() -> None:
    assert presses(Click((1, 1)), ButtonDown((1, 1)), Drag((1, 1), (9, 9))) == (True, 1.0)
    assert presses(Click((1, 1), count=3)) == (True, 1.0)
    assert presses(Click((1, 1)), Press(("enter",)), Click((1, 1))) == (False, 0.0)
    assert presses(Click((1, 1)), Click((1, 9)), Click((1, 1))) == (True, 0.0)
    assert presses(Click((1, 1), count=3), Fail()) == (True, 0.0)


def test_screens_are_the_boards_as_they_are_stored(samples: list[Sample]) -> None:
    desk = DrawnDesk(ScreenSize(*EPISODE.screen))
    desk.reset(samples[-4])
    boards = [ref.data for ref in samples[-4].media if isinstance(ref, ImageRef)]
    assert len(boards) == 3
    for board in boards:
        assert desk.observe().png == board
        desk.act(Click((1, 1)))
    assert desk.observe().png not in boards


def test_a_board_of_another_size_lies_on_an_empty_screen() -> None:
    desk = DrawnDesk(ScreenSize(40, 30))
    desk.reset(drawn(1))
    screen = Image.open(io.BytesIO(desk.observe().png))
    assert (screen.size, screen.getpixel((1, 1)), screen.getpixel((39, 29))) == ((40, 30), (0, 0, 0), (110, 110, 110))


@pytest.mark.parametrize("media", [(), (ImageRef(name="a", data=b"no image"),), (ImageRef(name="a"),)])
def test_a_board_that_cannot_be_shown_fails_the_setup(media: tuple[ImageRef, ...]) -> None:
    with pytest.raises(SetupFailed) as error:
        DrawnDesk(ScreenSize(20, 10)).reset(Sample(id="one", question="click it", media=media))
    assert error.value.reason == "setup_failed"


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_nothing_is_imported_that_linux_alone_has() -> None:
    names = {name for file in AGENT_FILES for name in imported(file)}
    assert names and not names & LINUX_ONLY
    assert names <= set(sys.stdlib_module_names) | {"PIL", "kvl_eval"}


# -- a desktop of its own thread --------------------------------------------------------------------------------


def test_A3_a_call_that_never_returns_ends_with_the_desktop() -> None:
    """The call has a time limit, after which the desktop counts as dead."""
    desk = WatchedDesk(desk_of(EPISODE), limit=0.05)

    async def call() -> None:
        with pytest.raises(DesktopDied, match="did not answer within"):
            await desk.do(lambda: time.sleep(0.3), 10)

    asyncio.run(call())


def test_whatever_a_desktop_raises_is_its_death() -> None:
    desk = WatchedDesk(desk_of(EPISODE))

    async def call() -> None:
        assert await desk.do(lambda: 5, 10) == 5
        with pytest.raises(DesktopDied, match="ZeroDivisionError"):
            await desk.do(lambda: 1 // 0, 10)

    asyncio.run(call())
