from __future__ import annotations

import io
from array import array
from collections import Counter
from dataclasses import replace

import pytest
from rich.cells import cell_len

from kvl_eval.printable import printable
from kvl_eval.run.progress import Lines, Notices, Silent, TaskCounts, Terminal, duration, make_progress, progress_lines


def counts(**changes: object) -> TaskCounts:
    fields = {"name": "mathvista", "planned": 1000, "weight": 2000.0, "weight_left": 2000.0, **changes}
    return TaskCounts(**fields)  # type: ignore[arg-type]


def line(task: TaskCounts, now: float, width: int = 200, **changes: bool) -> str:
    """The line of one task, its columns' blanks reduced to two."""
    (text,) = progress_lines([task], now, width, **changes)
    return text


UNDER_WAY = counts(
    ok=409,
    failed=Counter(oom=2, media_corrupt=1),
    done_here=412,
    weight_done=824.0,
    points=250.0,
    scored=409,
    thinking=array("q", [2_900] * 409),
    cut=82,
    waited=110.7,
    started=0.0,
)


def test_a_wide_line_shows_everything() -> None:
    assert line(UNDER_WAY, now=346.0) == (
        "mathvista  412/1000   41%  ETA 8m14s  3 failed (oom 2, media_corrupt 1)  61.1 so far  [56.3, 65.7]  "
        "think 2.9k, 20% truncated  0.84 s/sample  waiting for media 32%"
    )


def test_waiting_for_media_is_shown_above_a_tenth_of_the_time() -> None:
    assert "waiting for media 11%" in line(replace(UNDER_WAY, waited=38.0), now=346.0)
    assert "waiting" not in line(replace(UNDER_WAY, waited=34.0), now=346.0)
    assert "waiting" not in line(UNDER_WAY, now=346.0, width=110)
    assert "waiting for media 32%" in line(UNDER_WAY, now=346.0, width=170)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (40, "mathvista  412/1000   41%  ETA 8m14s"),
        (60, "mathvista  412/1000   41%  ETA 8m14s  3 failed  61.1 so far"),
        (80, "mathvista  412/1000   41%  ETA 8m14s  3 failed (oom 2, media_corrupt 1)"),
        (
            120,
            "mathvista  412/1000   41%  ETA 8m14s  3 failed (oom 2, media_corrupt 1)  61.1 so far  [56.3, 65.7]"
            "  0.84 s/sample",
        ),
    ],
)
def test_a_narrow_line_drops_fields_and_cuts_none(width: int, expected: str) -> None:
    assert line(UNDER_WAY, now=346.0, width=width) == expected


def test_lines_of_several_tasks_stand_in_columns_and_end_with_the_total() -> None:
    tasks = [
        counts(ok=412, done_here=412, weight_done=824.0, points=252.1, scored=412, started=0.0),
        counts(name="mmlongbench-doc", planned=1082, ok=10, failed=Counter(oom=2), started=340.0),
    ]
    lines = progress_lines(tasks, now=346.0, width=60)
    assert lines == [
        "mathvista        412/1000   41%  ETA 8m14s  61.2 so far",
        "mmlongbench-doc   12/1082    1%  ETA ?      2 failed (oom 2)",
        "total            424/2082   20%  ETA 22m",
    ]


NAMES = ("mathvista", "数学視覚推論評価データセット", "a-very-long-name-of-a-task-that-goes-on", "😀" * 12, "x")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("name", NAMES)
def test_every_line_fits_and_says_how_long(name: str, width: int) -> None:
    failed = Counter({"context_overflow": 123, "media_corrupt": 77, "oom": 12})
    tasks = [
        counts(name=name, ok=9999, planned=99999, failed=failed, done_here=9, weight_done=1.0, started=0.0, scored=9),
        counts(name="other", ok=1000, scored=1000, points=500.5, started=0.0, finished=30.0, done_here=1000),
    ]
    for text in progress_lines(tasks, now=10_000.0, width=width):
        assert cell_len(text) <= width
        assert "ETA" in text or "done" in text
        assert "acc" not in text


def test_the_first_answers_give_no_eta() -> None:
    task = counts(ok=4, done_here=4, weight_done=8.0, started=0.0)
    assert "ETA ?" in line(task, now=10.0)
    assert line(counts(), now=10.0) == "mathvista  0/1000    0%  ETA ?"


def test_eta_goes_by_weight_not_by_count() -> None:
    """Ten answers took 10 s, but with 90 of 100 units of work left the other half takes longer."""
    task = counts(planned=20, weight_left=100.0, ok=10, done_here=10, weight_done=10.0, started=0.0)
    assert "ETA 1m30s" in line(task, now=10.0)


def test_the_eta_of_the_total_goes_by_the_weight_of_every_task() -> None:
    tasks = [
        counts(planned=10, weight_left=10.0, ok=10, done_here=10, weight_done=10.0, started=0.0, finished=10.0),
        counts(name="video", planned=10, weight_left=90.0),
    ]
    assert progress_lines(tasks, now=10.0, width=80)[-1].endswith("50%  ETA 1m30s")


def test_a_finished_task_stays_as_it_ended() -> None:
    task = counts(planned=10, ok=10, done_here=10, weight_done=10.0, started=0.0, finished=20.0, scored=10, points=5.0)
    assert line(task, now=1_000.0) == "mathvista  10/10  100%  done 20s  50.0  [23.7, 76.3]  2.00 s/sample"


def test_all_but_one_is_not_a_hundred_percent() -> None:
    assert " 99%" in line(counts(ok=999), now=1.0)


def test_server_fields_come_with_width_or_verbosity() -> None:
    task = counts(ok=3, server={"retries": 5, "limited": 4, "room": 2})
    text = "5 retries (4 rate limited), 2 connections"
    assert text in line(task, 1.0, width=120)
    assert text not in line(task, 1.0, width=100)
    assert text in line(task, 1.0, width=100, verbose=True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0s"), (59.4, "59s"), (60, "1m00s"), (500, "8m20s"), (1_870, "31m"), (11_100, "3h05m"), (446_400, "5d04h")],
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
    shown = [line.split()[:2] for line in stream.getvalue().splitlines()]
    assert shown[::2] == [["one", "11/1000"], ["one", "21/1000"], ["one", "31/1000"]]
    assert shown[1::2] == [["total", "11/2000"], ["total", "21/2000"], ["total", "31/2000"]]
    tasks[1].ok = 1
    lines.close()
    lines.close()
    assert [line.split()[0] for line in stream.getvalue().splitlines()[6:]] == ["two", "total"]
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("kind", [Lines, Terminal])
def test_a_closed_stream_ends_the_output_without_an_error(kind: type[Lines | Terminal]) -> None:
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


def test_a_terminal_shows_tasks_that_have_begun_and_the_total_of_all() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, clock=lambda: 1.0)
    terminal.start([counts(name="running", started=0.0), counts(name="resumed", ok=5), counts(name="waiting")])
    terminal.update()
    terminal.close()
    shown = stream.getvalue()
    assert "running  0/1000" in shown and "resumed  5/1000" in shown and "total    5/3000" in shown
    assert "waiting" not in shown


def test_a_terminal_shows_the_first_task_while_nothing_has_begun() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, clock=lambda: 1.0)
    terminal.start([counts(), counts(name="waiting")])
    terminal.update()
    terminal.close()
    assert "mathvista  0/1000    0%  ETA ?" in stream.getvalue()


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec\nd\x00") == "a\\x1b[2Jb\\u202ec\nd\\x00"
    stream = io.StringIO()
    Lines(stream).notice("x\x1b]0;title\x07")
    assert "\x1b" not in stream.getvalue()


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_what_suits_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_progress(stream=Screen()), Terminal)
    assert isinstance(make_progress(stream=io.StringIO()), Lines)
    assert isinstance(make_progress(quiet=True), Notices)
    assert type(make_progress(verbosity=-1)) is Silent
    assert make_progress(stream=Screen(), verbosity=1).is_verbose  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "value"), [("CI", "1"), ("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def test_ci_and_terminals_that_cannot_move_get_plain_lines(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for other in ("CI", "NO_COLOR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert isinstance(make_progress(stream=Screen()), Lines)


def test_without_progress_lines_notices_are_still_printed() -> None:
    stream = io.StringIO()
    progress = Notices(stream)
    progress.start([counts(ok=1)])
    progress.notice("210 requests; results/x")
    progress.update()
    progress.close()
    assert stream.getvalue() == "210 requests; results/x\n"
