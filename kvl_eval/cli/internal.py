"""What a bug shows: one block with the place of its traceback, and what belongs in an issue."""

from __future__ import annotations

import os
import re
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kvl_eval.errors import KvlEvalError

LOGGED = "kvl-eval: traceback in "  # begins the note of an exception whose traceback is in a run's log.txt


class InternalError(KvlEvalError):
    """A bug, in the form of an error with a code, `internal`; its traceback has been written to a file."""

    exit_code = 1

    def render(self) -> str:
        """The block that the command line prints, `error: internal error in kvl-eval (KeyError: 'x')` first."""
        return super().render().replace(f"error[{self.code}]: ", "error: ", 1)


def internal_error(bug: Exception) -> InternalError:
    """The block of a bug, whose traceback is in the log of its run, else in a new file of the temporary folder."""
    (text,) = traceback.format_exception_only(bug)[-1:]
    place = _log_of(bug) or _written(bug)
    return InternalError(
        "internal",
        f"internal error in kvl-eval ({' '.join(text.split())})",
        where="no file for the traceback can be written; repeat with -v" if place is None else f"traceback: {place}",
        fix="report it as an issue, with the traceback, the command and the output of kvl-eval version",
    )


def wants_traceback(typed: Sequence[str]) -> bool:
    """Whether a command line has `-v` or `--verbose`."""
    return any(word == "--verbose" or re.fullmatch("-v+", word) for word in typed)


def _log_of(bug: BaseException) -> Path | None:
    notes: Sequence[str] = getattr(bug, "__notes__", ())
    logs = [Path(note.removeprefix(LOGGED)) for note in notes if note.startswith(LOGGED)]
    return next((log for log in logs if log.is_file()), None)


def _written(bug: Exception) -> Path | None:
    with suppress(OSError):
        handle, name = tempfile.mkstemp(prefix="kvl-eval-", suffix=".traceback.txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(bug))
        return Path(name)
    return None
