"""What a field of a dataclass may say about how it is read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Annotated, Any

from kvl_eval.decode.text import Json

Others = Mapping[str, Json]
"""Fields that a type does not know, kept for writing."""


@dataclass(frozen=True, slots=True)
class Between:
    """The least and the largest value of a number, for `Annotated`. None means no bound."""

    least: int | float | None = None
    largest: int | float | None = None


@dataclass(frozen=True, slots=True)
class Length:
    """The least and the largest length of a text or list, for `Annotated`. Such a text has no lone surrogates."""

    least: int
    largest: int


Count = Annotated[int, Between(0, 2**53)]
"""A count."""


def omitted(default: Any = None) -> Any:
    """A field that is not written while it has its default, which may also be a type to be called."""
    return _field(default, {"omit": True})


def unknown_fields() -> Any:
    """The field, of type `Others`, that takes what the type does not know and gives it back when written."""
    return field(default_factory=dict, metadata={"rest": True}, hash=False)


def renamed(former: str, default: Any = MISSING) -> Any:
    """A field that is also read under the name it had before."""
    return _field(default, {"former": former})


def named(key: str) -> Any:
    """A field without a default whose name in JSON is a word of Python, such as `as`."""
    return _field(MISSING, {"former": key, "key": key})


def not_stored(default: Any = None) -> Any:
    """A field that is not read and not written."""
    return _field(default, {"stored": False}, compare=False)


def inlined(kind: type) -> Any:
    """A field of another dataclass whose own fields stand among those of the object it belongs to."""
    return field(default_factory=kind, metadata={"inlined": True})


def _field(default: Any, metadata: dict[str, object], *, compare: bool = True) -> Any:
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata, compare=compare)
    return field(default=default, metadata=metadata, compare=compare)
