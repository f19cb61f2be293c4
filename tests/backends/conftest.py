"""Engines over tiny checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kvl_eval.backends.base import Settings
from kvl_eval.backends.torch_engine import TorchEngine
from tests.backends.engine import TINY
from tests.backends.thinker import make_thinker


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def engine_with() -> Iterator[Callable[..., TorchEngine]]:
    """Makes engines and closes them at the end.

    In float64, where the shape of a batch moves a number by 1e-15: in float32 (1e-7) a draw or an expert near its
    border goes one way on one CPU and the other way on another.
    """
    made: list[TorchEngine] = []

    def make(folder: Path = TINY, **settings: Any) -> TorchEngine:
        made.append(
            TorchEngine(
                folder,
                Settings.of(**{"num_workers": 0, "dtype": "float64", **settings}),
                name="tiny",
                family="instruct",
            )
        )
        return made[-1]

    yield make
    for engine in made:
        asyncio.run(engine.close())


@pytest.fixture(scope="session")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint whose thoughts close by themselves."""
    return make_thinker(TINY, tmp_path_factory.mktemp("thinker") / "tiny-thinking")
