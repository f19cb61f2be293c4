"""Open answers: what says the same as gold, and what only looks like it."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.open_answer import same_open_answer
from tests.scorers.growth import is_linear


@pytest.mark.parametrize(
    ("said", "gold", "right"),
    [
        ("Oxygen.", "oxygen", True),
        ("it is oxygen", "oxygen", True),
        ("xygen", "oxygen", False),
        ("84 g/mol", "84 g/mol", True),
        ("84.004 g / mol", "84 g/mol", True),
        ("about 84 g/mol", "84 g/mol", True),
        ("84", "84 g/mol", False),
        ("84 kg", "84 g/mol", False),
        ("84 g/mol", "84", True),
        ("840 g/mol", "84 g/mol", False),
        ("1,084 g/mol", "84 g/mol", False),
        ("-84 g/mol", "84 g/mol", False),
        ("g/mol", "84 g/mol", False),
        ("It is not 84 g/mol", "84 g/mol", False),
        ("not 83 but 84 g/mol", "84 g/mol", True),
        ("1,500 Hz", "1500 Hz", True),
        ("2150 µV", "150 µV", False),
        ("0.505 m/s^2 and 3 N", "0.5 m/s", False),
        ("0.52 m/s", "0.5 m/s", True),
        ("0.56 m/s", "0.5 m/s", False),
        ("9.8 m/s²", "9.8 m/s^2", True),
        ("Depth-First Search", "Depth-First Search (DFS)", True),
        ("DFS", "Depth-First Search (DFS)", True),
        ("Depth-First Search (DFS)", "DFS", True),
        ("First Search", "Depth-First Search (DFS)", False),
        ("No Dolly Zoom is used; it is a pan.", "Dolly Zoom", False),
        ("Dolly Zoom, not a pan", "Dolly Zoom", True),
        ("There is no doubt: a dolly zoom", "Dolly Zoom", True),
        ("fusion", "ion", False),
        ("", "oxygen", False),
    ],
)
def test_an_open_answer_is_compared_as_it_is_meant(said: str, gold: str, right: bool) -> None:
    assert same_open_answer(said, gold) is right


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["no ", "ion ", "8 ", "(", "84 g/mol not "])
@pytest.mark.parametrize("gold", ["ion", "84 g/mol", "a (b)"])
def test_time_grows_with_the_text_only(unit: str, gold: str) -> None:
    assert is_linear(lambda text: same_open_answer(text, gold), unit)
