"""R15: rows in another order are the same data for `verify` and `resume` where they have ids of their own, else not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.store.run_folder import RunFolder
from tests.faults.foreign_run import interrupt
from tests.faults.shell import FAKE, Shell, newest

ROWS = [{"id": f"q{n}", "question": f"Is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(8)]
NUMBERED = [{name: cell for name, cell in row.items() if name != "id"} for row in ROWS]
LIMITED = ("--limit", "6")


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def interrupted(shell: Shell, place: Path, rows: Sequence[dict[str, Any]], *more: str) -> Path:
    """A run over a table, its last answer missing."""
    write(place / "t.jsonl", rows)
    command = ("run", "--task", f"file:{place / 't.jsonl'}", *FAKE, "--num-workers", "0", "--no-progress", *more)
    assert shell(*command, "-o", place / "runs").code == 0
    run = newest(place / "runs")
    interrupt(run)
    return run


def data_findings(shell: Shell, run: Path) -> list[str]:
    """What `verify` says of the data."""
    findings = json.loads(shell("verify", run, "--json").out)["findings"]
    return [finding["code"] for finding in findings if finding["code"].startswith("data.")]


ORDERS = {
    "reversed": lambda rows: rows[::-1],
    "one-moved": lambda rows: [*rows[1:6], rows[0], *rows[6:]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("more", [(), ("--shard", "1/2"), ("--repeats", "2")], ids=["whole", "shard", "repeats"])
def test_R15_rows_with_ids_may_come_in_any_order(shell: Shell, tmp_path: Path, order: str, more: Sequence[str]) -> None:
    run = interrupted(shell, tmp_path, ROWS, *more)
    write(tmp_path / "t.jsonl", ORDERS[order](ROWS))
    assert data_findings(shell, run) == []
    outcome = shell("resume", run, "--no-progress")
    assert outcome.code == 0, outcome.err
    folder = RunFolder.open(run)
    [name] = folder.manifest.data
    assert {entry.key for entry in folder.plan()} == set(folder.index(name).offsets)
    assert {record.config_fingerprint for record in folder.records(name)} == {folder.manifest.config_fingerprint}
    assert shell("verify", run).code == 0


@pytest.mark.parametrize(
    ("rows", "order", "more"),
    [(NUMBERED, "reversed", ()), (NUMBERED, "one-moved", ()), (ROWS, "reversed", LIMITED)],
    ids=["numbers-reversed", "numbers-moved", "others-chosen"],
)
def test_R15_other_rows_are_other_data(
    shell: Shell, tmp_path: Path, rows: Sequence[dict[str, Any]], order: str, more: Sequence[str]
) -> None:
    run = interrupted(shell, tmp_path, rows, *more)
    write(tmp_path / "t.jsonl", ORDERS[order](rows))
    assert data_findings(shell, run)
    outcome = shell("resume", run, "--no-progress")
    assert outcome.code == 2 and outcome.err.startswith("error[run.mismatch]"), outcome.err


def test_R15_a_changed_row_is_seen_in_any_order(shell: Shell, tmp_path: Path) -> None:
    run = interrupted(shell, tmp_path, [{**row, "subject": "numbers"} for row in ROWS])
    changed = [{**row, "subject": "numbers" if row["id"] != "q3" else "others"} for row in ROWS]
    write(tmp_path / "t.jsonl", changed[::-1])
    assert data_findings(shell, run)
    assert shell("resume", run, "--no-progress").code == 2
