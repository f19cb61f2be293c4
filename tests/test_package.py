"""What `import kvl_eval` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kvl_eval


def test_every_public_name_is_there() -> None:
    assert all(getattr(kvl_eval, name) is not None for name in kvl_eval.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kvl_eval.nothing


def test_score_takes_rows_from_memory() -> None:
    row = {"pid": "1", "question": "Which?", "choices": ["a", "b"], "question_type": "multi_choice"}
    row |= {"answer_type": "text", "answer": "b"}
    found = kvl_eval.score("mathvista", [{"id": "1", "response": "(B)", "row": row}])
    assert found.first.summary["score"] == 1.0


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, kvl_eval; print([name for name in sys.modules if name.startswith('kvl_eval.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
