"""Options that several verbs share, and how their values are read. Both spellings, hyphen and underscore, work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from kvl_eval.errors import ConfigError, UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
WHOLE = ("vllm_args",)  # pairs whose values may hold commas
Scalar = str | int | float | bool | None  # what a text on the command line may stand for


def spelled(names: tuple[str, ...], **attributes: Any) -> Callable[[Command], Command]:
    """An option shown under its first name; further names are accepted, not documented."""
    listed = [name for name in names if not name.startswith("--") or name == _first_long(names)]
    hidden = [name for name in names if name not in listed]

    def decorate(command: Command) -> Command:
        return click.option(*listed, *hidden, _parameter(names), cls=_FirstName, **attributes)(command)

    return decorate


def _first_long(names: tuple[str, ...]) -> str:
    return next(name.split("/")[0] for name in names if name.startswith("--"))


def _parameter(names: tuple[str, ...]) -> str:
    return _first_long(names)[2:].replace("-", "_")


class _FirstName(click.Option):
    """An option whose help names only its first spelling."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        opts, secondary = self.opts, self.secondary_opts
        main = "--" + str(self.name).replace("_", "-")
        self.opts = [main, *(name for name in opts if not name.startswith("--"))][:2]
        self.secondary_opts = [name for name in secondary if name == "--no-" + main[2:]]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts, self.secondary_opts = opts, secondary


def pairs(texts: tuple[str, ...], option: str) -> dict[str, Scalar]:
    """`k=v,k=v` texts as a mapping; numbers, true, false and none become values. Raises UsageError.

    A text that begins with one of `WHOLE` is one pair, commas and all.
    """
    values: dict[str, Scalar] = {}
    for item in [part for text in texts for part in _parts(text) if part.strip()]:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise UsageError("usage.value", f"{option} {item!r} is not key=value")
        values[key.strip().replace("-", "_")] = scalar(value.strip())
    return values


def _parts(text: str) -> list[str]:
    return [text] if text.partition("=")[0].strip().replace("-", "_") in WHOLE else text.split(",")


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


def budgets(text: str | None) -> tuple[int, ...]:
    """`1k,2k,4k` in tokens, `1k` being 1024; `none` or nothing means no limit. Raises ConfigError."""
    if text is None or text.strip().lower() == "none":
        return ()
    tokens = set()
    for part in text.replace(" ", ",").split(","):
        digits, unit = (part[:-1], 1024) if part[-1:] in "kK" else (part, 1)
        if not digits.isdecimal():
            raise ConfigError(
                "config.budget", f"--think-budget {part!r} is no number of tokens", fix="such as 1k,2k,4k"
            )
        tokens.add(int(digits) * unit)
    return tuple(sorted(tokens))


def sample_ids(text: str | None) -> tuple[str, ...]:
    """`--sample-ids`: ids separated by commas, or a file with one id a line."""
    if text is None:
        return ()
    path = Path(text)
    if "\n" not in text and path.is_file():
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shard(text: str | None) -> tuple[Scalar, ...] | None:
    """The parts of `--shard i/n`; the run's configuration says whether they are one."""
    return None if text is None else tuple(scalar(part) for part in text.split("/"))


class Flags:
    """The flags of a verb, read by type; one that was not given is None, an empty tuple or False."""

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
