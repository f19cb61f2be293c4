"""Where an extracted answer stands: from characters of what a scorer saw to UTF-16 units of what a page shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.reports.numbers import plain
from kvl_eval.reports.spans import shown_span, units


@pytest.mark.parametrize(
    ("span", "seen", "reply", "shown"),
    [
        pytest.param([7, 8], "Answer B.", "Answer B.", (7, 8), id="as-it-is"),
        pytest.param([2, 3], "\x1b B", "\x1b B", (5, 6), id="behind-an-escape"),
        pytest.param([2, 3], "😀 B", "😀 B", (3, 4), id="behind-two-units"),
        pytest.param([17, 18], "◁think▷x◁/think▷ B", " B", (1, 2), id="behind-a-thought"),
        pytest.param([7, 8], "◁think▷x◁/think▷ B", " B", None, id="inside-the-thought"),
        pytest.param([3, 9], "Answer B.", "Ans", None, id="beyond-what-is-shown"),
        pytest.param([7, 99], "Answer B.", "Answer B.", None, id="beyond-the-text"),
        pytest.param([8, 8], "Answer B.", "Answer B.", None, id="empty"),
        pytest.param(None, "Answer B.", "Answer B.", None, id="unknown"),
        pytest.param("7", "Answer B.", "Answer B.", None, id="not-a-span"),
        pytest.param([0, 1], "B", "", None, id="no-reply"),
    ],
)
def test_a_span_on_the_page(span: object, seen: str, reply: str, shown: tuple[int, int] | None) -> None:
    assert shown_span(span, seen, reply) == shown  # type: ignore[arg-type]


@given(st.text(), st.text(min_size=1), st.text())
def test_the_units_of_a_span_are_those_of_its_printable_text(before: str, value: str, after: str) -> None:
    reply = before + value + after
    place = shown_span([len(before), len(before) + len(value)], reply, reply)
    assert place is not None
    shown = plain(reply, keep="\n\t").encode("utf-16-le")
    assert shown[2 * place[0] : 2 * place[1]].decode("utf-16-le") == plain(value, keep="\n\t")
    assert units(plain(reply, keep="\n\t")) == len(shown) // 2
