"""A genuine `vllm serve` on 127.0.0.1 over each exported demo model, started once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvl_eval.backends import MODELS
from kvl_eval.model.kimi_vl.vllm_export import export_for_vllm

LONGEST_START = 900  # seconds; about 30 on an idle machine


@dataclass(frozen=True)
class Server:
    """Where it listens, what it serves, where its image processor leaves the patches it made, and its session."""

    url: str
    checkpoint: Path
    pixels: Path
    process: int


def program() -> Path | None:
    """The `vllm` of the environment named by KVL_EVAL_VLLM (see `.ci/vllm`), or of the path."""
    named = os.environ.get("KVL_EVAL_VLLM")
    found = shutil.which(str(Path(named) / "bin" / "vllm") if named else "vllm")
    return Path(found) if found else None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    check_program()
    with running(tmp_path_factory.mktemp("vllm") / "server", "kimi-vl-nano") as found:
        yield found


@pytest.fixture(scope="module")
def thinking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    check_program()
    with running(tmp_path_factory.mktemp("vllm") / "thinking", "kimi-vl-nano-thinking") as found:
        yield found


def check_program() -> None:
    if program() is None:
        pytest.skip("vLLM is not installed: make its environment with `.ci/vllm DIR` and set KVL_EVAL_VLLM=DIR")


@contextmanager
def running(folder: Path, model: str) -> Iterator[Server]:
    """A server over an exported demo model in a folder of its own; ended with everything it started."""
    pixels = folder / "pixels"
    pixels.mkdir(parents=True)
    export_for_vllm(MODELS[model].location, folder / "nano")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(program()), "serve", str(folder / "nano"), *options(port)],
            cwd=folder,
            env=environment(pixels),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait(process, url, folder / "log")
            yield Server(url, folder / "nano", pixels, process.pid)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def options(port: int) -> list[str]:
    """`--compilation-config` keeps a rotary kernel off that turns only part of the query heads on CPU."""
    return [
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "nano", "--dtype", "float32"),
        *("--max-model-len", "4096", "--max-num-seqs", "16", "--enforce-eager", "--trust-remote-code"),
        *("--attention-backend", "CPU_MLA"),  # the one for AMX takes no float32
        *("--compilation-config", '{"custom_ops":["all","-rotary_embedding"]}'),
        *("--limit-mm-per-prompt", '{"image":16}', "--max-logprobs", "20"),
        *("--reasoning-config", '{"reasoning_start_str": "◁think▷", "reasoning_end_str": "◁/think▷"}'),
    ]


def environment(pixels: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))},
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "KIMI_VL_PIXELS": str(pixels),
    }


def wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + LONGEST_START
    while time.monotonic() < end:
        assert process.poll() is None, f"vLLM ended:\n{log.read_text()[-4000:]}"
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1)
    raise AssertionError(f"vLLM is not up after {LONGEST_START} s:\n{log.read_text()[-4000:]}")
