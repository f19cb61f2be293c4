"""Worker processes that prepare media ahead of the model, so that a hanging or crashing decoder costs one sample only.

Each worker is a process with a pipe of its own and a thread here that waits for it: a death is an end of file on that
pipe and affects no other, whether the worker was busy or idle. A process is started by its first job or by
`warm_up`, as `python -m kvl_eval.media.worker`: nothing of a program that runs threads and an accelerator is copied,
nor is its script imported again. Workers import numpy and Pillow, never torch, and end when the program does, however
it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import Any, Generic, TypeVar

from kvl_eval.errors import SampleError
from kvl_eval.media.worker import READY, WorkerReply, outcome
from kvl_eval.printable import one_line

log = logging.getLogger(__name__)
Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 2
START_SECONDS = 120.0  # most time a new process may take until it answers
WORKERS = 2  # most processes where nothing else is asked for
IMAGES = 128  # for which one process is enough: starting another takes as long as preparing many of them


def wanted_workers(images: int) -> int:
    """Processes for so many images where nothing else is asked for: at least one."""
    return max(1, min(WORKERS, os.cpu_count() or 1, -(-images // IMAGES)))


class MediaPool(Generic[Job, Result]):
    """Runs `work(job)` in worker processes; each future ends with a result or with a SampleError.

    Args:
        work:    importable by name (or a `functools.partial` of such), its arguments and results picklable.
        workers: processes; 0 runs jobs one after the other on a thread of this process, without a time limit and
                 without protection from a decoder that crashes. None begins with one; `expect` adds to it.
        timeout: seconds one attempt may run once a worker has it; waiting in the queue does not count.
    """

    def __init__(self, work: Callable[[Job], Result], *, workers: int | None, timeout: float) -> None:
        self._work = work
        self._timeout = timeout
        self._grows = workers is None
        self._in_process = workers == 0
        self._closed = False
        self._threads = ThreadPoolExecutor(max_workers=workers or WORKERS, thread_name_prefix="media")
        self._workers: list[_Worker] = []
        self._idle: LifoQueue[_Worker] = LifoQueue()
        self._grow(1 if workers is None else workers)

    @property
    def workers(self) -> int:
        """Jobs that are done at a time."""
        return len(self._workers)

    def expect(self, images: int) -> None:
        """Have as many workers as pay for so many images in all, where the caller did not say how many."""
        if self._grows:
            self._grow(wanted_workers(images))

    def warm_up(self) -> None:
        """Start all workers now; returns before they are ready."""
        for worker in self._workers:
            worker.start()

    def submit(self, job: Job) -> Future[Result]:
        """Queue one job. The future ends with `work(job)`, or with one of these, by `SampleError.reason`.

        What the work raised on purpose (any KvlEvalError); `worker_died` after a second worker died of the job;
        `timeout`; `oom`; `media_failed` for any other exception of the work.
        """
        return self._threads.submit(self._run, job)

    def close(self) -> None:
        """End all workers at once; what they were doing ends as `worker_died`, what waited is cancelled."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stop_workers()
        self._threads.shutdown(wait=True)
        self._stop_workers()  # one may have been started for a job that was taken just before

    def _stop_workers(self) -> None:
        for worker in self._workers:
            worker.stop()

    def _grow(self, count: int) -> None:
        for _ in range(count - len(self._workers)):
            self._workers.append(_Worker(self._work))
            self._idle.put(self._workers[-1])

    def _run(self, job: Job) -> Result:
        if self._in_process:
            return _unwrapped(outcome(self._work, job))  # type: ignore[no-any-return]
        worker = self._idle.get()
        try:
            return self._ask(worker, job)
        finally:
            self._idle.put(worker)

    def _ask(self, worker: _Worker, job: Job) -> Result:
        why = ""
        for _ in range(ATTEMPTS):
            try:
                return _unwrapped(worker.ask(job, self._timeout))  # type: ignore[no-any-return]
            except _WorkerDied as error:
                why = str(error)
                if self._closed:
                    raise SampleError("worker_died", "preparation was stopped") from None
        if not any(other.ever_ready for other in self._workers):
            self._go_in_process(why)
            return _unwrapped(outcome(self._work, job))  # type: ignore[no-any-return]
        raise SampleError("worker_died", "the media worker crashed twice on this sample", why=why)

    def _go_in_process(self, why: str) -> None:
        if not self._in_process:
            log.warning("note: media are decoded in this process: cannot start workers (%s)", one_line(why))
        self._in_process = True


class _WorkerDied(Exception):
    """The process ended without an answer."""


class _Worker:
    """One process and the pipe to it; restarted after a crash. Used by one thread at a time."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.ever_ready = False
        self._work = work
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._ready = False

    def start(self) -> Connection:
        """The pipe to a process that was started, now or before. Raises: _WorkerDied."""
        with self._lock:
            if self._pipe is None:
                pipe, theirs = multiprocessing.Pipe()
                with theirs:
                    self._process = _started(theirs)
                self._ready = False
                self._pipe = pipe
                pipe.send(self._work)
            return self._pipe

    def ask(self, job: object, timeout: float) -> WorkerReply:
        """(True, result) or (False, error) of the job. Raises: _WorkerDied; SampleError `timeout`."""
        try:
            pipe = self.start()
            if not self._ready:
                self._wait_until_ready(pipe)
            self._ready = self.ever_ready = True
            pipe.send(job)
            if pipe.poll(timeout):
                answer: WorkerReply = pipe.recv()
                return answer
        except (EOFError, OSError):
            code = self.stop(grace=0.2)  # one that died by itself keeps its own exit code
            raise _WorkerDied(f"exit code {code}" if self._ready else f"it did not start, exit code {code}") from None
        self.stop()
        raise SampleError("timeout", f"decoding the media took longer than {timeout:g} s", fix="raise --timeout")

    def _wait_until_ready(self, pipe: Connection) -> None:
        """Raises: EOFError, if the process ended; _WorkerDied, if it does not come up or cannot take the work."""
        word = pipe.recv() if pipe.poll(START_SECONDS) else "it did not start"
        if word != READY:
            self.stop()
            raise _WorkerDied(word)

    def stop(self, grace: float = 0.0) -> int | None:
        """End the process, if there is one, within `grace` seconds; its exit code."""
        with self._lock:
            process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if process is None or pipe is None:
            return None
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        pipe.close()
        return process.returncode


def _started(pipe: Connection) -> subprocess.Popen[bytes]:
    """A worker process at the other end of a pipe; it finds modules where this program does."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "kvl_eval.media.worker", str(pipe.fileno())],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        pass_fds=[pipe.fileno()],
        process_group=0,  # Ctrl-C in a terminal is for this program to decide
    )


def _unwrapped(result: WorkerReply) -> Any:
    succeeded, value = result
    if succeeded:
        return value
    raise value
