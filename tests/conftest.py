"""Shared fixtures: where golden data lies, what happens where it does not, and how many processes share the tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright import sync_api as playwright

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"

# One thread a process, before anything loads torch: the tests are run by several processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A job of a shell in the background ignores Ctrl-C, and so would every program that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

STRICT = os.environ.get("KVL_EVAL_STRICT") == "1"  # set by .ci/run: no test may skip, none may be left out

# No test asserts a speed, and a busy machine is slow at times. A gate tries the same examples every time, so that it
# refuses no change by chance; new ones are found where people work.
settings.register_profile("search", deadline=None)
settings.register_profile("gate", deadline=None, derandomize=True)
settings.load_profile("gate" if STRICT else "search")


def shared_folder() -> Path | None:
    """The folder with vectors that rest on others' data, or None."""
    folder = Path(os.environ.get("KVL_EVAL_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Tests kill processes and cut no power: what a dead process wrote is there, whether the disk has it or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


MOST_WORKERS = 8  # each loads torch: about 0.5 GB
ALONE = {"vllm", "ray", "gpu"}  # marks of tests that take the whole machine


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` starts: one a CPU for the whole suite, none for what starts at once or needs all."""
    given = {Path(config.invocation_params.dir, str(argument).partition("::")[0]).resolve() for argument in config.args}
    if not given & {ROOT, ROOT / "tests"} or config.option.markexpr in ALONE or config.option.keyword:
        return 0
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_WORKERS)


_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if STRICT and _skipped:
        print(f"\nskipped although nothing may be: {', '.join(_skipped)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shared_folder() is not None:
        return
    deselected = [item for item in items if item.get_closest_marker("shared")]
    if deselected and STRICT:
        pytest.exit("the folder with vectors over others' data is missing: set KVL_EVAL_SHARED", returncode=1)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not item.get_closest_marker("shared")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if shared_folder() is None:
        terminalreporter.write_line("tests over others' data are left out: set KVL_EVAL_SHARED to run them")


@pytest.fixture(scope="session")
def shared() -> Path:
    """`golden/` of the shared folder; tests that use it carry the marker `shared`."""
    folder = shared_folder()
    assert folder is not None, "a test that uses `shared` must carry @pytest.mark.shared"
    return folder / "golden"


@pytest.fixture(scope="session")
def data() -> Path:
    """`tests/data`."""
    return DATA


@pytest.fixture(scope="session")
def chromium() -> Iterator[playwright.Browser]:
    """One browser for the whole session, as a process can hold only one."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "install Chromium: apt-get install chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()
