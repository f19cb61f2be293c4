"""Shared fixtures: where golden data lies, and what happens where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"


def shared_folder() -> Path | None:
    """The folder with vectors that rest on others' data, or None."""
    folder = Path(os.environ.get("KVL_EVAL_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shared_folder() is not None:
        return
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
