"""The worker of OSWorld's own environment and its client, against a stand-in of that environment.

The worker runs as it is, in this interpreter; `tests/data/osworld_stand_in` takes the place of the genuine package.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.agent import osworld_worker
from kvl_eval.agent.actions import (
    KEYS,
    AgentAction,
    Click,
    Done,
    Drag,
    Fail,
    Hotkey,
    Press,
    ScreenSize,
    Scroll,
    Sleep,
    Wait,
    Write,
)
from kvl_eval.agent.code import read_code
from kvl_eval.agent.desk import DesktopDied, EvaluatorFailed, SetupFailed
from kvl_eval.agent.osworld_desk import OsworldDesk, OsworldPlace
from kvl_eval.agent.watch import WatchedDesk
from kvl_eval.agent.written_code import written_code
from kvl_eval.tasks.osworld import OFFICIAL_IMAGE, OSWORLD
from kvl_eval.types import Sample
from tests.conftest import DATA
from tests.processes import running

STAND_IN = DATA / "osworld_stand_in"
WIDTH, HEIGHT = 64, 40
EPISODE = replace(OFFICIAL_IMAGE, screen=(WIDTH, HEIGHT), settling="stable", waits=(0, 0))


def sample_of(fault: str = "", func: str = "exact_match") -> Sample:
    task = {"id": "t-1", "instruction": "Do it.", "snapshot": fault, "evaluator": {"func": func}}
    return OSWORLD.sample({"domain": "os", "task": task})


class Machine:
    """A machine that is started and let go of, and is none."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> str:
        self.calls.append("start")
        return "127.0.0.1:1:2:0:4"

    def close(self) -> None:
        self.calls.append("close")


Make = Callable[..., OsworldDesk]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes desktops whose folders lie in `tmp_path`, and closes them."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[OsworldDesk] = []

    def make(python: Path = Path(sys.executable), machine: Machine | None = None) -> OsworldDesk:
        place = OsworldPlace(python=python, tree=STAND_IN, cache=tmp_path / "cache")
        made.append(OsworldDesk(place, EPISODE, machine))
        return made[-1]

    yield make
    for desk in made:
        desk.close()
    wait_until(lambda: not list(tmp_path.glob("kvl-osworld-*")))


def seen(folder: Path) -> list[dict[str, Any]]:
    """What the environment did."""
    (path,) = folder.glob("kvl-osworld-*/seen.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_episode_from_reset_to_value(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cache/t-1").mkdir(parents=True)
    (tmp_path / "cache/t-1/gold.xlsx").write_bytes(b"gold")
    machine = Machine()
    desk = make(machine=machine)
    desk.reset(sample_of("prints"))
    first = desk.observe()
    assert first.size == ScreenSize(WIDTH, HEIGHT) and first.png.startswith(b"\x89PNG")
    result = desk.act(Click((3, 4)))
    assert (result.code, result.stdout) == (0, "typed\n")
    assert desk.act(Sleep(0.0)).code == 0
    assert desk.observe().sha256 != first.sha256
    evaluation = desk.evaluate(Done())
    assert evaluation.value == 1.0
    (check,) = evaluation.checks
    assert (check.function, check.value, check.error) == ("exact_match", 1.0, None)
    assert check.found == check.expected == "cache/x.xlsx"  # nothing of this machine
    assert desk.versions()["python"].startswith("3.")
    assert seen(tmp_path) == [
        {"reset": "t-1", "provider": "docker", "address": "127.0.0.1:1:2:0:4", "cached": ["gold.xlsx"]},
        {"executed": "pyautogui.click(x=3, y=4, clicks=1, button='left')"},
    ]
    assert machine.calls == ["start"]
    (folder,) = tmp_path.glob("kvl-osworld-*")
    desk.close()
    assert machine.calls == ["start", "close"]
    wait_until(lambda: not folder.exists())
    assert [path.name for path in (tmp_path / "cache/t-1").iterdir()] == ["gold.xlsx"]


def test_without_a_machine_the_named_provider_is_the_environments_own(make: Make, tmp_path: Path) -> None:
    desk = make()
    desk.reset(sample_of(func="infeasible"))
    assert seen(tmp_path)[0]["address"] == "127.0.0.1:5000:9222:8006:8080"
    evaluation = desk.evaluate(Fail())
    assert evaluation.value == 1
    assert [(check.function, check.found, check.value) for check in evaluation.checks] == [("infeasible", "FAIL", 1.0)]


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ("setup fails", SetupFailed, "Setup step 1 failed"),
        ("no screen", SetupFailed, "showed no screen"),
    ],
)
def test_a_setup_that_fails_is_told_from_a_desktop_that_died(
    make: Make, fault: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make().reset(sample_of(fault))


@pytest.mark.parametrize(
    ("fault", "text"),
    [("cut screen", "cannot be read"), ("huge screen", "cannot be read"), ("small screen", "is 8x8, expected 64x40")],
)
def test_a5_a_screen_that_is_none_is_a_dead_desktop(make: Make, fault: str, text: str) -> None:
    desk = make()
    desk.reset(sample_of(fault))
    with pytest.raises(DesktopDied, match=text):
        desk.observe()


def test_a2_a_worker_that_dies_in_a_step(make: Make) -> None:
    desk = make()
    desk.reset(sample_of("dies in a step"))
    with pytest.raises(DesktopDied, match="ended during step"):
        desk.act(Click((1, 1)))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("dies in evaluation", "ended during evaluate"),
        ("evaluator raises", "no such file"),
        ("no number", "gave no number"),
        ("two", "not from 0 to 1"),
    ],
)
def test_an_evaluator_that_fails_is_no_value(make: Make, fault: str, text: str) -> None:
    desk = make()
    desk.reset(sample_of(fault))
    with pytest.raises(EvaluatorFailed, match=text):
        desk.evaluate(Done())


def test_a_wrong_state_is_zero(make: Make) -> None:
    desk = make()
    desk.reset(sample_of("wrong"))
    assert desk.evaluate(None).value == 0


def test_a6_an_action_that_is_refused_is_sent_once_and_recorded(make: Make, tmp_path: Path) -> None:
    desk = make()
    desk.reset(sample_of("refuses actions"))
    result = desk.act(Hotkey(("ctrl", "s")))
    assert result.code == -1 and "not repeated" in result.stderr
    assert [line for line in seen(tmp_path) if "executed" in line] == [{"executed": "pyautogui.hotkey('ctrl', 's')"}]


def test_a3_a_worker_that_hangs_is_ended_by_the_watchdog(make: Make, tmp_path: Path) -> None:
    desk = make()
    desk.reset(sample_of("hangs in a step"))

    async def hang() -> None:
        await WatchedDesk(desk, limit=0.3).do(lambda: desk.act(Click((1, 1))), 120)

    with pytest.raises(DesktopDied, match="did not answer"):
        asyncio.run(hang())
    wait_until(lambda: not list(tmp_path.glob("kvl-osworld-*")))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("printf 'Starting\\n'", "cannot be read"),
        ('printf \'{"ok": {"screenshot": 3}}\\n\'', "screenshot"),
        ('printf \'{"error": {"kind": "other", "text": ""}}\\n\'', "kind"),
        ("printf '[]\\n'", "cannot be read"),
        ("exit 0", "ended during reset"),
    ],
    ids=["noise", "wrong type", "wrong kind", "list", "nothing"],
)
def test_what_is_no_reply_is_a_dead_desktop(make: Make, tmp_path: Path, line: str, text: str) -> None:
    with pytest.raises(DesktopDied, match=text):
        make(script(tmp_path, f"read request; {line}")).reset(sample_of())


def test_a5_a_reply_of_100_megabytes_is_not_read_to_its_end(make: Make, tmp_path: Path) -> None:
    python = script(tmp_path, "read request; exec head -c 100000000 /dev/zero")
    with pytest.raises(DesktopDied, match="longer than"):
        make(python).reset(sample_of())


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "link.png", "missing.png"])
def test_a_screen_is_a_file_of_the_workers_folder(make: Make, tmp_path: Path, name: str) -> None:
    ok = json.dumps({"ok": {"screenshot": name}})
    python = script(tmp_path, f"ln -s /etc/passwd link.png; while read request; do echo '{ok}'; done")
    desk = make(python)
    desk.reset(sample_of())
    with pytest.raises(DesktopDied, match="not there"):
        desk.observe()


def test_an_interpreter_that_is_none_is_a_failed_setup(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="cannot be started"):
        make(tmp_path / "nothing").reset(sample_of())


def test_a1_no_worker_outlives_the_harness(tmp_path: Path) -> None:
    """The worker's input ends with the harness; one that hangs in a step ends, too."""
    settings = {"folder": str(tmp_path), "cache": str(tmp_path / "c"), "provider": "docker", "screen": [64, 40]}
    command = [sys.executable, "-I", osworld_worker.__file__, json.dumps({**settings, "tree": str(STAND_IN)})]
    task = {"id": "t", "instruction": "", "snapshot": "hangs in a step", "evaluator": {"func": "exact_match"}}
    os.mkdir(tmp_path / "c")
    with running(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        for request in ({"do": "reset", "task": task}, {"do": "step", "action": "WAIT"}):
            worker.stdin.write(json.dumps(request) + "\n")
        worker.stdin.flush()
        assert "ok" in json.loads(worker.stdout.readline())
        worker.stdin.close()
        assert worker.wait(5) == 0
        assert worker.stdout.read() == ""


def test_the_worker_needs_nothing_of_kvl_eval_and_an_older_python() -> None:
    source = Path(osworld_worker.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


ACTIONS: list[AgentAction] = [
    *(Click((5, 6), "right", 2), Drag((1, 2), (3, 4)), Scroll((5, 5), -3), Scroll((5, 5), 2, sideways=True)),
    *(Hotkey(("ctrl", "alt", "t")), Press(("enter", "tab")), Sleep(0.5)),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_written_code_is_read_as_the_action_that_it_was(action: AgentAction) -> None:
    read = read_code(written_code(action), ScreenSize(64, 40), (0, 0))
    kept = [one for one in read if type(one) is type(action)]
    joined = Press(tuple(key for one in kept for key in one.keys)) if isinstance(action, Press) else kept[-1]  # type: ignore[union-attr]
    assert joined == action


HOSTILE = (
    "'+__import__('os').system('x')+\"<",
    "pyautogui.typewrite('<')",
    "a\\x3c\\u003c",
    "\\",
    "\n<>\n",
    "'\"" * 3,
    "é漢\U0001f600",
    "",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_typed_and_cannot_become_code(text: str) -> None:
    """The statements are calls of pyautogui whose arguments, computed from numbers alone, are the text again."""
    typed: list[str] = []

    class Pyautogui:
        def write(self, part: str, interval: float) -> None:
            typed.append(part)

        def hotkey(self, *keys: str) -> None:
            assert keys == ("shift", ",")
            typed.append("<")

    code = written_code(Write(text))
    assert not set(code) & set('"\\<\n') and code.isascii()
    exec(code, {"pyautogui": Pyautogui(), "__builtins__": {"map": map, "chr": chr}})
    assert "".join(typed) == text


def test_every_key_can_be_pressed() -> None:
    for key in sorted(KEYS):
        for action in (Press((key,)), Hotkey((key,))):
            assert not set(written_code(action)) & set('"\\<\n')


def test_words_of_the_environment() -> None:
    assert [written_code(action) for action in (Wait(), Done(), Fail())] == ["WAIT", "DONE", "FAIL"]


def script(folder: Path, line: str) -> Path:
    """A program in the place of the interpreter."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
