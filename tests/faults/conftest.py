"""What tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.faults.shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line of a user whose cache is empty."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return Shell(capsys)
