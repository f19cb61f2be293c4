"""Plain JSON values to types: one reader for each type, made when it is first used."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast

from kvl_eval.decode.fields import Between, Length
from kvl_eval.decode.text import DEFAULT_LIMITS, LARGEST, Json, check, is_json, join_path, wrong_value
from kvl_eval.errors import DecodeError

T = TypeVar("T")
_ABSENT = object()


class _Wrong(Exception):
    """A value of a wrong type; readers add the steps that lead to it, the last one first."""

    def __init__(self, value: Any, wanted: str) -> None:
        self.value = value
        self.wanted = wanted
        self.steps: list[str | int] = []


Reader = Callable[..., Any]  # of a value; that of a dataclass also takes its fields that are not stored, by name


def decode(kind: type[T], value: object, path: str = "", **given: object) -> T:
    """`value` as `kind`. `path` is what `value` itself is called in errors; `given` are fields that are not stored.

    Raises: DecodeError `input.form`, such as `usage.completion_tokens: "many", expected an integer up to 2^53`.
    """
    try:
        return cast("T", _reader(cast("Any", kind))(value, **given))
    except _Wrong as wrong:
        for step in reversed(wrong.steps):
            path = join_path(path, step)
        if wrong.value is _ABSENT:
            raise DecodeError("input.form", f"{path} is missing, expected {wrong.wanted}") from None
        raise wrong_value(path, wrong.value, wrong.wanted) from None


@cache
def _reader(kind: Any) -> Reader:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_json(kind):
        return _read_json_value
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind is object:
        return _as_it_came
    if origin is Annotated and isinstance(arguments[1], Length):
        return _measured(_reader(arguments[0]), arguments[1], arguments[0])
    if origin is Annotated:
        return _bounded(_reader(arguments[0]), arguments[1], arguments[0])
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is list:
        return _list_of(arguments[0], list)
    if origin is tuple:
        return _list_of(arguments[0], tuple) if arguments[1:] == (Ellipsis,) else _tuple_of(arguments)
    if origin in (dict, Mapping):
        return _mapping_of(arguments[1])
    if dataclasses.is_dataclass(kind):
        return _object(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enumeration(kind)
    raise TypeError(f"{kind!r} cannot be decoded")


def _exactly(kind: type, wanted: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise _Wrong(value, wanted)
        return value

    return read


def _read_int(value: Any) -> Any:
    if type(value) is not int:
        raise _Wrong(value, "an integer")
    if abs(value) > LARGEST:
        raise _Wrong(value, "an integer up to 2^63")
    return value


def _read_float(value: Any) -> Any:
    if type(value) is int and abs(value) <= LARGEST:
        return float(value)
    if type(value) is not float or not math.isfinite(value):
        raise _Wrong(value, "a finite number")
    return value


def _read_path(value: Any) -> Any:
    if type(value) is not str or "\0" in value:
        raise _Wrong(value, "a path as text")
    return Path(value)


_SIMPLE: frozenset[type] = frozenset({str, bool, type(None)})  # JSON without a look inside
_SMALL = 100  # items of a list or object that needs none if all are simple, as most are in rows


def _read_json_value(value: Any) -> Any:
    if not (isinstance(value, str) or type(value) in _SIMPLE or _is_shallow(value)):
        try:
            check(value, "", DEFAULT_LIMITS)
        except DecodeError as error:
            raise _Wrong(value, f"JSON ({error.message})") from None
    return value


def _is_shallow(value: Any) -> bool:
    if type(value) is list:
        return len(value) <= _SMALL and _SIMPLE.issuperset(map(type, value))
    if type(value) is not dict or len(value) > _SMALL:
        return False
    return _SIMPLE.issuperset(map(type, value.values())) and all(type(name) is str for name in value)


def _as_it_came(value: Any) -> Any:
    return value


_PLAIN: dict[Any, Reader] = {
    bool: _exactly(bool, "true or false"),
    str: _exactly(str, "text"),
    type(None): _exactly(type(None), "null"),
    int: _read_int,
    float: _read_float,
    Path: _read_path,
}
_KINDS: dict[Any, tuple[type, ...]] = {  # what a type looks like in JSON
    bool: (bool,),
    str: (str,),
    type(None): (type(None),),
    int: (int,),
    float: (float, int),
    Path: (str,),
}


def _bounded(read: Reader, bounds: Between, kind: Any) -> Reader:
    least = -math.inf if bounds.least is None else bounds.least
    largest = math.inf if bounds.largest is None else bounds.largest
    noun = "an integer" if kind is int else "a number"
    span = [f"from {_power(least)}"] if least != -math.inf and least != 0 else []
    span += [f"up to {_power(largest)}"] if largest != math.inf else []
    wanted = " ".join([noun, *span]) + (", not below 0" if least == 0 and largest == math.inf else "")

    is_integer, lowest, highest = kind is int, max(least, -LARGEST), min(largest, LARGEST)

    def checked(value: Any) -> Any:
        if is_integer and type(value) is int and lowest <= value <= highest:
            return value
        if type(value) is bool or not isinstance(value, int | float):
            raise _Wrong(value, wanted)
        number = value if type(value) is int and not least <= value <= largest else read(value)
        if not least <= number <= largest:
            raise _Wrong(value, wanted)
        return number

    return checked


def _measured(read: Reader, length: Length, kind: Any) -> Reader:
    span = f"{length.least:,} to {length.largest:,}"
    wanted = f"text of {span} valid characters" if kind is str else f"a list of {span}"

    def measured(value: Any) -> Any:
        if not isinstance(value, str if kind is str else list) or not length.least <= len(value) <= length.largest:
            raise _Wrong(value, wanted)
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _Wrong(value, wanted)
        return read(value)

    return measured


def _power(number: float) -> str:
    whole = int(number)
    return (
        f"2^{whole.bit_length() - 1}" if whole == number and whole > 1024 and whole & (whole - 1) == 0 else f"{number}"
    )


def _literal(values: tuple[Any, ...]) -> Reader:
    wanted = f"one of {', '.join('null' if value is None else str(value) for value in values)}"
    kinds = frozenset(map(type, values))
    known = frozenset((type(value), value) for value in values)

    def read(value: Any) -> Any:
        if type(value) not in kinds or (type(value), value) not in known:
            raise _Wrong(value, wanted)
        return value

    return read


def _enumeration(kind: type[StrEnum]) -> Reader:
    literal = _literal(tuple(member.value for member in kind))
    return lambda value: kind(literal(value))


def _union(arguments: tuple[Any, ...]) -> Reader:
    """The first member whose JSON kind is that of the value."""
    readers: dict[type, Reader] = {}
    for argument in arguments:
        for kind in _json_kinds(argument):
            readers.setdefault(kind, _reader(argument))
    wanted = " or ".join(_wanted(argument) for argument in arguments)

    def read(value: Any) -> Any:
        reader = readers.get(type(value))
        if reader is None:
            raise _Wrong(value, wanted)
        return reader(value)

    return read


@cache
def _free(kind: Any) -> frozenset[type]:
    """Types of which every value is read as it is."""
    if is_json(kind):
        return _SIMPLE
    if kind in (bool, str, type(None)):
        return frozenset({kind})
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return frozenset()
    first: dict[type, Any] = {}
    for argument in typing.get_args(kind):
        for json_kind in _json_kinds(argument):
            first.setdefault(json_kind, argument)
    return frozenset(json_kind for json_kind, argument in first.items() if json_kind in _free(argument))


def _json_kinds(kind: Any) -> tuple[type, ...]:
    if kind in _KINDS:
        return _KINDS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _json_kinds(arguments[0])
    if origin is Literal:
        return tuple({type(value) for value in arguments})
    if origin in (list, tuple):
        return (list,)
    return (str,) if isinstance(kind, type) and issubclass(kind, StrEnum) else (dict,)


def _wanted(kind: Any) -> str:
    try:
        _reader(kind)(_ABSENT)
    except _Wrong as wrong:
        return wrong.wanted
    return "a value"


def _items(value: list[Any], readers: Iterable[Reader]) -> Iterator[Any]:
    for number, (item, read) in enumerate(zip(value, readers, strict=True)):
        try:
            yield read(item)
        except _Wrong as wrong:
            wrong.steps.append(number)
            raise


def _list_of(kind: Any, make: Callable[[Iterable[Any]], Any]) -> Reader:
    read_item = _reader(kind)

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise _Wrong(value, "a list")
        return make(_items(value, [read_item] * len(value)))

    return read


def _tuple_of(kinds: tuple[Any, ...]) -> Reader:
    readers = [_reader(kind) for kind in kinds]

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise _Wrong(value, f"a list of {len(readers)}")
        return tuple(_items(value, readers))

    return read


def _mapping_of(kind: Any) -> Reader:
    read_item = _reader(kind)

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong(value, "an object")
        found = {}
        for name, item in value.items():
            if type(name) is not str:
                raise _Wrong(name, "text as the name of a field")
            try:
                found[name] = read_item(item)
            except _Wrong as wrong:
                wrong.steps.append(name)
                raise
        return found

    return read


class _Slot(NamedTuple):
    """One field of a dataclass, as it is read."""

    name: str
    former: str | None
    read: Reader
    free: frozenset[type]  # types of which it takes every value
    required: bool
    inlined: bool  # its own fields stand beside it


class _Layout(NamedTuple):
    """The fields of a dataclass, and which of them takes what the type does not know."""

    slots: tuple[_Slot, ...]
    known: frozenset[str]
    rest: str | None
    inlines: bool  # whether a field's own fields stand beside it


@cache
def _layout(kind: Any) -> _Layout:
    hints = typing.get_type_hints(kind, localns={"Json": Json}, include_extras=True)
    slots, rest, known = [], None, set()
    for one in dataclasses.fields(kind):
        known |= {one.name, one.metadata.get("former", one.name)}
        if one.metadata.get("rest"):
            rest = one.name
            known.discard(one.name)
        elif one.metadata.get("stored", True):
            required = one.default is MISSING and one.default_factory is MISSING
            hint, inlined = hints[one.name], one.metadata.get("inlined", False)
            known |= _layout(hint).known if inlined else set()
            former = one.metadata.get("former")
            slots.append(_Slot(one.name, former, _reader(hint), _free(hint), required, inlined))
    return _Layout(tuple(slots), frozenset(known), rest, any(slot.inlined for slot in slots))


def _object(kind: Any) -> Reader:
    def read(value: Any, **given: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong(value, "an object")
        layout = _layout(kind)
        found: dict[str, object] = {}
        name, inlined = "", False
        try:
            for name, former, read_field, free, required, inlined in layout.slots:
                item = value if inlined else value.get(name, _ABSENT)
                if item is _ABSENT and former is not None:
                    item = value.get(former, _ABSENT)
                if type(item) in free:
                    found[name] = item
                elif item is not _ABSENT or required:
                    found[name] = read_field(item)
        except _Wrong as wrong:
            wrong.steps += [] if inlined else [name]
            raise
        if layout.rest is not None and (layout.inlines or len(found) < len(value)):
            found[layout.rest] = {name: item for name, item in value.items() if name not in layout.known}
        return kind(**found, **given)

    return read
