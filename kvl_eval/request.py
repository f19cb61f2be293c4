"""What a backend or an engine is asked, and what a prompt takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

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


class RequestQueue:
    """Requests that may arrive while others are answered: one, none now, or no more.

    An episode's next prompt exists only after its last answer. An iterable becomes a queue that closes with its end.
    """

    def __init__(self, requests: Iterable[Request] | None = None) -> None:
        self._pulled = None if requests is None else iter(requests)
        self._waiting: deque[Request] = deque()
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, request: Request) -> None:
        """Add a request; the first put in is the first taken."""
        self._waiting.append(request)
        self._changed.set()

    def close(self) -> None:
        """No further request will come; those that wait are still taken."""
        self._closed = True
        self._changed.set()

    @property
    def closed(self) -> bool:
        """Whether nothing waits and nothing will come."""
        return self._closed and not self._waiting

    def take(self) -> Request | None:
        """The next request; None where there is none now, or where the queue is closed."""
        if self._waiting:
            return self._waiting.popleft()
        request = None if self._pulled is None else next(self._pulled, None)
        if self._pulled is not None and request is None:
            self.close()
        self._changed.clear()
        return request

    async def next(self) -> Request | None:
        """The next request, waited for; None once the queue is closed."""
        while (request := self.take()) is None and not self.closed:
            await self._changed.wait()
        return request

    async def wait(self, tasks: Set[asyncio.Task[Any]], *, arrivals: bool) -> None:
        """Until one of the tasks is done or, where `arrivals` are wanted, a request arrives or the queue is closed.

        Call it with `arrivals` only when `take` has given None.
        """
        arrival = {asyncio.create_task(self._changed.wait())} if arrivals and not self.closed else set()
        try:
            await asyncio.wait({*tasks, *arrival}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in arrival:
                task.cancel()


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
