"""Rows that a table may hold and rows that it may not, as `score`, `run` and `check data` meet them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvl_eval.cli.main import main
from kvl_eval.rows import Row
from kvl_eval.scoring.predictions import score
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
from tests.tasks.tables import base64_png, read_lines, write_json, write_tsv

NAN = math.nan
FOUR = ["12", "15", "18", "21"]
MATHVISTA = {
    "pid": "p1",
    "question": "How many?",
    "choices": None,
    "answer": "5",
    "question_type": "free_form",
    "answer_type": "integer",
    "metadata": {},
    "image": base64_png(),
}
CHOICE = {**MATHVISTA, "choices": ["x", "y"], "answer": "y", "question_type": "multi_choice", "answer_type": "text"}
MMMU = {"id": "validation_Math_1", "question": "q", "options": FOUR, "answer": "C", "question_type": "multiple-choice"}
COLUMNS = {name: cell for name, cell in MMMU.items() if name != "options"} | dict(zip("ABCD", FOUR, strict=True))
OCR = {"dataset_name": "IIIT5K", "id": 1, "question": "q", "answers": ["A"], "type": "Regular Text Recognition"}
DOCUMENT = {
    "doc_id": "a.pdf",
    "doc_type": "t",
    "question": "q",
    "answer": "12",
    "evidence_pages": "[1]",
    "evidence_sources": "['Chart']",
    "answer_format": "Int",
}
SPLITS = {
    "mathvista": "testmini",
    "mmmu": "validation",
    "ocrbench": "test",
    "mmlongbench-doc": "train",
    "mmstar": "val",
}

REFUSED = [
    pytest.param("mathvista", {**CHOICE, "choices": "x or y"}, "choices is not a list of options", id="list"),
    pytest.param("mathvista", {**CHOICE, "choices": 7}, "choices is not a list of options", id="number-as-list"),
    pytest.param("mathvista", {**CHOICE, "choices": NAN}, "without choices", id="options-missing"),
    pytest.param("mathvista", {**CHOICE, "answer": "B"}, "answer is 'B'", id="letter-for-text"),
    pytest.param("mathvista", {**MATHVISTA, "answer": ""}, "answer is empty", id="empty-text"),
    pytest.param("mathvista", {**MATHVISTA, "answer_type": "Number"}, "answer_type is 'Number'", id="answer-type"),
    pytest.param("mathvista", {**MATHVISTA, "question_type": ""}, "question_type is ''", id="no-question-type"),
    pytest.param("mmmu", {**COLUMNS, "C": None}, "option C is missing", id="gap"),
    pytest.param("mmmu", {**COLUMNS, "C": NAN}, "option C is missing", id="gap-nan"),
    pytest.param("mmmu", {**COLUMNS, "C": " "}, "option C is missing", id="gap-blank"),
    pytest.param("mmmu", {**MMMU, "options": {"A": "x", "C": "y"}}, "option B is missing", id="gap-in-mapping"),
    pytest.param("mmmu", {**MMMU, "options": []}, "0 options", id="no-options"),
    pytest.param("mmmu", {**MMMU, "options": [*map(str, range(27))]}, "27 options, at most 26", id="many-options"),
    pytest.param("mmmu", {**MMMU, "answer": "E"}, "the gold answer 'E' is not an option", id="letter-beyond"),
    pytest.param("mmmu", {**MMMU, "answer": "17"}, "the gold answer '17' is not an option", id="text-beyond"),
    pytest.param("mmmu", {**MMMU, "answer": 1.5}, "the gold answer '1.5' is not an option", id="decimals"),
    pytest.param("mmmu", {**MMMU, "question_type": "essay"}, "question_type is 'essay'", id="question-type"),
    pytest.param("ocrbench", {**OCR, "answers": [None, ""]}, "answers is empty", id="empty-answers"),
    pytest.param("ocrbench", {**OCR, "answers": 5}, "answers is 5", id="number-as-answers"),
    pytest.param("mmlongbench-doc", {**DOCUMENT, "answer_format": ""}, "answer_format is ''", id="no-format"),
    pytest.param("mmlongbench-doc", {**DOCUMENT, "answer": ""}, "answer is empty", id="empty-answer"),
]


def kvl(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code, and all that was printed; a traceback fails the test."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    return int(ended.value.code or 0), printed.out + printed.err


def table(folder: Path, task: str, *rows: dict[str, Any]) -> list[str]:
    """The options that name a table of those rows."""
    stem = {"mmlongbench-doc": "samples"}.get(task, SPLITS[task])
    write_json(folder / f"{stem}.json", list(rows))
    return ["--task", task, "--data-dir", str(folder), "--split", SPLITS[task]]


def predictions(folder: Path, *lines: dict[str, Any]) -> str:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("task", "row", "message"), REFUSED)
def test_a_row_is_refused_in_the_same_words_by_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, row: dict[str, Any], message: str
) -> None:
    options = table(tmp_path / "data", task, row)
    name = str(row.get("id", row.get("pid", "")))
    code, text = kvl(capsys, "check", "data", *options[1:])
    assert (code, message in text, name in text) == (4, True, True), text
    code, text = kvl(capsys, "run", *options, "--model", "fake", "--limit", "1", "--output-dir", str(tmp_path / "out"))
    assert (code, message in text, name in text) == (4, True, True), text
    assert not list((tmp_path / "out").glob("*/samples/*")), "nothing is asked"
    given = predictions(tmp_path, {"response": "x", "row": row})
    code, text = kvl(capsys, "score", "--task", task, "--predictions", given)
    assert (code, message in text, name in text) == (3, True, True), text


@pytest.mark.parametrize(
    ("task", "row", "response"),
    [
        pytest.param("mathvista", {**CHOICE, "choices": '["x", "y"]'}, "y", id="json"),
        pytest.param("mathvista", {**CHOICE, "choices": "('x', 'y')"}, "y", id="python"),
        pytest.param("mathvista", {**CHOICE, "choices": "['x' 'y']"}, "y", id="numpy"),
        pytest.param("mathvista", {**CHOICE, "choices": "['x'\n 'y']"}, "y", id="numpy-lines"),
        pytest.param("mathvista", {**CHOICE, "choices": "[1 2 3]", "answer": "3"}, "3", id="numpy-numbers"),
        pytest.param("mathvista", {**CHOICE, "choices": "x\ny\n"}, "y", id="lines"),
        pytest.param("mathvista", {**CHOICE, "choices": {"b": "y", "a": "x"}}, "y", id="letters"),
        pytest.param("mathvista", {**CHOICE, "choices": ["A. x", "B. y"]}, "y", id="own-letters"),
        pytest.param("mathvista", {**CHOICE, "answer": " y "}, "y", id="blanks"),
        pytest.param("mathvista", {**CHOICE, "answer": "B", "answer_option": "B"}, "y", id="answer-option"),
        pytest.param("mathvista", {**MATHVISTA, "answer": 5.0}, "5", id="whole-float"),
        pytest.param("mathvista", {**MATHVISTA, "question_type": "Open-Ended", "answer_type": "Int"}, "5", id="known"),
        pytest.param("mathvista", {**MATHVISTA, "choices": NAN, "unit": NAN, "metadata": NAN}, "5", id="nan"),
        pytest.param("mmmu", {**MMMU, "answer": "(c)"}, "C", id="small-letter"),
        pytest.param("mmmu", {**MMMU, "answer": "18"}, "C", id="option-text"),
        pytest.param("mmmu", {**MMMU, "question_type": "multi choice"}, "C", id="question-type"),
        pytest.param("mmmu", {**MMMU, "options": {"A": "12", "B": "", "C": "18"}}, "C", id="option-without-text"),
        pytest.param("mmmu", {**COLUMNS, "D": None}, "C", id="gap-at-the-end"),
        pytest.param("mmmu", {**MMMU, "question": NAN}, "C", id="no-question"),
        pytest.param("ocrbench", {**OCR, "answers": ["STOP", None, ""]}, "stop", id="gaps-among-answers"),
        pytest.param("ocrbench", {**OCR, "answers": "['6 mg' '6mg']"}, "6 mg", id="numpy-answers"),
        pytest.param("mmlongbench-doc", {**DOCUMENT, "answer_format": "integer", "answer": 12.0}, "12", id="format"),
        pytest.param("mmlongbench-doc", {**DOCUMENT, "evidence_pages": NAN, "doc_type": ""}, "12", id="no-label"),
    ],
)
def test_a_row_is_understood(task: str, row: dict[str, Any], response: str) -> None:
    (line,) = score(task, [{"response": response, "row": row}]).first.scores
    assert line.scored.score.verdict == "correct"
    again = get_task(task).sample(line.scored.sample.row)
    assert (again.choices, again.answers) == (line.scored.sample.choices, line.scored.sample.answers)


@pytest.mark.parametrize(
    ("task", "row", "response"),
    [
        ("mmmu", {**MMMU, "options": np.array(FOUR), "topic_difficulty": np.array(["Easy"])}, "C"),
        ("mathvista", {**CHOICE, "choices": np.array(["x", "y"]), "image": np.array([1, 2])}, "y"),
        ("ocrbench", {**OCR, "answers": np.array(["STOP"])}, "stop"),
    ],
)
def test_a_cell_may_be_an_array(task: str, row: dict[str, Any], response: str) -> None:
    (line,) = score(task, [{"response": response, "row": row}]).first.scores
    assert line.scored.score.verdict == "correct"


@pytest.mark.parametrize("gold", [None, NAN])
@pytest.mark.parametrize(("task", "row"), [("mathvista", MATHVISTA), ("mmmu", MMMU)])
def test_gold_that_is_missing_is_not_scored(task: str, row: dict[str, Any], gold: object) -> None:
    (line,) = score(task, [{"response": "C", "row": {**row, "answer": gold}}]).first.scores
    assert (line.scored.score.verdict, line.scored.score.reason) == ("not_scored", "no_gold")


def test_a_cell_of_pandas_or_numpy_is_read(tmp_path: Path) -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    row = Row({"options": numpy.array(FOUR), "gap": pandas.NA, "day": pandas.NaT, "counts": numpy.array([1, 2])})
    assert row.options() == tuple(FOUR)
    assert row.items("counts") == ("1", "2")
    assert not row.has("gap")
    assert not row.has("day")


def test_check_data_lists_missing_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = table(tmp_path, "mathvista", MATHVISTA, {**MATHVISTA, "pid": "p2", "answer": None})
    code, text = kvl(capsys, "check", "data", *options[1:])
    assert code == 4
    assert "row 2, id p2: the row has no answer" in text


def test_an_empty_cell_of_a_table_with_tabs_is_missing_gold(tmp_path: Path) -> None:
    row = {"index": "1", "question": "q", **dict(zip("ABCD", FOUR, strict=True)), "answer": "", "split": "validation"}
    write_tsv(tmp_path / "MMMU_DEV_VAL.tsv", [row])
    task = get_task("mmmu")
    (sample,) = open_split(task, Source(data_dir=tmp_path), "validation")
    assert sample.answers == ()


def test_a_split_that_withholds_its_gold_may_leave_it_empty(tmp_path: Path) -> None:
    write_json(tmp_path / "test.json", [{**MMMU, "id": "test_Math_1", "answer": ""}])
    (sample,) = open_split(get_task("mmmu"), Source(data_dir=tmp_path), "test")
    assert sample.answers == ()


@pytest.mark.parametrize("task", ["mathvista", "mmmu"])
def test_a_table_without_rows_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    options = table(tmp_path, task)
    code, text = kvl(capsys, "check", "data", *options[1:])
    expected = {"mathvista": "0 rows, expected 1,000", "mmmu": "0 rows, expected 900"}[task]
    assert (code, expected in text, "as expected" in text) == (4, True, False)
    code, text = kvl(capsys, "run", *options, "--model", "fake", "--output-dir", str(tmp_path / "out"))
    assert (code, expected in text) == (4, True)


def test_rows_of_other_splits_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**MMMU, "id": f"{split}_Math_1", "split": split} for split in ("dev", "test")]
    code, text = kvl(capsys, "check", "data", *table(tmp_path, "mmmu", *rows)[1:])
    assert code == 4
    assert "0 rows, expected 900: the file has the splits dev, test" in text


def test_check_data_tells_what_is_odd_about_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {**MMMU, "id": "validation_Math_1", "options": ["12", "12", "", "21"]},
        {**MMMU, "id": "validation_Math_2", "question": "see <image 2>", "image_1": base64_png()},
    ]
    code, text = kvl(capsys, "check", "data", *table(tmp_path, "mmmu", *rows)[1:])
    assert code == 4
    assert "note row 1, id validation_Math_1: two options are '12'" in text
    assert "note row 1, id validation_Math_1: an option has no text" in text
    assert "BAD row 2, id validation_Math_2: <image 2> has no image" in text


def test_up_to_five_rows_and_their_number_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**MATHVISTA, "pid": f"p{number}", "answer": "" if number else "5"} for number in range(8)]
    options = table(tmp_path, "mathvista", *rows)
    code, text = kvl(capsys, "run", *options, "--model", "fake", "--output-dir", str(tmp_path / "out"))
    assert code == 4
    assert "7 rows are unusable" in text
    assert "id p5" in text
    assert "id p6" not in text
    assert "and 2 more" in text
    assert "--allow-partial-data" in text


def test_the_others_run_where_that_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**MATHVISTA, "pid": f"p{number}", "answer": "" if number == 1 else "5"} for number in range(3)]
    options = table(tmp_path, "mathvista", *rows)
    command = ["run", *options, "--model", "fake", "--output-dir", str(tmp_path / "out"), "--allow-partial-data"]
    code, text = kvl(capsys, *command)
    assert (code, "1 failed (data_field 1)" in text) == (3, True), text
    (stored,) = (tmp_path / "out").glob("*/samples/*.jsonl")
    records = {record["sample_id"]: record for record in read_lines(stored)}
    assert {name: record["status"] for name, record in records.items()} == {"p0": "ok", "p1": "failed", "p2": "ok"}
    assert "answer is empty" in records["p1"]["message"]


HINTED = "Hint: Please answer the question.\nQuestion: What is\nthe total?\nChoices:\n(A) 31\n(B) 74\n(C) 70.4\n(D) 12"


@pytest.mark.parametrize(
    ("question", "bare", "choices"),
    [
        ("What?\nOptions: A: red, B: blue, C: green, D: none", "What?", ("red", "blue", "green", "none")),
        (HINTED, "What is\nthe total?", ("31", "74", "70.4", "12")),
        (HINTED.partition("\n")[2], "What is\nthe total?", ("31", "74", "70.4", "12")),
        ("Which one is it?", "Which one is it?", ("", "", "", "")),
    ],
)
def test_three_forms_of_mmstar(question: str, bare: str, choices: tuple[str, ...]) -> None:
    task = get_task("mmstar")
    row = {"index": 900, "question": question, "answer": "C", "category": "math", "l2_category": "geometry"}
    for reply, verdict in (("C", "correct"), ("The answer is C.", "correct"), ("Answer: $\\boxed{B}$", "wrong")):
        (line,) = score(task, [{"response": reply, "row": row}]).first.scores
        assert line.scored.score.verdict == verdict, reply
    sample = task.sample(row)
    assert sample.choices == choices
    (message,) = task.prompts["vlmevalkit"](sample)
    text = str(message.parts[-1])
    assert text.startswith(f"Question: {bare}\n")
    assert ("Options:\nA. " in text) is any(choices)


def test_check_data_counts_rows_without_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"index": 1, "question": "Which?", "answer": "C", "category": "math", "l2_category": "geometry"}
    options = table(tmp_path, "mmstar", {**row, "image": base64_png()})
    _, text = kvl(capsys, "check", "data", *options[1:])
    assert "note row 1, id 1: the row has no options" in text


def test_check_data_tells_of_an_id_that_is_not_the_row_s_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"index": 1, "id": 5, "question": "Q\nOptions: A: x, B: y", "answer": "B", "image": base64_png()}
    _, text = kvl(capsys, "check", "data", *table(tmp_path, "mmstar", row)[1:])
    assert "note row 1, id 1: the column `id` contains '5'" in text
