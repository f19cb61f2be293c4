"""Two episodes written by hand, and their screens: `python -m tests.hand_made_trajectories` puts them into tests/data.

They are what an agent's run leaves (`trajectories/TASK/SAMPLE/REPEAT.jsonl`, `media/SHA256.png`); nothing ran them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from kvl_eval.store.journal import encode_line
from kvl_eval.store.trajectories import StoredTrajectory, trajectories

FOLDER = Path(__file__).resolve().parent / "data" / "trajectories"
SCREEN = (960, 600)


def screen(title: str, boxes: Sequence[tuple[int, int, int, int, str]]) -> bytes:
    """A drawn screen as PNG: a title bar and named boxes."""
    image = Image.new("RGB", SCREEN, "#e9edf2")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SCREEN[0], 40), fill="#2b3648")
    draw.text((16, 14), title, fill="white")
    for left, top, right, bottom, name in boxes:
        draw.rectangle((left, top, right, bottom), fill="white", outline="#8893a3")
        draw.text((left + 10, top + 10), name, fill="#14181f")
    png = BytesIO()
    image.save(png, "PNG", optimize=True)
    return png.getvalue()


MENU = screen("Text editor", [(40, 60, 920, 560, "notes.txt"), (780, 90, 880, 140, "menu")])
OPENED = screen("Text editor", [(40, 60, 920, 560, "notes.txt"), (700, 90, 880, 260, "Open  Save  Find")])
FIND = screen("Text editor", [(40, 60, 920, 560, "notes.txt"), (300, 240, 660, 330, "Find:")])
FOUND = screen("Text editor", [(40, 60, 920, 560, "notes.txt, line 120: total 47"), (60, 300, 500, 330, "total 47")])
FILES = screen("Files", [(60, 90, 200, 190, "report.odt"), (620, 380, 860, 540, "archive")])


def sha256(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()


def step(n: int, shown: bytes, source: str, actions: Sequence[Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """One step; `changes` replace what every step has."""
    return {
        "n": n,
        "screenshot_sha256": sha256(shown),
        "prompt_sha256": "",
        "prompt_text": f"<image:1># Task Instruction: step {n}",
        "seed": 17 + n,
        "raw_output": source,
        "thinking": "",
        "answer": source,
        "tokens": {"prompt": 900, "image": 780, "thinking": 0, "answer": 40},
        "actions": list(actions),
        "source": source,
        "parse": "ok",
        "result": {"code": 0},
        "time": {"model": 3.1, "act": 0.1, "settle": 0.6, "screenshot": 0.2},
        **changes,
    }


def head(sample_id: str, instruction: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "task": "desktop-mini",
        "sample_id": sample_id,
        "repeat": 0,
        "instruction": instruction,
        "screen": list(SCREEN),
        "agent": "kimi",
        "agent_version": 1,
        "provider": "drawn",
        "task_sha256": hashlib.sha256(instruction.encode()).hexdigest(),
        "config_fingerprint": "0" * 64,
        "started_at": "2026-11-30T12:00:00+00:00",
    }


SOLVED = [
    head("menu-1", "Find the line with the total in notes.txt and write its number into the search box."),
    step(
        1,
        MENU,
        "pyautogui.click(x=0.865, y=0.192)",
        [{"kind": "click", "point": [830, 115], "button": "left", "count": 1}],
        thinking="The file is open. The search stands behind the menu at the upper right.",
    ),
    step(
        2,
        OPENED,
        "pyautogui.doubleClick(x=0.88, y=0.3)",
        [{"kind": "click", "point": [845, 180], "button": "left", "count": 2}],
        thinking="The menu lists Find.",
        result={"code": 0, "stdout": "focus: find\n"},
    ),
    step(
        3,
        FIND,
        "pyautogui.write('total')\npyautogui.hotkey('ctrl', 'f')",
        [{"kind": "write", "text": "total"}, {"kind": "hotkey", "keys": ["ctrl", "f"]}],
    ),
    step(4, FOUND, "pyautogui.scroll(-5)", [{"kind": "scroll", "point": [480, 300], "amount": -5}]),
    step(5, FOUND, "computer.wait()", [{"kind": "wait"}], time={"model": 1.2, "act": 2.0, "screenshot": 0.2}),
    step(6, FOUND, "computer.terminate(status='success')", [{"kind": "done"}], thinking="The line is there: total 47."),
    {
        "ended_by": "done",
        "steps": 6,
        "screenshot_sha256": sha256(FOUND),
        "evaluator": [{"function": "exact_match", "expected": "47", "found": "47", "value": 1.0, "seconds": 0.4}],
        "value": 1.0,
        "provider": "drawn",
        "versions": {"kvl-eval": "0.2.0"},
        "time": {"setup": 1.2, "evaluate": 0.4, "total": 24.8},
    },
]
DIED = [
    head("files-2", "Move report.odt into the folder archive."),
    step(
        1,
        FILES,
        "pyautogui.moveTo(130, 140)\npyautogui.dragTo(740, 460)",
        [
            {"kind": "move", "point": [130, 140]},
            {"kind": "drag", "start": [130, 140], "point": [740, 460], "button": "left"},
        ],
    ),
    step(
        2,
        FILES,
        "import os\nos.rename('report.odt', 'archive/report.odt')",
        [],
        parse="unsupported",
        thinking="Nothing moved. I rename the file instead.",
    ),
    step(3, FILES, "pyautogui.press('f2')", [{"kind": "press", "keys": ["f2"]}]),
    {
        "ended_by": "desktop_died",
        "steps": 3,
        "screenshot_sha256": None,
        "evaluator": [],
        "value": None,
        "message": "the desktop answers no more",
        "provider": "drawn",
        "versions": {},
        "time": {"setup": 1.1, "total": 13.0},
    },
]
EPISODES = {"menu-1": SOLVED, "files-2": DIED}


def write_episodes(run: Path, episodes: Mapping[str, Sequence[Mapping[str, Any]]] = EPISODES) -> Path:
    """Put episodes of task desktop-mini, and all screens, into a run folder; returns it."""
    for sample, lines in episodes.items():
        path = run / "trajectories" / "desktop-mini" / sample / "0.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        named = ({**line, "sample_id": sample} if "sample_id" in line else line for line in lines)
        path.write_bytes(b"".join(map(encode_line, named)))
    (run / "media").mkdir(parents=True, exist_ok=True)
    for png in (MENU, OPENED, FIND, FOUND, FILES):
        (run / "media" / f"{sha256(png)}.png").write_bytes(png)
    return run


def hand_made(run: Path = FOLDER) -> list[StoredTrajectory]:
    """The episodes of a folder, by sample id."""
    return [episode for episode in trajectories(run) if isinstance(episode, StoredTrajectory)]


if __name__ == "__main__":
    write_episodes(FOLDER)
