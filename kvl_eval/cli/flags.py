"""The option table as `click` wants it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kvl_eval.cli.completion import chooser, completer, folders
from kvl_eval.cli.config_file import ConfigFile
from kvl_eval.cli.help import command_help, overview
from kvl_eval.cli.run_argument import RUN, remember, without_index
from kvl_eval.cli.table_option import TableOption
from kvl_eval.cli.terminal import set_verbosity
from kvl_eval.errors import unknown
from kvl_eval.options import Argument, Command, Option, ValueKind, options_of
from kvl_eval.options.commands import BY_NAME

Callback = Callable[..., int]
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class TableCommand(click.Command):
    """A command whose help comes from the table."""

    def __init__(self, command: Command, callback: Callback) -> None:
        parameters: list[click.Parameter] = [click_argument(argument) for argument in command.arguments]
        parameters += [click_option(option, has_default=not command.continues) for option in options_of(command.name)]
        name = command.name.split()[-1]
        super().__init__(name, callback=callback, params=[*parameters, _help_all(command)], context_settings=CONTEXT)
        self.command = command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the words of the command line. Raises: UsageError of click, which knows the command."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command as quietly as `-q` and `-v` say."""
        set_verbosity(ctx.params.get("verbose", 0) - ctx.params.get("quiet", 0))
        return super().invoke(ctx)

    def get_help(self, ctx: click.Context) -> str:
        """The help without advanced options."""
        return command_help(self.command).removesuffix("\n")


CONTEXT: dict[str, object] = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda text: text.replace("_", "-"),
}


class CommandGroup(click.Group):
    """The commands."""

    def get_help(self, ctx: click.Context) -> str:
        """The overview, or the help of a command with commands of its own."""
        text = overview() if self.name == "cli" else command_help(BY_NAME[str(self.name)])
        return text.removesuffix("\n")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` names. Raises UsageError."""
        name = args[0].replace("_", "-")
        if not name.startswith("-") and name not in self.commands:
            from kvl_eval.errors import unknown

            known = [command for command in self.commands if not self.commands[command].hidden]
            raise unknown("command", name, known, f"{ctx.command_path} --help", code="usage.verb")
        return super().resolve_command(ctx, args)


def verb(group: click.Group, name: str) -> Callable[[Callback], click.Command]:
    """Makes a function a command of `group`, with the arguments and options of the table."""

    def decorate(callback: Callback) -> click.Command:
        command = TableCommand(BY_NAME[name], callback)
        group.add_command(command)
        return command

    return decorate


class _ArgumentChoice(click.Choice[str]):
    """The values of an argument; another one is answered with those that it may stand for."""

    def __init__(self, argument: Argument) -> None:
        super().__init__(argument.choices)
        self.noun = argument.noun

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            raise unknown(
                self.noun, str(value), self.choices, f"kvl-eval {ctx.info_name} --help" if ctx else ""
            ) from None


def click_argument(argument: Argument) -> click.Argument:
    """A positional value."""
    kind = RUN if argument.is_run else _ArgumentChoice(argument) if argument.choices else click.STRING
    count = -1 if argument.many else 1
    return click.Argument(
        [argument.name],
        nargs=count,
        required=argument.required,
        type=kind,
        metavar=argument.noun,
        callback=without_index if argument.is_run and argument.many else None,
        shell_complete=None if argument.completes is None else completer(argument.completes),
    )


def click_option(option: Option, *, has_default: bool = True) -> TableOption:
    """An option with all its flags."""
    names = [option.flag, *option.aliases]
    if option.name == "config":
        return TableOption(
            option, names, multiple=True, type=click.Path(), callback=_load_config, is_eager=True, expose_value=False
        )
    if option.name == "results_dir":
        default = _default(option, option.default)
        return TableOption(
            option, names, type=click.Path(), default=default, envvar=option.variable, is_eager=True, callback=remember
        )
    if option.kind is ValueKind.TOGGLE:
        return TableOption(option, [_toggle(flag) for flag in names], default=None)
    return TableOption(
        option,
        names,
        type=_click_type(option),
        default=_default(option, option.default if has_default else None),
        is_flag=option.kind is ValueKind.SWITCH or None,
        count=option.kind is ValueKind.COUNTER,
        multiple=option.repeatable,
        envvar=option.variable,
        required=option.required,
        hidden=option.hidden,
        shell_complete=_completer(option),
    )


def _completer(option: Option) -> Completer | None:
    if option.kind is ValueKind.FOLDER:
        return folders
    if option.former_choices:
        return chooser(option.choices)
    return None if option.completes is None else completer(option.completes)


def _toggle(flag: str) -> str:
    """`--use-cache` of earlier versions has no negative form."""
    return f"{flag}/--no-{flag[2:]}" if flag.startswith("--") and flag != "--use-cache" else flag


def _default(option: Option, default: object) -> object:
    kinds: Mapping[ValueKind, object] = {ValueKind.SWITCH: False, ValueKind.COUNTER: 0}
    return () if option.repeatable else kinds.get(option.kind, default)


def _click_type(option: Option) -> click.ParamType[Any] | None:
    if option.kind is ValueKind.CHOICE:
        return click.Choice((*option.choices, *option.former_choices))
    if option.kind is ValueKind.INTEGER:
        return click.INT if option.least is None else click.IntRange(min=int(option.least))
    if option.kind is ValueKind.NUMBER:
        least = option.least if option.above is None else option.above
        return click.FLOAT if least is None else click.FloatRange(min=least, min_open=option.above is not None)
    if option.kind in (ValueKind.FILE, ValueKind.FOLDER):
        return click.Path(allow_dash=True)
    return None if option.kind in (ValueKind.SWITCH, ValueKind.COUNTER) else click.STRING


def _help_all(command: Command) -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(command_help(command, everything=True), nl=False)
            ctx.exit()

    return click.Option(["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=show)


def _load_config(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Reads the files, those of the environment first."""
    variable = option.row.variable if isinstance(option, TableOption) else None
    first = os.environ.get(variable) if variable else None
    for name in (*([first] if first else []), *value):
        read = ConfigFile.read(Path(name), ctx)
        ctx.default_map = {**(ctx.default_map or {}), **read.values}
        ctx.obj = ctx.obj.with_later(read) if isinstance(ctx.obj, ConfigFile) else read
    return value
