"""The device that is tested: `KVL_EVAL_TEST_DEVICE`, or the accelerator there is, or the CPU.

`KVL_EVAL_TEST_DEVICE=cpu pytest -m gpu tests/gpu` shows that the tests work, and compares the CPU with itself.
"""

from __future__ import annotations

import os

import pytest
import torch

from benchmarks.gpu_check.small import Checkpoint, checkpoints
from kvl_eval.model.devices import available_devices, torch_device


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch_device(os.environ.get("KVL_EVAL_TEST_DEVICE") or available_devices()[-1])


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """A checkpoint of each architecture, by the name of its package."""
    kimi, qwen = checkpoints(tmp_path_factory.mktemp("checkpoints"))
    return {"kimi_vl": kimi, "qwen2_5_vl": qwen}
