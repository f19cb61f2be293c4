"""VLMEvalKit's matcher against its own results."""

from pathlib import Path

import pytest

from kvl_eval.scorers.multiple_choice import can_infer, lettered
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
    ("unit", "prefix"),
    [(" ", ""), ("(", ""), ("answer is ", ""), ("*", ""), ("(A)", ""), (" ", "correct"), ("option ", "")],
)
def test_time_grows_with_the_reply_not_its_square(unit: str, prefix: str) -> None:
    assert is_linear(lambda text: can_infer(text, lettered(["yes", "no"])), unit, prefix)
