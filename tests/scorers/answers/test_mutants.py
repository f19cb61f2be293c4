"""No row of a table of wordings, marks or languages could go: without it some reply is read otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kvl_eval.scorers.answers import Reading, Wanted, read
from tests.golden import rows as golden_rows
from tests.scorers.answers import mutants
from tests.scorers.answers import test_cases as cases
from tests.scorers.answers import test_field_forms as field_forms
from tests.scorers.answers import test_golden as golden
from tests.scorers.answers import test_letter_spellings as spellings
from tests.scorers.answers import test_wordings as wordings
from tests.scorers.answers.row_vectors import VECTORS

Vector = tuple[str, Wanted]


@cache
def own() -> tuple[tuple[Vector, Reading], ...]:
    """Replies of these tests, each with its reading."""
    return tuple((vector, read(*vector)) for vector in dict.fromkeys(_own()))


def _own() -> Iterator[Vector]:
    yield from VECTORS
    for name, replies in [*wordings.REPLIES.items(), *wordings.ANNOUNCED.items()]:
        asked = Wanted(kind="integer", unanswerable=True) if name == "UNANSWERABLE" else wordings.LETTER
        yield from ((reply, asked) for reply in replies)
    for templates in spellings.SPELLINGS.values():
        yield from ((spellings.spelled(template, 2), spellings.ASKED) for template in templates)
    yield from ((reply, spellings.ASKED) for reply in spellings.UNREAD)
    yield from ((reply, Wanted(kind="letter", options=field_forms.VEHICLES)) for reply, _ in field_forms.LETTERS)
    yield from ((reply, Wanted(kind="float")) for reply, _ in field_forms.FLOATS)


@cache
def shared_vectors(folder: Path) -> tuple[tuple[Vector, Reading], ...]:
    """Replies of the shared vectors, each with its reading."""
    vectors = [(row["reply"], golden.wanted(row)) for row in golden_rows(folder / "answers" / "forms.jsonl")]
    for case in golden_rows(folder / "answers" / "cases.jsonl"):
        asked = cases.wanted(case) if case.get("response") is not None else None
        vectors += [(case["response"], asked)] if asked is not None else []
    return tuple((vector, read(*vector)) for vector in vectors)


def differs(reader: mutants.Read, vectors: tuple[tuple[Vector, Reading], ...]) -> bool:
    return any(reader(*vector) != reading for vector, reading in vectors)


@pytest.mark.slow
@pytest.mark.shared
def test_no_row_could_go(shared: Path) -> None:
    own()  # read by the whole reader, before any row goes
    shared_vectors(shared)
    idle = []
    for module, table, index, row in mutants.rows():
        with mutants.without(module, table, index) as reader:
            if not differs(reader, own()) and not differs(reader, shared_vectors(shared)):
                idle.append(f"{module}.{table}[{index}] {row}")
    assert idle == []


def test_a_reader_without_a_row_reads_otherwise_and_the_reader_stays_whole() -> None:
    asked = Wanted(kind="letter", options=("red", "green", "blue"))
    index = next(i for _, table, i, row in mutants.rows() if table == "LINES" and re.fullmatch(row, "réponse"))
    with mutants.without("languages", "LINES", index) as reader:
        assert reader("Réponse : C", asked).how != "answer_line"
    assert read("Réponse : C", asked).how == "answer_line"
