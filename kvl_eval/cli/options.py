"""Options that several verbs share, and how their values are read. Both spellings, hyphen and underscore, work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from kvl_eval.errors import ConfigError, UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


def spelled(names: tuple[str, ...], **attributes: Any) -> Callable[[Command], Command]:
    """An option shown under its first name; further names are accepted, not documented."""
    shown = [name for name in names if not name.startswith("--") or name == _first_long(names)]
    hidden = [name for name in names if name not in shown]

    def decorate(command: Command) -> Command:
        return click.option(*shown, *hidden, _parameter(names), cls=_FirstName, **attributes)(command)

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


def pairs(texts: tuple[str, ...], option: str) -> dict[str, Any]:
    """`k=v,k=v` texts as a mapping; numbers, true, false and none become values. Raises UsageError."""
    found: dict[str, Any] = {}
    for item in [part for text in texts for part in text.split(",") if part.strip()]:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise UsageError("usage.value", f"{option} {item!r} is not key=value")
        found[key.strip().replace("-", "_")] = scalar(value.strip())
    return found


def scalar(text: str) -> Any:
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
    found = []
    for part in text.replace(" ", ",").split(","):
        digits, unit = (part[:-1], 1024) if part[-1:] in "kK" else (part, 1)
        if not digits.isdecimal():
            raise ConfigError(
                "config.budget", f"--think-budget {part!r} is no number of tokens", fix="such as 1k,2k,4k"
            )
        found.append(int(digits) * unit)
    return tuple(sorted(set(found)))


def limit(text: str | None) -> int | float | None:
    """`--limit`: a count, or a fraction between 0 and 1. Raises ConfigError."""
    if text is None:
        return None
    value = scalar(text)
    if isinstance(value, int) and value >= 1:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ConfigError("config.limit", f"--limit {text!r} is neither a count from 1 on nor a fraction between 0 and 1")


def sample_ids(text: str | None) -> tuple[str, ...]:
    """`--sample-ids`: ids separated by commas, or a file with one id a line."""
    if text is None:
        return ()
    path = Path(text)
    if "\n" not in text and path.is_file():
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shard(text: str | None) -> tuple[int, int] | None:
    """`--shard i/n` with 1 <= i <= n. Raises ConfigError."""
    if text is None:
        return None
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ConfigError("config.shard", f"--shard {text!r} is not i/n with 1 <= i <= n", fix="such as --shard 1/4")
    return int(index), int(count)


def config_file(path: Path, known: Mapping[str, bool]) -> dict[str, Any]:
    """The keys of a YAML file, as flags. `known` says of each whether it may be repeated.

    Raises: UsageError for unknown keys, ConfigError for what is no mapping.
    """
    import yaml

    from kvl_eval.errors import unknown

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError("config.file", f"cannot read {path}", why=str(error)) from error
    if not isinstance(loaded, dict):
        raise ConfigError("config.file", f"{path} holds no mapping of options")
    found = {}
    for key, value in loaded.items():
        name = "score_view" if key == "thinking" else str(key).replace("-", "_")  # files have the older name
        if name not in known:
            raise unknown("option", str(key), sorted(known), "kvl-eval run --help")
        found[name] = [value] if known[name] and not isinstance(value, list) else value
    return found
