"""Types to plain JSON values: one writer for each type, made when it is first used."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, cast

from kvl_eval.decode.fields import Between
from kvl_eval.decode.text import LARGEST, Json, is_json, join_path, wrong_value

Writer = Callable[[Any], Any]
_EACH = object()
_ANY_INTEGER = Between(-LARGEST, LARGEST)


class _Unreadable(Exception):
    """A number that `decode` would not read; writers add the fields that lead to it, the last one first."""

    def __init__(self, value: int | float, bounds: Between) -> None:
        self.value = value
        self.bounds = bounds
        self.steps: list[str] = []


def encode(value: object) -> Json:
    """`value` as JSON values: dataclasses become objects with their fields in order, then the fields they do not know.

    Floats that are not finite become null. Raises: TypeError for what JSON has no form for; DecodeError, naming the
    field, for a number that `decode` would not read.
    """
    try:
        return cast("Json", _write(value))
    except _Unreadable as error:
        path = ""
        for step in reversed(error.steps):
            path = join_path(path, step)
        raise wrong_value(path, error.value, f"{error.bounds.least} to {error.bounds.largest}") from None


def encode_object(value: object) -> dict[str, Json]:
    """As `encode`, of a dataclass or mapping."""
    return cast("dict[str, Json]", encode(value))


def _write(value: Any) -> Any:
    if type(value) is int:
        return _bounded(value, _ANY_INTEGER)
    if value is None or isinstance(value, str | int):
        return value.value if isinstance(value, StrEnum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _write(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_write(item) for item in value]
    if dataclasses.is_dataclass(value):
        return _write_object(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class _WrittenField(NamedTuple):
    """One field of a dataclass, as it is written."""

    name: str
    key: str  # its name in JSON
    write: Writer
    omit: object  # the value that is not written; _EACH where each is
    inlined: bool  # its own fields stand beside it


class _WrittenFields(NamedTuple):
    """The fields of a dataclass in order, and the one that holds what the type does not know."""

    fields: tuple[_WrittenField, ...]
    rest: str | None


@cache
def _written_fields(kind: Any) -> _WrittenFields:
    hints = typing.get_type_hints(kind, localns={"Json": Json}, include_extras=True)
    written, rest = [], None
    for field in dataclasses.fields(kind):
        if field.metadata.get("rest"):
            rest = field.name
        elif field.metadata.get("stored", True):
            default = field.default if field.default_factory is MISSING else field.default_factory()
            omit = default if field.metadata.get("omit") else _EACH
            inlined = field.metadata.get("inlined", False)
            key = field.metadata.get("key", field.name)
            written.append(_WrittenField(field.name, key, _writer(hints[field.name]), omit, inlined))
    return _WrittenFields(tuple(written), rest)


def _write_object(value: Any) -> dict[str, Json]:
    fields, rest = _written_fields(cast("Any", type(value)))
    written: dict[str, Json] = {}
    for name, key, write, omit, inlined in fields:
        item = getattr(value, name)
        if inlined:
            written.update(write(item))
        elif omit is _EACH or item != omit:
            try:
                written[key] = write(item)
            except _Unreadable as error:
                error.steps.append(key)
                raise
    if rest is not None:
        written.update(getattr(value, rest))
    return written


def _same(value: Any) -> Any:
    return value


def _bounded(value: Any, bounds: Between) -> Any:
    if isinstance(value, int | float):
        is_small = bounds.least is not None and value < bounds.least
        is_large = bounds.largest is not None and value > bounds.largest
        if is_small or is_large:
            raise _Unreadable(value, bounds)
    return value


def _optional(value: Any, writer: Writer) -> Any:
    return None if value is None else writer(value)


@cache
def _writer(kind: Any) -> Writer:
    """`_same` for what is JSON already: big rows are not copied."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is int or (origin is Annotated and isinstance(arguments[1], Between)):
        return partial(_bounded, bounds=_ANY_INTEGER if kind is int else arguments[1])
    if origin is Annotated:
        return _writer(arguments[0])
    is_plain = kind in (str, bool, type(None)) or origin is Literal or is_json(kind)
    is_plain = is_plain or (origin in (dict, Mapping) and is_json(arguments[1]))
    if origin in (Union, types.UnionType):
        kinds = [argument for argument in arguments if argument is not type(None)]
        writers = [_writer(argument) for argument in kinds]
        if all(writer is _same for writer in writers):
            return _same
        return partial(_optional, writer=writers[0]) if len(writers) == 1 < len(arguments) else _write
    return _same if is_plain else _write
