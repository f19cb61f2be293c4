"""`docs/answers.md` says what the code does: its examples, its code and its figures."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest

from kvl_eval.scorers.answers import HOWS, REASONS, Kind, Wanted, read
from kvl_eval.scorers.answers.accuracy import GENERATED, LABELED
from kvl_eval.scorers.answers.guide import OPTIONS
from tests.forks import python
from tests.tasks.test_contract import SPEAKERS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "answers.md"
TEXT = PAGE.read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The body of the table under a heading row that begins so; code marks are taken off."""
    rows = TEXT.partition(f"\n| {heading}")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows
    return [[cell.strip().strip("`") for cell in row.strip("| ").split(" | ")] for row in rows]


def wanted(kind: Kind) -> Wanted:
    return Wanted(kind=kind, options=OPTIONS if kind == "letter" else ())


@pytest.mark.parametrize("cells", table("place"), ids=lambda cells: cells[-3])
def test_places(cells: list[str]) -> None:
    answer, extracted, how = cells[-3:]
    reading = read(answer.strip("`"), wanted("letter"))
    assert (reading.value, reading.how) == (extracted, how) and how in HOWS


@pytest.mark.parametrize(("answer", "extracted"), table("answer | extracted"))
def test_numbers(answer: str, extracted: str) -> None:
    assert read(answer, wanted("integer")).value == float(extracted) == read(answer, wanted("float")).value


@pytest.mark.parametrize(("answer", "kind", "reason", "meaning"), table("answer | wanted"))
def test_reasons(answer: str, kind: str, reason: str, meaning: str) -> None:
    reading = read(answer, wanted("letter" if kind == "letter" else "integer"))
    assert (reading.value, reading.reason) == (None, reason) and meaning


def test_every_reason_is_listed() -> None:
    assert {reason for _, _, reason, _ in table("answer | wanted")} == set(REASONS)


def test_a_number_is_not_rounded() -> None:
    assert read("3.5", wanted("integer")).value == 3.5


def test_the_python_example() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(code, {}, "page", str(PAGE), 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0 < len(test.examples)


def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for block in blocks:
        for step in block.removeprefix("$ ").split("\n$ "):
            command, _, shown = step.partition("\n")
            if command == "cat replies.jsonl":
                (tmp_path / "replies.jsonl").write_text(shown)
                continue
            if command == "cat scored.jsonl":
                lines = (tmp_path / "scored.jsonl").read_text().splitlines()
                assert list(map(json.loads, lines)) == list(map(json.loads, shown.splitlines()))
                continue
            done = python("-m", "kvl_eval", *command.split()[1:], cwd=tmp_path, check=True)
            assert done.stdout.startswith(shown.rstrip("\n"))
    assert len(blocks) == 2


def test_the_figures_are_the_recorded_ones() -> None:
    ours = "| **this reader** | {} | {:.1f} |"
    assert ours.format(LABELED.replies, LABELED.percent) in TEXT
    for kind in ("letter", "integer", "float"):
        counts = GENERATED[kind]  # type: ignore[index]
        assert f"| {kind} {ours.format(counts.replies, counts.percent)}" in TEXT
    assert f"in {LABELED.without}\nof which" in TEXT and f"| {LABELED.read_as_answer} |" in TEXT


def test_the_number_of_tasks_is_that_of_the_test() -> None:
    assert f"the bundled samples of {len(SPEAKERS)} tasks" in TEXT


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (PAGE.parent / target).exists()
    for path in re.findall(r"`(tests/[\w/.]+)`", TEXT):
        assert (PAGE.parent.parent / path).exists()
