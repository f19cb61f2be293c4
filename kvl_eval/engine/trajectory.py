"""One stream of sampled tokens, and every answer that budgets make of it. No torch in here.

A thought is generated once, to the largest budget. What a smaller budget B makes of it follows:

- the thought closed within B tokens: the same answer at every such budget, of up to `answer_tokens` tokens;
- `cut`:   the output ends after B tokens, without an answer;
- `force`: an unfinished closing marker at the end is taken back, the ids of the closing marker are appended, and the
  answer continues from there. These branches run one after the other, from the largest budget to the smallest, each
  from the trajectory's own cache cut back to where it leaves: nothing is copied and nothing is computed twice.

The n-th sampled token of a repeat is drawn by (seed, n); an answer forced at B continues with n = B. Output that does
not open with a thought has no budget: it is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from kvl_eval.thinking import MARKERS, Thought, ThoughtScan, split_thought, unfinished_close
from kvl_eval.types import FinishReason, Generation

LONGEST_MARKER = 16  # tokens; an opening marker has 11 bytes, and a token at least one


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What a trajectory needs to know of the tokenizer.

    Attributes:
        token_bytes: id -> its bytes.
        encode:      text -> ids, special tokens taken as text.
        stop_ids:    ids that end an output.
        markers:     of a thought: `ModelFamily.think`.
    """

    token_bytes: Callable[[int], bytes]
    encode: Callable[[str], list[int]]
    stop_ids: frozenset[int]
    markers: tuple[str, str] = MARKERS

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        return b"".join(map(self.token_bytes, ids))

    def text(self, ids: Sequence[int]) -> str:
        return self.bytes_of(ids).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One finished answer as tokens.

    Attributes:
        ids:       everything written, forced markers and the stop id included.
        thinking, answer: tokens of the two parts; the stop id and a forced marker count in neither.
        closed:    as `Completion.think_closed`.
        stop_id:   the id that ended it, if one did.
    """

    budget: int | None
    ids: tuple[int, ...]
    thinking: int
    answer: int
    closed: bool | None
    forced: bool
    finish: FinishReason
    stop_id: int | None

    def texts(self, alphabet: Alphabet, prefix: str = "") -> tuple[str, Thought]:
        """Raw output (special tokens visible), and its parts; `prefix` is what the request had written already."""
        raw = (prefix.encode() + alphabet.bytes_of(self.ids)).decode("utf-8", errors="replace")
        written = prefix.encode() + alphabet.bytes_of(self.ids if self.stop_id is None else self.ids[:-1])
        text = written.decode("utf-8", errors="replace")
        thought = split_thought(text)
        if self.closed is False and thought.closed is None:  # the budget ended inside the opening marker
            return raw, Thought(text, "", False, "", len(text), len(text))
        return raw, thought

    def thinking_tokens(self, alphabet: Alphabet, thought: Thought, prefix: str = "") -> int:
        """Tokens of the thought that `texts` found, which may stand in another family's markers than the model's."""
        if thought.closed is self.closed:
            return self.thinking
        if thought.closed is not True:
            return 0 if thought.closed is None else self.thinking + self.answer
        ends = accumulate((len(alphabet.token_bytes(token)) for token in self.ids), initial=len(prefix.encode()))
        written = (prefix.encode() + alphabet.bytes_of(self.ids)).decode("utf-8", errors="replace")
        before = len(written[: thought.start].rstrip().encode())
        return next((count for count, end in enumerate(ends) if end >= before), self.thinking + self.answer)

    def ended_by(self, alphabet: Alphabet) -> dict[str, str]:
        """The special token at the end of the raw output, for the record's `extra`; nothing where there is none."""
        return {} if self.stop_id is None else {"stop_token": alphabet.text([self.stop_id])}


@dataclass(slots=True)
class _Branch:
    """An answer that continues a thought after `budget` tokens."""

    budget: int
    kept: int  # tokens of the free run that stay
    line: list[int]  # what stands in the cache behind the prompt
    head: int  # tokens of `line` that were not sampled in this branch
    thinking: int
    answer: list[int] = field(default_factory=list)


class Trajectory:
    """The tokens of one repeat, growing.

    A runner feeds `pending` to the model one by one; when it is empty it samples with `step` and calls `push`. After a
    push, `pending` holds what comes next, or `finished` is true. Where a branch begins, `cut` says to how many tokens
    behind the prompt the cache must be cut first.

    Attributes:
        outputs: answers that are complete and not yet taken; they come from the largest budget to the smallest.
        line:    output tokens that stand, or will stand, behind the prompt in the cache.
        pending: the last ones of `line` that were not fed yet.
    """

    def __init__(self, generation: Generation, alphabet: Alphabet, *, prefix: str = "") -> None:
        self.alphabet = alphabet
        self.generation = generation
        self.budgets = sorted(set(generation.think_budgets))
        self.outputs: list[Output] = []
        self.line: list[int] = []
        self.pending: list[int] = []
        self.cut: int | None = None
        self.finished = False
        self._ids: list[int] = []
        self._scan = ThoughtScan(prefix.encode(), alphabet.markers)
        self._stop: int | None = None
        self._branch: _Branch | None = None
        self._forced: list[int] = []  # budgets whose branches have not begun, descending
        self._valid = 0  # tokens of the free run that the cache is sure to hold once it finished

    @property
    def step(self) -> int:
        """The number of the next draw."""
        if self._branch is None:
            return len(self._ids)
        return self._branch.budget + len(self._branch.answer)

    @property
    def fed(self) -> list[int]:
        """Output tokens that stand in the cache."""
        return self.line[: len(self.line) - len(self.pending)]

    def push(self, token: int) -> None:
        """Take the next sampled token."""
        if self._branch is None:
            self._push_free(token)
        else:
            self._push_answer(self._branch, token)

    # -- the free run

    def _push_free(self, token: int) -> None:
        self._ids.append(token)
        if token in self.alphabet.stop_ids:
            self._stop = token
        else:
            self._scan.push(self.alphabet.token_bytes(token))
        if self._stop is None and len(self._ids) < self._limit():
            self.line.append(token)
            self.pending = [token]
            return
        self.pending = []
        self._valid = len(self.line)
        self._derive()
        self._begin_branch()

    def _limit(self) -> int:
        """Most tokens of the free run, as far as is known now."""
        if not self.budgets:
            return self.generation.limit
        answer = self.generation.answer_tokens
        if self._opened() is None:
            return max(answer, LONGEST_MARKER)
        if not self._opened():
            return answer
        if self._scan.closed_at is not None:
            return self._scan.closed_at + answer
        return max(self.budgets[-1], 1)

    def _opened(self) -> bool | None:
        """Whether there is a thought; white space up to where a marker would have to end means that there is none."""
        if self._scan.opened is None and len(self._ids) >= max(self.generation.answer_tokens, LONGEST_MARKER):
            return False
        return self._scan.opened

    def _derive(self) -> None:
        if not self.budgets:
            self.outputs.append(self._plain(None, len(self._ids)))
        for budget in reversed(self.budgets):
            self._derive_one(budget)

    def _derive_one(self, budget: int) -> None:
        closed, answer = self._scan.closed_at, self.generation.answer_tokens
        if not self._opened():
            self.outputs.append(self._plain(budget, answer))
        elif closed is not None and closed <= budget:
            self.outputs.append(self._plain(budget, closed + answer))
        elif self._stop is not None and len(self._ids) <= budget:
            self.outputs.append(self._plain(budget, len(self._ids)))
        elif self.generation.budget_policy == "force":
            self._forced.append(budget)
        else:
            self.outputs.append(self._cut_at(budget))

    def _plain(self, budget: int | None, limit: int) -> Output:
        """The first `limit` tokens as they are."""
        ids = self._ids[:limit]
        stop = self._stop if len(ids) == len(self._ids) else None
        count = len(ids) - (stop is not None)
        closed_at = self._scan.closed_at
        closed = True if closed_at is not None and closed_at <= count else False if self._scan.opened else None
        thinking = {True: closed_at or 0, False: count, None: 0}[closed]
        return Output(
            budget=budget,
            ids=tuple(ids),
            thinking=thinking,
            answer=count - thinking,
            closed=closed,
            forced=False,
            finish="length" if stop is None else "stop",
            stop_id=stop,
        )

    def _cut_at(self, budget: int) -> Output:
        ids = tuple(self._ids[:budget])
        return Output(
            budget=budget,
            ids=ids,
            thinking=len(ids),
            answer=0,
            closed=False,
            forced=False,
            finish="budget",
            stop_id=None,
        )

    # -- forced answers

    def _begin_branch(self) -> None:
        self._branch = None
        if not self._forced:
            self.finished = True
            return
        budget = self._forced.pop(0)
        kept, rest = self._without_unfinished_marker(self._ids[:budget])
        line = [*self._ids[:kept], *rest, *self.alphabet.encode(self.alphabet.markers[1])]
        held = min(kept, self._valid)
        self._valid = held
        self._branch = _Branch(budget, kept, line, len(line), kept + len(rest))
        self.line, self.pending, self.cut = list(line), line[held:], held

    def _without_unfinished_marker(self, ids: list[int]) -> tuple[int, list[int]]:
        """How many of `ids` stay, and ids for what stays of a token that only ends with the marker's first bytes."""
        surplus = unfinished_close(self.alphabet.bytes_of(ids[-LONGEST_MARKER:]), self.alphabet.markers[1])
        kept = len(ids)
        while surplus > 0:
            kept -= 1
            piece = self.alphabet.token_bytes(ids[kept])
            if len(piece) > surplus:
                return kept, self._encode_bytes(piece[: len(piece) - surplus])
            surplus -= len(piece)
        return kept, []

    def _encode_bytes(self, data: bytes) -> list[int]:
        """Ids of bytes that may end inside a character; such a rest, which nothing can follow, is dropped."""
        return self.alphabet.encode(data.decode("utf-8", errors="ignore"))

    def _push_answer(self, branch: _Branch, token: int) -> None:
        branch.answer.append(token)
        stopped = token in self.alphabet.stop_ids
        if not stopped and len(branch.answer) < self.generation.answer_tokens:
            self.line.append(token)
            self.pending = [token]
            return
        self.pending = []
        self.outputs.append(
            Output(
                budget=branch.budget,
                ids=(*branch.line, *branch.answer),
                thinking=branch.thinking,
                answer=len(branch.answer) - stopped,
                closed=True,
                forced=True,
                finish="stop" if stopped else "length",
                stop_id=token if stopped else None,
            )
        )
        self._begin_branch()
