"""Values of options as the command line, configuration files and Python give them, read and checked the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path

from kvl_eval.errors import ConfigError
from kvl_eval.options.base import Option, Scope, ValueKind
from kvl_eval.options.limit import sample_limit

Scalar = str | int | float | bool | None  # what a text on the command line may stand for
WHOLE = ("vllm_args",)  # pairs whose values may hold commas
KILO = 1024


def scalar(text: str) -> Scalar:
    """A number, true, false, none or the text itself."""
    named = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pairs(texts: Sequence[str], option: str) -> dict[str, Scalar]:
    """`k=v,k=v` texts as a mapping; numbers, true, false and none become values. Raises UsageError.

    A text that begins with one of `WHOLE` is one pair, commas and all.
    """
    values: dict[str, Scalar] = {}
    for item in [part for text in texts for part in _parts(text) if part.strip()]:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            message = f"{option} must be KEY=VALUE, got {item!r}"
            raise ConfigError("usage.value", message, fix=f"{option} KEY=VALUE,KEY=VALUE")
        values[key.strip().replace("-", "_")] = scalar(value.strip())
    return values


def _parts(text: str) -> list[str]:
    return [text] if text.partition("=")[0].strip().replace("-", "_") in WHOLE else text.split(",")


def budgets(value: object) -> tuple[int, ...]:
    """`1k,2k,4k` in tokens, 1k being 1,024; `none` or nothing means no limit. Raises ConfigError `config.budget`."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return ()
    items = value.replace(" ", ",").split(",") if isinstance(value, str) else _sequence(value)
    return tuple(sorted({_tokens(item) for item in items}))


def _tokens(item: object) -> int:
    if isinstance(item, Integral) and not isinstance(item, bool):
        return int(item)
    text = item if isinstance(item, str) else ""
    digits, unit = (text[:-1], KILO) if text[-1:] in ("k", "K") else (text, 1)
    if not digits.isdecimal():
        message = f"--think-budget expects token counts such as 1k,4k, got {item!r}"
        raise ConfigError("config.budget", message, fix="such as --think-budget 1k,2k,4k")
    return int(digits) * unit


def sample_ids(value: object) -> tuple[str, ...]:
    """Ids separated by commas, in a sequence, or in a file with one id per line."""
    if value is None:
        return ()
    if not isinstance(value, str):
        return tuple(map(str, _sequence(value)))
    if "\n" not in value and Path(value).is_file():
        return tuple(line.strip() for line in Path(value).read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(part.strip() for part in value.split(",") if part.strip())


def shard(value: object) -> object:
    """The parts of `I/N`; the run's configuration checks them."""
    return tuple(scalar(part) for part in value.split("/")) if isinstance(value, str) else value


def batch_size(value: object) -> int | None:
    """A number of sequences; None for `auto`. Raises ConfigError `config.batch_size`."""
    if value == "auto":
        return None
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
        message = f'--batch-size must be "auto" or a positive integer, got {value!r}'
        raise ConfigError("config.batch_size", message, fix="--batch-size auto")
    return int(number)


def failures(value: object) -> object:
    """How many failed samples, or which share, a run may have. Raises ConfigError `config.fail_on_error`."""
    number = scalar(value) if isinstance(value, str) else value
    if not isinstance(number, Real) or isinstance(number, bool):
        message = f"--fail-on-error must be a number or a share below 1, got {value!r}"
        raise ConfigError("config.fail_on_error", message, fix="use for example 10 or 0.05")
    return number


def file_text(name: object) -> str:
    """The text of `--prompt-file`. Raises ConfigError `config.prompt_file`."""
    try:
        return Path(str(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message, fix = f"cannot read --prompt-file {name}", "use a text file in UTF-8"
        raise ConfigError("config.prompt_file", message, why=str(error), fix=fix) from error


def arguments(value: object) -> Mapping[str, object]:
    """Model arguments: a mapping, or `KEY=VALUE` texts. Raises UsageError."""
    if isinstance(value, Mapping):
        return value
    return pairs((value,) if isinstance(value, str) else tuple(map(str, _sequence(value))), "--model-args")


def _sequence(value: object) -> Sequence[object]:
    return tuple(value) if isinstance(value, list | tuple | set | frozenset | range) else (value,)


READERS: Mapping[str, Callable[[object], object]] = {
    "limit": sample_limit,
    "think_budget": budgets,
    "sample_ids": sample_ids,
    "shard": shard,
    "batch_size": batch_size,
    "fail_on_error": failures,
    "model_args": arguments,
}
"""Options whose values have a form of their own."""


def checked(option: Option, value: object) -> object:
    """An option's value, read. Raises: ConfigError that names the option."""
    if option.name in READERS:
        return READERS[option.name](value)
    if option.scope is Scope.TASK and isinstance(value, Mapping):
        return {task: checked(option, item) for task, item in value.items()}
    if option.repeatable and isinstance(value, str | list | tuple | Mapping):
        return value
    if option.kind in (ValueKind.INTEGER, ValueKind.NUMBER):
        return _number(option, value)
    kinds: tuple[type, ...] = (bool,) if option.kind is ValueKind.SWITCH else (str, Path)
    if not isinstance(value, kinds):
        raise wrong_value(option, value)
    return value


def _number(option: Option, value: object) -> object:
    number = scalar(value) if isinstance(value, str) else value
    kind = Integral if option.kind is ValueKind.INTEGER else Real
    if not isinstance(number, kind) or isinstance(number, bool) or not _is_in_range(option, number):
        raise wrong_value(option, value)
    return int(number) if isinstance(number, Integral) else number


def _is_in_range(option: Option, number: Integral | Real) -> bool:
    value = float(number)
    return (option.least is None or value >= option.least) and (option.above is None or value > option.above)


def wrong_value(option: Option, value: object, *, name: str = "", where: str | None = None) -> ConfigError:
    """The error of a value that an option cannot have; `name` is what the user called it."""
    text = "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)
    message = f"{name or option.flag} must be {_wanted(option, value)}, got {text}"
    return ConfigError("config.value", message, where=where)


def _wanted(option: Option, value: object) -> str:
    if option.kind is ValueKind.CHOICE:
        return f"one of {', '.join(option.choices)}"
    if option.kind in (ValueKind.SWITCH, ValueKind.TOGGLE):
        return "true or false"
    if option.kind in (ValueKind.INTEGER, ValueKind.NUMBER, ValueKind.COUNTER):
        number = scalar(value) if isinstance(value, str) else value
        is_number = isinstance(number, Real) and not isinstance(number, bool)
        if is_number and (option.kind is ValueKind.NUMBER or isinstance(number, Integral)):
            return f"more than {option.above}" if option.above is not None else f"at least {option.least}"
        return "an integer" if option.kind is ValueKind.INTEGER else "a number"
    return "a text"
