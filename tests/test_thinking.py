"""Thought and answer of any output: nothing is lost, nothing stands in both, and tokens agree with the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kvl_eval.thinking import (
    FAMILIES,
    THINK_CLOSE,
    THINK_OPEN,
    ThoughtFamily,
    ThoughtScan,
    split_thought,
    unfinished_close,
)

PIECES = st.sampled_from([THINK_OPEN, THINK_CLOSE, "A", " (B) ", "\n", "◁", "/think▷", "◁/thi", "é", ""])
OUTPUTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=8).map("".join))


def has_two_thoughts(raw: str) -> bool:
    """Whether a second thought follows the first: the scan, which counts for budgets, sees the first alone."""
    return raw.partition(THINK_CLOSE)[2].lstrip().startswith(THINK_OPEN)


@given(OUTPUTS)
def test_parts_come_from_the_output_in_order(raw: str) -> None:
    assume(not has_two_thoughts(raw))
    split = split_thought(raw)
    if split.closed is None:
        assert (split.thinking, split.answer) == ("", raw)
        assert THINK_CLOSE not in raw
        assert not raw.lstrip().startswith(THINK_OPEN)
    elif split.closed:
        before, _, after = raw.partition(THINK_CLOSE)
        assert before.endswith(split.thinking)
        assert split.answer == after.strip()
    else:
        assert split.answer == ""
        assert THINK_CLOSE not in raw
        assert raw.endswith(split.thinking)


@given(st.text("ab ◁▷/think\n", max_size=20), st.text("AB ", max_size=10))
def test_a_thought_written_by_the_rules_comes_back(thought: str, answer: str) -> None:
    assume(THINK_CLOSE not in thought)
    split = split_thought(f"{THINK_OPEN}{thought}{THINK_CLOSE}{answer}")
    assert (split.thinking, split.answer, split.closed) == (thought, answer.strip(), True)


@given(OUTPUTS, st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_the_scan_of_tokens_agrees_with_the_text_however_it_is_cut(raw: str, sizes: list[int]) -> None:
    data, scan, start = raw.encode(), ThoughtScan(), 0
    ends = []
    while start < len(data):
        size = sizes[len(ends) % len(sizes)]
        scan.push(data[start : start + size])
        start += size
        ends.append(min(start, len(data)))
    split = split_thought(raw)
    assume(not has_two_thoughts(raw))
    assert (scan.closed_at is not None) == (split.closed is True)
    if scan.closed_at is not None:
        until = data.index(THINK_CLOSE.encode()) + len(THINK_CLOSE.encode())
        assert ends[scan.closed_at - 1] >= until > (ends[scan.closed_at - 2] if scan.closed_at > 1 else 0)
    if len(raw.lstrip()) >= len(THINK_OPEN):
        assert scan.opened == raw.lstrip().startswith(THINK_OPEN)


OTHERS = ("<think>", "</think>")


@given(st.lists(PIECES, max_size=8).map("".join), st.integers(1, 5))
def test_a_family_may_have_markers_of_its_own(raw: str, size: int) -> None:
    def other(text: str) -> str:
        return text.replace(THINK_OPEN, OTHERS[0]).replace(THINK_CLOSE, OTHERS[1])

    assume(not has_two_thoughts(raw))
    ours, theirs = split_thought(raw), split_thought(other(raw))
    assert (theirs.thinking, theirs.answer, theirs.closed) == (other(ours.thinking), other(ours.answer), ours.closed)
    data, scan = other(raw).encode(), ThoughtScan(markers=OTHERS)
    for start in range(0, len(data), size):
        scan.push(data[start : start + size])
    assert (scan.closed_at is not None) == (theirs.closed is True)


@given(st.binary(max_size=10), st.integers(0, len(THINK_CLOSE.encode()) - 1))
def test_the_beginning_of_a_closing_marker_is_found(before: bytes, size: int) -> None:
    data = before + THINK_CLOSE.encode()[:size]
    found = unfinished_close(data)
    assert size <= found < len(THINK_CLOSE.encode())
    assert THINK_CLOSE.encode().startswith(data[len(data) - found :])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_markers_that_are_shown_are_those_that_split(family: ThoughtFamily) -> None:
    opening, closing = family.markers
    thought = split_thought(f"{opening}So it is B.{closing}C")
    assert (thought.answer, thought.closed, thought.family) == ("C", True, family.name)
    docs = (Path(__file__).parent.parent / "docs" / "thinking.md").read_text(encoding="utf-8")
    assert f"`{family.name}`" in docs
