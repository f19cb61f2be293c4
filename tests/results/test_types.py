"""What mypy says of a session: it knows the options of `evaluate` and the types of results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SESSION = """
import kvl_eval

r = kvl_eval.evaluate("kimi-vl-nano", "mathvista", limit=20, think_budget="1k,4k", output_dir="results")
value: float = float(r.score("mathvista"))
best: dict[str, kvl_eval.TaskScore] = dict(r.scores)
s = r.samples("mathvista")
s[s.correct == False][["question", "gold", "answer", "extracted"]].head(2)
print(kvl_eval.open_run("latest").rescore("vlmevalkit").score("mathvista").ci95)
print(kvl_eval.compare(r, kvl_eval.open_run("20261129-230114")))
kvl_eval.list_runs(task="mathvista").head()
"""
MISSPELT = "import kvl_eval\n\nkvl_eval.evaluate(limt=3)\n"


@pytest.mark.slow
def test_mypy_accepts_a_session_and_refuses_a_misspelt_option(tmp_path: Path) -> None:
    (tmp_path / "session.py").write_text(SESSION)
    (tmp_path / "misspelt.py").write_text(MISSPELT)
    files = [str(tmp_path / name) for name in ("session.py", "misspelt.py")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = ("session.py:", "misspelt.py:")
    errors = [line for line in done.stdout.splitlines() if ": error: " in line and any(name in line for name in names)]
    assert len(errors) == 1 and "misspelt.py:3: " in errors[0] and '"limt"' in errors[0], done.stdout + done.stderr
