"""`score --protocol all`: a table that fits a screen, what waits for a judge, and samples that differ on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Kvl


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kvl: Kvl) -> None:
    monkeypatch.chdir(tmp_path)
    answers = "hash"  # some in the form asked for, some not
    assert kvl("run", "mathvista", "--model", "fake", "--model-args", f"answers={answers}").code == 0


@pytest.mark.usefixtures("run")
def test_all_protocols_of_mathvista_fit_a_screen(kvl: Kvl) -> None:
    answer = kvl("score", "latest", "--protocol", "all")
    lines = answer.out.splitlines()
    assert answer.code == 0, answer.err
    assert len(lines) <= 12
    assert "not_scored" not in answer.out
    assert "official-rule (default)" in lines[1]
    [waiting] = [line for line in lines if line.startswith("official-exact")]
    assert waiting.endswith(" of 90 samples") and "needs a judge for " in waiting
    assert lines[0].split()[-1] == "differs"
    others = [line for line in lines[2:4] if "(default)" not in line]
    assert all(line.split()[-1].isdecimal() for line in others)


@pytest.mark.usefixtures("run")
def test_more_flips_are_shown_on_demand(kvl: Kvl) -> None:
    answer = kvl("score", "latest", "--protocol", "all", "--flips", "2")
    blocks = answer.out.split("against the default:\n")[1:]
    assert blocks
    assert all(block.startswith("sample  verdict") for block in blocks)
    rows = [[line for line in block.splitlines()[1:3] if " → " in line] for block in blocks]
    assert all(1 <= len(block) <= 2 for block in rows)
