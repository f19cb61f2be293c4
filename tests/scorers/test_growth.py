"""The measure that the tests of running time use tells a square from a line."""

import re

from tests.scorers.growth import LONG, SHORT, is_linear


def test_a_search_from_every_start_is_not_linear() -> None:
    """One start in four hundred is enough to be noticed."""
    other = re.compile("[^a]")
    assert not is_linear(lambda reply: [other.search(reply, start) for start in range(0, len(reply), 400)], "a")


def test_one_pass_is_linear_however_slow() -> None:
    assert is_linear(lambda reply: [hash((char, char)) for char in reply for _ in range(3)], "a")


def test_a_prefix_stands_once_and_first() -> None:
    texts: list[str] = []
    assert is_linear(texts.append, "ab", prefix="answer ")
    assert {len(text) - len("answer ") for text in texts} <= {SHORT, LONG}
    assert all(text.startswith("answer ab") for text in texts)
