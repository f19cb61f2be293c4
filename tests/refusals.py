"""Errors that tests expect: by class and code, which scripts rely on, and by the name that the message must hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from kvl_eval.errors import KvlEvalError

E = TypeVar("E", bound=KvlEvalError)


@contextmanager
def refused(kind: type[E], code: str, naming: str = "") -> Iterator[pytest.ExceptionInfo[E]]:
    """As `pytest.raises`; the error must have this code, and its message the word `naming`."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == code, caught.value.render()
    assert naming in caught.value.message
