"""How loud a process is: what each level prints, and what is printed once."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator

import pytest

from kvl_eval.cli import terminal
from kvl_eval.cli.terminal import PROGRESS, STEPS, ProgressHandler


@pytest.fixture(autouse=True)
def usual_loudness() -> Iterator[None]:
    terminal.show_logs()
    yield
    terminal.set_verbosity(0)


def everything() -> None:
    terminal.result("table")
    terminal.note("good to know")
    terminal.warn("misleading")
    terminal.step("loading")
    terminal.detail("hash")
    for level in (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
        logging.getLogger("kvl_eval.model").log(level, logging.getLevelName(level).lower())


NOTES = ["note: good to know", "warning: misleading", "loading"]


@pytest.mark.parametrize(
    ("level", "out", "err"),
    [
        (-2, [], ["error"]),
        (-1, ["table"], ["warning: misleading", "error", "warning: warning"]),
        (0, ["table"], [*NOTES, "error", "warning: warning"]),
        (1, ["table"], [*NOTES, "hash", "error", "warning: warning", "info"]),
        (2, ["table"], [*NOTES, "hash", "error", "warning: warning", "info", "debug: debug"]),
    ],
)
def test_what_each_level_prints(level: int, out: list[str], err: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    terminal.set_verbosity(level)
    everything()
    printed = capsys.readouterr()
    assert (printed.out.splitlines(), printed.err.splitlines()) == (out, err)


def test_a_sentence_is_printed_once_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        terminal.warn("partial run")
    terminal.note("partial run")
    assert capsys.readouterr().err == "warning: partial run\n"
    assert terminal.is_said("partial run")
    terminal.set_verbosity(0)
    assert not terminal.is_said("partial run")


def test_a_step_that_lasts_is_announced_and_a_short_one_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "SHORT_STEP", 30.0)
    STEPS.info("reading %s", "mathvista")
    terminal.result("table")
    monkeypatch.setattr(terminal, "SHORT_STEP", 0.0)
    STEPS.info("reading %s", "mmmu")
    text = ""
    for _ in range(500):
        text += capsys.readouterr().err
        if text:
            break
        time.sleep(0.01)
    assert text == "reading mmmu\n"


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "plain"),
    [({}, False), ({"CI": "1"}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, True), ({"TERM": ""}, True)],
)
def test_where_nothing_may_move(variables: dict[str, str], plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert terminal.is_plain(Screen()) is plain
    assert terminal.is_plain(io.StringIO())


def test_the_progress_of_a_verb_is_rewritten_on_a_terminal_and_gone_before_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", screen)
    PROGRESS.info("samples 400/1000  ETA 20s")
    terminal.warn("over")
    assert screen.getvalue() == "\rsamples 400/1000  ETA 20s\x1b[K\r\x1b[Kwarning: over\n"


def test_elsewhere_the_progress_of_a_verb_is_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    handler = ProgressHandler(clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        handler.emit(logging.LogRecord("p", logging.INFO, "", 0, "samples %d/99", (second,), None))
    assert capsys.readouterr().err.splitlines() == ["samples 10/99", "samples 20/99"]
