"""What must hold of a run folder after any fault: the invariants of `docs/reliability.md`, checked by one function."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvl_eval.backends.base import Backend
from kvl_eval.decode import encode_object
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.run.config import RunConfig
from kvl_eval.run.runner import RunOutcome, resume_run
from kvl_eval.scoring.rescore import fresh_results
from kvl_eval.scoring.result_rows import decisive_rows
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import is_running
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from tests.tiny_task import comparable, make_fake, tiny

DELAYS = ("delay", "jitter", "concurrency")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_watched: list[list[tuple[str, str]]] = []


def check_invariants(
    run_folder: Path,
    task: Task | None = None,
    *,
    make: Callable[[RunConfig], Backend] | None = None,
    exit_code: int | None = None,
    whole: Path | None = None,
    resumable: bool = True,
) -> RunOutcome | None:
    """Check a run folder after a fault; it is left as it is, what changes it happens to a copy. The resumed copy's end.

    Args:
        task:      the task of the run, if it is not `tiny`.
        make:      the backend that a resume gets, if not the fake one without its delays.
        exit_code: how the run ended, if it did by itself.
        whole:     the same run without the fault: the resumed copy must have its results (I9).
        resumable: False where a resume cannot end the run: scores and reports must still come.
    """
    chosen = task or tiny(RunFolder.open(run_folder).manifest.data["tiny"].total)
    accounted(run_folder, chosen, exit_code)
    no_half_files(run_folder)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / run_folder.name
        shutil.copytree(run_folder, copy)
        with nothing_outside(Path(place)):
            fresh_results(RunReader.open(copy, [chosen]))  # I4: what `score` and `report` do
            assert all(path.stat().st_size for path in write_report([copy], form=ReportForm(images="none")))
            accounted(copy, chosen)
            return resumed(copy, chosen, make or quick_fake, whole) if resumable else None


def accounted(path: Path, task: Task, exit_code: int | None = None) -> None:
    """I1, I2, I6: each planned answer in exactly one state, the same in the results, and no zero nobody speaks of."""
    folder = RunFolder.open(path)
    index = folder.index(task.name)
    planned = [entry.key for entry in folder.plan()]
    assert len(set(planned)) == len(planned)
    assert set(index.offsets) <= set(planned), "a record that nobody planned"
    assert all(reason and reason != "unknown" for reason in index.failed.values())
    pending = len(planned) - len(index.offsets)
    if not (path / "results.json").exists():
        return
    rows = folder.results().rows
    for row in rows:
        honest(encode_object(row))
    counted = decisive_rows([row for row in rows if row.protocol == rows[0].protocol])
    if folder.manifest.status != "running":  # results older than the last records are made anew when asked for
        assert sum(row.n_planned for row in counted) == len(planned)
        assert sum(row.n_failed for row in counted) == len(index.failed)
        assert sum(row.n_pending for row in counted) == pending
    if exit_code is not None:
        done = all(row.n_scored == row.n_planned for row in counted)
        assert (exit_code == 0) == done


def honest(row: Mapping[str, Any]) -> None:
    """I1 and I2 of one row of results.json."""
    assert row["n_ok"] + row["n_failed"] + row["n_pending"] == row["n_planned"]
    assert row["n_failed"] == sum(row["failed"].values())
    assert sum(row["verdicts"].values()) == row["n_ok"]
    assert row["n_scored"] == row["n_ok"] - row["verdicts"].get("not_scored", 0)
    assert row["n_ok"] == row["n_planned"] or not row["complete"]
    assert (row["score"] is None) == (row["n_scored"] == 0), "no answer scored is no result, not a zero"
    right = (row["score"] or 0.0) * row["n_scored"]
    unscored = row["n_planned"] - row["n_scored"]
    assert row["bounds"] == pytest.approx([right / row["n_planned"], (right + unscored) / row["n_planned"]])


def no_half_files(path: Path) -> None:
    """I5: every file but the append-only ones is whole; only a process that is gone may leave a temporary file."""
    for file in path.rglob("*.json"):
        json.loads(file.read_bytes())
    if (path / "config.yaml").exists():
        assert isinstance(yaml.safe_load((path / "config.yaml").read_text()), dict)
    for file in (path / "scores").glob("*.jsonl"):
        assert file.read_bytes().endswith(b"\n") or not file.stat().st_size
    for left in path.rglob(".*.tmp"):
        assert not is_running(int(left.name.split(".")[-2])), f"{left} was left behind by a living process"


def resumed(copy: Path, task: Task, make: Callable[[RunConfig], Backend], whole: Path | None) -> RunOutcome:
    """I4, I8, I9: a resume ends the run, and a second one does nothing at all."""
    outcome = resume_run(RunReader.open(copy, [task]), make)
    assert all(row.n_pending == 0 for row in outcome.results.rows)
    accounted(copy, task, outcome.exit_code)
    assert not list(copy.rglob("*.tmp")) and not (copy / "lock").exists()
    assert not RunFolder.open(copy).index(task.name).torn
    if whole is not None:
        assert comparable(copy) == comparable(whole)
    before = contents(copy)
    told = Notices()
    again = resume_run(RunReader.open(copy, [task]), no_model, told)
    assert again.exit_code == outcome.exit_code
    assert contents(copy) == before, "resuming a finished run changed it"
    assert any("already complete" in text for text in told.texts)
    return outcome


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quick_fake(config: RunConfig) -> Backend:
    """The fake backend of a run with the same answers, at once and in order."""
    args = {name: value for name, value in config.settings.engine.model_args.items() if name not in DELAYS}
    engine = replace(config.settings.engine, model_args=args)
    return make_fake(replace(config, settings=replace(config.settings, engine=engine)))


def no_model(config: RunConfig) -> Backend:
    """For `make` where no model may be loaded."""
    raise AssertionError("the model must not be made")


class Notices:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def start(self, tasks: Any) -> None:
        pass

    def update(self) -> None:
        pass

    def notice(self, text: str) -> None:
        self.texts.append(text)

    def close(self) -> None:
        pass


# -- I10 --------------------------------------------------------------------------------------------------------


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Notes every file opened for writing, every folder made and every connection while somebody watches."""
    if not _watched:
        return
    path = arguments[0] if event in ("open", "os.mkdir") else None
    if isinstance(path, str | bytes) and (event == "os.mkdir" or arguments[2] & WRITING):
        _watched[-1].append((event, os.path.abspath(os.fsdecode(path))))
    elif event in ("socket.connect", "socket.getaddrinfo"):
        _watched[-1].append((event, str(arguments[-1])))


sys.addaudithook(_audit)


OWN_CACHES = ("__pycache__",)  # of Python


@contextmanager
def nothing_outside(*allowed: Path) -> Iterator[None]:
    """I10: while the block runs nothing is written outside `allowed`, and no connection is made."""
    seen: list[tuple[str, str]] = []
    _watched.append(seen)
    try:
        yield
    finally:
        _watched.remove(seen)
    inside = [str(path.resolve()) for path in allowed] + [str(path) for path in allowed]
    code = (sysconfig.get_paths()["purelib"], sysconfig.get_paths()["stdlib"])
    outside = [
        (event, name)
        for event, name in seen
        if event.startswith("socket")
        or not (name.startswith((*inside, *code)) or name == os.devnull or any(one in name for one in OWN_CACHES))
    ]
    assert not outside, f"touched outside the run folder: {outside}"
