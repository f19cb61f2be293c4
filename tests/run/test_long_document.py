"""A document of 120 pages, the most that the rule shows, through a whole run of the embedded model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvl_eval.store.run_folder import RunFolder
from tests.clips import write_pdf
from tests.conftest import ROOT
from tests.tasks.tables import write_json

pytestmark = pytest.mark.slow

PAGES = 120
SIZE = (153, 198)  # points: 306 x 396 pixels at 144 dpi, 11 x 15 tokens
TOKENS = 11 * 15


def test_120_pages_go_through_a_run_of_the_embedded_model(tmp_path: Path) -> None:
    asked = {"doc_id": "d.pdf", "question": "How many pages are there?", "answer": "120", "answer_format": "Int"}
    write_json(tmp_path / "samples.json", [{**asked, "evidence_pages": "[1]", "evidence_sources": "['Chart']"}])
    (tmp_path / "documents").mkdir()
    write_pdf(tmp_path / "documents" / "d.pdf", PAGES, SIZE)
    options = ("--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "c"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kvl_eval", "run", "--task", "mmlongbench-doc", "--model", "kimi-vl-nano"),
            *(*options, "--max-new-tokens", "8", "--no-progress", "--json"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2400,  # it takes some 45 s of one core
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(row["n_planned"], row["n_scored"]) for row in found["rows"]] == [(1, 1)]
    (record,) = RunFolder.open(Path(found["folder"])).records("mmlongbench-doc")
    assert record.status == "ok"
    assert [one.index for one in record.media] == list(range(PAGES))
    assert {(one.w, one.h, one.tokens, one.limit) for one in record.media} == {(306, 396, TOKENS, None)}
    assert record.tokens.image == PAGES * TOKENS
    assert record.prompt_text.count("<image:") == PAGES
