"""docs/run-folder.md is what the types say, and they say something of every field."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from tools.run_folder_docs import FILES, PAGE, descriptions, page

TYPES = [kind for _, _, kinds in FILES for kind in kinds if kind.__module__.startswith("kvl_eval.store")]


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python tools/run_folder_docs.py`"


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_field_is_described(kind: type[Any]) -> None:
    described = descriptions(inspect.getdoc(kind) or "")
    if described:
        assert list(described) == [field.name for field in dataclasses.fields(kind)]
