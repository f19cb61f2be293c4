"""Run folders of other people beside one's own: whatever stands in them, nothing but they themselves is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.store.run_list import list_runs
from tests.faults.shell import FAKE, MINI, Shell

NEIGHBOURS = {
    "model is text": '{"model": "x"}',
    "data is a number": '{"data": 5}',
    "nested": '{"a":' + "[" * 100_000,
    "list": "[]",
    "null": "null",
    "number": "5",
    "true": "true",
    "empty": "",
    "binary": "\x00\x01\x02",
    "schema is text": '{"schema": "9"}',
    "schema is new": '{"schema": 99}',
    "status is a list": '{"status": ["running"], "created": {"a": 1}, "data": {"x": 1}}',
    "counts is a list": '{"counts": [1, 2], "demo": "yes", "model": {"name": {"a": 1}}}',
    "lone surrogate": '{"run_id": "\\ud800", "model": {"name": "\\ud800"}}',
    "huge number": '{"schema": 1, "counts": {"planned": 1' + "0" * 400 + "}}",
}
VERBS = ("score", "report", "verify", "resume", "export", "compare")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "odd"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_R10_an_odd_neighbour_costs_itself_alone(shell: Shell, odd: Path, name: str) -> None:
    (odd / "run.json").write_text(NEIGHBOURS[name])
    assert shell("run", *MINI, *FAKE, "-o", odd.parent).code == 0
    [run] = [path.parent for path in odd.parent.glob("2*/run.json")]
    listed = shell("list", "runs", "-o", odd.parent)
    [line] = [line for line in listed.out.splitlines() if line.startswith("odd ")]
    assert listed.code == 0 and "unreadable" in line and run.name.split("_")[0] in listed.out
    entries = {entry["run_id"]: entry for entry in json.loads(shell("list", "runs", "-o", odd.parent, "--json").out)}
    assert entries["odd"]["status"] == "unreadable" and entries["odd"]["reason"]
    assert entries[run.name]["status"] == "finished"
    assert {entry.run_id for entry in list_runs(odd.parent)} == {"odd", run.name}


@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.parametrize("verb", VERBS)
def test_R10_no_verb_ends_in_a_traceback(shell: Shell, odd: Path, tmp_path: Path, name: str, verb: str) -> None:
    (odd / "run.json").write_text(NEIGHBOURS[name])
    more = {"export": ("-f", "csv", "-o", tmp_path / "x"), "compare": (odd,)}.get(verb, ())
    outcome = shell(verb, odd, *more)
    assert (outcome.code in (2, 3, 4) and outcome.err.startswith("error[")) or verb == "verify"
    assert "Traceback" not in outcome.err
