"""Replies of KimiAgent are read as its own class reads them; `kimi_parse.jsonl` has what that class made of 200."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kvl_eval.agent.actions import ScreenSize
from kvl_eval.agent.code import Unsupported, read_code
from kvl_eval.agent.kimi_reply import UnreadableReply, project_code, read_reply

VECTORS = Path(__file__).parents[1] / "data/agents/kimi_parse.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
FULL_HD = ScreenSize(1920, 1080)
WORDS = {"wait": "WAIT", "done": "DONE", "fail": "FAIL"}


def reading(row: dict) -> dict:
    """What we make of a row, in the words of the vectors."""
    reasoning = row["reasoning"] if row["thinking_mode"] else None
    try:
        reply = read_reply(row["content"], reasoning, ScreenSize(*row["screen"]))
    except UnreadableReply as error:
        return {"error": True, "actions": None, "action_text": None, "thought": error.thought}
    return {
        "error": False,
        "actions": [WORDS.get(reply.kind, reply.code)],
        "action_text": reply.action,
        "thought": reply.thought,
    }


def test_there_are_all_vectors() -> None:
    assert len(ROWS) == 200


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["id"]))
def test_a_reply_is_read_as_the_original_class_reads_it(row: dict) -> None:
    assert reading(row) == row["expected"]


def test_A4_a_long_or_deep_reply_takes_no_time() -> None:
    """Whatever a model writes, reading it takes no time that grows with its square: that would be hours here."""
    long = "x" * 10**6
    deep = "(" * 10**4
    blank = "\n" * 10**6
    replies = [
        long,
        blank,
        "##" + " " * 10**6,
        "## Action\n" * 10**5,
        f"## Action:\n{blank}a\n```python\n{long}\n```",
        f"## Action:\nx\n```python\npyautogui.click{deep}\n```",
        "## Action:\nx\n```python\n" + "pyautogui.click(" * 3_000 + "```",
        "## Action:\nx\n```python\n" + "pyautogui.click(-" + "-" * 10**4 + "1)```",
        "## Action:\nx\n```python\nwhile True: pass\n```",
    ]
    for number, content in enumerate(replies):
        begun = time.process_time()
        try:
            reply = read_reply(content, None, FULL_HD)
            with pytest.raises(Unsupported):
                read_code(reply.code, FULL_HD, FULL_HD.center)
        except UnreadableReply:
            pass
        assert time.process_time() - begun < 10, number


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param("pyautogui.click(x=1, y=1)", "pyautogui.click(1920, 1080)", id="one-is-the-corner"),
        pytest.param("pyautogui.scroll(1, 0.5, 0.5)", "pyautogui.scroll(1, 0.5, 0.5)", id="positions-of-others-stay"),
        pytest.param("pyautogui.scroll(1, x=0.5, y=0.5)", "pyautogui.scroll(x=960, y=540)", id="names-lose-the-rest"),
        pytest.param("pyautogui.click(x=float('nan'), y=0.5)", "pyautogui.click(x=float('nan'), y=0.5)", id="cut-call"),
        pytest.param("pyautogui.click('a', 0.5)", "pyautogui.click('a', 0.5)", id="a-text-is-no-number"),
        pytest.param("pyautogui.click(0.5, 0.5, button=b)", "pyautogui.click(0.5, 0.5, button=b)", id="a-name"),
    ],
)
def test_projection(code: str, expected: str) -> None:
    assert project_code(code, FULL_HD) == expected


@pytest.mark.parametrize("code", ["pyautogui.click(a, 0.5)", "pyautogui.click(None, 0.5)", "pyautogui.click(1e999, 2)"])
def test_what_stops_the_class_is_asked_again(code: str) -> None:
    with pytest.raises(ValueError):
        project_code(code, FULL_HD)
