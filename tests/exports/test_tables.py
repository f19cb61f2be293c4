"""Tables of a run: every planned answer once, as pandas reads them, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import UsageError
from kvl_eval.exports import export_run
from kvl_eval.exports.answers import clean
from kvl_eval.exports.tables import COLUMNS, FORMULA, columns_of, csv_line
from kvl_eval.store.run_folder import RunFolder
from tests.exports.conftest import HOSTILE
from tests.refusals import refused

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, dtype=str)


@given(TEXTS)
def test_a_cell_comes_back_and_never_starts_a_formula(text: str) -> None:
    (line,) = csv.reader(io.StringIO(csv_line(["a", text]).decode(), newline=""))
    assert line[1] == (f"'{text}" if text.startswith(FORMULA) else text)
    assert not line[1].startswith(FORMULA)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tcmd", "\rcmd", "\n=1", "＝1"])
def test_what_a_spreadsheet_would_calculate_becomes_text(text: str) -> None:
    (line,) = csv.reader(io.StringIO(csv_line([text, -0.5]).decode(), newline=""))
    assert line == [f"'{text}", "-0.5"]  # numbers stay numbers


def test_both_tables_hold_each_planned_answer_once(sweep: Path, tmp_path: Path) -> None:
    (comma,) = export_run(RunFolder.open(sweep), "csv", tmp_path)
    (parquet,) = export_run(RunFolder.open(sweep), "parquet", tmp_path)
    text, typed = read_csv(comma), pd.read_parquet(parquet)
    keys = ["sample_id", "repeat", "budget", "policy"]
    planned = [entry.key for entry in RunFolder.open(sweep).plan()]
    assert sorted(typed[keys].itertuples(index=False, name=None)) == sorted(planned)
    assert list(text.columns) == list(typed.columns) == list(columns_of(RunFolder.open(sweep), ["mathvista"]))
    assert list(typed.columns)[: len(COLUMNS)] == list(COLUMNS)
    assert len(text) == len(typed) == 6 * 2 * 2
    assert list(text["answer"]) == list(typed["answer"].fillna(""))
    assert sorted(set(typed["status"])) == ["failed", "ok"]
    assert set(typed[typed["status"] == "failed"]["reason"]) == {"oom"}


def test_the_mean_score_is_that_of_results_json(sweep: Path, tmp_path: Path) -> None:
    (path,) = export_run(RunFolder.open(sweep), "parquet", tmp_path)
    found = pd.read_parquet(path).groupby("budget")["score"].mean()
    rows = RunFolder.open(sweep).results().rows
    official = {row.budget: row.score for row in rows if row.protocol == "official"}
    assert dict(found) == pytest.approx(official)


def test_lists_are_lists(sweep: Path, tmp_path: Path) -> None:
    (path,) = export_run(RunFolder.open(sweep), "parquet", tmp_path)
    first = next(RunFolder.open(sweep).plan()).sample
    row = pd.read_parquet(path).iloc[0]
    assert tuple(row["gold"]) == first.gold
    assert row["skills"] == "; ".join(first.categories["skills"])
    assert row["category_task"] == first.categories["task"][0] and row["task"] == "mathvista"
    (comma,) = export_run(RunFolder.open(sweep), "csv", tmp_path)
    assert tuple(json.loads(read_csv(comma).iloc[0]["gold"])) == first.gold


def test_another_protocol_changes_verdicts_only(sweep: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(sweep)
    (one,) = export_run(folder, "parquet", tmp_path / "a")
    (other,) = export_run(folder, "parquet", tmp_path / "b", "vlmevalkit")
    first, second = pd.read_parquet(one), pd.read_parquet(other)
    assert set(second["protocol"]) == {"vlmevalkit"}
    assert first["answer"].equals(second["answer"])


def test_hostile_answers_are_whole_and_inert(hostile: Path, tmp_path: Path) -> None:
    (comma,) = export_run(RunFolder.open(hostile), "csv", tmp_path)
    (parquet,) = export_run(RunFolder.open(hostile), "parquet", tmp_path)
    answered = pd.read_parquet(parquet).query("status == 'ok'")["answer"]
    assert len(answered) == 8 + 5
    assert set(answered) == {HOSTILE}
    with comma.open(encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert any(cell.startswith("'=1+1") for cell in cells)
    assert not any(cell.startswith(("=", "@", "\t", "\r")) for cell in cells)


def test_pending_answers_have_a_row_without_an_answer(hostile: Path, tmp_path: Path) -> None:
    (path,) = export_run(RunFolder.open(hostile), "parquet", tmp_path)
    pending = pd.read_parquet(path).query("status == 'pending'")
    assert len(pending) == 3
    assert pending["answer"].isna().all()
    assert pending["score"].isna().all()


def test_a_protocol_that_was_not_scored_is_refused(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as found:
        export_run(RunFolder.open(hostile), "csv", tmp_path, "vlmevalkit")
    assert found.value.code == "export.protocol"
    assert "kvl-eval score" in str(found.value.fix)


def test_what_no_json_or_utf8_can_hold_is_written_out() -> None:
    found = clean({"a\udcff": ["\ud800x", float("nan"), float("inf"), 0.5, None, True], "b": ("é",)})
    assert found == {"a\\udcff": ["\\ud800x", None, None, 0.5, None, True], "b": ["é"]}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_scores_of_a_judge_are_exported_by_its_name(judged: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(judged)
    rows = {(row.task, row.judge): row for row in folder.results().rows if row.protocol == "official"}
    for protocol, judge in ((None, "umpire"), ("official+umpire", "umpire"), ("official", None)):
        (path,) = export_run(folder, "parquet", tmp_path / str(protocol), protocol)
        found = pd.read_parquet(path)
        mathvista = found[found["task"] == "mathvista"]
        assert mathvista["score"].mean() == pytest.approx(rows["mathvista", judge].score)
        assert set(mathvista["protocol"]) == {"official+umpire" if judge else "official"}
        assert set(mathvista["judge"].dropna()) == ({"umpire"} if judge else set())
        assert mathvista["judge_reply"].notna().any() == bool(judge)
        needs_no_judge = set(found[found["task"] == "screenspot"]["protocol"])
        assert needs_no_judge == {"official" if protocol else "reader"}
    assert (rows["mathvista", "umpire"].score or 0) > 0 == rows["mathvista", None].score


def test_a_judge_that_nobody_asked_is_refused(judged: Path, tmp_path: Path) -> None:
    with refused(UsageError, "export.protocol", "'official+other'") as caught:
        export_run(RunFolder.open(judged), "csv", tmp_path, "official+other")
    assert "official+umpire" in (caught.value.why or "") and "--judge-model other" in (caught.value.fix or "")
