"""A run on a terminal of 60 columns, and on one where nothing may move."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from rich.cells import cell_len

ROOT = Path(__file__).parents[2]
RUN = (
    *("-m", "kvl_eval", "run", "mathvista", "mmmu"),
    *("--model", "fake", "--model-args", "delay=0.2", "--limit", "8"),
)


def screen(cwd: Path, columns: int, **variables: str) -> str:
    """What a run writes to a terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm", "PYTHONPATH": str(ROOT), **variables}
    run = subprocess.Popen([sys.executable, *RUN], cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the program has ended, and with it the other side
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert run.wait(60) == 0
    return text.decode()


@pytest.mark.slow
def test_every_line_of_progress_fits_and_says_when_it_ends(tmp_path: Path) -> None:
    text = screen(tmp_path, 60).replace("\x1b[K", "\n").replace("\r", "\n")
    lines = [line for line in text.splitlines() if "%" in line and ("mathvista " in line or "mmmu " in line)]
    lines = [line for line in lines if "/8" in line]
    assert len(lines) > 3
    assert all("ETA" in line or "done" in line for line in lines)
    assert max(map(cell_len, lines)) <= 60
    assert not any("acc" in line for line in lines)


@pytest.mark.slow
def test_nothing_moves_where_CI_is_set(tmp_path: Path) -> None:
    text = screen(tmp_path, 60, CI="1")
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "")
