"""Files of a run folder that are no files, or lie elsewhere: named, never waited for, never opened."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvl_eval.errors import DataError
from kvl_eval.store import journal
from kvl_eval.store.journal import encode_line, read_lines
from kvl_eval.store.run_files import open_run_file, read_run_file
from tests.faults.shell import FAKE, MINI, Shell, newest
from tests.refusals import refused

FILES = ("run.json", "plan.jsonl", "results.json", "samples", "scores", "config.yaml")
KINDS = ("folder", "fifo", "loop", "outside", "dangling")


@pytest.fixture(autouse=True)
def never_wait() -> Iterator[None]:
    """Who waits for a pipe is ended."""
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.fixture
def run(shell: Shell, tmp_path: Path) -> Path:
    assert shell("run", *MINI, *FAKE, "-o", tmp_path / "runs").code == 0
    return newest(tmp_path / "runs")


def replace_by(path: Path, kind: str, elsewhere: Path) -> None:
    elsewhere.mkdir()
    shutil.move(path, elsewhere / path.name)
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "outside":
        path.symlink_to(elsewhere / path.name)
    else:
        path.symlink_to(elsewhere / "nothing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_R13_what_is_no_file_of_the_run(shell: Shell, run: Path, tmp_path: Path, file: str, kind: str) -> None:
    path = run / file
    if path.is_dir():
        [path] = path.glob("*.jsonl") if file == "samples" else sorted(path.glob("*.jsonl"))[:1]
    secret = path.read_bytes()
    replace_by(path, kind, tmp_path / "elsewhere")
    found = shell("verify", run)
    assert found.code == 4, (found.out, found.err)
    assert path.name in found.out + found.err
    for verb in ("list", "score", "report", "resume", "export"):
        more = {"list": ["runs", "-o", run.parent], "export": [run, "-f", "csv", "-o", tmp_path / "csv"]}
        outcome = shell(verb, *more.get(verb, [run]))
        assert outcome.code != 1, (verb, outcome.err)
    if kind == "outside":
        assert (tmp_path / "elsewhere" / path.name).read_bytes() == secret


@pytest.mark.parametrize("name", ["samples", "scores", "judge"])
def test_R13_a_folder_that_leads_outside_is_not_written(shell: Shell, run: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(run / name, ignore_errors=True)
    (run / name).symlink_to(outside)
    for verb in ("resume", "score", "report"):
        assert shell(verb, run).code in (0, 2, 3, 4)
    assert list(outside.iterdir()) == []


def test_R13_what_lies_inside_is_opened(tmp_path: Path) -> None:
    (tmp_path / "real" / "samples").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    file = tmp_path / "real" / "samples" / "a.jsonl"
    file.write_bytes(b"x")
    (tmp_path / "real" / "samples" / "b.jsonl").symlink_to("a.jsonl")
    for name in ("a.jsonl", "b.jsonl"):
        with open_run_file(tmp_path / "link" / "samples" / name) as opened:
            assert opened.read() == b"x"
    with pytest.raises(FileNotFoundError):
        open_run_file(tmp_path / "link" / "samples" / "c.jsonl")
    with refused(DataError, "run.file", "more than 0 bytes"):
        read_run_file(file, 0)


def test_R13_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LONGEST_LINE", 100)
    file = tmp_path / "plan.jsonl"
    file.write_bytes(encode_line({"a": 1}) + encode_line({"a": "x" * 200}) + encode_line({"a": 2}))
    [first, second] = read_lines(file)
    assert first.fields == {"a": 1}
    assert second.fields is None and not second.torn and "more than 100 bytes" in second.damage
