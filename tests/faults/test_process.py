"""Faults of process and machine: killed in the wrong moment, disk full, clocks that lie, memory that ends."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import KvlEvalError, StorageError, UsageError
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import resume_run, start_run
from kvl_eval.scoring.rescore import fresh_results
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import Disk
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import list_runs
from kvl_eval.types import Completion
from tests.faults import children
from tests.faults.invariants import check_invariants, contents
from tests.tiny_task import Deadly, comparable, config_of, make_fake, rescored, run_tiny, tiny

ROOT = Path(__file__).resolve().parents[2]


def only_run(output_dir: Path) -> Path:
    [path] = [one for one in output_dir.iterdir() if one.is_dir()]
    return path


@pytest.mark.parametrize("after", [0, 1, 7, 9])
@pytest.mark.parametrize("torn", [False, True], ids=["P1", "P2"])
def test_P1_P2_killed_between_and_inside_records(tmp_path: Path, after: int, torn: bool) -> None:
    whole = run_tiny(tmp_path / "whole").folder.path
    assert children.run(lambda: run_tiny(tmp_path / "run", disk=Deadly(after, torn))) == -signal.SIGKILL
    outcome = check_invariants(only_run(tmp_path / "run"), whole=whole)
    assert outcome is not None
    assert any("a crash left incomplete" in notice for notice in outcome.folder.notices) == torn


@pytest.mark.parametrize("name", ["results.json", "tiny@official-{version}.jsonl"])
def test_P3_killed_while_a_derived_file_is_written(tmp_path: Path, name: str) -> None:
    from kvl_eval import __version__

    name = name.format(version=__version__)
    assert children.run(lambda: run_tiny(tmp_path, disk=children.DeadlyReplace(name))) == -signal.SIGKILL
    path = only_run(tmp_path)
    assert not list(path.rglob(name))
    assert len(list(path.rglob(".*.tmp"))) == 1
    check_invariants(path)


def test_P3_killed_while_scores_replace_older_ones(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    before = (path / "results.json").read_bytes()

    def again() -> None:
        rescored(RunFolder.open(path, children.DeadlyReplace("results.json")), [tiny()])

    assert children.run(again) == -signal.SIGKILL
    assert (path / "results.json").read_bytes() == before
    check_invariants(path, exit_code=0)


@pytest.mark.parametrize("name", ["report.md", "index.html", "index.js"])
def test_P3_killed_while_the_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = run_tiny(tmp_path).folder.path
    whole = Disk.replace

    def replace(self: Disk, target: Path, chunks: Iterable[bytes]) -> None:
        whole(self, target, children.deadly(chunks) if target.name == name else chunks)

    with monkeypatch.context() as patched:
        patched.setattr(Disk, "replace", replace)
        assert children.run(lambda: write_report([path], form=ReportForm(images="none"))) == -signal.SIGKILL
    report = path / "report"
    assert not list(report.rglob(name))
    write_report([path], form=ReportForm(images="none"))
    assert all((report / one).is_file() for one in ("report.md", "index.html", "data/index.js"))
    assert not list(report.rglob(".*.tmp"))


def test_P3_a_report_of_a_killed_run_makes_the_results_it_needs(tmp_path: Path) -> None:
    children.run(lambda: run_tiny(tmp_path, disk=Deadly(4)))
    path = only_run(tmp_path)
    assert not (path / "results.json").exists()
    [row] = fresh_results(RunReader.open(path, [tiny()])).rows
    assert (row.n_ok, row.n_pending) == (4, 6)
    resume_run(RunReader.open(path, [tiny()]), make_fake)
    [row] = fresh_results(RunReader.open(path, [tiny()])).rows
    assert (row.n_ok, row.n_pending) == (10, 0)


class Asked(FakeBackend):
    """Notes which (sample, budgets) it is asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        def noted() -> Iterable[Request]:
            for request in requests:
                self.asked.append((request.key.partition("/")[2], request.generation.think_budgets))
                yield request

        async for answered in super().generate(noted()):
            yield answered


def test_P4_killed_in_the_second_of_three_budgets(tmp_path: Path) -> None:
    options: dict[str, Any] = {"think_budget": (4, 8, 16), "model_args": {"think": 6, "answers": "hash"}}
    whole = run_tiny(tmp_path / "whole", **options).folder.path
    children.run(lambda: run_tiny(tmp_path / "run", disk=Deadly(13, torn=True), **options))
    path = only_run(tmp_path / "run")
    backends: list[Asked] = []

    def make(config: Any) -> Asked:
        backends.append(Asked(config.settings))
        return backends[-1]

    check_invariants(path, make=make, whole=whole)
    assert backends[0].asked == [("q/4", (4, 8)), *((f"q/{number}", (4, 8, 16)) for number in range(5, 10))]


def test_P8_disk_full_while_appending(tmp_path: Path) -> None:
    """A limit of the system on the size of files, so that a record is cut by a real failure of `write`."""
    whole = run_tiny(tmp_path / "whole", tiny(40)).folder.path
    config = config_of(tiny(40), tmp_path / "run")
    plan = plan_run(config, make_fake(config), [tiny(40)])

    def limited() -> None:
        size = (whole / "samples" / "tiny.jsonl").stat().st_size - 2000
        assert (whole / "plan.jsonl").stat().st_size < size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            start_run(plan, make_fake(config))
        except StorageError as error:
            assert (error.code, "bytes free" in str(error.where)) == ("storage.full", True)
            assert "tiny.jsonl" in error.message
            raise

    assert children.run(limited) == 6
    path = only_run(tmp_path / "run")
    folder = RunFolder.open(path)
    assert folder.status == "interrupted"
    assert 30 < len(folder.index("tiny").offsets) < 40
    assert (path / "samples" / "tiny.jsonl").stat().st_size < (whole / "samples" / "tiny.jsonl").stat().st_size
    check_invariants(path, tiny(40), whole=whole)


class FullFor(Disk):
    """No room for files called `name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
        if path.name == self.name:
            raise StorageError("storage.full", f"cannot write {path}: No space left on device")
        super().replace(path, chunks)


SMALL_DISK = """
$less || exit 99
$command run --task file:questions.jsonl --model fake --no-progress --output-dir disk
echo $?
$more || exit 99
$command resume disk/*/ --no-progress
echo $?
cp -r disk kept
"""


def test_P8_disk_full_on_a_file_system_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tmpfs of 80 kB where a user may mount one in a name space of their own, else a limit on files of 36 kB."""
    rows = ({"id": n, "question": "Which?", "choices": list("wxyz"), "answer": "A"} for n in range(60))
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "disk").mkdir()
    monkeypatch.chdir(tmp_path)
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    less, more = "mount -t tmpfs -o size=80k none disk", "mount -o remount,size=16m none disk"
    if shutil.which("unshare") is None or subprocess.run([*apart, *less.split()]).returncode:
        apart, less, more = [], "ulimit -S -f 36", "ulimit -S -f unlimited"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "command": f"{sys.executable} -m kvl_eval"}
    environment |= {"less": less, "more": more}
    command = [*apart, "bash", "-c", SMALL_DISK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    codes = [line for line in done.stdout.splitlines() if line.isdigit()]
    assert codes == ["6", "0"], done.stdout + done.stderr
    assert re.search(r"storage.full.*/samples/.*\n.*bytes free", done.stderr)
    [path] = (tmp_path / "kept").glob("*/run.json")
    folder = RunFolder.open(path.parent)
    found = verify(RunReader(folder))
    assert (found.exit_code, found.counts["pending"], found.counts["ok"]) == (0, 0, 60), found.findings
    assert [folder.index(name).duplicates for name in folder.manifest.data] == [0]
    assert folder.manifest.resumes


def test_P9_disk_full_while_writing_results(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        run_tiny(tmp_path, disk=FullFor("results.json"))
    assert caught.value.exit_code == 6
    path = only_run(tmp_path)
    records = (path / "samples" / "tiny.jsonl").read_bytes()
    check_invariants(path)
    [row] = rescored(RunFolder.open(path), [tiny()])["rows"]
    assert (row["n_ok"], row["complete"]) == (10, True)
    assert (path / "samples" / "tiny.jsonl").read_bytes() == records


class NoModel(FakeBackend):
    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        raise AssertionError("the model must not be loaded")
        yield "", Completion()


@pytest.mark.parametrize("kind", ["a-file", "below-a-file", "read-only"])
def test_P10_output_folder_that_cannot_be(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o555)
    closed = (
        Path("/proc") if os.geteuid() == 0 else tmp_path / "closed"
    )  # nothing is closed to root but what is no disk
    output = {"a-file": tmp_path / "file", "below-a-file": tmp_path / "file" / "x", "read-only": closed / "x"}[kind]
    task, config = tiny(), config_of(tiny(), output)
    plan = plan_run(config, NoModel(), [task])
    with pytest.raises(UsageError) as caught:
        start_run(plan, NoModel())
    assert (caught.value.code, caught.value.exit_code) == ("output.unusable", 2)
    assert str(output) in caught.value.message


def test_P10_a_missing_output_folder_is_made(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path / "not" / "there")
    check_invariants(outcome.folder.path, exit_code=outcome.exit_code)


def test_P12_two_runs_with_the_same_command_at_once(tmp_path: Path) -> None:
    pids = [children.start(lambda: run_tiny(tmp_path, model_args={"delay": 0.01})) for _ in range(2)]
    assert [children.ended(pid) for pid in pids] == [0, 0]
    paths = [Path(run.path) for run in list_runs(tmp_path)]
    assert len(paths) == 2
    assert comparable(paths[0]) == comparable(paths[1])
    for path in paths:
        check_invariants(path, exit_code=0)


class Backwards(datetime):
    """A clock that jumps back a day whenever somebody looks at it."""

    day = 0

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        cls.day += 1
        return datetime(2026, 3, 29, 2, 30) - timedelta(days=cls.day)


def test_P13_clock_goes_backwards_and_the_time_zone_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_tiny(tmp_path / "whole").folder.path
    for module in ("run.in_flight", "run.runner", "store.run_folder", "store.run_lock"):
        monkeypatch.setattr(f"kvl_eval.{module}.datetime", Backwards)
    children.run(lambda: run_tiny(tmp_path / "run", disk=Deadly(6)))
    path = only_run(tmp_path / "run")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        outcome = check_invariants(path, whole=whole)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert outcome is not None and outcome.exit_code == 0


OUT_OF_MEMORY = """
import resource, sys
import torch
from kvl_eval.errors import CheckpointError
from kvl_eval.model.kimi_vl.config import KimiVLConfig, TextConfig, VisionConfig
from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.weights import materialise
text = TextConfig(vocab_size=2**28, hidden_size=8, num_hidden_layers=1, intermediate_size=8)
vision = VisionConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8)
with torch.device("meta"):
    model = KimiVL(KimiVLConfig(text_config=text, vision_config=vision))
resource.setrlimit(resource.RLIMIT_AS, (5 * 2**30, 5 * 2**30))
try:
    materialise(model, torch.device("cpu"))
except CheckpointError as error:
    print(error.render())
    sys.exit(error.exit_code)
"""


def test_P17_out_of_memory_while_loading() -> None:
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4, done.stderr
    assert "error[model.memory]: not enough memory on cpu: the weights need 16.0 GiB" in done.stdout
    assert "GiB are available" in done.stdout
    assert done.stderr == ""


GROWTH = """
import resource, sys
from pathlib import Path
from tests.tiny_task import run_tiny, tiny
run_tiny(Path(sys.argv[1]), tiny(int(sys.argv[2])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_P18_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", GROWTH, str(tmp_path / str(n)), str(n)],
                cwd=ROOT, capture_output=True, text=True, timeout=600, check=True,
            ).stdout
        )
        for n in (2_000, 20_000)
    ]  # fmt: skip
    assert peaks[1] - peaks[0] <= 50 * 1024


@pytest.mark.parametrize("reasons", ["oom:@q/1", "worker_died:@q/2+timeout:@q/3", "media_corrupt:@q/0+nan:@q/9"])
def test_P14_P16_failed_samples_cost_nobody_else(tmp_path: Path, reasons: str) -> None:
    outcome = run_tiny(tmp_path, model_args={"answers": "hash", "fail": reasons})
    assert outcome.exit_code == 3
    [row] = outcome.results.rows
    assert row.failed == {one.partition(":")[0]: 1 for one in reasons.split("+")}
    check_invariants(outcome.folder.path, exit_code=3)


def test_a_foreseeable_fault_is_one_block_of_text(tmp_path: Path) -> None:
    """I7: what, where, why and what to do; the traceback goes to log.txt."""
    with pytest.raises(KvlEvalError) as caught:
        run_tiny(tmp_path, disk=FullFor("results.json"))
    assert caught.value.render().startswith("error[storage.full]: ")
    assert "Traceback" in (only_run(tmp_path) / "log.txt").read_text()


def test_the_invariants_notice_what_they_are_for(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    before = contents(path)
    check_invariants(path, exit_code=0)
    assert contents(path) == before
    with pytest.raises(AssertionError):
        check_invariants(path, exit_code=3)
    lines = (path / "samples" / "tiny.jsonl").read_bytes().splitlines(keepends=True)
    (path / "samples" / "tiny.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(AssertionError):
        check_invariants(path)
