"""One vLLM server of this process's own: started on 127.0.0.1, waited for, ended with everything it started.

Between the two stands `vllm_watch.py`, which ends the server also when this process is killed. The server's key is made
here, stands in its environment alone, and is stored nowhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvl_eval.backends import vllm_watch
from kvl_eval.errors import EndpointError, StorageError

KEY_VARIABLE = "VLLM_API_KEY"
HOST = "127.0.0.1"
START_SECONDS = 1200.0  # from the start to the first good answer
TICK = 0.25  # seconds between looks
LOOK_SECONDS = 5.0  # that one look may take
TAIL = 20  # lines of a log that an error shows
LOG_BYTES = 1 << 16  # from the end of a log that are looked at
GRACE = 30.0  # seconds between SIGTERM and SIGKILL
TIDY = 10.0  # seconds after both in which all of it is gone

CAUSES = (
    (r"address already in use|errno 98", "another program uses its port", "run the command again"),
    (
        r"out of memory|no available memory for the cache blocks|free memory on device|larger than the available"
        r"|out_of_memory|bad_alloc|cannot allocate memory",
        "not enough memory for the model and its cache",
        "use -a vllm_args='--gpu-memory-utilization 0.8' (or another share), a shorter --max-model-len, fewer images "
        "or frames, or more GPUs",
    ),
    (
        r"are not supported for now|failed to be inspected|does not recognize this architecture",
        "this version of vLLM does not support the architecture of the checkpoint",
        "install a newer vLLM, or use --model hf:NAME without --backend vllm",
    ),
    (
        r"unrecognized arguments|invalid (choice|value)|expected (one|at least one) argument",
        "this version of vLLM does not support one of the options",
        "correct -a vllm_args or install another version of vLLM",
    ),
)
"""(pattern in the log, cause, fix)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCommand:
    """How a server is started.

    Attributes:
        words:       program and options, but for address and key.
        environment: of the server, but for the key.
        log:         file that its output is appended to.
        patience:    most seconds until it is healthy.
        grace:       seconds between SIGTERM and SIGKILL.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    patience: float = START_SECONDS
    grace: float = GRACE


@dataclass(slots=True)
class VllmServer:
    """A started server.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    command: ServerCommand
    key: str = field(repr=False)
    port: int
    _process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, command: ServerCommand, key: str) -> VllmServer:
        """Start a server; it is not healthy yet. Raises: EndpointError."""
        port = free_port()
        words = [*command.words, "--host", HOST, "--port", str(port)]
        descriptor = _opened(command.log)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", vllm_watch.__file__, f"{command.grace:g}", *words],
                env={**command.environment, KEY_VARIABLE: key},
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        except OSError as error:
            message, fix = f"cannot start vLLM: {error.strerror}", "check that this program can be run"
            raise EndpointError("vllm.start", message, where=words[0], fix=fix) from None
        finally:
            os.close(descriptor)
        return cls(command, key, port, process)

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, by itself or not."""
        return self._process.poll() is not None

    async def healthy(self) -> None:
        """Come back when it answers. Raises: EndpointError, with the end of its log, where it ends or does not."""
        until = time.monotonic() + self.command.patience
        while not await self.is_healthy():
            if self.has_ended:
                raise self._failure("vLLM exited before it was ready")
            if time.monotonic() > until:
                await self.end()
                raise self._failure(
                    f"vLLM was not ready after {self.command.patience:g} s",
                    fix="wait longer with -a start_timeout=SECONDS",
                )
            await asyncio.sleep(TICK)

    async def is_healthy(self) -> bool:
        """Whether it answers, and says that all is well."""
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        import httpx2

        try:
            reply = httpx2.get(f"http://{HOST}:{self.port}/health", timeout=LOOK_SECONDS, trust_env=False)
        except httpx2.TransportError:
            return False
        return reply.status_code == 200 and not self.has_ended

    async def ended(self) -> None:
        """Come back when it has ended."""
        while not self.has_ended:
            await asyncio.sleep(TICK)

    async def end(self) -> None:
        """End it and everything it started: SIGTERM, and SIGKILL to what is left after the grace."""
        await asyncio.to_thread(self.end_now)

    def end_now(self) -> None:
        """As `end`, without an event loop."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(self.command.grace + TIDY)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _failure(self, message: str, fix: str | None = None) -> EndpointError:
        return start_failure(message, self.command.log, fix)


def _opened(log: Path) -> int:
    """A log to be written at its end, readable by its owner only. Raises: StorageError, for a link or a folder."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(log, flags, 0o600)
    except OSError as error:
        message = f"cannot write {log}: {error.strerror}"
        raise StorageError("storage.write", message, fix="check the permissions of the run folder") from error


def new_key() -> str:
    """A random key."""
    return secrets.token_urlsafe(32)


def free_port() -> int:
    """A free port of 127.0.0.1."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def start_failure(message: str, log: Path, fix: str | None = None) -> EndpointError:
    """The error for a server that does not start: the cause, where its log tells it, and the log's last lines."""
    lines = log_tail(log)
    text = "\n".join(lines)
    for pattern, cause, help_ in CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            message, fix = f"{message}: {cause}", fix or help_
            break
    shown = "\n".join(lines[-TAIL:]) or "it printed nothing"
    return EndpointError("vllm.start", message, where=str(log), why=shown, fix=fix)


def log_tail(log: Path) -> list[str]:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def server_environment(variables: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: without what belongs to our own Python, and without keys and tokens."""
    ours, secret = ("PYTHON", "VIRTUAL_ENV", "CONDA_"), ("_API_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
    kept = {name: value for name, value in variables.items() if not name.startswith(ours) and not name.endswith(secret)}
    defaults = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    return {**kept, **defaults, **own}
