"""`kvl-eval score --predictions`: answers from anywhere, line by line."""

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kvl_eval
from kvl_eval.errors import DataError, StorageError, UsageError
from kvl_eval.scorers.statistics import interval
from kvl_eval.scoring.predictions import PredictionScores, score_file, score_predictions, write_rows
from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.mathvista import TASK
from kvl_eval.types import Sample
from tests.golden import rows
from tests.refusals import refused
from tests.tiny_task import rows as rows_of
from tests.tiny_task import sample_of, tiny

ROW = {"question_type": "free_form", "answer_type": "integer", "answer": "14", "image": "images/1.jpg"}
LINES = [
    {"id": "a", "response": "14", "row": {"pid": "a", **ROW}},
    {"id": "b", "response": "It is 15.", "row": {"pid": "b", **ROW}},
    {"id": "c", "response": "no number", "row": {"pid": "c", **ROW}},
    {"id": "d", "response": "no number", "extraction": "14", "row": {"pid": "d", **ROW}},
    {"id": "e", "response": "14", "extraction": None, "row": {"pid": "e", **ROW}},
]


def written(folder: Path, lines: list[Any], name: str = "answers.jsonl") -> Path:
    path = folder / name
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def score(path: Path | str, **kwargs: Any) -> PredictionScores:
    out = kwargs.pop("out", None)
    kwargs = {"source": Source(), "split": "mini", **kwargs}
    result = score_file(TASK, path, **kwargs)
    if out is not None:
        write_rows(out, result)
    return result


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.jsonl.gz"])
def test_scored_lines_and_summary(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out" / "scored.jsonl"
    result = score(written(tmp_path, LINES, name), out=out)
    lines = list(rows(out))
    assert [(line["id"], line["extracted"], line["score"], line["verdict"]) for line in lines] == [
        ("a", "14", 1.0, "correct"),
        ("b", "15", 0.0, "wrong"),
        ("c", None, 0.0, "no_answer"),
        ("d", "14", 1.0, "correct"),
        ("e", None, 0.0, "no_answer"),
    ]
    summary = result.as_json()
    assert list(summary) == [
        *("task", "protocol", "thinking", "n", "n_scored", "score", "unit", "ci95", "official", "categories"),
        "verdicts",
    ]
    assert (summary["n"], summary["n_scored"], summary["score"], summary["unit"]) == (5, 5, 0.4, "percent")
    assert summary["official"]["average"] == "40.00% (2/5)"
    assert summary["categories"]["answer_type"] == {"integer": {"n": 5, "score": 0.4}}
    assert summary["verdicts"] == {"correct": 2, "partial": 0, "wrong": 1, "no_answer": 2, "not_scored": 0}
    low, high = summary["ci95"]
    assert 0 <= low < 0.4 < high <= 1
    assert result.complete


def test_scored_lines_hold_one_gold_several_or_none(tmp_path: Path) -> None:
    gold = {"a": "14", "b": ["14", "15"], "c": []}
    lines = [{"id": name, "number": 0, "question": "?", "answer": "A"} for name in gold]

    def sample(row: Mapping[str, Any]) -> Sample:
        answers = gold[str(row["id"])]
        return replace(sample_of(row), answers=tuple(answers) if isinstance(answers, list) else (answers,))

    result = score_predictions(
        tiny(sample=sample), [(f"{n}", {"row": row, "response": "A"}) for n, row in enumerate(lines)]
    )
    assert {row["id"]: row["gold"] for row in result.first.rows} == {"a": "14", "b": ["14", "15"], "c": None}


@pytest.mark.parametrize(("protocol", "named"), [("all", {"official", "lenient"}), (None, {None})])
def test_lines_name_their_protocol_where_there_are_several(
    tmp_path: Path, protocol: str | None, named: set[str | None]
) -> None:
    lines = [("1", {"row": rows_of(1)[0], "response": "A"})]
    write_rows(tmp_path / "out.jsonl", score_predictions(tiny(), lines, protocol=protocol))
    assert {line.get("protocol") for line in rows(tmp_path / "out.jsonl")} == named


def test_answers_about_one_page_are_one_cluster_of_the_interval() -> None:
    answers = ["A", "B", "B", "A"] * 5  # right, right, wrong, wrong: page by page
    intervals = {}
    for pages in (True, False):
        lines = [
            {"id": row["id"], "row": row, "response": answers[n]} for n, row in enumerate(rows_of(20, pages=pages))
        ]
        summary = score_predictions(tiny(20), [(f"{n}", line) for n, line in enumerate(lines)]).as_json()
        assert summary["score"] == 0.5
        intervals[pages] = summary["ci95"]
    values = [1.0, 1.0, 0.0, 0.0] * 5
    assert intervals == {
        True: list(interval(values, [f"{n // 2}" for n in range(20)])[:2]),
        False: list(interval(values)[:2]),
    }


def test_packed_output(tmp_path: Path) -> None:
    out = tmp_path / "scored.jsonl.gz"
    score(written(tmp_path, LINES), out=out)
    assert len(list(rows(out))) == 5


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(LINES[0]).encode() + b"\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert score("-").as_json()["n"] == 1


def test_lines_without_row_are_looked_up(tmp_path: Path) -> None:
    gold = {sample.id: sample.answers[0] for sample in open_split(TASK, Source(), "mini")}
    lines = [{"id": name, "response": answer} for name, answer in gold.items()]
    result = score(written(tmp_path, lines)).as_json()
    assert (result["n"], result["score"]) == (len(gold), 1.0)


def test_raw_thinking(tmp_path: Path) -> None:
    path = written(tmp_path, [{"response": "◁think▷14", "row": {"pid": "1", **ROW}}])
    assert score(path).as_json()["score"] == 0.0
    assert score(path, view="raw").as_json()["score"] == 1.0


def test_all_protocols_show_where_they_differ(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = score(written(tmp_path, LINES), protocol="all", out=out)
    assert [one.protocol for one in result.protocols] == list(TASK.protocols)
    exact = result.protocols[1]
    assert {flip.id: (flip.default, flip.other) for flip in exact.flips} == {
        "b": ("wrong", "not_scored"),
        "c": ("no_answer", "not_scored"),
    }
    assert exact.flips[0].reason == "wrong (statement: 15) -> not_scored (judge_missing: None)"
    listed = result.as_json()["protocols"]
    assert [(one["protocol"], one["differs"]) for one in listed[:2]] == [("official", 0), ("official-exact", 2)]
    assert len(list(rows(out))) == 5 * len(TASK.protocols)


@pytest.mark.parametrize(
    ("lines", "code", "line", "why"),
    [
        pytest.param(['{"id": '], "data.corrupt", 1, "", id="broken-json"),
        pytest.param([LINES[0], "[1, 2]"], "data.corrupt", 2, "list", id="no-object"),
        pytest.param([LINES[0], LINES[1], LINES[0]], "data.duplicate", 3, ":1", id="duplicate"),
        pytest.param([{"id": "x", "response": "1"}], "data.unknown_id", 1, "no such id", id="unknown-id"),
        pytest.param([{"response": "1"}], "data.field", 1, "response", id="neither-id-nor-row"),
        pytest.param([{"id": "x", "row": 3, "response": "1"}], "data.field", 1, "row", id="row-is-no-object"),
        pytest.param([{"id": "1"}], "data.field", 1, "None", id="no-response"),
        pytest.param([{"id": "1", "response": 14}], "data.field", 1, "14", id="response-is-a-number"),
        pytest.param([{**LINES[0], "id": "x"}], "data.field", 1, "another sample", id="id-of-another-row"),
        pytest.param([{"row": LINES[0]["row"], "prediction": "14"}], "data.field", 1, "prediction", id="prediction"),
        pytest.param([{"row": LINES[0]["row"], "output": "14"}], "data.field", 1, "output", id="output"),
        pytest.param([{"row": LINES[0]["row"], "answer": "14"}], "data.field", 1, "answer", id="answer"),
    ],
)
def test_bad_lines_name_the_place(tmp_path: Path, lines: list[Any], code: str, line: int, why: str) -> None:
    path = written(tmp_path, lines)
    with pytest.raises(DataError) as caught:
        score(path)
    assert (caught.value.code, caught.value.where) == (code, f"{path}:{line}")
    assert why in f"{caught.value.message} {caught.value.why}"


def test_a_bad_row_is_named_and_the_others_are_scored(tmp_path: Path) -> None:
    bad = {"response": "1", "row": {**ROW, "answer_type": "x", "pid": "z"}}
    path = written(tmp_path, [LINES[0], bad, LINES[1]])
    result = score(path)
    assert [line.id for line in result.first.scores] == ["a", "b"]
    assert not result.complete
    (fault,) = result.refused
    assert (fault.code, fault.where, fault.message) == ("data.field", f"{path}:2, id z", "answer_type is 'x'")
    assert "integer" in (fault.why or "")
    assert "answer_type is 'x'" in str(result.as_json()["refused"])


def test_missing_file(tmp_path: Path) -> None:
    with refused(DataError, "data.missing"):
        score(tmp_path / "none.jsonl")


def test_unknown_protocol_names_near_ones(tmp_path: Path) -> None:
    with refused(UsageError, "usage.protocol", "'oficial'") as caught:
        score(written(tmp_path, LINES), protocol="oficial")
    assert "official" in (caught.value.fix or "")


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(StorageError, "storage.write"):
        score(written(tmp_path, LINES), out=tmp_path / "file" / "out.jsonl")


def test_an_empty_file_has_no_score(tmp_path: Path) -> None:
    result = score(written(tmp_path, []))
    assert (result.as_json()["n"], result.as_json()["score"], result.as_json()["ci95"]) == (0, None, None)
    assert not result.complete


def test_scoring_rows_loads_nothing_heavy(tmp_path: Path) -> None:
    path = written(tmp_path, LINES)
    code = f"""
import sys
from pathlib import Path
from kvl_eval.scoring.predictions import score_file
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task
score_file(get_task("mathvista"), Path({str(path)!r}), source=Source(), split="mini")
heavy = {{"torch", "transformers", "datasets", "numpy", "pandas", "pyarrow", "PIL", "huggingface_hub"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.shared
def test_a_published_run_by_the_rule(shared: Path, tmp_path: Path) -> None:
    meta = {row["pid"]: row for row in rows(shared / "mathvista" / "testmini_meta.jsonl.gz")}
    run = rows(shared / "mathvista" / "whole_bard.jsonl.gz")
    lines = [{"id": row["pid"], "response": row["response"], "row": meta[row["pid"]]} for row in run]
    result = score(written(tmp_path, lines, "bard.jsonl.gz"), view="raw").as_json()
    assert result["n"] == 1000
    assert abs(result["score"] - 0.348) < 0.02  # the figure published with GPT-4's extractions


def test_numbers_of_numpy_are_numbers() -> None:
    row = {"question": "?", "ground_truth": np.int64(4), "question_type": "object_counting"}
    lines = [{"id": str(n), "response": str(n), "row": {**row, "index": np.int32(n)}} for n in (4, 40)]
    assert [line.scored.score.value for line in kvl_eval.score("vsi-bench", lines).first.scores] == [1, 0]
