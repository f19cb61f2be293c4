"""Options from Python, as text or typed values, to what a run is configured with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import NoReturn, get_args, get_type_hints

from kvl_eval.cli.options import budgets, pairs, sample_ids, scalar, shard
from kvl_eval.errors import ConfigError, unknown
from kvl_eval.evaluation.run_options import RunOptions
from kvl_eval.printable import one_line
from kvl_eval.run.limit import sample_limit


def option_values(options: Mapping[str, object]) -> dict[str, object]:
    """The options that are given, each with the type that a run needs.

    Raises: UsageError `usage.option` for an unknown name, ConfigError `config.NAME` for a value of a wrong type.
    """
    known = kinds()
    for name in options:
        if name not in known:
            raise unknown("option", name, list(known), "kvl-eval run --help")
    values = {name: _value(name, value) for name, value in options.items() if value is not None}
    if "prompt_file" in values:
        values["prompt_text"] = values.pop("prompt_file")
    return {name: value for name, value in values.items() if value is not None}


@cache
def kinds() -> Mapping[str, frozenset[type]]:
    """{option: the types its value may have}."""
    return {name: frozenset(_members(hint)) for name, hint in get_type_hints(RunOptions).items()}


def _members(hint: object) -> set[type]:
    origin = getattr(hint, "__origin__", None)
    if isinstance(origin, type):
        return {origin}
    parts = get_args(hint)
    return {kind for part in parts for kind in _members(part)} if parts else {hint if isinstance(hint, type) else str}


def _value(name: str, value: object) -> object:
    reader = READERS.get(name)
    if reader is not None:
        return reader(name, value)
    if isinstance(value, Mapping) and Mapping in kinds()[name]:
        return {str(task): _single(name, part) for task, part in value.items()}
    return _single(name, value)


def _single(name: str, value: object) -> object:
    """A value of an option that has no reader of its own."""
    types = kinds()[name]
    if bool in types:
        return value if isinstance(value, bool) else _refuse(name, value, "True or False")
    if types & {int, float}:
        return _number(name, value, whole=float not in types)
    if Path in types:
        return value if isinstance(value, str | Path) else _refuse(name, value, "a path")
    if Sequence in types and isinstance(value, list | tuple):
        return _texts(name, value)
    return value if isinstance(value, str) else _refuse(name, value, "text")


def _number(name: str, value: object, *, whole: bool) -> int | float:
    number = scalar(value) if isinstance(value, str) else value
    if isinstance(number, Integral) and not isinstance(number, bool):
        return int(number)
    if isinstance(number, Real) and not isinstance(number, bool) and not whole:
        return float(number)
    return _refuse(name, value, "an integer" if whole else "a number")


def _texts(name: str, value: object) -> list[str]:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return _refuse(name, value, "text or a list of texts")
    return [part if isinstance(part, str) else _refuse(name, part, "text or a list of texts") for part in parts]


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    raise ConfigError(f"config.{name}", f"{name} must be {wanted}, got {one_line(repr(value))}")


# -- options whose text means more than itself ---------------------------------------------------------------------


def _limit(_: str, value: object) -> object:
    return sample_limit(value)


def _budgets(name: str, value: object) -> object:
    parts = value if isinstance(value, list | tuple) else [value]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, int | str):
            _refuse(name, value, 'a number of tokens, "1k,4k", or a list')
    return budgets(",".join(map(str, parts))) if parts else None


def _sample_ids(name: str, value: object) -> object:
    return sample_ids(value) if isinstance(value, str) else tuple(_texts(name, value))


def _shard(name: str, value: object) -> object:
    return shard(value) if isinstance(value, str) else value


def _batch_size(name: str, value: object) -> object:
    return None if value == "auto" else _number(name, value, whole=True)


def _model_args(name: str, value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else pairs(tuple(_texts(name, value)), name)


def _fields(name: str, value: object) -> object:
    return value if isinstance(value, str | Mapping) else _texts(name, value)


def _prompt_file(name: str, value: object) -> object:
    if not isinstance(value, str | Path):
        _refuse(name, value, "a path")
    try:
        return Path(str(value)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.prompt_file", f"cannot read {one_line(value)}", why=str(error)) from error


READERS: Mapping[str, Callable[[str, object], object]] = {
    "limit": _limit,
    "think_budget": _budgets,
    "sample_ids": _sample_ids,
    "shard": _shard,
    "batch_size": _batch_size,
    "model_args": _model_args,
    "fields": _fields,
    "prompt_file": _prompt_file,
    "include_path": _texts,
}
