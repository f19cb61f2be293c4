"""Shared fixtures: where golden data lies, and what happens where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"

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
    if STRICT:
        pytest.exit("the folder with vectors over others' data is missing: set KVL_EVAL_SHARED", returncode=1)
    deselected = [item for item in items if item.get_closest_marker("shared")]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not item.get_closest_marker("shared")]
        print(f"\n{len(deselected)} tests over others' data deselected: set KVL_EVAL_SHARED to run them")


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
