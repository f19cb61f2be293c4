"""Every input of the fuzzing corpus, and any bytes that hypothesis makes, keep the promises of `targets.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import SEPARATOR, TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


def test_every_target_has_seeds() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_some_seeds_are_accepted(name: str) -> None:
    assert sum(TARGETS[name](path.read_bytes()) for path in INPUTS if path.parent.name == name) > 0


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_inputs_of_the_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.one_of(st.binary(max_size=200), st.text(f'{SEPARATOR}0123456789:,->\n{{}}[]"\\ ()', max_size=80)))
def test_any_bytes(name: str, data: bytes | str) -> None:
    TARGETS[name](data if isinstance(data, bytes) else data.encode())
