"""MM-Vet: the row to be graded, the grade that is read, a rule without a model, and the tables of three scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.errors import ConfigError
from kvl_eval.scorers import mmvet
from kvl_eval.types import Sample
from tests.refusals import refused

SAMPLE = Sample(id="1", question="", row={})


def test_the_words_of_the_prompt_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mmvet.VARIABLE, raising=False)
    assert (mmvet.prefix(), mmvet.wording()) == (mmvet.OWN_PREFIX, "this project's")
    file = tmp_path / "words.txt"
    file.write_text("Grade this.", encoding="utf-8")
    monkeypatch.setenv(mmvet.VARIABLE, str(file))
    assert mmvet.prefix() == "Grade this."
    assert mmvet.wording() not in ("this project's", "the authors'")
    monkeypatch.setenv(mmvet.VARIABLE, str(tmp_path / "none.txt"))
    with refused(ConfigError, "config.judge", "none.txt"):
        mmvet.prefix()


def test_marks_of_a_gold_answer_get_blanks() -> None:
    assert mmvet.tail("What?", "a<AND>b<OR>c", "b") == "What? | a <AND> b <OR> c | b | "


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("0.5", "0.5"),
        ("1.0 since it is right", "1.0"),
        ("0\n", "0"),
        ("1.1", None),
        ("-0.1", None),
        ("nan", None),
        ("a", None),
    ],
)
def test_a_grade_is_a_number_from_0_to_1_before_the_first_blank(reply: str, grade: str | None) -> None:
    assert mmvet.read_grade(SAMPLE, reply) == grade


@pytest.mark.parametrize(
    ("gold", "reply", "share"),
    [
        ("green", "It is GREEN.", 1.0),
        ("green", "It is greenish.", 0.0),
        ("green", "evergreen green", 1.0),
        ("green", "evergreen", 0.0),
        ("x = 1", "x  =\n1", 1.0),
        ("red<AND>green", "red", 0.5),
        ("red<AND>green<AND>blue", "red", 0.3333),
        ("red<OR>green", "green", 1.0),
        ("red<OR>green<AND>blue", "green", 0.5),
        ("<AND>red", "red", 0.5),
    ],
)
def test_without_a_model_the_share_of_parts_that_stand_as_whole_words_counts(
    gold: str, reply: str, share: float
) -> None:
    assert mmvet.proxy(gold, reply) == share


def test_the_authors_table_has_capabilities_integrations_and_a_deviation_over_runs() -> None:
    graded = [(("ocr", "math"), (1.0, 0.0)), (("rec",), (0.5, 0.5)), (("math", "ocr"), (0.0, 0.0))]
    assert mmvet.official_table(graded) == {
        "rec": "50.0",
        "ocr": "25.0",
        "math": "25.0",
        "only math_ocr": "25.0",
        "only rec": "50.0",
        "total": "33.3",
        "std": "16.7",
        "runs": "[50.0, 16.7]",
    }
    assert mmvet.official_table([]) == {"total": "0.0", "std": "0.0", "runs": "[]"}


def test_vlmevalkits_table_counts_a_question_of_one_capability_twice() -> None:
    graded = [(("rec",), (1.0,)), (("rec", "ocr"), (0.0,)), (("ocr", "rec"), (0.5,))]
    assert mmvet.vlmevalkit_table(graded) == {
        "rec": "62.5",
        "Overall": "50.0",
        "ocr": "25.0",
        "rec_ocr": "0.0",
        "ocr_rec": "50.0",
    }
