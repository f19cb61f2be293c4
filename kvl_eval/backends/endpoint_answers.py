"""What a server's reply means here: thought and answer, why it ended, its tokens. Pure functions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from kvl_eval.backends.chat_reply import Reply
from kvl_eval.decode import Json
from kvl_eval.engine.trajectory import Alphabet, Trajectory
from kvl_eval.errors import EndpointError, SampleError
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN, split_thought, unfinished_close
from kvl_eval.types import Completion, FinishReason, Policy, TokenCounts

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
}
STOP_TEXTS = ("</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end|>", "[EOS]")
TOOLS = ("tool_calls", "function_call")  # no answer: nobody offered a tool
REPLACED = "\ufffd".encode()  # what stands in a text for bytes that make no character
OTHER_OPEN, OTHER_CLOSE = "<think>", "</think>"  # how other families than Kimi-VL mark a thought


def finish_of(reply: Reply) -> FinishReason:
    """Why a reply ended; `unknown` where it has text and the server does not say, or uses an unknown word.

    Raises: SampleError `content_filter`, `bad_response` for a reply without text that does not say why.
    """
    if reply.finish == "content_filter" or reply.refusal:
        raise SampleError("content_filter", "blocked by the server's content filter", why=reply.refusal)
    known = FINISH.get(reply.finish or "")
    if known is not None:
        return known
    if reply.finish in TOOLS or not (reply.content or reply.reasoning):
        word = "null" if reply.finish is None else repr(reply.finish[:40])
        raise SampleError("bad_response", f"choices[0].finish_reason is {word}")
    reached = reply.limit is not None and (reply.usage.completion or 0) >= reply.limit
    return "length" if reached else "unknown"


def flags_of(reply: Reply) -> tuple[str, ...]:
    """What of a reply may have changed the answer, in words of the closed list (docs/backends.md)."""
    flags = {
        "count_unusable": reply.usage.unusable,
        "finish_unknown": reply.finish not in FINISH,
        "answer_in_reasoning": _is_misplaced(reply),
    }
    return tuple(name for name, is_set in flags.items() if is_set)


def shown_stop(reply: Reply) -> str:
    """The special token that ended a reply, where the server shows it at the end of the text; else nothing."""
    if FINISH.get(reply.finish or "") != "stop":
        return ""
    text = reply.content or reply.reasoning or ""
    stop = next((token for token in STOP_TEXTS if text.endswith(token)), "")
    return "" if stop == "</s>" and "<s>" in text else stop  # which is struck out, in HTML


def _is_misplaced(reply: Reply) -> bool:
    """Whether a reasoning parser that does not fit the model took the answer, or left the thought's markers."""
    if not reply.reasoning:
        return False
    return _has_markers(reply.content) if reply.content else finish_of(reply) == "stop"


def _has_markers(content: str) -> bool:
    return split_thought(content).closed is not None


def answer_of(reply: Reply) -> Completion:
    """Thought and answer, wherever the server puts the thought.

    A thought in a field of its own (`reasoning_content`, `reasoning`) is written between Kimi-VL's markers in `raw`. It
    counts as closed if an answer follows: a server that splits by markers gives none to a thought that never ended.
    Where the answer itself has markers, they decide.
    """
    content = reply.content or ""
    notes: dict[str, Json] = {}
    if reply.reasoning and not _has_markers(content):
        closed = bool(content)
        notes["thinking_field"] = reply.reasoning_field
        raw = THINK_OPEN + reply.reasoning + (THINK_CLOSE + content if closed else "")
    else:
        raw = content
    stop = shown_stop(reply)
    if stop:
        notes["stop_token"] = stop
    thought = split_thought(raw.removesuffix(stop))
    thinking, counted = _thinking_tokens(reply, thought.thinking, thought.answer)
    total = reply.usage.completion or 0
    if counted is not None:
        notes["tokens_split"] = counted
    return Completion(
        raw_output=raw,
        thinking=thought.thinking,
        answer=thought.answer,
        think_closed=thought.closed,
        thought=thought.family,
        finish_reason=finish_of(reply),
        tokens=TokenCounts(thinking=thinking, answer=total - thinking),
        extra=notes,
    )


def _thinking_tokens(reply: Reply, thinking: str, answer: str) -> tuple[int, str | None]:
    """Tokens of the thought, and how they were separated from the answer's, where the server does not say."""
    total, stated = reply.usage.completion or 0, reply.usage.thinking or 0
    if not thinking:
        return 0, None
    if 0 < stated <= total:
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
            "this server returns the thought separately, so its tokens cannot be counted",
            why=f"the thought is in the field {reply.reasoning_field}",
            fix="start the server without a reasoning parser, or use --model-args budget=thinking_token_budget",
        )
    pieces = spelling(reply.tokens or (), (reply.content or "").encode("utf-8", "surrogatepass"))
    if pieces is None:
        raise SampleError("bad_response", "the tokens of the reply do not match its text, so they cannot be counted")
    return pieces


def spelling(tokens: Sequence[bytes], text: bytes) -> list[bytes] | None:
    """The tokens as far as `text` goes, those included whose bytes the server does not show; None where they differ.

    Of a character that takes several tokens vLLM shows all bytes with the last one: each token before it gets a byte
    of it. Tokens that made no character at all stand in the text as U+FFFD.
    """
    pieces, place, hidden = list[bytes](), 0, 0
    for token in tokens:
        if not token:
            hidden += 1
            continue
        lost = _replaced(text, place, token) if hidden else 0
        if not text.startswith(token, place + lost):
            break
        pieces += [text[place : place + lost], *[b""] * (hidden - 1), token] if lost else _shared(token, hidden)
        place, hidden = place + lost + len(token), 0
    rest = text[place:]
    if rest and (not hidden or rest.replace(REPLACED, b"")):
        return None
    return [*pieces, *([rest, *[b""] * (hidden - 1)] if hidden else [])]


def _replaced(text: bytes, place: int, token: bytes) -> int:
    """Bytes of the replacement characters that stand at `place` before `token` begins."""
    end = place
    while text.startswith(REPLACED, end) and not text.startswith(token, end):
        end += len(REPLACED)
    return end - place


def _shared(token: bytes, hidden: int) -> list[bytes]:
    """A token's bytes, the first ones given to the `hidden` tokens before it, one each as far as they go."""
    shares = min(hidden, len(token) - 1)
    return [*(token[place : place + 1] for place in range(shares)), *[b""] * (hidden - shares), token[shares:]]


def no_means(policy: str, why: str) -> EndpointError:
    """The error for thinking budgets at a server that has no means for them."""
    return EndpointError(
        "endpoint.budget",
        f"this server does not support thinking budgets with --budget-policy {policy}",
        why=why,
        fix="with vLLM, use --model-args budget=tokens, or budget=thinking_token_budget and its --reasoning-config; "
        "elsewhere --budget-policy approximate, which limits thought and answer together",
    )


def served_budget(policy: Policy) -> None:
    """Raises SampleError where a server's own budget cannot do what the policy says."""
    if policy != "force":
        raise SampleError("budget", "thinking_token_budget closes a thought and continues: use --budget-policy force")


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a thought's markers stand, in tokens.

    Attributes:
        opening: tokens up to the end of the opening marker; 0 where the server wrote none.
        closes:  tokens before the closing marker; None where there is none.
        closed:  tokens up to its end.
    """

    opening: int
    closes: int | None
    closed: int | None


def marks_of(tokens: Sequence[bytes]) -> Marks | None:
    """The markers of a reply's thought, Kimi-VL's or `<think>`; None where there is no thought."""
    text, ends = b"".join(tokens), list(accumulate(map(len, tokens)))
    for names in ((THINK_OPEN, THINK_CLOSE), (OTHER_OPEN, OTHER_CLOSE)):
        opener, closer = (name.encode() for name in names)
        opens, place = text.lstrip().startswith(opener), text.find(closer)
        if not opens and place < 0:
            continue
        opening = bisect_left(ends, text.find(opener) + len(opener)) + 1 if opens else 0
        if place < 0:
            return Marks(opening, None, None)
        return Marks(opening, bisect_left(ends, place + 1), bisect_left(ends, place + len(closer)) + 1)
    return None


def kept_budget(reply: Reply, budget: int, answer_tokens: int) -> Completion:
    """A reply of a server that closes thoughts by itself, counted as budgets are counted here.

    A closing marker that ends behind the budget was the server's, and counts in neither part. vLLM writes the whole
    marker also behind one that the model had begun; `extra` says where that happened.

    Raises: SampleError `budget`, where the thought continued past its budget; `bad_response`.
    """
    tokens = spelled_tokens(reply)
    marks = marks_of(tokens)
    if marks is None:
        marks = Marks(0, None, None) if reply.reasoning else None
    start = 0 if marks is None else len(tokens) if marks.closed is None else marks.closed
    forced = marks is not None and marks.closed is not None and marks.closed > budget
    thinking = (marks.closes or 0) if marks is not None and forced else start
    if thinking > budget:
        raise SampleError("budget", f"the server did not stop the thought: {thinking} tokens, budget {budget}")
    answer = answer_of(_shortened(reply, tokens, start, answer_tokens))
    extra = {name: note for name, note in answer.extra.items() if name != "tokens_split"}
    if forced and unfinished_close(b"".join(tokens[:thinking])):
        extra["unfinished_marker"] = True
    counts = TokenCounts(thinking=thinking, answer=min(len(tokens) - start, answer_tokens))
    return replace(answer, budget=budget, budget_forced=forced, tokens=counts, extra=extra)


def spelled_tokens(reply: Reply) -> Sequence[bytes]:
    """The tokens of a reply without the one that ended it, wherever the server puts the thought."""
    if not reply.reasoning:
        return check_tokens(reply)
    tokens = reply.tokens or ()
    shown = tokens[:-1] if finish_of(reply) == "stop" else tokens
    return spelling(shown, b"".join(shown)) or []


def _shortened(reply: Reply, tokens: Sequence[bytes], start: int, answer_tokens: int) -> Reply:
    """The reply with no more than the first `answer_tokens` of the tokens from `start` on as its answer."""
    end = start + answer_tokens
    if len(tokens) <= end:
        return reply
    tokens_left = tokens[start if reply.reasoning else 0 : end]
    return replace(reply, content=b"".join(tokens_left).decode("utf-8", errors="replace"), finish="length")


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
        if finish in ("length", "unknown"):
            trajectory.outputs = [
                replace(output, finish=finish) if output.stop_id == 0 else output for output in trajectory.outputs
            ]

    def _id(self, token: bytes) -> int:
        if token not in self._ids:
            self._ids[token] = len(self._pieces)
            self._pieces.append(token)
        return self._ids[token]

    def _encode(self, text: str) -> list[int]:
        return [self._id(text.encode())] if text else []
