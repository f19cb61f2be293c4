"""Commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from kvl_eval.cli.main import main


class Answer(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


Kvl = Callable[..., Answer]


@pytest.fixture
def kvl(capsys: pytest.CaptureFixture[str]) -> Kvl:
    """Runs a command in this process."""

    def answer(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Answer(int(ended.value.code or 0), *capsys.readouterr())

    return answer
