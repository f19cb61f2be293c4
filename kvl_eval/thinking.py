"""Split a model's output into its thought and its answer.

Kimi-VL Thinking models write `◁think▷ ... ◁/think▷` as ordinary text before the answer (model card of
Kimi-VL-A3B-Thinking-2506). Rules: decisions of this project, `docs/decisions.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

THINK_OPEN = "◁think▷"
THINK_CLOSE = "◁/think▷"


@dataclass(frozen=True, slots=True)
class Split:
    """The two parts of an output; `closed` is None where there is no thought."""

    thinking: str
    answer: str
    closed: bool | None


def split_thinking(raw: str) -> Split:
    """The thought and the answer of `raw`; an unclosed thought leaves an empty answer.

    A closing marker ends the thought at its first occurrence, whether or not an opening marker stands before it
    (chat templates of some servers swallow the opening one). A marker that appears after the answer began is text.
    The answer after a thought is stripped; output without a thought is the answer as it is, since white space counts
    in some scores (ANLS divides by raw lengths).
    """
    opened = raw.lstrip().startswith(THINK_OPEN)
    before, close, after = raw.partition(THINK_CLOSE)
    if close:
        return Split(_without_open(before), after.strip(), True)
    if opened:
        return Split(_without_open(raw), "", False)
    return Split("", raw, None)


def _without_open(text: str) -> str:
    head, marker, tail = text.partition(THINK_OPEN)
    return tail if marker and not head.strip() else text
