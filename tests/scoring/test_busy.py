"""Seconds by the clock and devices at once, from records alone."""

from __future__ import annotations

import pytest

from kvl_eval.scoring.busy import BusyTimes

NOON = "2026-08-11T12:00:{:06.3f}+02:00"


def times(*answers: tuple[str, float, float]) -> BusyTimes:
    """Answers as (worker, begin, end), in seconds after noon."""
    busy = BusyTimes()
    for worker, begin, end in answers:
        busy.add(worker, NOON.format(end), end - begin)
    return busy


@pytest.mark.parametrize(
    ("answers", "seconds", "devices"),
    [
        pytest.param([("cuda:0:7", 0, 4), ("cuda:0:7", 1, 5)], 5.0, 1, id="a-batch-counts-once"),
        pytest.param([("cuda:0:7", 0, 4), ("cuda:0:7", 10, 12)], 6.0, 1, id="a-pause-does-not-count"),
        pytest.param([("cuda:0:7", 0, 4), ("cuda:1:8", 1, 6)], 6.0, 2, id="two-devices-at-once"),
        pytest.param([("cuda:0:7", 0, 4), ("cuda:0:9", 4, 6)], 6.0, 1, id="resumed-in-another-process"),
        pytest.param([("http://127.0.0.1:8000", 0, 4)], 4.0, None, id="a-server-has-seconds-only"),
        pytest.param([("fake", 0, 4)], 4.0, None, id="a-script-has-no-device"),
        pytest.param([("cpu:7", 3, 3)], 0.0, 1, id="an-answer-in-no-time"),
        pytest.param([], None, None, id="nothing-answered"),
    ],
)
def test_busy_times(answers: list[tuple[str, float, float]], seconds: float | None, devices: int | None) -> None:
    busy = times(*answers)
    assert (busy.seconds, busy.devices) == (seconds, devices)


def test_an_answer_without_a_time_is_left_out() -> None:
    busy = times(("cuda:0:7", 0, 4))
    busy.add("cuda:0:7", "yesterday", 100.0)
    assert busy.seconds == 4.0
