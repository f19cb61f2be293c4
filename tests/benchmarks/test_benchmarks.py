"""Every benchmark checks that both sides agree; here that is all that counts. No time is looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.all import NAMED, NAMES, PAGE, filled, row_of
from benchmarks.measure import HEADER, Row, Times, alternate, speedup

ROOT = Path(__file__).resolve().parents[2]
ASKED = ["git", "cat-file", "-e", "5e316bf^{commit}"]
HISTORY = shutil.which("git") is not None and not subprocess.run(ASKED, cwd=ROOT, capture_output=True).returncode
RELEASE = ("release",) if HISTORY else ()  # it compares with an earlier commit, which a copy without history lacks


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *RELEASE])
def test_both_sides_of_a_benchmark_agree(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--tiny", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    rows = [row_of(json.loads(line)) for line in done.stdout.splitlines()]
    assert rows
    assert all(row.markdown().count(" | ") == HEADER.splitlines()[0].count(" | ") for row in rows)


def test_the_page_has_a_place_for_every_table() -> None:
    page = PAGE.read_text("utf-8")
    written = filled(page, {name: f"rows of {name}" for name in NAMES})
    assert all(f"\n\nrows of {name}\n\n<!-- end -->" in written for name in NAMES)
    assert filled(written, {"idle": "new"}).count("rows of") == len(NAMES) - 1
    for name, other in NAMED.items():
        assert f"\n\nrows of {name}\n\n<!-- end -->" in filled(other.read_text("utf-8"), {name: f"rows of {name}"})
    with pytest.raises(SystemExit, match="0 places"):
        filled(page, {"unheard": ""})


def test_variants_take_turns_and_must_agree() -> None:
    calls: list[str] = []
    times = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3, enough=0.0)
    assert calls[-6:] == list("ababab")
    assert all(len(found.rounds) == 3 for found in times.values())
    with pytest.raises(AssertionError):
        alternate({"one": lambda: 1.0, "two": lambda: 2.0}, rounds=1, same=1e-3)


@pytest.mark.parametrize(
    ("bounds", "met", "goal"),
    [
        ({"at_least": 5.0}, False, "≥ 5"),
        ({"at_least": 4.0}, True, "≥ 4"),
        ({"at_most": 1.15}, False, "≤ 1.15"),
        ({}, None, ""),
    ],
)
def test_goals(bounds: dict[str, float], met: bool | None, goal: str) -> None:
    row = Row(what="w", against="a", ours="1 s", theirs="4 s", ratio=4.0, **bounds)
    assert (row.met, row.goal) == (met, goal)
    assert row_of(json.loads(row.json())) == row
    figure = Row(what="w", against="", ours="", theirs="", figure=0.4, unit=" s", at_most=0.5)
    assert (figure.met, figure.goal) == (True, "≤ 0.5 s")


def test_a_speedup_is_the_ratio_of_medians_with_its_spread() -> None:
    row = speedup("w", "a", Times((1.0, 2.0, 1.0)), Times((3.0, 2.0, 5.0)))
    assert (row.ratio, row.spread) == (3.0, (1.0, 5.0))
    assert row.markdown() == "| w | a | 1 s | 3 s | 3.00 (1.00 to 5.00) |  |  |"
