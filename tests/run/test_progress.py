from __future__ import annotations

import io
from array import array
from collections import Counter

import pytest

from kvl_eval.printable import printable
from kvl_eval.run.progress import Lines, Silent, TaskCounts, Terminal, duration, make_progress, progress_line


def counts(**changes: object) -> TaskCounts:
    fields = {"name": "mathvista", "planned": 1000, "weight": 2000.0, "weight_left": 2000.0, **changes}
    return TaskCounts(**fields)  # type: ignore[arg-type]


def test_the_line_of_a_run_under_way() -> None:
    task = counts(
        ok=409,
        failed=Counter(oom=2, media_corrupt=1),
        done_here=412,
        weight_done=824.0,
        points=250.0,
        scored=409,
        thinking=array("q", [2_900] * 409),
        cut=82,
        load=45.3,
        model=300.0,
        started=0.0,
    )
    assert progress_line(task, now=346.0) == (
        "mathvista  412/1000  ok 409  failed 3 (oom 2, media_corrupt 1)  acc so far 0.611 [0.563–0.657]  "
        "think 2.9k tok, 20% cut  0.84 s/sample  cpu-prep 0.11 s, model 0.73 s  eta 8m14s"
    )


def test_the_first_answers_give_no_eta() -> None:
    task = counts(ok=4, done_here=4, weight_done=8.0, started=0.0)
    assert progress_line(task, now=10.0).endswith("eta unknown")
    assert progress_line(counts(), now=10.0) == "mathvista  0/1000  ok 0  eta unknown"


def test_eta_goes_by_weight_not_by_count() -> None:
    """Ten answers took 10 s, but with 90 of 100 units of work left the other half takes longer."""
    task = counts(planned=20, weight_left=100.0, ok=10, done_here=10, weight_done=10.0, started=0.0)
    assert progress_line(task, now=10.0).endswith("eta 1m30s")


def test_a_finished_task_stays_as_it_ended() -> None:
    task = counts(planned=10, ok=10, done_here=10, weight_done=10.0, started=0.0, finished=20.0)
    assert progress_line(task, now=1_000.0) == "mathvista  10/10  ok 10  2.00 s/sample  done"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.2, "0s"), (59.4, "59s"), (60, "1m00s"), (500, "8m20s"), (11_100, "3h05m")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_plain_lines_come_every_ten_seconds_and_only_for_what_moved() -> None:
    stream, now = io.StringIO(), [0.0]
    tasks = [counts(name="one"), counts(name="two")]
    lines = Lines(stream, clock=lambda: now[0])
    lines.start(tasks)
    for second in range(31):
        now[0] = float(second)
        tasks[0].ok += 1
        lines.update()
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["11/1000", "21/1000", "31/1000"]
    tasks[1].ok = 1
    lines.close()
    lines.close()
    assert stream.getvalue().splitlines()[-1].startswith("two  1/1000")


@pytest.mark.parametrize("kind", [Lines, Terminal])
def test_a_closed_stream_ends_the_telling_without_an_error(kind: type[Lines | Terminal]) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    progress = kind(Broken())
    task = counts()
    progress.start([task])
    task.ok = 1
    progress.notice("hello")
    progress.update()
    progress.close()


def test_a_terminal_shows_lines_and_notices() -> None:
    stream, now = io.StringIO(), [0.0]
    terminal = Terminal(stream, clock=lambda: now[0])
    task = counts(ok=3, started=0.0, done_here=3)
    terminal.start([task])
    terminal.notice("failed[oom] [bold]not markup[/bold]")
    now[0] = 1.0
    terminal.update()
    terminal.close()
    shown = stream.getvalue()
    assert "[bold]not markup[/bold]" in shown
    assert "mathvista  3/1000" in shown


def test_a_terminal_shows_what_runs_or_ran_before_and_not_what_waits() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, clock=lambda: 1.0)
    terminal.start([counts(name="running", started=0.0), counts(name="resumed", ok=5), counts(name="waiting")])
    terminal.update()
    terminal.close()
    shown = stream.getvalue()
    assert "running  0/1000" in shown and "resumed  5/1000" in shown
    assert "waiting" not in shown


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec\nd\x00") == "a\\x1b[2Jb\\u202ec\nd\\x00"
    stream = io.StringIO()
    Lines(stream).notice("x\x1b]0;title\x07")
    assert "\x1b" not in stream.getvalue()


def test_what_suits_a_stream() -> None:
    assert isinstance(make_progress(stream=io.StringIO()), Lines)
    assert isinstance(make_progress(quiet=True), Silent)
