"""The command line in this process, for a user with a cache of their own."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvl_eval.cli.main import main

MINI = ("--task", "mathvista", "--split", "mini", "--limit", "2", "--num-workers", "0", "--no-progress")
FAKE = ("--model", "fake", "--model-args", "answers=constant:B")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def fix(self) -> list[str]:
        """The arguments of the command that an error advises."""
        [line] = [line for line in self.err.splitlines() if line.startswith("  fix:")]
        return shlex.split(line.partition("kvl-eval ")[2])


class Shell:
    """Runs commands; what pytest captures is what was shown."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        shown = self.capsys.readouterr()
        return Outcome(int(ended.value.code or 0), shown.out, shown.err)


def newest(folder: Path) -> Path:
    """The run folder that was made last."""
    return max(path for path in folder.iterdir() if path.is_dir())
