"""What a backend or an engine is asked, and what a prompt takes."""

from __future__ import annotations

from dataclasses import dataclass

from kvl_eval.types import Generation, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt, and which answers to it are wanted.

    Yields one Completion for each pair of `repeats` and budget (`generation.think_budgets`, or one without a limit).

    Attributes:
        key:     unique within a run; comes back with every completion.
        seeds:   one per entry of `repeats`; derived from (seed, task, sample id, repeat), never from the budget.
        repeats: which repeats are wanted (a resumed run may want only some).
        prefix:  text the answer starts with, already written; it is continued.
    """

    key: str
    messages: tuple[Message, ...]
    generation: Generation
    seeds: tuple[int, ...] = (0,)
    repeats: tuple[int, ...] = (0,)
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSize:
    """What a prompt with videos or documents takes.

    Attributes:
        pictures:     frames and pages.
        image_tokens: visual tokens of all of them.
        tokens:       of the whole prompt.
        limit:        most patches of a picture, where they are shrunk to fit the context.
        fits:         whether there is a limit under which it fits.
    """

    pictures: int
    image_tokens: int
    tokens: int
    limit: int | None
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What answering one prompt takes beyond the weights, estimated: most bytes of memory at a time, and seconds."""

    bytes: int
    seconds: float
