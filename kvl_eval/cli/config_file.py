"""A YAML file whose keys are a verb's options, every alias among them; its errors name file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from kvl_eval.cli.table_option import TableOption
from kvl_eval.decode import ReadLimits, read_yaml
from kvl_eval.errors import ConfigError, DecodeError, UsageError
from kvl_eval.names import did_you_mean, suggestions
from kvl_eval.options import ValueKind
from kvl_eval.options.values import wrong_value

LIMITS = ReadLimits(size=4 << 20, nesting=16, values=10_000)
FORMER = {"thinking": "score_view"}  # in files of earlier versions
SHOWN = 5  # problems of one command


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What configuration files say.

    Attributes:
        values: {option, as the verb's parameter is called: value}.
        places: {the same: `file:line`}.
    """

    values: Mapping[str, object]
    places: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, ctx: click.Context) -> ConfigFile:
        """The options in a file, checked as on the command line.

        Raises: ConfigError: `config.file`, `config.yaml`, `config.key`, `config.value`; of several problems all.
        """
        known = keys_of(ctx.command)
        content, lines = _parsed(path)
        values: dict[str, object] = {}
        places: dict[str, str] = {}
        problems: list[ConfigError] = []
        for key, value in content.items():
            where = f"{path}:{lines.get(key, 1)}"
            name = _plain(key)
            option = known.get(FORMER.get(name, name))
            try:
                if option is None or option.name is None:
                    raise _unknown(key, known, where)
                if option.name in places:
                    raise _twice(key, where, f"the same option is set in {places[option.name]}")
                places[option.name] = where
                if value is not None:
                    values[option.name] = _checked(option, key, value, where, ctx)
            except ConfigError as problem:
                problems.append(problem)
        if problems:
            raise joined(problems)
        return cls(values, places)

    def with_later(self, later: ConfigFile) -> ConfigFile:
        """The options of this file and of one whose values win."""
        return ConfigFile({**self.values, **later.values}, {**self.places, **later.places})


class ConfigProblems(ConfigError):
    """Several problems of configuration files; the first one is also this error's own."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        first = problems[0]
        super().__init__(first.code, first.message, where=first.where, why=first.why, fix=first.fix)
        self.problems = tuple(problems)

    def render(self) -> str:
        """A block for each problem."""
        return "\n".join(problem.render() for problem in self.problems)


def joined(problems: Sequence[ConfigError]) -> ConfigError:
    """One error for the first problems."""
    return problems[0] if len(problems) == 1 else ConfigProblems(problems[:SHOWN])


@contextmanager
def placed(ctx: click.Context) -> Iterator[None]:
    """Errors that name an option of a configuration file say where it stands there."""
    try:
        yield
    except UsageError as error:
        config = ctx.obj
        if error.where is None and isinstance(config, ConfigFile):
            topic = error.code.partition(".")[2]
            flags = {name: f"--{name.replace('_', '-')}" for name in config.places if _is_from_file(ctx, name)}
            error.where = next(
                (config.places[name] for name, flag in flags.items() if name == topic or flag in error.message.split()),
                None,
            )
        raise


def _is_from_file(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP


def _plain(key: str) -> str:
    return key.strip().lstrip("-").replace("-", "_")


def keys_of(command: click.Command) -> dict[str, TableOption]:
    """{key: option}: every long name that the command line takes, but for those of a configuration file itself."""
    known: dict[str, TableOption] = {}
    for option in command.params:
        if isinstance(option, TableOption) and option.row.name != "config":
            known |= {_plain(name): option for name in option.opts if name.startswith("--")}
    return known


def _parsed(path: Path) -> tuple[dict[str, object], dict[str, int]]:
    """The file's mapping, and {key: line}. Raises: ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError("config.file", f"cannot read {path}", why=why, fix="name a file with --config") from None
    lines = _key_lines(data, path)
    try:
        content = read_yaml(data, LIMITS)
    except DecodeError as error:
        raise _no_yaml(error.message, str(path)) from None
    if not isinstance(content, dict):
        raise _no_yaml("expected lines `option: value`", f"{path}:1")
    return dict(content), lines


def _no_yaml(what: str, where: str) -> ConfigError:
    return ConfigError("config.yaml", f"not valid YAML: {what}", where=where)


def _key_lines(data: bytes, path: Path) -> dict[str, int]:
    """{key: line} of the outer mapping.

    Raises: ConfigError `config.yaml` where that is not YAML, `config.key` for a key that comes twice.
    """
    import yaml

    lines: dict[str, int] = {}
    depth, is_key = 0, True
    if len(data) > LIMITS.size:
        return lines  # refused where it is read
    try:
        for number, event in enumerate(yaml.parse(data.decode("utf-8-sig", "replace"), Loader=yaml.SafeLoader)):
            if number > 2 * LIMITS.values or depth > LIMITS.nesting:
                return lines  # refused where it is read
            if depth == 1 and not isinstance(event, yaml.CollectionEndEvent):
                if is_key and isinstance(event, yaml.ScalarEvent):
                    line = 1 if event.start_mark is None else event.start_mark.line + 1
                    if lines.setdefault(str(event.value), line) != line:
                        raise _twice(event.value, f"{path}:{line}", f"it is also set in line {lines[event.value]}")
                is_key = not is_key
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
        raise _no_yaml(str(error.problem).partition(", but")[0], place) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise _no_yaml(" ".join(str(error).split())[:80], str(path)) from None
    return lines


def _twice(key: str, where: str, why: str) -> ConfigError:
    return ConfigError("config.key", f"option {key!r} is set twice", where=where, why=why, fix="remove one of them")


def _unknown(key: str, known: Mapping[str, TableOption], where: str) -> ConfigError:
    names = [name for name, option in known.items() if not option.hidden and name != "json"]
    near = suggestions(key, names)[:1]  # of several, most are names of one option
    fix = did_you_mean(near, quoted=True) or "kvl-eval run --help"
    error = ConfigError("config.key", f"unknown option {key!r}", where=where, fix=fix)
    error.suggestions = near
    return error


# Values


def _checked(option: TableOption, key: str, value: object, where: str, ctx: click.Context) -> object:
    """The value as the command line would have it. Raises: ConfigError `config.value`."""
    items: Sequence[object] = value if isinstance(value, list) else [value]
    if any(item is None or isinstance(item, list | dict) for item in items):
        raise wrong_value(option.row, value, name=key, where=where)
    if option.is_flag and (isinstance(value, list) or not isinstance(value, bool | str)):
        raise wrong_value(option.row, value, name=key, where=where)
    if isinstance(value, bool) and not option.is_flag:
        raise wrong_value(option.row, value, name=key, where=where)
    if isinstance(value, float) and option.row.kind is ValueKind.INTEGER:
        raise wrong_value(option.row, value, name=key, where=where)
    if option.multiple:
        return [str(item) for item in items]
    if isinstance(value, list):
        value = ",".join(map(str, items))
    try:
        option.type.convert(value, option, ctx)
    except click.UsageError:
        raise wrong_value(option.row, value, name=key, where=where) from None
    return value
