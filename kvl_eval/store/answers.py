"""A stored output in its parts: the thought, the answer, and whether the thought ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from kvl_eval.model.kimi_vl.families import OTHER
from kvl_eval.store.records import Extra
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN, split_thought
from kvl_eval.types import ScoreView


@dataclass(frozen=True, slots=True)
class Answer:
    """An output in its parts.

    Attributes:
        thinking: the thought, without its markers.
        text:     what follows the thought; the whole output where there is none.
        closed:   whether the thought ended; None where there is none.
        raw:      the whole output, for scorers of raw outputs.
        family:   whose markers the thought has: a name of `kvl_eval.thinking.FAMILIES`; "" without a thought.
        is_split_again: whether it was stored in other parts than these, by a version with fewer markers.
    """

    thinking: str
    text: str
    closed: bool | None
    raw: str
    family: str = ""
    is_split_again: bool = False

    @staticmethod
    def of(raw: str) -> Answer:
        """An output as it was written, split at its markers."""
        thought = split_thought(raw)
        return Answer(thought.thinking, thought.answer, thought.closed, raw, thought.family)

    @property
    def marked(self) -> str:
        """The output with its thought in Kimi-VL's markers, for protocols whose own reader drops the thought."""
        if self.closed is None:
            return self.text
        return self.raw if self.family == "kimi" else self.joined

    @property
    def joined(self) -> str:
        """Thought and answer, Kimi-VL's markers around the thought."""
        return f"{THINK_OPEN}{self.thinking}{THINK_CLOSE + self.text if self.closed else ''}"


class StoredOutput(Protocol):
    """An answer as backends give it and records hold it."""

    @property
    def raw_output(self) -> str: ...
    @property
    def thinking(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def think_closed(self) -> bool | None: ...
    @property
    def extra(self) -> Extra: ...


def answer_of(output: StoredOutput, view: ScoreView) -> Answer:
    """A stored output in its parts: those that the record has, or, for scorers of raw outputs, as it was written.

    What a version with fewer markers stored is split again.
    """
    raw = _without_stop(output.raw_output, output.extra.stop_token)
    if view == "raw":
        return Answer.of(raw)
    closed, family = output.think_closed, output.extra.thought
    stored = Answer(output.thinking, "" if closed is False else output.answer, closed, raw, family or "")
    return stored if family is not None else _split_again(stored)


def _split_again(stored: Answer) -> Answer:
    """An answer of an earlier version, in the parts that it has by today's markers."""
    if stored.closed is None:
        split = Answer.of(stored.text)
        return replace(split, raw=stored.raw, is_split_again=split.closed is not None)
    family = Answer.of(stored.raw).family or "kimi"
    if stored.closed is False:
        return replace(stored, family=family)
    split = Answer.of(stored.joined)
    if split.text == stored.text.strip():
        return replace(stored, family=family)
    return replace(split, raw=stored.raw, family=family, is_split_again=True)


def _without_stop(text: str, stop: str | None) -> str:
    """`text` without the special token that ended it; where a record does not say which, without one of Kimi-VL's."""
    if stop is None:
        stop = next((token for token in OTHER.stop_texts if text.endswith(token)), "")
    return text.removesuffix(stop)
