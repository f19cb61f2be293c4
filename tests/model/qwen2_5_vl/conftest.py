"""Checkpoints of two configurations, and the same in transformers' own classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.qwen2_5_vl.tiny import SHAPES, Reference, make_checkpoint


@pytest.fixture(scope="session", params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of each configuration."""
    return make_checkpoint(tmp_path_factory.mktemp("qwen") / request.param, SHAPES[request.param])


@pytest.fixture(scope="session")
def reference(folder: Path) -> Reference:
    return Reference(folder)
