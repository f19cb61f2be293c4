"""What a server's reply means here: thought and answer, why it ended, its tokens. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kvl_eval.backends.chat_reply import Reply
from kvl_eval.backends.trajectory import Alphabet, Trajectory
from kvl_eval.errors import EndpointError, SampleError
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN, split_thinking
from kvl_eval.types import FinishReason, Policy

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
}
OTHER_OPEN, OTHER_CLOSE = "<think>", "</think>"  # how other families than Kimi-VL mark a thought


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReply:
    """A reply as thought and answer; `closed` as in `Completion.think_closed`, `notes` for the record's `extra`."""

    raw: str
    thinking: str
    answer: str
    closed: bool | None
    thinking_tokens: int
    answer_tokens: int
    notes: Mapping[str, Any]


def finish_of(reply: Reply) -> FinishReason:
    """Why a reply ended. Raises SampleError `content_filter`, `bad_response` for a word that means neither."""
    if reply.finish == "content_filter" or reply.refusal:
        raise SampleError("content_filter", "the server's filter held the answer back", why=reply.refusal)
    if reply.finish not in FINISH:
        raise SampleError("bad_response", f"finish_reason is {reply.finish[:40]!r}")
    return FINISH[reply.finish]


def answer_of(reply: Reply) -> SplitReply:
    """Thought and answer, wherever the server puts the thought.

    A thought in a field of its own (`reasoning_content`, `reasoning`) is written between Kimi-VL's markers in `raw`. It
    counts as closed if an answer follows: a server that splits by markers gives none to a thought that never ended.
    """
    content = reply.content or ""
    notes: dict[str, Any] = {}
    if reply.reasoning:
        closed = bool(content)
        notes["thinking_field"] = reply.reasoning_field
        raw = THINK_OPEN + reply.reasoning + (THINK_CLOSE + content if closed else "")
        split = split_thinking(raw)
    else:
        raw, split = content, split_thinking(in_our_markers(content))
    thinking, counted = _thinking_tokens(reply, split.thinking, split.answer)
    total = reply.count("completion_tokens")
    if counted is not None:
        notes["tokens_split"] = counted
    return SplitReply(
        raw=raw,
        thinking=split.thinking,
        answer=split.answer,
        closed=split.closed,
        thinking_tokens=thinking,
        answer_tokens=total - thinking,
        notes=notes,
    )


def in_our_markers(content: str) -> str:
    """The output with `<think>` and `</think>` as our markers, where it is theirs that it uses."""
    if THINK_OPEN in content or THINK_CLOSE in content:
        return content
    if content.lstrip().startswith(OTHER_OPEN):
        content = content.replace(OTHER_OPEN, THINK_OPEN, 1)
    return content.replace(OTHER_CLOSE, THINK_CLOSE, 1)


def _thinking_tokens(reply: Reply, thinking: str, answer: str) -> tuple[int, str | None]:
    """Tokens of the thought, and how they were told from the answer's, where the server does not say."""
    total = reply.count("completion_tokens")
    if not thinking:
        return 0, None
    details = reply.usage.get("completion_tokens_details")
    stated = details.get("reasoning_tokens") if isinstance(details, dict) else None
    if isinstance(stated, int) and 0 < stated <= total:
        return stated, None
    return round(total * len(thinking) / (len(thinking) + len(answer))), "by characters"


def check_tokens(reply: Reply) -> Sequence[bytes]:
    """The tokens of a reply, without such as its text does not show.

    Raises: EndpointError where the server splits the thought off itself; SampleError `bad_response` where tokens and
    text differ.
    """
    if reply.reasoning:
        raise EndpointError(
            "endpoint.budget",
            "this server splits the thought off itself, so its tokens cannot be counted",
            why=f"it came as {reply.reasoning_field}",
            fix="start it without a reasoning parser, or use --model-args budget=thinking_token_budget",
        )
    text, found, length = (reply.content or "").encode(), list[bytes](), 0
    for token in reply.tokens or ():
        if length == len(text) and token:
            break
        found.append(token)
        length += len(token)
    if b"".join(found) != text:
        raise SampleError("bad_response", "the tokens of the reply do not spell its text, so they cannot be counted")
    return found


def served_budget(policy: Policy) -> None:
    """Raises SampleError where a server's own budget cannot do what the policy says."""
    if policy != "force":
        raise SampleError(
            "budget", "thinking_token_budget closes a thought and goes on, which is --budget-policy force"
        )


def _is_done(trajectory: Trajectory) -> bool:
    """Whether it ended, or wants to be continued elsewhere."""
    return trajectory.finished or trajectory.cut is not None


class Pieces:
    """Ids for a server's tokens, given out as they are met; id 0 ends an output."""

    def __init__(self) -> None:
        self._pieces = [b""]
        self._ids: dict[bytes, int] = {}
        self.alphabet = Alphabet(self._pieces.__getitem__, self._encode, frozenset({0}))

    def feed(self, trajectory: Trajectory, tokens: Sequence[bytes], finish: FinishReason) -> None:
        """Push a reply's tokens, as far as the trajectory wants them, and its end.

        A reply that its limit ended early, by the server's context, ends the output too.
        """
        for token in tokens:
            trajectory.push(self._id(token))
            if _is_done(trajectory):
                return
        trajectory.push(0)
        if finish == "length":
            trajectory.outputs = [
                replace(one, finish="length") if one.stop_id == 0 else one for one in trajectory.outputs
            ]

    def _id(self, token: bytes) -> int:
        if token not in self._ids:
            self._ids[token] = len(self._pieces)
            self._pieces.append(token)
        return self._ids[token]

    def _encode(self, text: str) -> list[int]:
        return [self._id(text.encode())]
