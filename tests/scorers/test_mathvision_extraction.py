"""MATH-V's extraction and verdict, on responses whose reading follows from the authors' steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.mathvision import extract, matched_by, option_value, vlmevalkit_equal
from tests.scorers.growth import is_linear

LETTERS = ("A", "B", "C", "D", "E")
RESPONSES = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            (
                *(
                    r"\boxed{",
                    "}",
                    "{",
                    r"\frac",
                    r"\frac12",
                    r"\sqrt",
                    r"\text{",
                    "(a)",
                    "B.",
                    "1/2",
                    "0.5",
                    ".5",
                    "=",
                ),
                *("the answer is ", "The answer is", "is ", "\n", ". ", r"\approx", "^\\circ", "units", "$", "oxed{"),
            )
        ),
        max_size=12,
    ).map("".join),
)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param("So it must be B.", "b", id="letter-at-the-end"),
        pytest.param("(C)\nbecause", "c", id="letter-in-the-first-line"),
        pytest.param("The sum is 12.", "12", id="number-after-is"),
        pytest.param("I think the answer is x y. Or not", "xy", id="cue-up-to-the-sentence-end"),
        pytest.param("The answer is 5 apples\nor so", "5apples", id="cue-up-to-the-line-end"),
        pytest.param(r"\boxed{1} then \boxed{2}", "2", id="last-box"),
        pytest.param(r"\boxed{\frac{1}{4}} so {x}", r"\frac{1}{4}}so{x", id="box-to-the-last-brace"),
        pytest.param(r"\boxed{x = 7}", "7", id="after-the-equals-sign"),
        pytest.param(r"\boxed{{}}", "", id="a-box-with-nothing-but-braces"),
        pytest.param(r"\boxed{\text{B}}", "b", id="braced-letter-is-rescued"),
        pytest.param(r"\boxed{\text{Sunday}}", "{sunday}", id="other-braced-text-keeps-its-braces"),
        pytest.param(r"\boxed{90^\circ}", "90", id="degrees"),
        pytest.param(r"\boxed{12\text{ km}}", "12", id="kilometres"),
        pytest.param(r"\boxed{50\%}", "50", id="percent-sign-is-dropped"),
        pytest.param(r"\boxed{.5}", r"\frac{1}{2}", id="one-half"),
        pytest.param(r"\boxed{10.5}", "10.5", id="but-no-other-half"),
        pytest.param(r"\boxed{3/4}", r"\frac{3}{4}", id="slash"),
        pytest.param(r"\boxed{03/4}", "03/4", id="slash-of-plain-integers-only"),
        pytest.param(r"\boxed{2\sqrt3}", r"2\sqrt{3}", id="bare-root"),
        pytest.param(r"\boxed{\sqrt[3]{8}}", r"\sqrt{[}3]{8}", id="cube-roots-break"),
        pytest.param(r"\boxed{\frac34}", r"\frac34", id="fraction-without-a-root-stays"),
        pytest.param(r"\boxed{\frac34\sqrt{2}}", r"\frac{3}{4}\sqrt{2}", id="fraction-beside-a-root"),
        pytest.param(r"\boxed{\sqrt{2}\frac1}", r"\sqrt{2}\frac1", id="half-a-fraction-undoes-the-repair"),
        pytest.param("", "", id="empty"),
    ],
)
def test_extract(response: str, expected: str) -> None:
    assert extract(response).text == expected


@pytest.mark.parametrize(
    ("extracted", "answer", "options", "expected"),
    [
        pytest.param("c", "C", LETTERS, "gold", id="letter"),
        pytest.param("12", "C", ("3", "5", "12.0", "7", "9"), "option_value_numeric", id="value-of-the-option"),
        pytest.param("b", "C", ("12", "12", "12", "7", "9"), None, id="another-letter-is-never-right"),
        pytest.param("0.33", r"\frac{1}{3}", (), "gold_numeric", id="two-decimals"),
        pytest.param("x", "", (), None, id="no-gold-text"),
    ],
)
def test_matched_by(extracted: str, answer: str, options: tuple[str, ...], expected: str | None) -> None:
    assert matched_by(extracted, answer, options) == expected


def test_a_letter_without_an_option_is_an_error() -> None:
    with pytest.raises(ValueError, match="'F' is the letter of none of 5 options"):
        option_value("F", LETTERS)


@pytest.mark.parametrize(
    ("answer", "found", "expected"),
    [
        pytest.param("Red", " red ", True, id="text"),
        pytest.param("1/3", "0.33", False, id="closer-than-two-decimals"),
        pytest.param("1/4", "0.25", True, id="python-numbers"),
        pytest.param("1e3", "1000", True, id="python-exponent"),
        pytest.param(r"\frac{1}{4}", "0.25", True, id="latex-numbers"),
        pytest.param("4", "10**10**10", False, id="no-powers"),
        pytest.param("4", "__import__('os')", False, id="no-code"),
        pytest.param("4", "(" * 150, False, id="nesting"),
    ],
)
def test_vlmevalkit_equality(answer: str, found: str, expected: bool) -> None:
    assert vlmevalkit_equal(answer, found) is expected


@given(RESPONSES)
def test_every_response_gives_text_without_blanks_and_dollars(response: str) -> None:
    text = extract(response).text
    assert text == text.strip()
    assert " " not in text
    assert "$" not in text


@given(RESPONSES, st.sampled_from(LETTERS))
def test_verdicts_never_fail(response: str, answer: str) -> None:
    assert matched_by(extract(response).text, answer, ("1", r"\frac{1}{2}", "(3,4)", "x", "")) in (
        *("gold", "gold_numeric", "option_value", "option_value_numeric", None),
    )


@pytest.mark.parametrize(
    "unit", ["oxed{", "}", "{}", r"\sqrt", r"\sqrt\frac1", "is ", "the answer is ", "1/2 ", "=", "9", "(a)", "A "]
)
def test_extraction_takes_linear_time(unit: str) -> None:
    assert is_linear(extract, unit)
