"""The box on top of a report, and how runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvl_eval.reports.cautions import cautions, differences
from kvl_eval.reports.runs import open_runs
from tests.reports.report_folders import DATA, make_run
from tests.reports.report_rows import make_row

CLEAN = make_row()


def found(tmp_path: Path, row: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    return cautions(open_runs([make_run(tmp_path, rows=[row or CLEAN], **changes)]))


def test_a_whole_clean_run_needs_no_caution(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"complete": False, "n_failed": 3, "failed": {"oom": 3}, "n_scored": 997}, "incomplete, 3 failed (oom 3)"),
        ({"partial": "limit 20 of 1000"}, "partial, limit 20 of 1000; no rank"),
        ({"verdicts": {"no_answer": 51}}, "nothing could be extracted from 51 of 1000 answers (5.1 %)"),
        (
            {"truncated_share": 0.07, "budget": 4096, "policy": "cut"},
            "mathvista/testmini at 4k cut: 70 of 1000 outputs (7.0 %) hit their budget",
        ),
        ({"truncated_share": 0.07}, "70 of 1000 outputs (7.0 %) hit the token limit"),
        ({"protocol": "vlmevalkit", "label": "vlmevalkit"}, "scored with vlmevalkit, which is not this task's default"),
        ({"thinking": "raw"}, "scored with official-rule (raw), which is not this task's default"),
    ],
)
def test_results_that_need_one(tmp_path: Path, row: dict[str, Any], text: str) -> None:
    assert any(text in caution for caution in found(tmp_path, make_row(**row)))


@pytest.mark.parametrize("row", [{"verdicts": {"no_answer": 50}}, {"truncated_share": 0.05}])
def test_five_percent_is_still_quiet(tmp_path: Path, row: dict[str, Any]) -> None:
    assert found(tmp_path, make_row(**row)) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"demo": True}, "demo model, not Kimi-VL-A3B"),
        ({"status": "interrupted"}, "the run is interrupted"),
        ({"code": {"version": "0.1.0", "commit": "abc", "dirty": True}}, "uncommitted changes (commit abc)"),
        (
            {"resumes": [{"time": "2026-08-12T00:00:00Z", "code": {"version": "0.2.0", "commit": "fedcba987654"}}]},
            "resumed with other code: 0.1.0 0123456789 → 0.2.0 fedcba9876",
        ),
    ],
)
def test_runs_that_need_one(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    assert any(text in caution for caution in found(tmp_path, **changes))


def test_a_damaged_manifest_is_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path, rows=[CLEAN])
    path = folder / "run.json"
    path.write_text(path.read_text().replace("float32", "float16"))
    assert any("checksum does not fit" in caution for caution in cautions(open_runs([folder])))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"code": {"version": "0.2.0"}}, "different versions of kvl-eval: 0.1.0, 0.2.0"),
        (
            {"data": {"mathvista": {**DATA, "source": None, "split": "testmini", "n": 10, "fingerprint": "other"}}},
            "mathvista: these runs used different data",
        ),
        (
            {"prompt": {"mathvista": {"name": "default", "sha256": "other", "mean_tokens": None}}},
            "mathvista: these runs used different prompts",
        ),
        ({"generation": {"mathvista": {"max_new_tokens": 4096, "temperature": 0.8}}}, "different generation settings"),
    ],
)
def test_runs_unlike_each_other(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    runs = [make_run(tmp_path, rows=[CLEAN]), make_run(tmp_path, name="run-b", rows=[CLEAN], **changes)]
    assert any(text in caution for caution in cautions(open_runs(runs)))
    assert any(name.split(".")[0] in changes for name, _ in differences(open_runs(runs)))


def test_equal_runs_have_no_differences(tmp_path: Path) -> None:
    runs = open_runs([make_run(tmp_path), make_run(tmp_path, name="run-b", created="2026-09-01T00:00:00Z")])
    assert differences(runs) == []


def test_what_concerns_many_results_is_one_line(tmp_path: Path) -> None:
    rows = [make_row(task="mathvista", split=f"part-{n}", verdicts={"no_answer": 100 + n}) for n in range(9)]
    lines = cautions(open_runs([make_run(tmp_path, rows=rows)]))
    assert len(lines) == 1
    assert lines[0].startswith("nothing could be extracted: mathvista/part-0 100 of 1000 (10.0 %), ")
    assert lines[0].endswith("mathvista/part-4 104 of 1000 (10.4 %), and 4 more; the table has all")
