"""One way to parse: JSON and YAML from bytes, under limits, to plain values."""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, Union, cast

from kvl_eval.errors import DecodeError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""A parsed JSON value."""

LARGEST = 2**63  # of an integer, either sign, unless its type says less
_SUSPECT = re.compile(rb"[0-9]{19}|[eE][+-]?[0-9]{3}|NaN|Infinity")  # what may be a number beyond the limits


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What is read at most: bytes, objects and lists inside each other, values (what YAML repeats counts again).

    With `keeps_large`, numbers beyond the limits stand for themselves until a type refuses them: in fields that no type
    reads they do no harm.
    """

    size: int = 256 << 20
    nesting: int = 64
    values: int = 256 << 20
    keeps_large: bool = False

    @property
    def most_values(self) -> int:
        """The values that are read at most: a byte holds one."""
        return min(self.size, self.values)


DEFAULT_LIMITS = ReadLimits()


class LargeNumber:
    """Stands for a number beyond the limits until its place is known."""

    def __init__(self, text: str) -> None:
        self.text = text


def is_json(kind: Any) -> bool:
    """Whether that is `Json`, its forward references resolved or not."""
    return typing.get_origin(kind) in (Union, types.UnionType) and {bool, int, float, str, type(None)} <= set(
        typing.get_args(kind)
    )


def read_json(data: bytes, limits: ReadLimits = DEFAULT_LIMITS) -> Json:
    """The JSON value in `data`: UTF-8, with or without byte-order mark, integers up to 2^63, finite floats.

    Raises: DecodeError. Never RecursionError or MemoryError.
    """
    text = _text(data, limits)
    try:
        if _SUSPECT.search(data):
            value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=LargeNumber)
        else:
            value = json.loads(text)
    except ValueError as error:
        raise _malformed(f"is not JSON: {error}") from None
    except (RecursionError, MemoryError):
        raise _too_deep(limits) from None
    if data.count(b"{") + data.count(b"[") > limits.nesting or _SUSPECT.search(data):
        check(value, "", limits)
    return cast("Json", value)


def read_yaml(data: bytes, limits: ReadLimits = DEFAULT_LIMITS) -> Json:
    """The YAML value in `data`, under the limits of `read_json`; dates stay text, repeated parts are counted each time.

    Raises: DecodeError. Never RecursionError or MemoryError.
    """
    import yaml

    text = _text(data, limits)
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            if number > 2 * limits.most_values:
                raise _too_many(limits)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > limits.nesting:
                raise _too_deep(limits)
        value = yaml.load(text, Loader=_yaml_loader())
    except yaml.YAMLError as error:
        raise _malformed(f"is not YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, MemoryError):
        raise _too_deep(limits) from None
    except (ValueError, TypeError) as error:  # an integer of too many digits, a key that is a list
        raise _malformed(f"is not YAML: {error}") from None
    check(value, "", limits)
    return cast("Json", value)


@cache
def _yaml_loader() -> Any:
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """SafeLoader that leaves dates as text."""

    PlainLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return PlainLoader


def _text(data: bytes, limits: ReadLimits) -> str:
    if len(data) > limits.size:
        raise _malformed(f"has {len(data):,} bytes, expected at most {limits.size:,}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _malformed(f"is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}") from None


def _integer(text: str) -> int | LargeNumber:
    return int(text) if len(text) < 21 and abs(int(text)) <= LARGEST else LargeNumber(text)


def _float(text: str) -> float | LargeNumber:
    value = float(text)
    return value if math.isfinite(value) else LargeNumber(text)


class _Node(NamedTuple):
    """A value, and where it stands."""

    path: str
    value: Any


def check(value: Any, path: str, limits: ReadLimits) -> None:
    """Raises DecodeError for anything but a JSON value, a number too large, or a value too deep; never recurses."""
    level, depth, total = [_Node(path, value)], 0, 1
    while level:
        for child in level:
            if not (limits.keeps_large and isinstance(child.value, LargeNumber)):
                _check_one(child)
        depth += any(isinstance(child.value, list | dict) for child in level)
        if depth > limits.nesting:
            raise _too_deep(limits)
        room = limits.most_values - total
        level = list(islice((inner for child in level for inner in _children(child)), room + 1))
        total += len(level)
        if total > limits.most_values:
            raise _too_many(limits)


def _check_one(child: _Node) -> None:
    value = child.value
    kind = type(value)
    if value is None or kind in (bool, str, list, dict):
        return
    if kind is int:
        if abs(value) > LARGEST:
            raise wrong_value(child.path, value, "an integer up to 2^63")
    elif kind is float:
        if not math.isfinite(value):
            raise wrong_value(child.path, value, "a finite number")
    elif kind is LargeNumber:
        is_integer = value.text.lstrip("-").isdecimal()
        raise wrong_value(child.path, value, "an integer up to 2^63" if is_integer else "a finite number")
    else:
        raise wrong_value(child.path, value, "a JSON value")


def _children(child: _Node) -> Iterator[_Node]:
    if isinstance(child.value, dict):
        for name, value in child.value.items():
            if not isinstance(name, str):
                raise wrong_value(child.path, name, "text as the name of a field")
            yield _Node(join_path(child.path, name), value)
    elif isinstance(child.value, list):
        for number, value in enumerate(child.value):
            yield _Node(join_path(child.path, number), value)


def join_path(path: str, step: str | int) -> str:
    """`usage` and `tokens` give `usage.tokens`, `choices` and 0 give `choices[0]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    name = step if step.isidentifier() else json.dumps(step[:60])
    return f"{path}.{name}" if path else name


def _malformed(what: str) -> DecodeError:
    return DecodeError("input.form", what)


def _too_deep(limits: ReadLimits) -> DecodeError:
    return _malformed(f"is nested too deeply: expected at most {limits.nesting} levels")


def _too_many(limits: ReadLimits) -> DecodeError:
    return _malformed(f"contains more than {limits.most_values:,} values")


def wrong_value(path: str, value: Any, wanted: str) -> DecodeError:
    return DecodeError("input.form", f"{path + ': ' if path else ''}{shown(value)}, expected {wanted}")


def shown(value: Any) -> str:
    """A foreign value in a few words, for an error."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | LargeNumber):
        return _number(value.text if isinstance(value, LargeNumber) else value)
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return repr(value)[:60] if isinstance(value, float) else f"a {type(value).__name__}"


def _number(value: int | str) -> str:
    if isinstance(value, int):
        digits = math.floor(abs(value).bit_length() * math.log10(2))
        if digits > 300:
            return f"about {'-' if value < 0 else ''}10^{digits}"
        value = str(value)
    digits = len(value.lstrip("-"))
    if digits <= 30 or not value.lstrip("-").isdecimal():
        return value[:30]
    power = f"10^{digits - 1}"
    sign = "-" if value.startswith("-") else ""
    return f"{sign}{power}" if value.lstrip("-").strip("0") == "1" else f"about {sign}{power}"
