"""Episodes in waves: the pending prompts of all desktops go to the backend together, then every desktop acts.

A prompt exists only when the answer before it was acted on, so a wave waits for its slowest reply. What an episode
does depends on its own replies alone: any number of desktops gives the same results.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from itertools import islice

from kvl_eval.agent.player import EpisodePlayer
from kvl_eval.backends.base import Backend
from kvl_eval.errors import KvlEvalError
from kvl_eval.types import Completion

OnResult = Callable[[EpisodePlayer, Completion], None]
"""(an episode that has ended, what the run stores of it)."""


async def play_waves(
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
                raise KvlEvalError(
                    "backend.answer",
                    f"the backend answered {key!r}, which was not requested",
                    fix="report this error with the log of the run",
                )
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
