"""VLMEvalKit's matcher against its own results, and the letters and option texts that our rules read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kvl_eval.scorers.multiple_choice import can_infer, lettered, named_letter, spoken_choice
from tests.golden import rows
from tests.scorers.growth import is_linear


def test_can_infer_on_handmade_replies(data: Path) -> None:
    for row in rows(data / "mathvista" / "can_infer_handmade.jsonl"):
        assert can_infer(row["response"], lettered(row["choices"])) == row["expected"]["can_infer"], row["id"]


@pytest.mark.shared
@pytest.mark.parametrize("task", ["mathvista", "mmmu", "mathvision"])
def test_can_infer_on_real_replies(shared: Path, task: str) -> None:
    for row in rows(shared / task / "scoring_vlmevalkit_can_infer.jsonl.gz"):
        choices = row["choices"]
        options = choices if isinstance(choices, dict) else lettered(choices)
        assert can_infer(row["response"], options) == row["expected"]["can_infer"], row["id"]


@pytest.mark.parametrize(
    ("text", "first", "expected"),
    [
        pytest.param("(B) because (A) is small", True, "B", id="first-in-parentheses"),
        pytest.param("not (A), so (B)", False, "B", id="last-in-parentheses"),
        pytest.param("(A) one (B) two (C) three", False, None, id="all-listed-says-nothing"),
        pytest.param("C. three", True, "C", id="standing-first"),
        pytest.param("Can't say", True, None, id="a-word-is-no-letter"),
        pytest.param("I choose option B here", False, "B", id="after-option"),
        pytest.param("(E) none", True, None, id="no-such-option"),
        pytest.param("f(x) grows", False, None, id="a-function-is-no-option"),
    ],
)
def test_named_letter(text: str, first: bool, expected: str | None) -> None:
    assert named_letter(text, 3, first=first) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("the larger than sign, but equal to", "equal to", id="ends-last"),
        pytest.param("It is SMALLER THAN that", "smaller than", id="case-does-not-count"),
        pytest.param("unequal tone", None, id="whole-words-only"),
    ],
)
def test_spoken_choice(text: str, expected: str | None) -> None:
    assert spoken_choice(text, ["larger than", "equal to", "smaller than"]) == expected


def test_an_article_is_no_choice() -> None:
    assert spoken_choice("a dog", ["A", "B"]) is None


READERS: dict[str, Callable[[str], object]] = {
    "can_infer": lambda text: can_infer(text, lettered(["yes", "no"])),
    "named_letter": lambda text: named_letter(text, 4, first=False),
    "spoken_choice": lambda text: spoken_choice(text, ["yes", "no"]),
}


@pytest.mark.parametrize(
    ("unit", "prefix"),
    [(" ", ""), ("(", ""), ("answer is ", ""), ("*", ""), ("(A)", ""), (" ", "correct"), ("option ", "")],
)
@pytest.mark.parametrize("name", READERS)
def test_time_grows_with_the_reply_not_its_square(name: str, unit: str, prefix: str) -> None:
    assert is_linear(READERS[name], unit, prefix)
