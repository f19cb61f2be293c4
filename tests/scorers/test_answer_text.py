"""Where the final answer of a text stands."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers import answer_text as scan
from tests.scorers.growth import is_linear


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        pytest.param(scan.last_boxed, r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}", id="boxed-nested"),
        pytest.param(scan.last_boxed, r"\boxed{4} then \boxed{5", "4", id="boxed-unclosed-is-none"),
        pytest.param(scan.last_boxed, "nothing", None, id="boxed-none"),
        pytest.param(scan.after_cue, "The answer is 3. So the answer is **4** cm", "4** cm", id="last-cue"),
        pytest.param(scan.after_cue, "Answer:\n\n(B) 12", "(B) 12", id="cue-before-a-line-break"),
        pytest.param(scan.after_cue, "答案是B。", "B。", id="cue-chinese"),
        pytest.param(scan.after_cue, "no cue here", None, id="cue-none"),
        pytest.param(scan.conclusion, "Well. Therefore, it is 1.5 m. Bye.", ", it is 1.5 m", id="conclusion"),
        pytest.param(scan.conclusion, "also nothing", None, id="conclusion-inside-a-word"),
        pytest.param(scan.last_number, "from 1,234.5 to −7", "-7", id="unicode-minus"),
        pytest.param(scan.last_number, "1,2,3", "3", id="a-list-is-no-thousands"),
        pytest.param(scan.first_number, "about 12,500 people", "12500", id="thousands"),
        pytest.param(scan.first_number, "A-3", "3", id="a-hyphen-is-no-minus"),
        pytest.param(scan.stated_number, "It is **2019**, with 25.8 %", "2019", id="bold"),
        pytest.param(scan.stated_number, "There are two bars above 60.", "2", id="opening-count"),
        pytest.param(scan.number_word, "Twelve and then three.", "3", id="word"),
        pytest.param(scan.last_list, "[1, 2] or [2014, 2016].", "[2014, 2016]", id="list"),
        pytest.param(scan.plain, r"**$\text{B}$**", "B", id="plain"),
        pytest.param(scan.num_sentences, "One. Two", 2, id="sentences"),
        pytest.param(scan.declines, "It cannot be determined.", True, id="declines"),
        pytest.param(scan.is_negated, "It isn't the smallest", True, id="negated"),
    ],
)
def test_readers(read: Callable[[str], object], text: str, expected: object) -> None:
    assert read(text) == expected


@given(st.text(alphabet="1234567890,.-eE+ −a", max_size=40))
def test_every_number_found_is_a_number(text: str) -> None:
    for number in scan.numbers_in(text):
        float(number)


READERS = (
    *(scan.last_boxed, scan.after_cue, scan.conclusion, scan.last_number, scan.stated_number, scan.number_word),
    *(scan.last_list, scan.plain, scan.num_sentences, scan.declines, scan.is_negated),
)
HOSTILE = ("\n", " ", "{", "\\boxed{", "9", "**", "$", "[", "1,", "so ", "answer ", "\\text{", ". ", "-", "1e")


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_text_not_its_square(piece: str) -> None:
    def read_all(text: str) -> None:
        for read in READERS:
            read(text)  # type: ignore[operator]

    assert is_linear(read_all, piece)
