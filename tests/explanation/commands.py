"""Commands in the tests' own process."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import pytest

from kvl_eval.cli.main import main


@dataclass(frozen=True)
class Said:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> Said:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    return Said(int(ended.value.code or 0), out.getvalue(), err.getvalue())
