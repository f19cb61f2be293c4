"""Split a model's output into its thought and its answer.

Every model's reply is split by one table, `FAMILIES`. Thinking budgets count with the pair of the model's own family;
Kimi-VL Thinking writes `◁think▷ ... ◁/think▷` as ordinary text before the answer (model card of
Kimi-VL-A3B-Thinking-2506). Rules: `docs/thinking.md`.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from dataclasses import dataclass

THINK_OPEN = "◁think▷"
THINK_CLOSE = "◁/think▷"
MARKERS = (THINK_OPEN, THINK_CLOSE)


class ThoughtScan:
    """Finds the markers in an output that grows token by token, in time linear in its length.

    Attributes:
        opened:    whether the output opens with a thought; None while that is undecided.
        closed_at: tokens up to and including the one with the closing marker's last byte; None before it came.
        count:     tokens seen.
    """

    def __init__(self, prefix: bytes = b"", markers: tuple[str, str] = MARKERS) -> None:
        self.opened: bool | None = None
        self.closed_at: int | None = None
        self.count = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._opening, self._closing = markers[0], markers[1].encode()
        self._head = ""
        self._tail = b""
        if prefix:
            self._take(prefix)

    def push(self, token: bytes) -> None:
        """Take the bytes of the next token."""
        self.count += 1
        self._take(token)

    def _take(self, data: bytes) -> None:
        if self.opened is None:
            self._head = (self._head + self._decoder.decode(data)).lstrip()
            if self._head.startswith(self._opening):
                self.opened = True
            elif not self._opening.startswith(self._head):
                self.opened = False
        if self.closed_at is None:
            window = self._tail + data
            if self._closing in window:
                self.closed_at = self.count
            self._tail = window[-len(self._closing) + 1 :]


def unfinished_close(data: bytes, closing: str = THINK_CLOSE) -> int:
    """Bytes at the end of `data` that begin a closing marker without ending it; 0 where none do."""
    marker = closing.encode()
    return max(size for size in range(len(marker)) if data.endswith(marker[:size]))


@dataclass(frozen=True, slots=True)
class ThoughtFamily:
    """How one family of models marks a thought.

    Attributes:
        name:    of the family.
        opening: pattern of the marker that opens a thought; without case.
        closing: pattern of the marker that closes it.
        written: both markers as models write them, where the patterns are not made of them alone.
    """

    name: str
    opening: str
    closing: str
    written: tuple[str, str] | None = None

    @property
    def markers(self) -> tuple[str, str]:
        """The opening and the closing marker as models write them."""
        return self.written or (_plain(self.opening), _plain(self.closing))


def _plain(pattern: str) -> str:
    """What a pattern without its optional parts matches."""
    return re.sub(r"\(\?:.*?\)\?|\\s\?|\\(?=[^\w\s])", "", pattern)


FAMILIES = (
    ThoughtFamily("kimi", "◁think▷", "◁/think▷"),
    ThoughtFamily("think", r"<think(?:\s[^<>\n]{0,200})?>", r"</think\s?>"),
    ThoughtFamily("thinking", r"<thinking(?:\s[^<>\n]{0,200})?>", r"</thinking\s?>"),
    ThoughtFamily("thought", r"<thought(?:\s[^<>\n]{0,200})?>", r"</thought\s?>"),
    ThoughtFamily("reasoning", r"<reasoning(?:\s[^<>\n]{0,200})?>", r"</reasoning\s?>"),
    ThoughtFamily("reflection", r"<reflection(?:\s[^<>\n]{0,200})?>", r"</reflection\s?>"),
    ThoughtFamily("analysis", r"<analysis(?:\s[^<>\n]{0,200})?>", r"</analysis\s?>"),
    ThoughtFamily("scratchpad", r"<scratchpad(?:\s[^<>\n]{0,200})?>", r"</scratchpad\s?>"),
    ThoughtFamily("magistral", r"\[THINK\]", r"\[/THINK\]"),
    ThoughtFamily("seed", r"<seed:think>", r"</seed:think>"),
    ThoughtFamily("begin_of_thought", r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    ThoughtFamily("gemma", r"<\|channel>thought", r"<channel\|>"),
    ThoughtFamily(
        "harmony",
        r"<\|channel\|>(?!final\b)\w+[^<>\n]{0,100}<\|message\|>",
        r"<\|channel\|>final<\|message\|>",
        ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ),
    ThoughtFamily("harmony_bare", r"(?-i:analysis)(?=[A-Z])", "assistantfinal", ("analysis", "assistantfinal")),
)
"""The one table of thought markers. A family is one line here and one vector in the tests."""

_LAST_CLOSE = frozenset({"harmony", "harmony_bare"})  # the answer follows the last closing marker, not the first
_OPENINGS = {family.name: re.compile(family.opening, re.IGNORECASE) for family in FAMILIES}
_CLOSINGS = {family.name: re.compile(family.closing, re.IGNORECASE) for family in FAMILIES}
_ANY_CLOSING = re.compile(
    "|".join(f"(?P<{family.name}>{family.closing})" for family in FAMILIES if family.name != "harmony_bare"),
    re.IGNORECASE,
)
_IN_CLOSINGS = ("◁/", "</", "[/", "|>")  # one of them is in every closing marker but that of `harmony_bare`
_BEFORE = re.compile(r"[\s\ufeff]*(?:<\|start\|>assistant)?[\s\ufeff]*")
_BARE_ANALYSIS = re.compile(r"analysis(?=.)", re.DOTALL)
_SOLUTION_OPEN = re.compile(r"\s*<\|begin_of_solution\|>\s*")
_SOLUTION_CLOSE = "<|end_of_solution|>"


@dataclass(frozen=True, slots=True)
class Thought:
    """An output in two: `raw[start:end]` is the answer, what stands before it the thought.

    Attributes:
        thinking: the thought without its outer markers; "" where there is none.
        answer:   what was said; "" where the thought was never closed.
        closed:   None where there is no thought.
        family:   name of the marker's family in FAMILIES; "" without a thought.
        start:    where `answer` begins in the output, in characters.
        end:      where it ends.
    """

    thinking: str
    answer: str
    closed: bool | None
    family: str = ""
    start: int = 0
    end: int = 0


def split_thought(raw: str) -> Thought:
    """The thought and the answer of an output of any model, by FAMILIES.

    A thought is opened by a marker at the start only, and ended by the first closing marker of its family. Without an
    opening marker the first closing marker of any family ends a thought too: chat templates swallow the opening one.
    Blocks that follow one another at the start all go. The answer after a thought is stripped; output without a
    thought is left as it is, since white space counts in some scores (ANLS divides by raw lengths).
    """
    begin = _after_blanks(raw, 0)
    opened = _opening(raw, begin)
    if opened is None:
        return _swallowed(raw)
    family, inside = opened
    first, position = (family, inside), begin
    thoughts: list[str] = []
    while opened is not None:
        family, inside = opened
        closing = _closing(raw, family, inside)
        if closing is None:
            return Thought(raw[first[1] :], "", False, first[0], len(raw), len(raw))
        thoughts.append(raw[inside : closing.start()])
        position = closing.end()
        opened = _opening(raw, _after_blanks(raw, position))
    return _closed("".join(thoughts), raw, position, first[0])


def _swallowed(raw: str) -> Thought:
    """An output that opens with no marker: a thought where a closing marker stands somewhere, else all answer."""
    closing = _ANY_CLOSING.search(raw) if any(part in raw for part in _IN_CLOSINGS) else None
    if closing is None:
        bare = _BARE_ANALYSIS.match(raw, _after_blanks(raw, 0))
        last = raw.rfind("assistantfinal") if bare else -1
        if bare is None or last < 0:
            return Thought("", raw, None, "", 0, len(raw))
        return _closed(raw[bare.end() : last], raw, last + len("assistantfinal"), "harmony_bare")
    family = str(closing.lastgroup)
    position = closing.end()
    while (opened := _opening(raw, _after_blanks(raw, position))) is not None:
        after = _closing(raw, *opened)
        if after is None:
            return Thought(raw, "", False, opened[0], len(raw), len(raw))
        position = after.end()
    return _closed(raw[: closing.start()], raw, position, family)


def _after_blanks(raw: str, position: int) -> int:
    match = _BEFORE.match(raw, position)
    return match.end() if match else position


def _opening(raw: str, position: int) -> tuple[str, int] | None:
    """The family whose opening marker stands at a place, and where the thought begins."""
    for name, pattern in _OPENINGS.items():
        if match := pattern.match(raw, position):
            return name, match.end()
    return None


def _closing(raw: str, family: str, position: int) -> re.Match[str] | None:
    """The marker that ends a thought of a family; for harmony the last one."""
    if family in _LAST_CLOSE:
        closings = deque(_CLOSINGS[family].finditer(raw, position), maxlen=1)
        return closings[0] if closings else None
    return _CLOSINGS[family].search(raw, position)


def _closed(thinking: str, raw: str, position: int, family: str) -> Thought:
    solution = _SOLUTION_OPEN.match(raw, position)
    start = solution.end() if solution else position
    end = len(raw.rstrip())
    if raw.endswith(_SOLUTION_CLOSE, start, max(start, end)):
        end -= len(_SOLUTION_CLOSE)
    answer = raw[start : max(start, end)]
    start += len(answer) - len(answer.lstrip())
    answer = answer.strip()
    return Thought(thinking, answer, True, family, start, start + len(answer))
