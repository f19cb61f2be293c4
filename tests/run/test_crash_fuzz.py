"""A run killed at fifty random moments, or its variants at fifteen, ends as the run that was never disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.merge import merge
from kvl_eval.audit.verify import verify
from kvl_eval.decode import encode_object
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.scoring.rescore import fresh_results
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_folder import RunFolder
from tests.run.mortal import HANG, MOST, SIGNALS, Death, Nursery, at_the_end, drawn
from tests.tiny_task import comparable

FIFTY, FIFTEEN, FIVE = 50, 15, 5  # moments
AT_THE_END = 5
KILLED = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT, 128 + signal.SIGTERM}
TIMES = ("time", "ended_at", "worker")
FAKE = ("--model", "fake", "--model-args")
SWEEP = (*FAKE, "answers=hash,think=6,delay=0.01", "--think-budget", "4,8,16")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one: a process that dies loses nothing by it, and syncing takes no time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="kvl-eval-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class Run:
    """A run that is started, killed and resumed: its command, its folder, and the log of its newest process."""

    def __init__(self, nursery: Nursery, place: Path, options: Sequence[str], seed: str) -> None:
        self.nursery, self.place, self.options = nursery, place, options
        self.draw = random.Random(seed)
        self.log = place / "log"
        place.mkdir()

    @property
    def folder(self) -> Path | None:
        """The run folder, once its process got as far as the manifest."""
        return next((path.parent for path in sorted(self.place.glob("out/*/run.json"))), None)

    def start(self, death: Death | None) -> int:
        """The pid of a process that begins or resumes the run."""
        begin = ["run", *self.options, "--output-dir", str(self.place / "out")]
        return self.nursery.start(["resume", str(self.folder)] if self.folder else begin, self.log, death)

    def start_mortal(self) -> int:
        """As `start`, with a random end; one in four ends by the clock."""
        if self.draw.random() > 0.25:
            return self.start(drawn(self.draw))
        signals = self.draw.choice(SIGNALS)
        pid = self.start(Death(signals=signals, records=MOST))
        time.sleep(self.draw.uniform(0, 0.3))
        for number in signals:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(self.draw.uniform(0, 0.02))
        return pid

    def ended(self, pid: int, *allowed: int) -> int:
        """Wait for a process, which must end in one of the ways that are `allowed`, and leave a sound folder."""
        code = self.nursery.ended(pid)
        assert code in allowed, self.log.read_text()
        assert no_process_of(pid), "a worker outlived its run"
        if self.folder is not None:
            found = verify(RunReader.open(self.folder))
            assert found.exit_code in (0, 3), [str(one) for one in found.findings if one.severity == "damaged"]
        return code

    def finish(self) -> Path:
        """Kill it while its results are put in place, and let it end."""
        for _ in range(AT_THE_END):
            self.ended(self.start(at_the_end(self.draw)), 0, *KILLED)
        self.ended(self.start(None), 0)
        assert self.folder is not None
        return self.folder


def no_process_of(group: int) -> bool:
    """Whether a process group is empty, soon: media workers end when they notice that their parent is gone."""
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        if not any(is_member(path, group) for path in Path("/proc").glob("[0-9]*/stat")):
            return True  # what is left waits for somebody to collect its exit code
        time.sleep(0.01)
    return False


def is_member(path: Path, group: int) -> bool:
    """Whether `/proc/PID/stat` tells of a process of a group that is not dead yet."""
    try:
        state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(its_group) == group and state != "Z"


def check_readable(folder: Path | None, place: Path) -> None:
    """What `score` and `report` do, on a copy."""
    if folder is not None:
        copy = place / "copy" / folder.name
        shutil.copytree(folder, copy)
        fresh_results(RunReader.open(copy))
        assert all(path.stat().st_size for path in write_report([copy], form=ReportForm(images="none")))
        shutil.rmtree(copy.parent)


def kill(runs: Sequence[Run], times: int = FIFTEEN) -> None:
    """Kill the processes of one or more runs, which work at the same time, so many times each.

    A fast machine may answer everything sooner: processes that find nothing left to do end by themselves.
    """
    killed = 0
    for number in range(times):
        pids = [run.start_mortal() for run in runs]
        for run, pid in zip(runs, pids, strict=True):
            killed += run.ended(pid, 0, *KILLED) != 0
            if number % 10 == 4:
                check_readable(run.folder, run.place)
    assert killed >= times * len(runs) // 5, "too few were killed: give the run more to do"


def undisturbed(nursery: Nursery, place: Path, options: Sequence[str]) -> Path:
    """The folder of a run that nobody kills."""
    run = Run(nursery, place, options, "")
    run.ended(run.start(None), 0)
    assert run.folder is not None
    return run.folder


def questions(place: Path, count: int) -> list[str]:
    """`--task` and a table of multiple-choice questions."""
    path = place / "questions.jsonl"
    rows = (
        {"id": f"q/{n}", "question": f"What is {n} modulo 4?", "choices": list("wxyz"), "answer": "ABCD"[n % 4]}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--task", f"file:{path}"]


def said(path: Path) -> dict[Any, dict[str, Any]]:
    """{key: record}, but for times."""
    folder = RunFolder.open(path)
    return {
        record.key: {name: value for name, value in encode_object(record).items() if name not in TIMES}
        for task in folder.manifest.data
        for record in folder.records(task)
    }


def check_equal(path: Path, other: Path) -> None:
    """The same records and results, and nothing left over."""
    assert said(path) == said(other)
    assert comparable(path) == comparable(other)
    found = verify(RunReader.open(path))
    assert (found.exit_code, found.counts["pending"]) == (0, 0)
    folder, expected = RunFolder.open(path), RunFolder.open(other)
    assert folder.manifest.counts == expected.manifest.counts
    assert folder.manifest.status == "finished"
    assert not (path / "lock").exists()
    assert not list(path.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "count", "options"),
    [
        pytest.param(FIFTY, 150, (*FAKE, "answers=hash,delay=0.01"), id="plain"),
        pytest.param(FIFTEEN, 60, (*FAKE, "answers=hash,delay=0.02,jitter=1,concurrency=2"), id="two-answers-at-once"),
        pytest.param(FIFTEEN, 25, SWEEP, id="sweep"),
        pytest.param(FIFTEEN, 25, (*FAKE, "answers=hash,delay=0.01", "--repeats", "3"), id="repeats"),
        pytest.param(FIFTEEN, 20, (*SWEEP, "--repeats", "2", "--budget-policy", "force"), id="sweep-with-repeats"),
    ],
)
def test_kills_at_random_moments_change_nothing(
    times: int, count: int, options: Sequence[str], nursery: Nursery, place: Path
) -> None:
    options = [*questions(place, count), *options]
    run = Run(nursery, place / "killed", options, seed=" ".join(options[2:]))
    kill([run], times)
    check_equal(run.finish(), undisturbed(nursery, place / "whole", options))


@pytest.mark.slow
@pytest.mark.parametrize("options", [(*FAKE, "answers=hash,delay=0.01"), SWEEP], ids=["plain", "sweep"])
def test_two_workers_killed_at_random_moments_join_as_one_run(
    options: Sequence[str], nursery: Nursery, place: Path
) -> None:
    """Two processes share the samples (`--shard`), both are killed again and again, and `merge` joins what they did."""
    options = [*questions(place, 100), *options]
    runs = [Run(nursery, place / part, [*options, "--shard", f"{part}/2"], seed=part) for part in ("1", "2")]
    kill(runs)
    outcome, _ = merge([run.finish() for run in runs], place / "joined")
    assert outcome.exit_code == 0
    check_equal(outcome.folder.path, undisturbed(nursery, place / "whole", options))


@pytest.mark.slow
def test_kills_with_two_media_workers_change_nothing(place: Path) -> None:
    """The bundled model, whose pictures two more processes prepare; in float64, where no batch flips a near-tie."""
    options = ["--task", "mathvista", "--model", "kimi-vl-nano", "--dtype", "float64"]
    options += ["--num-workers", "2", "--batch-size", "2"]
    with closing(Nursery("kvl_eval.backends.torch_engine")) as nursery:
        run = Run(nursery, place / "killed", options, seed="media")
        kill([run], FIVE)
        check_equal(run.finish(), undisturbed(nursery, place / "whole", options))
