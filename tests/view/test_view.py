"""`kvl-eval view`: a finished run's report, and a run that another process writes while it is looked at."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from kvl_eval.errors import DataError, UsageError
from kvl_eval.evaluation import evaluate
from kvl_eval.reports.write import write_report
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.view.live import LiveRun
from kvl_eval.view.session import RunView, newest_run
from tests.refusals import refused

HANG = 120  # seconds after which something that should have happened counts as hanging


def wait_for(found: Callable[[], Any]) -> Any:
    """What `found` gives as soon as it gives something."""
    until = time.monotonic() + HANG
    while time.monotonic() < until:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def get(view: RunView, path: str) -> bytes:
    with urlopen(view.url + path, timeout=HANG) as reply:
        return bytes(reply.read())


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that answers 20 InfoVQA questions, one after the other, five a second."""
    command = [sys.executable, "-m", "kvl_eval", "run", "--task", "infovqa", "--model", "fake", "--limit", "20"]
    options = ["--model-args", "delay=0.2", "--output-dir", str(tmp_path / "results"), "--no-progress"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = evaluate(model="fake", tasks=["infovqa"], limit=4, output_dir=str(tmp_path_factory.mktemp("results")))
    return done.path


@pytest.mark.slow
def test_a_run_is_followed_to_its_end(runner: subprocess.Popen[str], tmp_path: Path) -> None:
    def going_on() -> Path | None:
        found = [path.parent for path in (tmp_path / "results").glob("*/samples/*.jsonl") if path.stat().st_size]
        return found[0].parent if found else None

    run = wait_for(going_on)
    view = RunView(run)
    try:
        assert view.live
        assert b"live.js" in get(view, "")  # the first page is the progress
        assert b"--ink" in get(view, "assets/report.css")

        def state() -> dict[str, Any]:
            return dict(json.loads(get(view, "live.json")))

        first = state()
        assert first["status"] == "running"
        assert first["tasks"][0]["planned"] == 20
        before = first["tasks"][0]["ok"]
        later = wait_for(lambda: found if (found := state())["tasks"][0]["ok"] >= before + 3 else None)
        assert later["tasks"][0]["scored"] == later["tasks"][0]["ok"]
        assert later["last"][0]["id"] != first["last"][0]["id"]
        assert {one["verdict"] for one in later["last"]} <= {"correct", "partial", "wrong", "no_answer"}
        assert runner.wait(HANG) == 0
        last = wait_for(lambda: found if (found := state())["report"] else None)
        assert (last["status"], last["tasks"][0]["ok"], last["left"]) == ("finished", 20, 0)
        stored = RunFolder.open(run).results().rows[0].score
        assert last["tasks"][0]["score"] == pytest.approx(stored)
        assert b"kvl-eval report" in get(view, "index.html")
    finally:
        view.close()


def test_a_finished_run_shows_its_report(finished: Path) -> None:
    view = RunView(finished)
    try:
        assert not view.live
        assert b"kvl-eval report" in get(view, "")
        assert b"kvl.index" in get(view, "data/index.js")
    finally:
        view.close()
    written = (finished / "report" / "index.html").stat().st_mtime_ns
    RunView(finished).close()
    assert (finished / "report" / "index.html").stat().st_mtime_ns == written  # not written again


def test_a_report_folder_can_be_shown_alone(finished: Path, tmp_path: Path) -> None:
    write_report([finished], tmp_path / "out")
    view = RunView(tmp_path / "out")
    try:
        assert b"kvl-eval report" in get(view, "")
    finally:
        view.close()


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        RunView(tmp_path)


def test_the_newest_run_is_taken(finished: Path, tmp_path: Path) -> None:
    assert newest_run(finished.parent) == finished
    with refused(UsageError, "view.run"):
        newest_run(tmp_path)


def test_half_a_line_and_a_damaged_one_are_no_answers(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for name in ("run.json", "plan.jsonl"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    lines = (finished / "samples" / "infovqa.jsonl").read_bytes().splitlines(keepends=True)
    copy = tmp_path / "samples" / "infovqa.jsonl"
    copy.write_bytes(lines[0] + lines[1].replace(b"infovqa", b"infovqA") + lines[2][:40])
    live = LiveRun(tmp_path)
    assert [answer.id for answer in live.state().last] == [json.loads(lines[0])["sample_id"]]
    with copy.open("ab") as file:
        file.write(lines[2][40:] + lines[0])  # the rest of the line, and a sample answered again
    state = live.state()
    assert state.tasks[0].ok == 2
    assert len(state.last) == 3
    live.close()


def test_a_sweep_is_followed_though_each_thought_is_stored_once(tmp_path: Path) -> None:
    script = {"answers": "hash", "think": 200}
    options: dict[str, Any] = {"think_budget": (64, 128, 256), "output_dir": str(tmp_path / "results")}
    done = evaluate(model="fake", tasks=["infovqa"], limit=4, model_args=script, **options)
    copy = tmp_path / "copy"
    (copy / "samples").mkdir(parents=True)
    for name in ("run.json", "plan.jsonl"):
        (copy / name).write_bytes((done.path / name).read_bytes())
    records = list(RunFolder.open(done.path).records("infovqa"))
    lines = (done.path / "samples" / "infovqa.jsonl").read_bytes().splitlines(keepends=True)
    live = LiveRun(copy)
    for number, line in enumerate(lines):  # how a record begins may have been read by an earlier look
        with (copy / "samples" / "infovqa.jsonl").open("ab") as file:
            file.write(line)
        shown = live.state().last[0]
        whole = records[number].answer or records[number].raw_output
        assert (shown.id, shown.budget) == records[number].key[::2]
        assert shown.answer == (whole if len(whole) <= 600 else f"{whole[:600]}…")
    assert live.state().tasks[0].ok == len(lines) == 12
    live.close()


def test_ctrl_c_is_how_one_stops(finished: Path) -> None:
    command = [sys.executable, "-m", "kvl_eval", "view", str(finished)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urlopen(url, timeout=HANG) as reply:
            assert b"kvl-eval report" in reply.read()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG)
        assert process.returncode == 0, err
        assert "Traceback" not in err
