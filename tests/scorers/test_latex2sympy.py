"""Our evaluator beside latex2sympy2 1.9.1, whose behavior it claims to have: the same value for every text, or none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kvl_eval.scorers.math_equal import value
from tests.scorers.test_math_equal import COMPLETE, VALUES, WITHOUT_VALUE

pytestmark = pytest.mark.interop
READER = Path(__file__).with_name("latex2sympy_values.py")
PYTHON = os.environ.get("KVL_EVAL_LATEX2SYMPY", sys.executable)  # one that has latex2sympy2 1.9.1
DIFFERENT = {"x=12"}  # docs/decisions.md: an equation is a failure here, there its right side

ATOMS = ("2", "7", "19", "2.5", ".5", "1,000", r"50\%", r"\pi", "3!", "2^3", "2^{10}", "e^{2}")
FORMS = (  # none is negative: there the original prints `a - b/(c*d)` without its brackets where c is no integer
    *("{a}+{b}", "{a}*{b}", "{a}/({b})", "({a}){b}", "[{a}]({b})", "{a}:({b})", "({a})^{{2}}", "--{a}", "{a}<{b}"),
    *(r"\frac{{{a}}}{{{b}}}", r"\sqrt{{{a}}}", r"\sqrt[3]{{{a}}}", r"{a}\times({b})", r"\lfloor {a} \rfloor"),
    *(r"\log_2({a})", r"\sin({a})", r"\arctan({a})", r"{a}\div({b})", r"\left({a}\right)", "{a})", "{a}+", "{a}cm"),
)


def theirs(texts: list[str]) -> list[float | None]:
    """The values that MATH-V's script finds with the genuine package."""
    done = subprocess.run([PYTHON, str(READER)], input=json.dumps(texts), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    values: list[float | None] = json.loads(done.stdout)
    return values


def assert_same_values(texts: list[str]) -> None:
    expected = theirs(texts)
    for text, wanted in zip(texts, expected, strict=True):
        if text not in DIFFERENT:
            assert value(text) == (None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-6)), text


def test_every_case_of_our_evaluator_is_the_originals() -> None:
    assert_same_values([text for text, _ in (*VALUES, *COMPLETE)] + WITHOUT_VALUE)
    assert theirs(sorted(DIFFERENT)) == [12.0]


def test_expressions_of_the_language_have_the_same_value() -> None:
    rng = random.Random(0)

    def expression(depth: int) -> str:
        if depth == 0:
            return rng.choice(ATOMS)
        return rng.choice(FORMS).format(a=expression(depth - 1), b=expression(depth - 1))

    assert_same_values([expression(number % 3) for number in range(400)])


@pytest.mark.shared
def test_answers_of_the_official_pairs_have_the_same_value(shared: Path) -> None:
    lines = (shared / "mathvision" / "scoring_is_equal_pairs.jsonl").read_text().splitlines()
    pairs = [json.loads(line) for line in lines]
    assert_same_values([pair[side].lower() for pair in pairs for side in ("gold", "pred")])
