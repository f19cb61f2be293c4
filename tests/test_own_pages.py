"""docs/guide/own_data.md and own_tasks.md: their commands run, and their tables say what the code does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvl_eval.sources.own_columns import ROLES
from kvl_eval.tasks import _OWN, TASKS
from kvl_eval.tasks.table_protocols import JUDGE_PROMPT, PROTOCOLS
from tests.faults.shell import Shell
from tests.tasks.tables import png
from tests.tasks.test_own_task import INVOICES

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def registered_tasks() -> Iterator[None]:
    known, own = dict(TASKS), dict(_OWN)
    yield
    for registry, before in ((TASKS, known), (_OWN, own)):
        registry.clear()
        registry.update(before)


@pytest.mark.parametrize("page", ["own_data.md", "own_tasks.md"])
def test_the_commands_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.png").write_bytes(png())
    blocks = BLOCK.findall((GUIDE / page).read_text(encoding="utf-8"))
    for _, title, content in blocks:
        if title:
            (tmp_path / title).write_text(content, encoding="utf-8")
    commands = [line for language, _, content in blocks if language == "bash" for line in content.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        program, *arguments = shlex.split(command)
        ended = Shell(capsys)(*arguments, *(("--num-workers", "0") if arguments[0] == "run" else ()))
        assert (program, ended.code) == ("kvl-eval", 0), f"{command}\n{ended.err}"


def rows_of(page: str, heading: str) -> dict[str, str]:
    """{first cell: second cell} of the table under a heading."""
    section = (GUIDE / page).read_text(encoding="utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if "| " in line]
    return {row[0].strip("| "): row[1].strip("| ") for row in cells[2:]}


def test_the_columns_of_the_page_are_those_that_are_read() -> None:
    table = {
        name.partition(" ")[0]: re.split(r"[,;:] ?| only", text)
        for name, text in rows_of("own_data.md", "Columns").items()
    }
    assert list(table) == [role for role, names in ROLES.items() if names]
    for role, words in table.items():
        assert set(ROLES[role]) <= {word.strip(" `") for word in words}, role


def test_the_protocols_and_the_judge_prompt_of_the_page_are_those_of_tables() -> None:
    assert [name.partition(" ")[0] for name in rows_of("own_data.md", "Scoring")] == list(PROTOCOLS)
    (shown,) = [text for language, _, text in BLOCK.findall((GUIDE / "own_data.md").read_text()) if language == "text"]
    assert " ".join(shown.split()) == " ".join(JUDGE_PROMPT.split())


def test_the_smallest_task_of_the_page_is_the_one_that_is_tested() -> None:
    blocks = BLOCK.findall((GUIDE / "own_tasks.md").read_text(encoding="utf-8"))
    assert [text for _, title, text in blocks if title == "invoices.py"] == [INVOICES]
