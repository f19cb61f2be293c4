"""How many requests may be under way at a server at once."""

from __future__ import annotations

import asyncio


class Gate:
    """How many requests may be under way: half as many after a sign of overload, one more after a round of successes.

    Requests that were under way together with the one that failed do not halve again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_flight = 0
        self._room = float(most)
        self._epoch = 0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Most requests under way now."""
        return max(1, int(self._room))

    async def enter(self) -> int:
        """Wait for a place; the value belongs into `overloaded`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_flight < self.limit)
            self.in_flight += 1
            return self._epoch

    async def leave(self) -> None:
        """Give the place back."""
        async with self._changed:
            self.in_flight -= 1
            self._changed.notify_all()

    def overloaded(self, epoch: int) -> None:
        """The server could not keep up."""
        if epoch == self._epoch:
            self._epoch += 1
            self._room = max(1.0, self._room / 2)

    def succeeded(self) -> None:
        """The server answered."""
        self._room = min(float(self.most), self._room + 1 / self._room)
