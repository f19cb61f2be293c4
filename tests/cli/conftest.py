"""Commands in this process."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
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
def kvl(capsys: pytest.CaptureFixture[str]) -> Iterator[Kvl]:
    """Runs a command in this process. What a refused one leaves open to the end of its process is closed."""
    codes = []

    def answer(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        codes.append(int(ended.value.code or 0))
        return Answer(codes[-1], *capsys.readouterr())

    yield answer
    if any(codes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
