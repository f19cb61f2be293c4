"""A desktop of OSWorld's own environment, in a process of the interpreter that the user names.

    {"do": "reset", "task": ...}  ->  {"ok": {"screenshot": "1.png"}}  or  {"error": {"kind": ..., "text": ...}}

The process belongs to one episode. What it says is not trusted: a line that is too long, or is not what it should be,
means that the desktop has died.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar

from kvl_eval.agent import osworld_worker
from kvl_eval.agent.actions import AgentAction, Done, Fail, ScreenSize, Sleep
from kvl_eval.agent.base import Screenshot
from kvl_eval.agent.desk import ActResult, Evaluation, EvaluatorCheck, desktop_died, evaluator_failed, setup_failed
from kvl_eval.agent.written_code import written_code
from kvl_eval.decode import Json, decode, read_json
from kvl_eval.errors import DecodeError, MediaError, SampleError
from kvl_eval.media.images import open_image
from kvl_eval.tasks.episode import Episode
from kvl_eval.types import Sample

T = TypeVar("T")

MOST_LINE = 16 * 2**20  # bytes of a reply
MOST_SCREEN = 64 * 2**20  # bytes of a screen
CLOSE_SECONDS = 15.0  # until a worker that was told to close is killed
LOG = "worker.log"
LOG_TAIL = 400  # characters of it in an error


class Machine(Protocol):
    """A computer for one episode that kvl-eval itself starts."""

    def start(self) -> str:
        """Start it, fresh, and return `HOST:SERVER:CHROMIUM:VNC:VLC`. Raises SampleError."""

    def close(self) -> None:
        """Kill it; may be called from any thread, at any time, more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsworldPlace:
    """Where the original environment is.

    Attributes:
        python: the interpreter that has `desktop-env`.
        tree:   a clone of xlang-ai/OSWorld, whose `desktop_env` is used where none is installed.
        cache:  the folder that `fetch osworld` fills.
    """

    python: Path
    tree: Path | None = None
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerScreen:
    screenshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerResult:
    code: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerCheck:
    function: str
    expected: str = ""
    found: str = ""
    value: float | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerValue:
    value: float
    checks: tuple[_WorkerCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerFault:
    kind: Literal["setup_failed", "evaluator_error", "desktop_died"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _DeskReply:
    ok: Json = None
    error: _WorkerFault | None = None


class OsworldDesk:
    """One desktop for one episode."""

    def __init__(self, place: OsworldPlace, episode: Episode, machine: Machine | None = None) -> None:
        self.is_instant = False
        self.is_over = False
        self._place = place
        self._episode = episode
        self._machine = machine
        self._worker: _WorkerProcess | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def reset(self, sample: Sample) -> None:
        """Start the worker and the machine, and run the task's setup. Raises SetupFailed, DesktopDied."""
        task = sample.row.get("task")
        if not isinstance(task, Mapping):
            raise setup_failed("the sample lacks its task file")
        address = {} if self._machine is None else {"address": self._machine.start()}
        with self._lock:
            if self._is_closed:
                raise desktop_died("the desktop was closed")
            self._worker = _WorkerProcess(self._place, self._episode, str(task.get("id")))
        self._worker.ask("reset", _WorkerScreen, task=dict(task), **address)
        time.sleep(self._episode.waits[0])

    def observe(self) -> Screenshot:
        """What it shows. Raises DesktopDied for anything but a PNG of the episode's size."""
        worker = self._running()
        return worker.screen(worker.ask("observe", _WorkerScreen).screenshot)

    def act(self, action: AgentAction) -> ActResult:
        """Do one action, once."""
        if isinstance(action, Sleep):
            time.sleep(action.seconds)
            return ActResult()
        result = self._running().ask("step", _WorkerResult, action=written_code(action), pause=0)
        return ActResult(code=result.code, stdout=result.stdout, stderr=result.stderr)

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        """Judge the state with the original evaluator. Raises EvaluatorFailed."""
        worker = self._running()
        try:
            if not isinstance(last, Fail):
                time.sleep(self._episode.waits[1])  # Chromium writes its settings up to ten seconds later
            if isinstance(last, Done | Fail):
                worker.ask("step", _WorkerResult, action=written_code(last), pause=0)
            judged = worker.ask("evaluate", _WorkerValue)
        except SampleError as error:
            raise evaluator_failed(error.message) from error
        if not 0 <= judged.value <= 1:
            raise evaluator_failed(f"the evaluator gave {judged.value:g}, which is not from 0 to 1")
        checks = tuple(
            EvaluatorCheck(
                function=check.function,
                expected=check.expected,
                found=check.found,
                value=check.value,
                error=check.error,
                seconds=check.seconds,
            )
            for check in judged.checks
        )
        return Evaluation(value=judged.value, checks=checks)

    def versions(self) -> Mapping[str, str]:
        """Those of the environment and its interpreter."""
        return self._running().ask("versions", dict[str, str])

    def close(self) -> None:
        """Let go of the worker and the machine; returns at once."""
        with self._lock:
            self._is_closed = True
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()
        if self._machine is not None:
            self._machine.close()

    def _running(self) -> _WorkerProcess:
        worker = self._worker
        if worker is None:
            raise desktop_died("the desktop was closed")
        return worker


@dataclass(slots=True)
class _WorkerProcess:
    """The process, its folder of screens, and its own copy of the files that the task downloads."""

    place: OsworldPlace
    episode: Episode
    task_id: str
    folder: Path = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kvl-osworld-"))
        cache = self.folder / "cache"
        files = self.place.cache / self.task_id
        if files.is_dir():
            shutil.copytree(files, cache / self.task_id)
        cache.mkdir(exist_ok=True)
        settings = {
            "folder": str(self.folder),
            "cache": str(cache),
            "provider": self.episode.provider,
            "screen": list(self.episode.screen),
            "tree": None if self.place.tree is None else str(self.place.tree),
        }
        command = [str(self.place.python), "-I", osworld_worker.__file__, json.dumps(settings)]
        try:
            with (self.folder / LOG).open("wb") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self.folder,
                    env={**os.environ, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"},
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise setup_failed(f"{self.place.python} cannot be started: {error.strerror}") from None

    def ask(self, what: str, kind: type[T], **fields: object) -> T:
        """What the worker answers. Raises SampleError."""
        line = json.dumps({"do": what, **fields}).encode() + b"\n"
        stdin, stdout = self._pipes()
        try:
            stdin.write(line)
            stdin.flush()
            reply = stdout.readline(MOST_LINE + 1)
        except (OSError, ValueError):  # closed, here or there
            reply = b""
        if not reply:
            raise desktop_died(f"the worker ended during {what}{self._last_words()}")
        if len(reply) > MOST_LINE:
            self.kill()
            raise desktop_died(f"the worker's reply to {what} is longer than {MOST_LINE:,} bytes")
        try:
            answer = decode(_DeskReply, read_json(reply), "reply")
            if answer.error is None:
                return decode(kind, answer.ok, "ok")
        except DecodeError as error:
            raise desktop_died(f"the worker's reply to {what} cannot be read: {error.message}") from None
        raise _ERRORS[answer.error.kind](answer.error.text)

    def screen(self, name: str) -> Screenshot:
        """A screen by its name in the folder. Raises DesktopDied."""
        size = ScreenSize(*self.episode.screen)
        path = self.folder / name
        if path.parent != self.folder or path.is_symlink() or not path.is_file():
            raise desktop_died(f"the worker names a screen that is not there: {name[:80]!r}")
        if path.stat().st_size > MOST_SCREEN:
            raise desktop_died(f"the screen is larger than {MOST_SCREEN:,} bytes")
        png = path.read_bytes()
        path.unlink()
        try:
            found = open_image(png, "screen").image.size
        except MediaError as error:
            raise desktop_died(f"the screen cannot be read: {error.message}") from None
        if found != (size.width, size.height):
            raise desktop_died(f"the screen is {found[0]}x{found[1]}, expected {size.width}x{size.height}")
        return Screenshot(png, size)

    def kill(self) -> None:
        """End it and what it has started; it may have ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Tell it to close, and kill it if it does not; returns at once."""
        threading.Thread(target=self._end, name="kvl-eval osworld close", daemon=True).start()

    def _end(self) -> None:
        stdin, stdout = self._pipes()
        with suppress(OSError, ValueError, subprocess.TimeoutExpired):
            stdin.close()  # the end of its input: it lets go of its machine
            self.process.wait(CLOSE_SECONDS)
        self.kill()
        self.process.wait()
        stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pipes(self) -> tuple[BinaryIO, BinaryIO]:
        assert self.process.stdin is not None and self.process.stdout is not None
        return self.process.stdin, self.process.stdout  # type: ignore[return-value]

    def _last_words(self) -> str:
        """The end of its log, for an error."""
        try:
            text = (self.folder / LOG).read_bytes()[-LOG_TAIL:].decode(errors="replace").strip()
        except OSError:
            return ""
        return f": {text.splitlines()[-1]}" if text else ""


_ERRORS = {"setup_failed": setup_failed, "evaluator_error": evaluator_failed, "desktop_died": desktop_died}
