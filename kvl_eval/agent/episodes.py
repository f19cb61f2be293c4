"""Episodes on several desktops. While one desktop acts, the prompts of the others are answered.

A prompt exists only when the answer before it was acted on. A backend that takes no queue is asked in waves: the
pending prompts of all desktops together, and every wave waits for its slowest reply. What an episode does depends on
its own replies alone: any number of desktops gives the same results.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice

from kvl_eval.agent.player import EpisodePlayer
from kvl_eval.backends.base import Backend, LiveBackend
from kvl_eval.errors import KvlEvalError
from kvl_eval.request import Request, RequestQueue
from kvl_eval.types import Completion

OnResult = Callable[[EpisodePlayer, Completion], None]
"""(an episode that has ended, what the run stores of it)."""


async def play(
    players: Iterator[EpisodePlayer],
    backend: Backend,
    desktops: int,
    finish: OnResult,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Play episodes, at most `desktops` at a time, and hand on each that ends.

    Once `stopping` says so no new one begins. Episodes that are cut off are abandoned: their journals have no outcome.
    Raises: what the backend and the disk raise.
    """
    if isinstance(backend, LiveBackend):
        await _play_live(players, _LiveModel(backend), desktops, finish, stopping)
    else:
        await _play_waves(players, backend, desktops, finish, stopping)


async def _play_live(
    players: Iterator[EpisodePlayer],
    model: _LiveModel,
    desktops: int,
    finish: OnResult,
    stopping: Callable[[], bool],
) -> None:
    """Every desktop plays one episode after the other, at its own speed."""

    async def desktop() -> None:
        while not stopping() and (player := next(players, None)) is not None:
            try:
                await player.begin()
                while player.result is None:
                    request = player.request()
                    await player.take(None if request is None else await model.ask(request))
                finish(player, player.result)
            finally:
                player.abandon()

    running = [asyncio.create_task(desktop()) for _ in range(desktops)]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await model.close()


class _LiveModel:
    """The replies of a backend to requests that are asked one by one; the first of them starts it."""

    def __init__(self, backend: LiveBackend) -> None:
        self._backend = backend
        self._queue = RequestQueue()
        self._waiting: dict[str, asyncio.Future[Completion | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Completion | None:
        """The reply; None where the backend ended without one. Raises: what the backend raises."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if self._reading.done():
            self._reading.result()
            return None
        reply: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()
        self._waiting[request.key] = reply
        self._queue.put(request)
        return await reply

    async def _read(self) -> None:
        """Hand out replies until the queue is closed."""
        try:
            async with aclosing(self._backend.answer_queue(self._queue)) as answers:
                async for key, completion in answers:
                    if key not in self._waiting:
                        raise _not_requested(key)
                    reply = self._waiting.pop(key)
                    if not reply.done():
                        reply.set_result(completion)
        except Exception as error:
            self._end(error)
            raise
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        """Answer those that still wait: no reply, or the error."""
        for reply in self._waiting.values():
            if not reply.done() and error is None:
                reply.set_result(None)
            elif not reply.done() and error is not None:
                reply.set_exception(error)
        self._waiting.clear()

    async def close(self) -> None:
        """End the backend's work; what it still decodes is dropped."""
        if self._reading is not None:
            self._queue.close()
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


async def _play_waves(
    players: Iterator[EpisodePlayer],
    backend: Backend,
    desktops: int,
    finish: OnResult,
    stopping: Callable[[], bool],
) -> None:
    """The prompts of all desktops together, then every desktop acts."""
    active: list[EpisodePlayer] = []
    try:
        while True:
            new = [] if stopping() else _taken(players, desktops - len(active), active)
            await _all(player.begin() for player in new)
            _hand_on(active, finish)
            if not active:
                if new:
                    continue
                return
            replies = await _replies(active, backend)
            await _all(player.take(replies.get(player.key)) for player in active)
            _hand_on(active, finish)
    finally:
        for player in active:
            player.abandon()


def _taken(players: Iterator[EpisodePlayer], count: int, active: list[EpisodePlayer]) -> list[EpisodePlayer]:
    """So many further episodes, which are active from now on."""
    new = list(islice(players, count))
    active += new
    return new


def _hand_on(active: list[EpisodePlayer], finish: OnResult) -> None:
    """Hand on the episodes that have ended, and forget them."""
    for player in list(active):
        if player.result is not None:
            active.remove(player)
            finish(player, player.result)


async def _replies(active: Iterable[EpisodePlayer], backend: Backend) -> dict[str, Completion]:
    """{key: the reply} of the episodes that wait for a model. Raises KvlEvalError `backend.answer`."""
    requests = [request for player in active if (request := player.request()) is not None]
    replies: dict[str, Completion] = {}
    if not requests:
        return replies
    wanted = {request.key for request in requests}
    stream = backend.generate(iter(requests))
    try:
        async for key, completion in stream:
            if key not in wanted:
                raise _not_requested(key)
            replies[key] = completion
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    return replies


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them. Raises what the first of those that failed raised."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _not_requested(key: str) -> KvlEvalError:
    return KvlEvalError(
        "backend.answer",
        f"the backend answered {key!r}, which was not requested",
        fix="report this error with the log of the run",
    )
