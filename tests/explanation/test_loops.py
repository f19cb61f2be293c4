"""Looping replies: what counts as one, and the linear search against a search of every suffix."""

from __future__ import annotations

import random

import pytest

from kvl_eval.explanation.loops import loops


def loops_by_search(text: str) -> bool:
    """The definition, suffix by suffix and period by period."""
    tail = text[-2000:]
    for length in range(200, len(tail) + 1):
        suffix = tail[-length:]
        for period in range(1, min(400, length // 4) + 1):
            if suffix[period:] == suffix[:-period]:
                return True
    return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Wait, maybe it is B. " * 10, True, id="ten-times-a-sentence"),
        pytest.param("a" * 200, True, id="one-letter"),
        pytest.param("a" * 199, False, id="one-letter-too-few"),
        pytest.param("start " + "0123456789" * 20 + "end", False, id="the-end-does-not-repeat"),
        pytest.param("".join(chr(256 + n) for n in range(400)) * 4, True, id="the-longest-period"),
        pytest.param("".join(chr(256 + n) for n in range(401)) * 4, False, id="a-longer-period"),
        pytest.param("".join(chr(256 + n) for n in range(60)) * 3, False, id="three-times"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_loop_is_a_repeated_end(text: str, expected: bool) -> None:
    assert loops(text) is expected
    assert loops_by_search(text) is expected


def test_explain_x4_loops_agree_with_a_search_of_every_suffix() -> None:
    rng = random.Random(0)
    verdicts = []
    for _ in range(150):
        period = rng.choice((1, 2, 7, 30, 49, 50, 51, 75, 100))
        body = "".join(rng.choice("ab") for _ in range(period)) * rng.randint(1, 260 // period + 2)
        text = (
            "".join(rng.choice("ab ") for _ in range(rng.randint(0, 60))) + body + rng.choice(("", "", "a", body[:9]))
        )
        verdicts.append(loops(text))
        assert verdicts[-1] is loops_by_search(text), text
    assert 15 < sum(verdicts) < 120
