"""What a media worker is: a process of its own that imports nothing of the program that started it.

    python -P -m kvl_eval.media.worker FD

`FD` is one end of a socket. Over it come the work, then jobs; `READY` and outcomes go back. Standard input holds
nothing: its end says that the parent is gone, however that came about.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from kvl_eval.errors import KvlEvalError, MediaError, SampleError
from kvl_eval.media.library_lines import caught, library_lines, library_note

log = logging.getLogger(__name__)
Job = TypeVar("Job")
Result = TypeVar("Result")

READY = "ready"
WorkerReply = tuple[bool, Any]
"""(True, result), or (False, an error that can travel)."""


def outcome(work: Callable[[Job], Result], job: Job) -> WorkerReply:
    """What comes of a job, errors included."""
    library_lines()  # of the job before
    try:
        return True, work(job)
    except MediaError as error:
        error.why = "; ".join(text for text in (error.why, library_note()) if text) or None
        return False, error
    except KvlEvalError as error:
        return False, error
    except MemoryError:
        return False, SampleError("oom", "not enough memory to decode the media")
    except Exception as error:  # the boundary of one sample: its record says what happened, others go on
        log.debug("media work failed", exc_info=True)
        return False, MediaError(
            "media.failed",
            "the media could not be decoded",
            why=f"{type(error).__name__}: {error}",
            fix="open the file in another program; if it is sound, report this error",
        )


def serve(pipe: Connection) -> None:
    """A worker's life: take the work, then answer jobs until the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        try:
            work = pipe.recv()
        except (AttributeError, ImportError, ValueError) as error:
            pipe.send(f"{type(error).__name__}: {error}")
            return
        pipe.send(READY)
        while True:
            job = pipe.recv()
            with caught():
                reply = outcome(work, job)
            pipe.send(reply)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
