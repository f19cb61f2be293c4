"""What a user typed: other names of commands, and errors of `click` in our form."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kvl_eval.cli.table_option import TableOption
from kvl_eval.errors import KvlEvalError, UsageError, unknown
from kvl_eval.options import COMMANDS
from kvl_eval.options.commands import BY_NAME

OVERVIEW = ("-h", "--help", "-V", "--version")  # options of `kvl-eval` itself
EXTRA = "Got unexpected extra argument"  # of click's message, with the words in brackets
LISTS = ("tasks", "models", "runs")
ALIASES = {alias: (command.name,) for command in COMMANDS for alias in command.aliases} | {
    name: ("list", name) for name in LISTS
}


def typed_as(words: Sequence[str]) -> tuple[str, ...]:
    """The words with the command's own name first; options alone are those of `run`."""
    first, *rest = words or ("",)
    if first.startswith("-") and first not in OVERVIEW:
        return ("run", *words)
    return (*ALIASES.get(first.replace("_", "-"), (first,)), *rest) if words else ()


def usage_error(error: click.ClickException) -> KvlEvalError:
    """A usage error of `click` in our form."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "kvl-eval"
    if isinstance(error, click.NoSuchOption):
        options = context.command.params if context else []
        flags = [flag for option in options if not _is_hidden(option) for flag in option.opts if flag[:2] == "--"]
        return unknown("option", error.option_name, flags, f"{path} --help")
    if isinstance(error, click.MissingParameter):
        return _missing(error, path)
    if isinstance(error, click.BadOptionUsage):
        return UsageError("usage.option", f"{error.option_name} needs a value", fix=f"{path} --help")
    message = error.format_message().rstrip(".")
    if message.startswith(EXTRA):
        words = message.partition("(")[2].removesuffix(")")
        return UsageError("usage.option", f"unexpected argument {words!r}", fix=f"{path} --help")
    return UsageError("usage.option", message[:1].lower() + message[1:], fix=f"{path} --help")


def _is_hidden(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and option.hidden


def _missing(error: click.MissingParameter, path: str) -> UsageError:
    name = path.removeprefix("kvl-eval ")
    command = BY_NAME.get(name)
    code = f"usage.{name.partition(' ')[0]}"
    if isinstance(error.param, TableOption):
        return UsageError(code, f"no {error.param.row.flag} given", fix=f"{path} --help")
    name_of = error.param.name if error.param else None
    arguments = command.arguments if command else ()
    noun = next((argument.noun for argument in arguments if argument.name == name_of), "value")
    return UsageError(code, f"no {noun} given", fix=command.examples[0] if command else f"{path} --help")
