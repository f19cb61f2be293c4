"""What agents ask, and what they make of replies."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from kvl_eval.agent.actions import Click, Done, Fail, ScreenSize, Scroll, Wait
from kvl_eval.agent.base import Agent, PastStep, Screenshot, Situation
from kvl_eval.agent.figure10 import FIGURE10
from kvl_eval.agent.kimi import KIMI, KIMI_WITHOUT_THINKING
from kvl_eval.agent.one_click import ONE_CLICK
from kvl_eval.agent.protocols import MODEL_AGENTS
from kvl_eval.types import ImageRef, Message

SIZE = ScreenSize(200, 100)


def screenshot(shade: int = 0) -> Screenshot:
    buffer = io.BytesIO()
    Image.new("RGB", (SIZE.width, SIZE.height), (shade, shade, shade)).save(buffer, "PNG")
    return Screenshot(buffer.getvalue(), SIZE)


def situation(steps: int = 0) -> Situation:
    past = tuple(
        PastStep(screen=screenshot(number), thought=f"thought {number}", said=f"action {number}")
        for number in range(1, steps + 1)
    )
    return Situation(instruction="open the menu", screen=screenshot(99), past=past, pointer=SIZE.center)


def shown(messages: tuple[Message, ...]) -> list[tuple[str, list[str]]]:
    """Each turn: its role, and what kind its parts are."""
    return [
        (turn.role, ["image" if isinstance(part, ImageRef) else "text" for part in turn.parts]) for turn in messages
    ]


def test_kimi_shows_two_old_screens_and_the_current_one() -> None:
    """The messages of step 4 as the original class sends them: see the example's `kimi_agent.py`."""
    messages = KIMI.prompt(situation(3), KIMI.images)
    assert shown(messages) == [
        ("system", ["text"]),
        ("assistant", ["text"]),
        ("user", ["image"]),
        ("assistant", ["text"]),
        ("user", ["image"]),
        ("assistant", ["text"]),
        ("user", ["image", "text"]),
    ]
    images = [part.data for turn in messages for part in turn.parts if isinstance(part, ImageRef)]
    assert images == [screenshot(2).png, screenshot(3).png, screenshot(99).png]


def test_kimi_joins_the_steps_before_its_window() -> None:
    messages = KIMI.prompt(situation(5), 3)
    assert messages[1].parts == (
        "# Step 1:\n◁think▷thought 1◁/think▷## Action:\naction 1\n\n"
        "# Step 2:\n◁think▷thought 2◁/think▷## Action:\naction 2\n\n"
        "# Step 3:\n◁think▷thought 3◁/think▷## Action:\naction 3\n",
    )
    assert messages[3].parts == ("# Step 4:\n◁think▷thought 4◁/think▷## Action:\naction 4\n",)


def test_kimi_shows_all_screens_while_they_fit() -> None:
    assert shown(KIMI.prompt(situation(2), 3))[1:] == [("user", ["image"]), ("assistant", ["text"])] * 2 + [
        ("user", ["image", "text"])
    ]
    assert shown(KIMI.prompt(situation(), 3)) == [("system", ["text"]), ("user", ["image", "text"])]


def test_kimi_without_thinking_has_a_section_for_the_thought() -> None:
    messages = KIMI_WITHOUT_THINKING.prompt(situation(1), 3)
    assert "\n## Thought\n{thought}\n## Action:\n{action}\n## Code:\n{code}\n" in str(messages[0].parts[0])
    assert messages[2].parts == ("# Step 1:\n## Thought:\nthought 1\n\n## Action:\naction 1\n",)
    assert "## Thought" not in str(KIMI.prompt(situation(), 3)[0].parts[0])
    assert "The passoword of the computer is password." in str(messages[0].parts[0])


def test_kimi_reads_code_as_actions() -> None:
    reply = "## Action:\nOpen it.\n## Code:\n```python\npyautogui.click(x=0.5, y=0.25)\n```"
    move = KIMI.read("I see it", reply, situation())
    assert (move.parse, move.actions) == ("ok", (Click((100, 25)),))
    assert (move.source, move.said, move.thought) == ("pyautogui.click(100, 25)", "Open it.", "I see it")


@pytest.mark.parametrize(
    ("code", "parse"),
    [("import os", "unsupported"), ("computer.terminate(status='success')", "ok"), ("", "unparsable")],
)
def test_kimi_says_what_it_could_not_do(code: str, parse: str) -> None:
    move = KIMI.read("", f"## Action:\nx\n```python\n{code}\n```", situation())
    assert move.parse == parse
    assert move.actions == ((Done(),) if parse == "ok" else ())


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("click(x=0.884, y=0.144)", Click((177, 14))),
        ("scroll(-5)", Scroll(SIZE.center, -5)),
        ("`wait()`", Wait()),
        ("done()", Done()),
        ("fail( )", Fail()),
    ],
)
def test_figure_10_reads_its_toolcall(call: str, action: object) -> None:
    move = FIGURE10.read("", f"Thought: I see it.\nAction: Do it.\nToolcall: {call}", situation())
    assert (move.parse, move.actions, move.said, move.thought) == ("ok", (action,), "Do it.", "I see it.")


def test_figure_10_reads_nothing_else() -> None:
    assert FIGURE10.read("", "click(0.5, 0.5)", situation()).parse == "unparsable"
    assert FIGURE10.read("", "Toolcall: os.system('true')", situation()).parse == "unsupported"


def test_one_click_asks_as_task_screenspot_does() -> None:
    (turn,) = ONE_CLICK.prompt(situation(2), 1)
    assert turn.parts[1] == (
        "Please observe the screenshot, please locate the following elements with action and point."
        "<instruction> open the menu"
    )
    assert [part.data for part in turn.media if isinstance(part, ImageRef)] == [screenshot(99).png]


@pytest.mark.parametrize(
    ("reply", "pixel"),
    [
        ("Menu click(x=0.50, y=0.25)", (100, 25)),
        ("click(x=1.0, y=1.0)", (199, 99)),
        ("there is none", None),
    ],
)
def test_one_click_clicks_where_the_reply_points(reply: str, pixel: tuple[int, int] | None) -> None:
    move = ONE_CLICK.read("", reply, situation())
    assert move.actions == (() if pixel is None else (Click(pixel),))
    assert move.parse == ("unparsable" if pixel is None else "ok")


@pytest.mark.parametrize("agent", MODEL_AGENTS.values(), ids=lambda agent: agent.name)
def test_every_prompt_ends_with_the_current_screen_and_the_instruction(agent: Agent) -> None:
    last = agent.prompt(situation(4), agent.images)[-1]
    images = [part.data for part in last.media if isinstance(part, ImageRef)]
    assert last.role == "user" and images[-1] == screenshot(99).png
    assert any("open the menu" in part for part in last.parts if isinstance(part, str))
