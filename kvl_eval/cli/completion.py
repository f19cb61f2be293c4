"""Shell completion: the scripts, and the names that they ask for. Opens no run, no data and no weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from kvl_eval.cli.run_argument import results_dir
from kvl_eval.options import COMMANDS, NameKind
from kvl_eval.store.run_names import run_names

if TYPE_CHECKING:
    from kvl_eval.tasks.base import Task

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_KVL_EVAL_COMPLETE"
INSTALL = {"fish": "kvl-eval completion fish | source"}
OWN_TABLE = "file:"


def script(cli: click.Command, shell: str) -> str:
    """The completion script of a shell, with the line that installs it on top."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    source = kind(cli, {}, "kvl-eval", VARIABLE)
    line = INSTALL.get(shell, f'eval "$(kvl-eval completion {shell})"')
    return f"# {line}\n{source.source_template % source.source_vars()}"


def completer(kind: NameKind) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What `click` calls for the names of a kind."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        begun, comma, last = incomplete.rpartition(",")
        if kind in (NameKind.TASK, NameKind.RUN, NameKind.MODEL) and (files := _files(kind, incomplete)):
            return files
        names = sorted({name for name in NAMES[kind](ctx) if name.startswith(last)})
        return [CompletionItem(f"{begun}{comma}{name}") for name in names]

    return complete


def chooser(names: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What `click` calls for values of which it accepts more than help shows."""
    return lambda _, __, incomplete: [CompletionItem(name) for name in names if name.startswith(incomplete)]


def folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tells the shell to complete folders."""
    return [CompletionItem(incomplete, type="dir")]


def _files(kind: NameKind, incomplete: str) -> list[CompletionItem]:
    """Paths, where a path was begun; bash takes `file:` as two words of its own, and completes what follows."""
    if kind is NameKind.TASK:
        if incomplete.startswith(OWN_TABLE):
            begun = incomplete.removeprefix(OWN_TABLE)
            folder, _, last = begun.rpartition("/")
            names = sorted(path.name for path in Path(folder or ("/" if begun[:1] == "/" else ".")).glob(f"{last}*"))
            return [CompletionItem(f"{OWN_TABLE}{folder}{'/' * bool(folder)}{name}") for name in names]
        is_after_colon = ":" in os.environ.get("COMP_WORDS", "").split()
        return [CompletionItem(incomplete, type="file")] if is_after_colon else []
    return [CompletionItem(incomplete, type="dir")] if incomplete[:1] in (".", "/", "~") or "/" in incomplete else []


def _tasks(_: click.Context) -> Iterable[str]:
    from kvl_eval.tasks import TASKS

    return (*TASKS, *(group for task in TASKS.values() for group in task.groups))


def _models(_: click.Context) -> Iterable[str]:
    from kvl_eval.backends import MODELS

    return MODELS


def _prompts(_: click.Context) -> Iterable[str]:
    return (name for task in _named() for name in task.prompts)


def _protocols(_: click.Context) -> Iterable[str]:
    return ("all", *(name for task in _named() for name in task.protocols))


def _named() -> Iterable[Task]:
    """The tasks on the command line so far; all where there is none."""
    from kvl_eval.tasks import TASKS

    words = os.environ.get("COMP_WORDS", "").replace(",", " ").replace("=", " ").split()
    names = {word.replace("_", "-") for word in words[2:]}
    chosen = [task for task in TASKS.values() if task.name in names or names & set(task.groups)]
    return chosen or TASKS.values()


def _runs(ctx: click.Context) -> Iterable[str]:
    runs = run_names(results_dir(ctx))
    return ("latest", *runs) if runs else ()


def _commands(_: click.Context) -> Iterable[str]:
    from kvl_eval.cli.topics import TOPICS

    return (*(command.name for command in COMMANDS if " " not in command.name), *TOPICS)


NAMES: Mapping[NameKind, Callable[[click.Context], Iterable[str]]] = {
    NameKind.TASK: _tasks,
    NameKind.MODEL: _models,
    NameKind.PROMPT: _prompts,
    NameKind.PROTOCOL: _protocols,
    NameKind.RUN: _runs,
    NameKind.COMMAND: _commands,
}
