"""The flags of a command, read by type."""

from __future__ import annotations

from collections.abc import Mapping


class Flags:
    """The flags of a command; one that was not given is None, an empty tuple or False."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    def text(self, name: str) -> str | None:
        """A flag's value as text."""
        value = self.values[name]
        return None if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of a flag that may be repeated."""
        value = self.values[name]
        return tuple(map(str, value)) if isinstance(value, list | tuple) else ()

    def switch(self, name: str) -> bool:
        """Whether a flag without a value was given."""
        return self.values[name] is True
