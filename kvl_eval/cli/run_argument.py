"""RUN on the command line: a path, a run id, its beginning or end, or `latest`; and `--results-dir`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kvl_eval.cli.options import Command, spelled
from kvl_eval.store.run_names import default_results_dir, find_run

_KEY = "kvl_eval.results_dir"  # in the context's `meta`


class RunType(click.ParamType):  # type: ignore[type-arg]
    """Turns RUN into the path of a run folder, as text."""

    name = "RUN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The run folder's path. Raises: UsageError `usage.run`, DataError `run.missing`."""
        return str(find_run(str(value), results_dir(ctx)))


RUN = RunType()


def run_argument(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An argument RUN; the first one of a command brings `--results-dir`."""

    def decorate(command: Command) -> Command:
        if not any(option.name == "results_dir" for option in getattr(command, "__click_params__", ())):
            command = results_dir_option()(command)
        return click.argument(name, type=RUN, **attributes)(command)

    return decorate


def results_dir(ctx: click.Context | None = None) -> Path:
    """Where this command looks up run folders."""
    context = ctx or click.get_current_context(silent=True)
    chosen = None if context is None else context.meta.get(_KEY)
    return Path(chosen if isinstance(chosen, str) else default_results_dir())


def results_dir_option(*aliases: str) -> Callable[[Command], Command]:
    """`--results-dir` under its name and `aliases`; RUN arguments of the same command read it."""

    def decorate(command: Command) -> Command:
        return spelled(
            ("--results-dir", *aliases),
            metavar="DIR",
            default=default_results_dir,
            show_default="results",
            is_eager=True,
            expose_value=False,
            callback=_remember,
            help="Look up runs in this folder.",
        )(command)

    return decorate


def _remember(ctx: click.Context, _: click.Parameter, value: str) -> None:
    ctx.meta[_KEY] = value
