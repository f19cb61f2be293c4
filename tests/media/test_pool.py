"""Media workers: a job that dies, hangs or raises costs itself only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from pathlib import Path

import pytest

from kvl_eval.errors import MediaError, SampleError
from kvl_eval.media.pool import IMAGES, MediaPool
from tests.processes import running

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def work(job: tuple[str, str]) -> str:
    """What the tests ask of a worker; anything else is echoed."""
    action, argument = job
    if action == "die" or (action == "die once" and not os.path.exists(argument)):
        Path(argument).write_text("was here") if argument else None
        os._exit(1)
    if action == "hang":
        time.sleep(3600)
    if action == "slow":
        time.sleep(float(argument))
    if action == "raise":
        raise MediaError("media.corrupt", argument, where="row 3", fix="look")
    if action == "bug":
        raise ZeroDivisionError(argument)
    if action == "modules":
        return " ".join(sys.modules)
    return str(os.getpid()) if action == "pid" else argument


def reason(future: Future[str]) -> str:
    error = future.exception(timeout=60)
    assert isinstance(error, SampleError), error
    return error.reason


@pytest.fixture(params=[0, 2], ids=["in-process", "two-workers"])
def pool(request: pytest.FixtureRequest):
    made = MediaPool(work, workers=request.param, timeout=60.0)
    yield made
    made.close()


def test_results_and_errors_come_back_whole(pool: MediaPool[tuple[str, str], str]) -> None:
    good, broken, bug = pool.submit(("echo", "a")), pool.submit(("raise", "x.png")), pool.submit(("bug", "oops"))
    assert good.result(timeout=60) == "a"
    error = broken.exception(timeout=60)
    assert isinstance(error, MediaError)
    assert (error.reason, error.message, error.where, error.fix) == ("media_corrupt", "x.png", "row 3", "look")
    assert reason(bug) == "media_failed"
    assert pool.submit(("echo", "b")).result(timeout=60) == "b"


def test_workers_are_other_processes_without_torch() -> None:
    pool = MediaPool(work, workers=1, timeout=60.0)
    assert pool.submit(("pid", "")).result(timeout=60) != str(os.getpid())
    loaded = pool.submit(("modules", "")).result(timeout=60).split()
    pool.close()
    assert not {"torch", "transformers", "pandas"} & set(loaded)


def test_dead_worker_fails_its_job_after_one_retry_and_nobody_else(tmp_path: Path) -> None:
    with closing(MediaPool(work, workers=2, timeout=60.0)) as pool:
        jobs = [pool.submit(("echo", str(i))) for i in range(4)]
        dying = pool.submit(("die", str(tmp_path / "died")))
        reviving = pool.submit(("die once", str(tmp_path / "once")))
        jobs += [pool.submit(("echo", str(i))) for i in range(4, 8)]
        assert [job.result(timeout=60) for job in jobs] == [str(i) for i in range(8)]
        assert reason(dying) == "worker_died"
        assert reviving.result(timeout=60) == str(tmp_path / "once")


def test_hanging_job_ends_at_its_time_limit_and_the_pool_is_refilled() -> None:
    with closing(MediaPool(work, workers=1, timeout=1.0)) as pool:
        hanging, after = pool.submit(("hang", "")), pool.submit(("echo", "after"))
        assert reason(hanging) == "timeout"
        assert after.result(timeout=60) == "after"


def test_waiting_in_the_queue_does_not_count_as_running() -> None:
    with closing(MediaPool(work, workers=1, timeout=2.0)) as pool:
        jobs = [pool.submit(("slow", "0.8")) for _ in range(4)]
        assert [job.result(timeout=60) for job in jobs] == ["0.8"] * 4


def test_a_quick_job_overtakes_a_slow_one() -> None:
    with closing(MediaPool(work, workers=2, timeout=60.0)) as pool:
        pool.submit(("echo", "")).result(timeout=60)
        slow, quick = pool.submit(("slow", "5")), pool.submit(("echo", "quick"))
        done, _ = wait([slow, quick], return_when=FIRST_COMPLETED, timeout=60)
        assert done == {quick}


def test_an_idle_worker_that_is_killed_is_replaced() -> None:
    with closing(MediaPool(work, workers=1, timeout=60.0)) as pool:
        pid = int(pool.submit(("pid", "")).result(timeout=60))
        os.kill(pid, 9)
        time.sleep(0.5)
        assert pool.submit(("echo", "again")).result(timeout=60) == "again"


def test_closing_does_not_wait_for_a_hanging_job() -> None:
    pool = MediaPool(work, workers=1, timeout=3600.0)
    hanging = pool.submit(("hang", ""))
    pool.submit(("echo", ""))
    time.sleep(0.5)
    start = time.monotonic()
    pool.close()
    assert time.monotonic() - start < 30
    assert reason(hanging) == "worker_died"


UNGUARDED = """
import sys
sys.modules["torch_of_the_caller"] = sys
from functools import partial
from kvl_eval.media.pool import MediaPool
from tests_helper import modules
pool = MediaPool(modules, workers=2, timeout=60.0)
print(pool.submit("abc").result(timeout=60))
pool.close()
"""
HELPER = """
import os, sys, time
def modules(job):
    return " ".join(sys.modules)
def pid(job):
    time.sleep(0.1)
    return os.getpid()
"""


def run_script(tmp_path: Path, text: str, *, stdin: bool = False) -> subprocess.CompletedProcess[str]:
    (tmp_path / "tests_helper.py").write_text(HELPER)
    (tmp_path / "script.py").write_text(text)
    return subprocess.run(
        [sys.executable, *([] if stdin else ["script.py"])],
        input=text if stdin else None,
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


@pytest.mark.parametrize("stdin", [False, True])
def test_P26_workers_import_nothing_of_the_script_that_starts_them(tmp_path: Path, stdin: bool) -> None:
    done = run_script(tmp_path, UNGUARDED, stdin=stdin)
    loaded = done.stdout.split()
    assert "tests_helper" in loaded
    assert not {"torch_of_the_caller", "torch", "script"} & set(loaded)
    assert done.stderr == ""


OWN_WORK = """
from kvl_eval.media.pool import MediaPool
def work(job):
    return job.upper()
pool = MediaPool(work, workers=1, timeout=60.0)
print(pool.submit("abc").result(timeout=60))
pool.close()
"""


def test_work_that_only_the_script_knows_is_done_in_its_own_process(tmp_path: Path) -> None:
    done = run_script(tmp_path, OWN_WORK)
    assert done.stdout == "ABC\n"
    assert "Traceback" not in done.stderr
    assert [line[:45] for line in done.stderr.splitlines()] == ["note: media are decoded in this process: cann"]


def processes(pool: MediaPool[tuple[str, str], str]) -> int:
    """Workers that have a process."""
    return sum(worker._process is not None for worker in pool._workers)


def test_engine_p3_few_images_start_one_process_and_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    with closing(MediaPool(work, workers=None, timeout=60.0)) as pool:
        pool.expect(4)
        pool.warm_up()
        assert {pool.submit(("pid", "")).result(timeout=60) for _ in range(4)} != {str(os.getpid())}
        assert processes(pool) == 1
        pool.expect(IMAGES)
        assert pool.workers == 1
        pool.expect(IMAGES + 1)
        pool.expect(4)
        pool.warm_up()
        assert (pool.workers, processes(pool)) == (2, 2)
        pool.expect(10_000)
        assert pool.workers == 2


def test_engine_p3_a_number_that_was_asked_for_stays() -> None:
    for count in (0, 1, 3):
        with closing(MediaPool(work, workers=count, timeout=60.0)) as pool:
            pool.expect(10_000)
            assert pool.workers == count


ORPHANS = """
import time
from kvl_eval.media.pool import MediaPool
from tests_helper import pid
if __name__ == "__main__":
    pool = MediaPool(pid, workers=2, timeout=60.0)
    print(*{pool.submit(i).result(timeout=60) for i in range(8)}, flush=True)
    time.sleep(600)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "tests_helper.py").write_text(HELPER)
    (tmp_path / "script.py").write_text(ORPHANS)
    command = [sys.executable, str(tmp_path / "script.py")]
    with running(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(text) for text in parent.stdout.readline().split()]
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if _alive(pid)]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False
