"""Types to plain JSON values: one writer for each type, made when it is first used."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, cast

from kvl_eval.decode.text import Json, is_json

Writer = Callable[[Any], Any]
_EACH = object()


def encode(value: object) -> Json:
    """`value` as JSON values: dataclasses become objects with their fields in order, then the fields they do not know.

    Floats that are not finite become null. Raises: TypeError for what JSON has no form for.
    """
    return cast("Json", _write(value))


def encode_object(value: object) -> dict[str, Json]:
    """As `encode`, of a dataclass or mapping."""
    return cast("dict[str, Json]", _write(value))


def _write(value: Any) -> Any:
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
    raise TypeError(f"{type(value).__name__} has no form in JSON")


class _WrittenField(NamedTuple):
    """One field of a dataclass, as it is written."""

    name: str
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
            written.append(_WrittenField(field.name, _writer(hints[field.name]), omit, inlined))
    return _WrittenFields(tuple(written), rest)


def _write_object(value: Any) -> dict[str, Json]:
    fields, rest = _written_fields(cast("Any", type(value)))
    written: dict[str, Json] = {}
    for name, write, omit, inlined in fields:
        item = getattr(value, name)
        if inlined:
            written.update(write(item))
        elif omit is _EACH or item != omit:
            written[name] = write(item)
    if rest is not None:
        written.update(getattr(value, rest))
    return written


def _same(value: Any) -> Any:
    return value


@cache
def _writer(kind: Any) -> Writer:
    """`_same` for what is JSON already: big rows are not copied."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _writer(arguments[0])
    is_plain = kind in (str, bool, int, type(None)) or origin is Literal or is_json(kind)
    is_plain = is_plain or (origin in (dict, Mapping) and is_json(arguments[1]))
    is_union = origin in (Union, types.UnionType)
    return _same if is_plain or (is_union and all(_writer(argument) is _same for argument in arguments)) else _write
