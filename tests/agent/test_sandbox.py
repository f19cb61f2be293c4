"""Desktops in the sandbox. They need the packages of `kvl-eval check desktop`, user namespaces and a plain account."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from kvl_eval.agent import sandbox
from kvl_eval.agent.actions import Click, Hotkey, Press, ScreenSize, Wait, Write
from kvl_eval.agent.base import Screenshot
from kvl_eval.agent.desk import DrawnDesk
from kvl_eval.agent.sandbox import Sandbox
from kvl_eval.agent.xvfb_desk import XvfbDesk
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.tasks.desktop_mini import EPISODE, TASK
from tests.agent.stub_desks import SAMPLES, good_click

pytestmark = pytest.mark.desktop
SIZE = ScreenSize(*EPISODE.screen)
BOARDS = [sample for sample in SAMPLES.values() if sample.row["level"] == "A"]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    started = Sandbox(SIZE)
    yield started
    started.stop()


def pixels(screen: Screenshot) -> bytes:
    return Image.open(io.BytesIO(screen.png)).convert("RGB").tobytes()


def text_of(box: Sandbox, name: str, seconds: float = 30.0) -> str:
    """A file of the desktop once it has something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reply = box.guest.ask("GET", f"/file?name={name}")
        if reply.status == 200 and reply.content:
            return reply.content.decode()
        time.sleep(0.1)
    raise AssertionError(f"{name} did not come")


def run_in(box: Sandbox, code: str) -> str:
    """What a Python program in the desktop writes to `out`."""
    box.guest.upload("program.py", code.encode())
    box.guest.upload("out", b"")
    box.guest.launch(["/usr/bin/python3", "program.py"])
    return text_of(box, "out")


def test_the_probe_passes() -> None:
    report = sandbox.check()
    assert report.problems == () and report.ok


def test_screens_of_level_A_are_the_drawn_ones_in_every_pixel() -> None:
    """One desktop shows the boards of all samples, one after the other."""
    sample = replace(BOARDS[0], media=tuple(ref for sample in BOARDS for ref in sample.media))
    drawn, live = DrawnDesk(SIZE), XvfbDesk(SIZE)
    try:
        for desk in (drawn, live):
            desk.reset(sample)
        while not drawn.is_over:
            assert pixels(live.observe()) == pixels(drawn.observe())
            for desk in (drawn, live):
                desk.act(Click((20 + 5 * len(drawn.hits), 30)))
            assert live.is_over == drawn.is_over
        assert pixels(live.observe()) == pixels(drawn.observe())
        about = live._guest.facts("/about")
        # two for each board, one for the program, one to wait for it, one to look at the desktop after it started
        boards = len(sample.media)
        assert about["programs"] == 1
        assert isinstance(asked := about["requests"], int) and asked - 2 * boards <= 5
    finally:
        live.close()


def test_a_step_is_one_request_and_starts_no_process(box: Sandbox) -> None:
    before, after = box.guest.facts("/about"), None
    for action in (Click((5, 5)), Write("a"), Wait()):
        assert isinstance(box.guest.act(action, quiet=0.1), Screenshot)
    after = box.guest.facts("/about")
    assert isinstance(before["requests"], int) and after["requests"] == before["requests"] + 4
    assert after["programs"] == before["programs"]


def test_a_run_on_the_sandbox_has_the_results_of_the_drawn_one(tmp_path: Path) -> None:
    scores = {}
    for provider in ("drawn", "xvfb"):
        options = {
            "provider": provider,
            "prompt": "one-click",
            "sample_ids": "board-1,board-7,missing-1",
            "desktops": 2,
        }
        config = resolve("fake", "fake", [TASK], {"output_dir": str(tmp_path / provider), **options})
        backend = FakeBackend(config.settings, answer=good_click)
        outcome = start_run(plan_run(config, backend), backend)
        assert outcome.exit_code == 0
        scores[provider] = {
            record.sample_id: (record.answer, record.raw_output) for record in outcome.folder.records("desktop-mini")
        }
    assert scores["drawn"] == scores["xvfb"]


TYPING = """
import tkinter
root = tkinter.Tk()
entry = tkinter.Entry(root)
entry.pack()
entry.focus_force()
entry.bind("<Return>", lambda event: open("out", "w").write(entry.get()))
root.after(100, lambda: open("ready", "w").write("x"))
root.mainloop()
"""


def test_keys_arrive_as_they_were_typed(box: Sandbox) -> None:
    text = "Hello, {World}! ~/a_b-c = 42% ñ€"
    box.guest.upload("program.py", TYPING.encode())
    box.guest.upload("out", b"")
    box.guest.launch(["/usr/bin/python3", "program.py"])
    assert text_of(box, "ready") == "x"
    for action in (
        Wait(),
        Write("gone"),
        Hotkey(("ctrl", "slash")),
        Press(("delete",)),
        Write(text),
        Press(("enter",)),
    ):
        box.guest.act(action, quiet=0.3)
    assert text_of(box, "out") == text


def test_a_key_that_no_keyboard_has_is_refused(box: Sandbox) -> None:
    assert "no key" in str(box.guest.act(Press(("launchapp1",)), quiet=0))


LIMITS = """
import os, signal, sys
said, children = [], []
try:
    block = bytearray(3 << 30)
except MemoryError:
    said.append("memory")
try:
    with open("large", "wb") as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
except OSError:
    said.append("disk")
os.remove("large")
try:
    while True:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
except OSError:
    said.append("processes")
for child in children:
    os.kill(child, signal.SIGKILL)
open("out", "w").write(" ".join(said))
"""


def test_A8_memory_disk_and_processes_end_inside_the_sandbox(box: Sandbox) -> None:
    assert run_in(box, LIMITS) == "memory disk processes"
    assert isinstance(box.guest.act(Wait(), quiet=0), Screenshot)


KEEPS = """
import sys, time
from kvl_eval.agent.actions import ScreenSize
from kvl_eval.agent.sandbox import Sandbox
Sandbox(ScreenSize(64, 64))
print("ready", flush=True)
time.sleep(60)
"""


def inside(parent: int) -> set[int]:
    """Processes below this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    known = {parent}
    while more := {process for process, above in parents.items() if above in known} - known:
        known |= more
    return known - {parent}


def is_alive(number: int) -> bool:
    """Whether a process is there; one that has ended waits for its parent, and is not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_A1_nothing_is_left_of_a_desktop_whose_harness_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", KEEPS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        desktop = inside(process.pid)
        assert len(desktop) > 3
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 30
    while (left := [number for number in desktop if is_alive(number)]) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []
    sandbox.sweep()
