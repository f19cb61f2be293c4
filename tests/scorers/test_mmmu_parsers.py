"""MMMU's parsers, on replies whose reading follows from the authors' rules."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers import mmmu
from kvl_eval.scorers.mmmu import lmms_letter, normalised, official_letter, open_candidates, open_correct
from tests.scorers.growth import is_linear

CHOICES = ("red apple", "mitochondrion", "Josef Albers", "none of the above")
NINE = tuple(f"item {number}" for number in range(9))
REPLIES = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            ["A", "(B)", " C ", "D.", "is ", "so ", "answer ", "\n", ". ", "=", "1,234", "-3.5e2", ".5", "x"]
        )
    ).map("".join),
)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param("B", "B", id="bare"),
        pytest.param("b", None, id="case-counts"),
        pytest.param("B.", "B", id="full-stop-at-the-end"),
        pytest.param("B.\n", None, id="no-white-space-is-stripped"),
        pytest.param(".,B", None, id="a-sign-stripped-too-early-stays"),
        pytest.param(",.B", "B", id="in-the-order-of-the-signs"),
        pytest.param("Answer: B", "B", id="after-a-blank"),
        pytest.param("Answer:B", None, id="not-glued"),
        pytest.param("**B**", None, id="not-bold"),
        pytest.param(r"\boxed{B}", None, id="not-boxed"),
        pytest.param("答案是B。", None, id="not-in-chinese"),
        pytest.param("B C A", "A", id="the-last-one"),
        pytest.param("(A) no (B) no C yes", "B", id="brackets-before-bare-letters"),
        pytest.param("A man with a dog", "A", id="an-article-counts"),
        pytest.param("It is probably the mitochondrion of cells", "B", id="text-of-an-option"),
        pytest.param("It is the mitochondrion", None, id="text-needs-more-than-five-words"),
        pytest.param("not mitochondrion but I think Josef albers then", "C", id="the-last-text"),
        pytest.param("", None, id="empty"),
    ],
)
def test_official_letter(reply: str, expected: str | None) -> None:
    found = official_letter(reply, CHOICES)
    assert (found and found.letter) == expected


def test_letters_go_as_far_as_the_options() -> None:
    assert official_letter("well, I think so", NINE) == ("I", "letter")
    assert official_letter("well, I think so", CHOICES) is None


def test_an_empty_option_is_contained_in_every_long_reply() -> None:
    assert official_letter("one two three four five six", ("x", "", "y")) == ("B", "text")


@pytest.mark.parametrize(
    ("reply", "official", "lmms"),
    [
        pytest.param("\nB is right", None, "B", id="blank-after-only"),
        pytest.param("sure:\nB.) yes", None, "B", id="letter-and-dot"),
        pytest.param("USA is it", None, "A", id="inside-a-word"),
        pytest.param("USA or B then", "B", "B", id="standing-letter-before-the-others"),
    ],
)
def test_lmms_eval_reads_more_letters(reply: str, official: str | None, lmms: str) -> None:
    read = official_letter(reply, CHOICES)
    assert (read and read.letter) == official
    found = lmms_letter(reply, CHOICES)
    assert found is not None
    assert found.letter == lmms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 1,234.567 ", [1234.57]),
        ("1e3", [1000.0]),
        ("1_0", [10.0]),
        ("inf", [math.inf]),
        ("٣", [3.0]),
        ("10%", ["10%"]),
        ("A", [" a", "a "]),
        ("", [""]),
        ("0.125", [0.12]),
    ],
)
def test_normalised(text: str, expected: list[str | float]) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param("The answer is 8.4.", [8.4], id="after-the-shortest-cue"),
        pytest.param("x = 3\ny = 4", [4.0], id="equals-sign-in-the-last-line-only"),
        pytest.param("it weighs 5 kg", [5.0, "it weighs 5 kg"], id="whole-reply-without-a-cue"),
        pytest.param(
            "This is -1,200 or 3e2", [-1200.0, 2.0, 200.0, 300.0, "-1,200 or 3e2"], id="grouped-and-scientific"
        ),
        pytest.param("so.\nthus :", ["so.\nthus :"], id="signs-alone-are-no-tail"),
        pytest.param("  ", [""], id="blank"),
    ],
)
def test_open_candidates(reply: str, expected: list[str | float]) -> None:
    assert open_candidates(reply) == expected


@pytest.mark.parametrize(
    ("answers", "reply", "expected"),
    [
        pytest.param(["0.9965"], "1", True, id="two-decimals"),
        pytest.param(["2000000"], "$2,000,000", True, id="grouped"),
        pytest.param(["2000000"], "2 million", False, id="words"),
        pytest.param(["-120"], "−120", False, id="minus-sign-of-unicode"),
        pytest.param(["A"], "It is a dog", True, id="single-letter-is-contained"),
        pytest.param(["MgS"], "MgSO4", True, id="text-contained"),
        pytest.param(["10%"], "10", False, id="a-percentage-is-text"),
        pytest.param(["24/7", "3.429"], "about 3.43", True, id="any-of-a-list"),
        pytest.param(["nan"], "nan", False, id="nan-equals-nothing"),
    ],
)
def test_open_verdict(answers: list[str], reply: str, expected: bool) -> None:
    assert open_correct(answers, open_candidates(reply)) is expected


def test_number_patterns_equal_the_quadratic_ones() -> None:
    scientific = re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+")
    simple = re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])")
    rng = random.Random(0)
    for _ in range(20_000):
        text = "".join(rng.choices("0123..,,--eE+ ax_٣", k=rng.randint(1, 14)))
        expected = [*scientific.findall(text), *simple.findall(text)]
        assert [number for number in mmmu._numbers(text) if not mmmu._GROUPED.fullmatch(number)] == [
            number for number in expected if not mmmu._GROUPED.fullmatch(number)
        ]


@given(REPLIES)
def test_a_reply_is_read_as_letters_of_options_or_nothing(reply: str) -> None:
    for read in (official_letter, lmms_letter):
        found = read(reply, CHOICES)
        assert found is None or found.letter in "ABCD"


@given(REPLIES)
def test_surrounding_blanks_change_no_open_candidates(reply: str) -> None:
    assert open_candidates(f"  {reply}\n") == open_candidates(reply)
    assert len(set(map(str, open_candidates(reply)))) >= 1


@pytest.mark.parametrize("unit", ["1", "1,111,", "1.1", "-1e", "9 ", "is so ", "(A)", "\n= 5"])
def test_parsers_take_linear_time(unit: str) -> None:
    assert is_linear(open_candidates, unit)
    assert is_linear(lambda reply: official_letter(reply, CHOICES), unit)
    assert is_linear(lambda reply: lmms_letter(reply, CHOICES), unit)
