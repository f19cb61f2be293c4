"""Scripts for a few of OSWorld's tasks, for checks of the environment: how each is solved, and how it is missed."""

from __future__ import annotations

from kvl_eval.types import Sample

TERMINAL = "pyautogui.hotkey('ctrl', 'alt', 't'); time.sleep(2)"
COOKIE_PAGE = (
    "pyautogui.hotkey('ctrl', 'l'); pyautogui.typewrite('chrome://settings/cookies\\n', interval=0.01); time.sleep(3)"
)


def _in_terminal(line: str) -> tuple[str, ...]:
    return (TERMINAL, f"pyautogui.typewrite({line + chr(10)!r}, interval=0.01); time.sleep(1)", "DONE")


SOLUTIONS = {
    "os/e0df059f-28a6-4169-924f-b9623e7184cc": _in_terminal("mv ~/Desktop/todo_list_Jan_1 ~/Desktop/todo_list_Jan_2"),
    "os/bedcedc4-4d72-425e-ad62-21960b11fe0d": _in_terminal(
        "gsettings set org.gnome.settings-daemon.plugins.power idle-dim false"
    ),
    "os/b3d4a89c-53f2-4d6b-8b6a-541fb5d205fa": ("FAIL",),
    "chrome/030eeff7-b492-4218-b312-701ec99ee0cc": (
        *(COOKIE_PAGE, "pyautogui.click(1260, 668); time.sleep(1)", "pyautogui.press('enter'); time.sleep(1)", "DONE"),
    ),
}
"""{sample id: its steps}; the positions are those of Debian's Chromium on a screen of 1920x1080."""


def solution(sample: Sample, number: int) -> str:
    """What solves a step; DONE for a task without a script."""
    steps = SOLUTIONS.get(sample.id, ("DONE",))
    return steps[number - 1] if number <= len(steps) else "DONE"


def mistake(sample: Sample, number: int) -> str:
    """What misses every task: a click in the middle of nothing, then DONE."""
    del sample
    return "pyautogui.click(700, 500)" if number == 1 else "DONE"
