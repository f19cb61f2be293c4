from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.option_letter import lowest_loss, ranked_letter
from kvl_eval.scorers.video_choice import (
    LONGVIDEOBENCH_PREFIXES,
    VIDEOMME_PREFIXES,
    VLMEVALKIT_PREFIXES,
    egoschema_letter,
    first_letter,
)
from tests.golden import rows
from tests.scorers.growth import is_linear

OPTIONS = ("A. Once.", "B. Twice.", "C. Three times.", "D. Four times.", "E. Never.")
READERS = {
    "videomme": lambda reply: first_letter(reply, VIDEOMME_PREFIXES, "ABCD"),
    "vlmevalkit": lambda reply: first_letter(reply, VLMEVALKIT_PREFIXES, "ABCDE"),
    "longvideobench": lambda reply: first_letter(reply, LONGVIDEOBENCH_PREFIXES, "ABCDE"),
    "ranked": lambda reply: ranked_letter(reply, "ABCD"),
    "egoschema": lambda reply: egoschema_letter(reply, OPTIONS),
}


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("Answer: D", "A"), ("Based on it, D", "B"), ("THE ANSWER IS D", "A"), ("d", None), ("The answer is D", "D")],
)
def test_the_first_letter_anywhere_counts(reply: str, letter: str | None) -> None:
    assert READERS["videomme"](reply) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("C is washing dishes", "C"), ("In plan A the man left", "A"), ("DNA test", "A"), ("**B**", None), ("a", None)],
)
def test_egoschema_reads_every_capital_before_a_blank(reply: str, letter: str | None) -> None:
    assert egoschema_letter(reply, OPTIONS) == letter


def test_lowest_loss(data: Path) -> None:
    for row in rows(data / "egoschema" / "option_loss.jsonl"):
        found = lowest_loss(row["inputs"]["option_losses"])
        assert found == row["expected"]["extracted"], row["id"]
        assert (found == row["inputs"]["answer"]) is row["expected"]["correct"], row["id"]
    assert lowest_loss([]) == lowest_loss([float("inf")]) == -1


@given(reply=st.text(alphabet=st.one_of(st.sampled_from("ABCDEZ ().:,*'\"{}\\\n"), st.characters()), max_size=60))
def test_every_reader_finds_an_option_or_nothing(reply: str) -> None:
    for reader in READERS.values():
        assert reader(reply) in (None, *"ABCDE")


@given(letter=st.sampled_from("ABCD"))
def test_every_reader_reads_a_bare_letter(letter: str) -> None:
    for reader in READERS.values():
        assert reader(letter) == reader(f"{letter}.") == letter


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("unit", ["The answer is", "answer is ", "A", "(", r"\boxed{", " ", "once twice ", ". ", "答"])
def test_time_grows_with_the_reply_only(name: str, unit: str) -> None:
    assert is_linear(READERS[name], unit)
