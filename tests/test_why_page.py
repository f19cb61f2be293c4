"""docs/why-is-my-number-different.md: every command runs, and prints the lines that the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Kvl
from tests.cli.conftest import kvl as kvl

PAGE = Path(__file__).resolve().parent.parent / "docs" / "why-is-my-number-different.md"
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?")


def words(line: str) -> str:
    """A line without its numbers and the width of its columns."""
    return " ".join(NUMBER.sub("N", line).split())


def is_close(shown: str, said: str) -> bool:
    """Whether two lines have the same words, and numbers that differ by little: another processor, another digit."""
    if words(shown) != words(said):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(said), strict=True)
    return all(abs(float(ours) - float(theirs)) <= 4 for ours, theirs in pairs)


@pytest.mark.slow
def test_every_command_of_the_page_prints_what_the_page_shows(
    kvl: Kvl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KVL_EVAL_RESULTS_DIR", raising=False)
    said: list[str] = []
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert sum(kind == "bash" for kind, _ in blocks) == 5
    for kind, text in blocks:
        if kind == "text":
            missing = [line for line in text.splitlines() if not any(is_close(line, other) for other in said)]
            assert missing == [], "\n".join(said)
            continue
        for command in text.splitlines():
            program, *arguments = shlex.split(command)
            answer = kvl(*arguments)
            assert (program, answer.code) == ("kvl-eval", 0), answer.err
            said = answer.out.splitlines()


def test_the_threads_of_the_page_are_linked() -> None:
    links = re.findall(r"https://github\.com/[\w./-]+", PAGE.read_text(encoding="utf-8"))
    assert len(set(links)) == 5
