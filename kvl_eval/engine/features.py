"""Visual tokens of pictures that are in use: encoded once, kept while somebody needs them, no longer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class FeatureShelf:
    """Features by what the pictures are; repeats, budgets and requests with the same pictures share them.

    A request joins under the name of the features it needs and leaves in the end. The last one to leave drops them; the
    first one to need them puts them here.
    """

    def __init__(self) -> None:
        self._users: Counter[Hashable] = Counter()
        self._found: dict[Hashable, Tensor] = {}

    def __len__(self) -> int:
        return len(self._found)

    def join(self, name: Hashable) -> None:
        """Say that these features will be needed."""
        self._users[name] += 1

    def leave(self, name: Hashable) -> None:
        """Say that they are needed no longer."""
        self._users[name] -= 1
        if not self._users[name]:
            del self._users[name]
            self._found.pop(name, None)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._found

    def __getitem__(self, name: Hashable) -> Tensor:
        return self._found[name]

    def put(self, name: Hashable, features: Tensor) -> None:
        """Keep features for all who have joined under that name."""
        self._found[name] = features
