"""MathVista's extraction and normalisation against the official functions, our rule against published extractions."""

import re
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.scorers.mathvista import Question, normalise, rule_extraction
from kvl_eval.scorers.mathvista_protocols import score_official
from kvl_eval.types import MISSING, Sample
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
    score = score_official(_sample(meta, row["response"]), row["response"], MISSING)
    return (score.verdict == "correct") == row["expected"]["correct"]


def _sample(meta: dict[str, Any], response: str) -> Sample:
    """A sample whose question, which the vectors lack, has the words of the reply: a short statement restates it."""
    columns = {name: meta[name] for name in ("question_type", "answer_type", "precision")}
    question = " ".join(sorted({word for word in re.findall(r"[^\W\d_]{4,}", response)} - {"none", "never"}))
    return Sample(
        id="1", question=question, row=columns, choices=tuple(meta["choices"] or ()), answers=(meta["answer"],)
    )


@pytest.mark.parametrize(
    ("response", "asked", "extracted", "method"),
    [
        pytest.param("Yes", YES_NO, "Yes", "exact", id="exact-choice"),
        pytest.param(r"So \boxed{\text{B}}", ANGLES, "40°", "boxed", id="boxed-letter"),
        pytest.param("The correct answer is **(B) 40°**. (A) is wrong.", ANGLES, "40°", "answer_is", id="letter"),
        pytest.param("Therefore, the angle is 65°.", ANGLES, "65°", "conclusion", id="conclusion-text"),
        pytest.param(" 7 ", INTEGER, "7", "exact", id="exact-integer"),
        pytest.param("The sum is 3 + 4 = 7 apples.", INTEGER, "7", "whole", id="right-side"),
        pytest.param("There are two bars above 60.", INTEGER, "2", "statement", id="opening-count"),
        pytest.param("The answer is 1,200 miles, not 3.", INTEGER, "1200", "answer_is", id="first-after-mark"),
        pytest.param("The answer is 3.5.", INTEGER, "3", "answer_is", id="the-authors-truncate"),
        pytest.param("Answer: 4.25 cm", FLOAT, "4.2", "answer_line", id="float"),
        pytest.param("It lies in [2014, 2016].", LIST, "[2014, 2016]", "whole", id="list"),
    ],
)
def test_the_reader_stands_in_for_gpt4(response: str, asked: Question, extracted: str, method: str) -> None:
    score = score_official(_of(asked), response, MISSING)
    assert (score.extracted, score.method) == (extracted, method)


@pytest.mark.parametrize(
    ("response", "asked"),
    [
        pytest.param("", YES_NO, id="empty"),
        pytest.param("The answer cannot be determined.", ANGLES, id="mark-declines"),
        pytest.param("I cannot see the image, yes.", YES_NO, id="text-declines"),
        pytest.param("Therefore, the angle is 64 degrees.", ANGLES, id="a-number-that-is-no-option"),
        pytest.param("No idea about this at all", INTEGER, id="no-number"),
        pytest.param("It grows. It falls. It rests.", YES_NO, id="a-long-statement-says-nothing"),
        pytest.param("no list", LIST, id="no-list"),
    ],
)
def test_no_answer_is_guessed(response: str, asked: Question) -> None:
    score = score_official(_of(asked), response, MISSING)
    assert (score.verdict, score.extracted) == ("no_answer", None)


def _of(asked: Question) -> Sample:
    columns = {
        "question_type": asked.question_type,
        "answer_type": asked.answer_type,
        "precision": asked.precision,
    }
    return Sample(id="1", question="", row=columns, choices=asked.choices, answers=("x",))


@pytest.mark.slow
@pytest.mark.parametrize("asked", [YES_NO, INTEGER, LIST], ids=["choice", "integer", "list"])
@pytest.mark.parametrize("piece", [" ", "9", "(A) ", "\n", "\\boxed{", "so yes. ", "answer is no\n", "a"])
def test_time_grows_with_the_response_not_its_square(asked: Question, piece: str) -> None:
    def read(text: str) -> None:
        score_official(_of(asked), text, MISSING)
        normalise(text, asked)

    assert is_linear(read, piece)
