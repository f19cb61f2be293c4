"""Worker processes that prepare media ahead of the model, so that a hanging or crashing decoder costs one sample only.

Each worker is a process with a pipe of its own and a thread here that waits for it: a death is an end of file on that
pipe and touches nobody else, whether the worker was busy or idle. Processes are started with `spawn` (nothing of a
program that runs threads and an accelerator is copied), on the first job or by `warm_up`, which an engine calls before
it loads its weights: the quarter of a second that a worker needs is then hidden.
Workers import numpy and Pillow, never torch, and end when the program does, however it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import Any, Generic, TypeVar

from kvl_eval.errors import ConfigError, KvlEvalError, MediaError, SampleError

log = logging.getLogger(__name__)
Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 2
START_SECONDS = 120.0  # most time a new process may take until it answers
READY = "ready"


class MediaPool(Generic[Job, Result]):
    """Runs `work(job)` in worker processes; each future ends with a result or with a SampleError.

    Args:
        work:    importable by name (or a `functools.partial` of such), its arguments and results picklable.
        workers: processes; 0 runs jobs one after the other on a thread of this process, without a time limit and
                 without protection from a decoder that crashes.
        timeout: seconds one attempt may run once a worker has it; waiting in the queue does not count.
    """

    def __init__(self, work: Callable[[Job], Result], *, workers: int, timeout: float) -> None:
        _check_main_guard()
        self._work = work
        self._timeout = timeout
        self._in_process = workers == 0
        self._closed = False
        self._threads = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="media")
        self._workers = [_Worker(work) for _ in range(workers)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

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
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(wait=True)

    def _run(self, job: Job) -> Result:
        if self._in_process:
            return _unwrapped(_outcome(self._work, job))  # type: ignore[no-any-return]
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
            return _unwrapped(_outcome(self._work, job))  # type: ignore[no-any-return]
        raise SampleError("worker_died", "the process that prepared the media died twice", why=why)

    def _go_in_process(self, why: str) -> None:
        if not self._in_process:
            log.warning(
                "worker processes cannot be started (%s): media are prepared in this process; "
                'a script that starts an evaluation needs `if __name__ == "__main__":`',
                why,
            )
        self._in_process = True


class _WorkerDied(Exception):
    """The process ended without an answer."""


class _Worker:
    """One process and the pipe to it; started anew after a death. Used by one thread at a time."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.ever_ready = False
        self._work = work
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._ready = False

    def start(self) -> Connection:
        """The pipe to a process that was started, now or before."""
        with self._lock:
            if self._pipe is None:
                context = multiprocessing.get_context("spawn")
                self._pipe, theirs = context.Pipe()
                self._ready = False
                self._process = context.Process(
                    target=_serve, args=(theirs, self._work), name="kvl-eval media", daemon=True
                )
                self._process.start()
                theirs.close()
            return self._pipe

    def ask(self, job: object, timeout: float) -> tuple[bool, Any]:
        """(True, result) or (False, error) of the job. Raises: _WorkerDied; SampleError `timeout`."""
        try:
            pipe = self.start()
            if not self._ready and not (pipe.poll(START_SECONDS) and pipe.recv() == READY):
                raise EOFError
            self._ready = self.ever_ready = True
            pipe.send(job)
            if pipe.poll(timeout):
                answer: tuple[bool, Any] = pipe.recv()
                return answer
        except (EOFError, OSError):
            code = self.stop(grace=0.2)  # one that died by itself keeps its own exit code
            raise _WorkerDied(f"exit code {code}" if self._ready else f"it did not start, exit code {code}") from None
        self.stop()
        raise SampleError("timeout", f"preparing the media took longer than {timeout:g} s")

    def stop(self, grace: float = 0.0) -> int | None:
        """End the process, if there is one, within `grace` seconds; its exit code."""
        with self._lock:
            process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if process is None or pipe is None:
            return None
        process.join(timeout=grace)
        process.kill()
        process.join()
        pipe.close()
        return process.exitcode


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """A worker's life: answer jobs until the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send(READY)
        while True:
            pipe.send(_outcome(work, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _outcome(work: Callable[[Job], Result], job: Job) -> tuple[bool, Any]:
    """(True, result), or (False, an error that can travel)."""
    try:
        return True, work(job)
    except KvlEvalError as error:
        return False, error
    except MemoryError:
        return False, SampleError("oom", "not enough memory to prepare the media")
    except Exception as error:  # the boundary of one sample: its record says what happened, others go on
        log.debug("media work failed", exc_info=True)
        return False, MediaError(
            "media.failed", "the media could not be prepared", why=f"{type(error).__name__}: {error}"
        )


def _unwrapped(outcome: tuple[bool, Any]) -> Any:
    succeeded, value = outcome
    if succeeded:
        return value
    raise value


def _check_main_guard() -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "config.main_guard",
            "a worker process is importing the main script, which starts an evaluation again",
            fix='put the call below `if __name__ == "__main__":`, or pass num_workers=0',
        )
