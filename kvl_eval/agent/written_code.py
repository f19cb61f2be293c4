"""Typed actions as pyautogui code, for desktops that take nothing else. What a model wrote is never passed on.

OSWorld's environment rewrites code that types `<` by patterns that read quotes wrongly, so that a text could leave its
quotes and be run. Here a text is either of plain characters or a list of numbers, and `<` is a key.
"""

from __future__ import annotations

import re

from kvl_eval.agent.actions import (
    AgentAction,
    ButtonDown,
    ButtonUp,
    Click,
    Done,
    Drag,
    Fail,
    Hotkey,
    KeyDown,
    KeyUp,
    Move,
    Press,
    Scroll,
    Sleep,
    Wait,
    Write,
)

LESS_THAN = "pyautogui.hotkey('shift', ',')"  # pyautogui types `>` instead
DRAG_SECONDS = 0.5
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:/~=+-]*")


def written_code(action: AgentAction) -> str:
    """The code of an action; WAIT, DONE and FAIL for those that are none."""
    match action:
        case Click((x, y), button, count):
            return f"pyautogui.click(x={x}, y={y}, clicks={count}, button={button!r})"
        case Move((x, y)):
            return f"pyautogui.moveTo({x}, {y})"
        case Drag((left, top), (x, y), button):
            drag = f"pyautogui.dragTo({x}, {y}, duration={DRAG_SECONDS}, button={button!r})"
            return f"pyautogui.moveTo({left}, {top}); {drag}"
        case Scroll((x, y), amount, sideways):
            return f"pyautogui.{'hscroll' if sideways else 'scroll'}({amount}, x={x}, y={y})"
        case ButtonDown((x, y), button):
            return f"pyautogui.mouseDown(x={x}, y={y}, button={button!r})"
        case ButtonUp((x, y), button):
            return f"pyautogui.mouseUp(x={x}, y={y}, button={button!r})"
        case _:
            return _without_point(action)


def _without_point(action: AgentAction) -> str:
    match action:
        case Write(text):
            return "; ".join(_typed(text)) or "pass"
        case Press(keys):
            return "; ".join(LESS_THAN if key == "<" else f"pyautogui.press({_text(key)})" for key in keys) or "pass"
        case Hotkey(keys):
            return f"pyautogui.hotkey({', '.join(map(_text, keys))})"
        case KeyDown(key):
            return f"pyautogui.keyDown({_text(key)})"
        case KeyUp(key):
            return f"pyautogui.keyUp({_text(key)})"
        case Sleep(seconds):
            return f"time.sleep({seconds})"
        case Wait():
            return "WAIT"
        case Done():
            return "DONE"
        case Fail():
            return "FAIL"
        case _:
            raise AssertionError(action)


def _typed(text: str) -> list[str]:
    """Statements that type a text."""
    statements: list[str] = []
    for number, part in enumerate(text.split("<")):
        if number:
            statements.append(LESS_THAN)
        if part:
            statements.append(f"pyautogui.write({_text(part)}, interval=0.01)")
    return statements


def _text(text: str) -> str:
    """An expression for a text that no pattern can misread."""
    if _PLAIN.fullmatch(text):
        return f"'{text}'"
    return f"''.join(map(chr, {[ord(letter) for letter in text]}))"
