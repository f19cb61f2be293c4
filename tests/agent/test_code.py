"""Code that a model wrote becomes typed actions, or nothing at all."""

from __future__ import annotations

import pytest

from kvl_eval.agent.actions import (
    AgentAction,
    ButtonDown,
    ButtonUp,
    Click,
    Drag,
    Hotkey,
    KeyDown,
    KeyUp,
    Move,
    Press,
    ScreenSize,
    Scroll,
    Sleep,
    Write,
    pointer_after,
)
from kvl_eval.agent.code import MOST_ACTIONS, Unsupported, read_calls, read_code

SCREEN = ScreenSize(200, 100)
START = (30, 40)


@pytest.mark.parametrize(
    ("code", "actions"),
    [
        pytest.param("import pyautogui, time\npyautogui.click(5, 6)", [Click((5, 6))], id="imports-do-nothing"),
        pytest.param("pyautogui.click()", [Click(START)], id="at-the-pointer"),
        pytest.param("pyautogui.click(x=9)", [Click((9, 40))], id="only-across"),
        pytest.param("pyautogui.click(500, -3)", [Click((199, 0))], id="beyond-the-screen-is-its-edge"),
        pytest.param("pyautogui.click(5.7, 6.2, 2, button='right')", [Click((5, 6), "right", 2)], id="button"),
        pytest.param("pyautogui.tripleClick(5, 6, 0.1)", [Click((5, 6), "left", 3)], id="triple"),
        pytest.param("pyautogui.rightClick(5, 6)", [Click((5, 6), "right")], id="right"),
        pytest.param("pyautogui.moveTo(5, 6); pyautogui.moveRel(2, -1)", [Move((5, 6)), Move((7, 5))], id="relative"),
        pytest.param("pyautogui.dragTo(5, 6, 1)", [Drag(START, (5, 6))], id="drag"),
        pytest.param("pyautogui.dragRel(5, yOffset=6)", [Drag(START, (35, 46))], id="drag-relative"),
        pytest.param("pyautogui.scroll(-5)", [Scroll(START, -5)], id="scroll"),
        pytest.param("pyautogui.hscroll(3, x=1, y=2)", [Scroll((1, 2), 3, sideways=True)], id="scroll-sideways"),
        pytest.param("pyautogui.write('a\\nb', interval=0.1)", [Write("a\nb")], id="text"),
        pytest.param("pyautogui.press('Enter', presses=2)", [Press(("enter", "enter"))], id="presses"),
        pytest.param("pyautogui.press(['a', 'tab'])", [Press(("a", "tab"))], id="keys"),
        pytest.param("pyautogui.hotkey('ctrl', 'C')", [Hotkey(("ctrl", "C"))], id="hotkey"),
        pytest.param("pyautogui.hotkey(['ctrl', 'l'])", [Hotkey(("ctrl", "l"))], id="hotkey-list"),
        pytest.param(
            "pyautogui.keyDown('shift')\npyautogui.keyUp('shift')", [KeyDown("shift"), KeyUp("shift")], id="held"
        ),
        pytest.param(
            "pyautogui.mouseDown(1, 2)\npyautogui.mouseUp()", [ButtonDown((1, 2)), ButtonUp((1, 2))], id="down-up"
        ),
        pytest.param("time.sleep(7)\ntime.sleep(7)", [Sleep(7.0), Sleep(3.0)], id="pauses-have-a-limit"),
        pytest.param("for i in range(2):\n  pyautogui.press('a')", [Press(("a",))] * 2, id="loop"),
        pytest.param("# nothing", [], id="nothing"),
    ],
)
def test_code_becomes_actions(code: str, actions: list[AgentAction]) -> None:
    assert list(read_code(code, SCREEN, START)) == actions


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.system('touch /tmp/x')",
        "__import__('os').system('true')",
        "open('/etc/passwd').read()",
        "exec('1')",
        "from time import sleep",
        "import pyautogui as p",
        "while True: pass",
        "for i in range(101): pyautogui.press('a')",
        "for i in range(100):\n  for j in range(100): pyautogui.press('a')",
        "for i in [1, 2]: pyautogui.press('a')",
        "x = 5",
        "py\npyautogui.click(5, 5)",
        "pyautogui.click(x, 5)",
        "pyautogui.click(f'{1}', 5)",
        "pyautogui.click(1 + 1, 5)",
        "pyautogui.click('button.png')",
        "pyautogui.click(True, 5)",
        "pyautogui.click(1e400, 5)",
        "pyautogui.click(*[1, 2])",
        "pyautogui.click(**{})",
        "pyautogui.click(5, 5, clicks=10**9)",
        "pyautogui.click(5, 5, clicks=201)",
        "pyautogui.click(5, 5, unknown=1)",
        "pyautogui.click(5, 5, x=5)",
        "pyautogui.click(5, 5, button='fourth')",
        "pyautogui.dragTo(5, 5, 1, 'left')",
        "pyautogui.alert('hello')",
        "pyautogui.write(open)",
        f"pyautogui.write('{'x' * 5_001}')",
        "pyautogui.press('anykey')",
        "pyautogui.hotkey('ctrl', 5)",
        "time.sleep(-1)",
        "pyautogui.click.__globals__",
        "(" * 10_000,
        "-" * 10_000 + "1",
        "pyautogui.click(\0)",
        "pyautogui.press('a')\n" * (MOST_ACTIONS + 1),
    ],
)
def test_A4_anything_else_refuses_the_step(code: str) -> None:
    """Code with anything else in it has no effect at all."""
    with pytest.raises(Unsupported):
        read_code(code, SCREEN, START)


def test_loops_over_nothing_end_at_once() -> None:
    head = "".join(f"{' ' * depth}for i in range(100):\n" for depth in range(15))
    assert read_code(f"{head}{' ' * 15}import time", SCREEN, START) == ()


def test_bare_calls_have_relative_points() -> None:
    assert read_calls("click(x=0.25, y=0.5)\nscroll(-5)", SCREEN, START) == (Click((50, 50)), Scroll((50, 50), -5))
    with pytest.raises(Unsupported):
        read_calls("pyautogui.click(0.5, 0.5)", SCREEN, START)


def test_the_pointer_is_where_the_last_action_was() -> None:
    assert pointer_after((Click((5, 6)), Write("a")), START) == (5, 6)
    assert pointer_after((Write("a"),), START) == START
