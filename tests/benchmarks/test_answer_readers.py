"""What the benchmark of answers counts, and how it takes readers of other projects from git."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.answer_readers import PATTERNS, definitions, letters, texts
from benchmarks.answers import OURS, Verdicts, is_gold, verdicts
from kvl_eval.scorers.answers import NOT_ANSWERABLE, Wanted

SOURCE = """
import not_a_module
from elsewhere import register

PATTERN = re.compile("[AB]")

@register("theirs")
def read(text: str, letters: Optional[List[str]] = None):
    match = PATTERN.search(text)
    return match.group() if match else random.choice(letters)

raise RuntimeError("what is not named does not run")
"""


def test_of_a_file_in_a_commit_the_named_definitions_run(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path / "source")]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "reader.py").write_text(SOURCE)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "owner+name").mkdir()
    (tmp_path / "source" / ".git").rename(tmp_path / "owner+name" / "repo")
    theirs = definitions(tmp_path, "owner+name", "HEAD", "reader.py", {"read", "PATTERN"})
    assert theirs["read"]("it is B") == "B"
    assert theirs["read"]("nothing", ["A", "B"]) is None, "a draw is no reading"


def test_letters_and_texts_of_options() -> None:
    wanted = Wanted(kind="letter", options=("red", "blue"))
    assert (letters(wanted), texts(wanted)) == (["A", "B"], {"A": "red", "B": "blue"})


@pytest.mark.parametrize(
    ("answer", "value"),
    [("8 and 4 make 12", 12.0), ("#### 1,250.", 1250.0), ("$12.50", 12.5), ("3-4", -4.0), ("none", None)],
)
def test_the_flexible_pattern_takes_the_last_number(answer: str, value: float | None) -> None:
    assert PATTERNS[0].read(answer, Wanted(kind="integer")) == value


@pytest.mark.parametrize(
    ("value", "kind", "gold", "right"),
    [
        ("C", "letter", "C", True),
        ("A", "letter", "C", False),
        (None, "letter", "C", False),
        (3.5, "integer", 3, False),
        (2.54, "float", 2.5, True),
        (2.56, "float", 2.5, False),
        ((0.5, 0.3), "point", [0.4, 0.2, 0.6, 0.4], True),
        ((0.7, 0.3), "point", [0.4, 0.2, 0.6, 0.4], False),
        ((0.4, 0.2, 0.6, 0.4), "box", [0.4, 0.2, 0.6, 0.4], True),
        (NOT_ANSWERABLE, "integer", "Not answerable", True),
        (12, "integer", "Not answerable", False),
        (NOT_ANSWERABLE, "integer", 12, False),
    ],
)
def test_what_is_right(value: object, kind: str, gold: object, right: bool) -> None:
    assert is_gold(value, {"kind": kind, "gold": gold, "precision": 1}) is right


def test_verdicts_are_counted() -> None:
    def row(reply: str, reading: str | None, correct: bool) -> dict[str, Any]:
        expected = {"reading": reading, "correct": correct}
        return {"kind": "letter", "options": ["x", "y"], "gold": "A", "reply": reply, "expected": expected}

    vectors = [row("A", "A", True), row("B", "B", False), row("<think>A</think>A", "A", True), row("?", None, False)]
    assert verdicts(vectors, OURS.read) == Verdicts(rows=4, right=2)
    always = verdicts(vectors, lambda answer, wanted: "A")
    assert always == Verdicts(rows=4, right=2, credited=2, read=1) and always.agree == 50
    assert verdicts(vectors, lambda answer, wanted: None) == Verdicts(rows=4, right=2, missed=2)
