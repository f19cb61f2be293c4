from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.document_f1 import (
    AnswerClaim,
    clean,
    document_score,
    f1,
    is_exact,
    lmms_eval_score,
    same_number,
    similarity,
    vlmevalkit_score,
)
from tests.golden import rows
from tests.scorers.growth import is_linear

KINDS = ("Int", "Float", "Str", "None", "List")
LITERAL = "mml-p-adv-0256"  # a comprehension: the authors run it, here it cannot be read; 0 either way


def check_vectors(vectors: list[dict[str, Any]]) -> None:
    assert vectors
    for row in vectors:
        expected, kind = row["expected"], row["answer_format"]
        if expected["raises"] or row["id"] == LITERAL:
            with pytest.raises(ValueError):
                document_score(row["answer"], row["response"], kind)
        else:
            score = document_score(row["answer"], row["response"], kind)
            assert score == pytest.approx(expected["score"], abs=1e-12), row["id"]
        found = lmms_eval_score(row["answer"], row["response"], kind)
        assert found == pytest.approx(expected["lmms_eval_score_on_extracted"], abs=1e-12), row["id"]


def test_hand_made_vectors(data: Path) -> None:
    check_vectors(list(rows(data / "mmlongbench_doc" / "vectors_handmade.jsonl")))


@pytest.mark.shared
def test_all_vectors(shared: Path) -> None:
    check_vectors(list(rows(shared / "mmlongbench_doc" / "vectors.jsonl")))


def test_helper_vectors(data: Path) -> None:
    functions = {"clean_string": clean, "is_exact_match": is_exact, "anls": similarity}
    for row in rows(data / "mmlongbench_doc" / "helpers.jsonl"):
        if row["fn"] == "is_float_equal":
            gold, prediction, percentages, close = row["args"]
            found: Any = same_number(gold, prediction, percentages=percentages, close=close)
        else:
            found = functions[row["fn"]](*row["args"])
        assert found == pytest.approx(row["expected"]) if isinstance(found, float) else found == row["expected"], row


@pytest.mark.parametrize(
    ("gold", "prediction", "kind", "score"),
    [
        ("8", "8.9", "Int", 1.0),
        ("8", "4,257", "Int", 0.0),
        ("yes", "yes", "Int", 0.0),
        ("", "x", "Int", 1.0),  # a fault kept: an empty gold equals the empty text the script falls back to
        ("18.29%", "0.1829", "Float", 1.0),
        ("50", "50.4", "Float", 1.0),
        ("50", "51", "Float", 0.0),
        ("nan", "nan", "Float", 0.0),
        ("['b', 'a']", "['A', 'B (x)']", "List", 1.0),
        ("[10, 9]", "[9, 10, 11]", "List", 0.0),
        ("['nan', 'x']", "['nan', 'y']", "List", 0.0),
        ("Not answerable", "Not answerable.", "None", 14 / 15),
    ],
)
def test_document_score(gold: str, prediction: str, kind: str, score: float) -> None:
    assert document_score(gold, prediction, kind) == pytest.approx(score)


def test_a_list_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in (f"[open({str(target)!r}, 'w')]", "[" * 200_000, "['\\d']" + "," * 100_001):
        with pytest.raises(ValueError):
            document_score("['a']", text, "List")
    assert not target.exists()


def test_vlmevalkit_compares_a_refusal_in_brackets_as_a_list() -> None:
    assert vlmevalkit_score("Not answerable", "['Not answerable']", "None") == 1.0
    assert document_score("Not answerable", "['Not answerable']", "None") < 1.0


def test_f1() -> None:
    pairs = [
        AnswerClaim(1.0, True, True),
        AnswerClaim(0.0, True, False),
        AnswerClaim(1.0, False, False),
        AnswerClaim(1.0, False, True),
    ]
    assert f1(pairs) == pytest.approx(0.5)  # recall 1/2, precision 1/2
    assert f1(pairs, over_answered=True) == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert f1([]) is None
    assert f1([AnswerClaim(0.0, True, True)]) is None


@given(gold=st.text(max_size=20), prediction=st.text(max_size=40), kind=st.sampled_from(KINDS))
def test_scores_lie_between_0_and_1(gold: str, prediction: str, kind: str) -> None:
    for compare in (document_score, vlmevalkit_score, lmms_eval_score):
        try:
            score = compare(gold, prediction, kind)
        except ValueError:
            continue
        assert 0 <= score <= 1


@given(text=st.text(min_size=1, max_size=40))
def test_a_text_equals_itself(text: str) -> None:
    assert document_score(text, text, "Str") == 1.0


@given(text=st.text(alphabet="a( )b\t", max_size=30))
def test_parentheses_go_as_a_backtracking_pattern_would_remove_them(text: str) -> None:
    import re

    assert clean(f"a{text}a") == re.sub(r"\s*\([^)]*\)", "", f"a{text}a".strip()).strip()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["(", " ", "( )", "[", "9", "a,b\n", "'", "$", "ß"])
def test_time_grows_with_the_prediction_only(kind: str, unit: str) -> None:
    def run(text: str) -> None:
        for compare in (document_score, lmms_eval_score):
            try:
                compare("['ab', 'c']", text, kind)
            except ValueError:
                continue

    assert is_linear(run, unit)
