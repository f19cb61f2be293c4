"""MathVista's extraction and normalisation against the official functions, our rule against published extractions."""

from pathlib import Path
from typing import Any

import pytest

from kvl_eval.scorers.mathvista import Question, find_answer, normalise, rule_extraction
from tests.golden import rows
from tests.scorers.growth import is_linear

YES_NO = Question(question_type="multi_choice", answer_type="text", choices=("Yes", "No"))
ANGLES = Question(question_type="multi_choice", answer_type="text", choices=("25°", "40°", "65°"))
INTEGER = Question(question_type="free_form", answer_type="integer")
FLOAT = Question(question_type="free_form", answer_type="float", precision=1)
LIST = Question(question_type="free_form", answer_type="list")
WHOLE = ("bard", "llava_llama_2_13b", "chatgpt_2shot_solution")  # the fourth's responses do not fit its extractions


def question(row: dict[str, Any]) -> Question:
    return Question(
        question_type=row["question_type"],
        answer_type=row["answer_type"],
        choices=tuple(row["choices"] or ()),
        precision=row["precision"],
    )


def check_row(row: dict[str, Any], meta: dict[str, Any]) -> None:
    expected, asked = row["expected"], question(meta)
    if "rule_extraction" in expected:
        assert rule_extraction(row["response"], asked) == expected["rule_extraction"], row
        assert rule_extraction(row["response"], asked, quick=True) == expected["rule_extraction_quick"], row
    if expected.get("llm_extraction_needed"):
        return
    prediction = normalise(row["extraction"], asked)
    assert prediction == expected["prediction"], row
    assert (prediction == meta["answer"]) == expected["correct"], row
    if "prediction_ignore_empty" in expected:
        assert normalise(row["extraction"], asked, ignore_empty=True) == expected["prediction_ignore_empty"], row


def test_handmade_rows(data: Path) -> None:
    for row in rows(data / "mathvista" / "scoring_handmade.jsonl"):
        check_row(row, row)


@pytest.fixture(scope="module")
def meta(shared: Path) -> dict[str, dict[str, Any]]:
    return {row["pid"]: row for row in rows(shared / "mathvista" / "testmini_meta.jsonl.gz")}


@pytest.mark.shared
def test_real_rows(shared: Path) -> None:
    for row in rows(shared / "mathvista" / "scoring_real.jsonl.gz"):
        check_row(row, row)


@pytest.mark.shared
@pytest.mark.parametrize("run", [*WHOLE, "gpt4_2shot_code"])
def test_whole_runs_row_by_row(shared: Path, meta: dict[str, dict[str, Any]], run: str) -> None:
    for row in rows(shared / "mathvista" / f"whole_{run}.jsonl.gz"):
        check_row(row, meta[row["pid"]])


@pytest.mark.shared
def test_the_rule_gives_the_verdict_of_gpt4(shared: Path, meta: dict[str, dict[str, Any]]) -> None:
    files = ["scoring_real.jsonl.gz", *(f"whole_{run}.jsonl.gz" for run in WHOLE)]
    agreed = [_agrees(row, meta[row["pid"]]) for name in files for row in rows(shared / "mathvista" / name)]
    assert len(agreed) == 3280
    assert sum(agreed) / len(agreed) >= 0.95


def _agrees(row: dict[str, Any], meta: dict[str, Any]) -> bool:
    found = find_answer(row["response"], question(meta))
    is_right = found is not None and normalise(found[0], question(meta)) == meta["answer"]
    return is_right == row["expected"]["correct"]


@pytest.mark.parametrize(
    ("response", "asked", "extraction", "method"),
    [
        pytest.param("Yes", YES_NO, "Yes", "exact", id="exact-choice"),
        pytest.param(r"So \boxed{\text{B}}", ANGLES, "B", "boxed", id="boxed-letter"),
        pytest.param("The correct answer is **(B) 40°**. (A) is wrong.", ANGLES, "B", "cue", id="cue-letter"),
        pytest.param("Therefore, the angle is 65°.", ANGLES, "65°", "conclusion", id="conclusion-text"),
        pytest.param("Therefore, the angle is 64 degrees.", ANGLES, "64", "conclusion", id="number-beside-choices"),
        pytest.param("Based on the image, the bar is not the tallest.", YES_NO, "no", "statement", id="negated"),
        pytest.param("Based on the image, the bar is the tallest.", YES_NO, "yes", "statement", id="affirmed"),
        pytest.param(" 7 ", INTEGER, "7", "exact", id="exact-integer"),
        pytest.param("The sum is 3 + 4 = 7 apples.", INTEGER, "7", "text", id="last-number"),
        pytest.param("There are two bars above 60.", INTEGER, "2", "text", id="opening-count"),
        pytest.param("The answer is 1,200 miles, not 3.", INTEGER, "1200", "cue", id="first-after-cue"),
        pytest.param("Answer: 4.25 cm", FLOAT, "4.25", "cue", id="float"),
        pytest.param("It lies in [2014, 2016].", LIST, "[2014, 2016]", "text", id="list"),
    ],
)
def test_find_answer(response: str, asked: Question, extraction: str, method: str) -> None:
    assert find_answer(response, asked) == (extraction, method)


@pytest.mark.parametrize(
    ("response", "asked"),
    [
        pytest.param("", YES_NO, id="empty"),
        pytest.param("The answer cannot be determined.", ANGLES, id="cue-declines"),
        pytest.param("I cannot see the image, yes.", YES_NO, id="text-declines"),
        pytest.param("No idea about this at all", INTEGER, id="no-number"),
        pytest.param("It grows. It falls. It rests.", YES_NO, id="a-long-statement-says-nothing"),
        pytest.param("no list", LIST, id="no-list"),
    ],
)
def test_find_answer_never_guesses(response: str, asked: Question) -> None:
    assert find_answer(response, asked) is None


@pytest.mark.parametrize("asked", [YES_NO, INTEGER, LIST], ids=["choice", "integer", "list"])
@pytest.mark.parametrize("piece", [" ", "9", "(A) ", "\n", "\\boxed{", "so yes. ", "answer is no\n", "a"])
def test_time_grows_with_the_response_not_its_square(asked: Question, piece: str) -> None:
    def read(text: str) -> None:
        find_answer(text, asked)
        normalise(text, asked)

    assert is_linear(read, piece)
