"""RUN on the command line: a path, a run id, its beginning or end, or `latest`; and `--results-dir`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kvl_eval.store.run_names import INDEX, default_results_dir, find_run

_KEY = "kvl_eval.results_dir"  # in the context's `meta`


class RunType(click.ParamType):  # type: ignore[type-arg]
    """Turns RUN into the path of a run folder, as text."""

    name = "RUN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The run folder's path. Raises: UsageError `usage.run`, DataError `run.missing`."""
        return str(find_run(str(value), results_dir(ctx)))


RUN = RunType()


def without_index(_: click.Context, __: click.Parameter, runs: tuple[str, ...]) -> tuple[str, ...]:
    """The runs of `results/*`, which names the list that kvl-eval keeps beside them as well."""
    return tuple(run for run in runs if Path(run).name != INDEX or Path(run).is_dir())


def results_dir(ctx: click.Context | None = None) -> Path:
    """Where this command looks up run folders."""
    context = ctx or click.get_current_context(silent=True)
    chosen = None if context is None else context.meta.get(_KEY)
    return Path(chosen if isinstance(chosen, str) else default_results_dir())


def remember(ctx: click.Context, _: click.Parameter, value: str) -> str:
    """Lets the RUN arguments of the command know `--results-dir`."""
    ctx.meta[_KEY] = value
    return value
