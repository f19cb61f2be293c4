"""The command line: flags to values, errors to exit codes. Everything heavy is imported inside the verbs.

Exit codes: 0 done, 1 a bug, 2 usage, 3 finished with gaps, 4 inputs unusable, 5 significant drop, 6 storage,
130/143 interrupted.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kvl_eval import __version__
from kvl_eval.cli.check_group import check
from kvl_eval.cli.completion import script
from kvl_eval.cli.config_file import placed
from kvl_eval.cli.flags import CONTEXT, CommandGroup, verb
from kvl_eval.cli.help import command_help, overview
from kvl_eval.cli.internal import internal_error, wants_traceback
from kvl_eval.cli.json_errors import echo_error
from kvl_eval.cli.options import Flags
from kvl_eval.cli.run_argument import results_dir
from kvl_eval.cli.terminal import begin, echo, end, show_logs
from kvl_eval.cli.translation import Translation, translate
from kvl_eval.cli.usage import typed_as, usage_error
from kvl_eval.errors import KvlEvalError, UsageError
from kvl_eval.options.commands import BY_NAME
from kvl_eval.options.values import budgets
from kvl_eval.printable import json_line, whole
from kvl_eval.store.run_names import find_run


def show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Prints the version and ends the command."""
    if value and not ctx.resilient_parsing:
        echo(f"kvl-eval {__version__}")
        ctx.exit()


@click.group(cls=CommandGroup, invoke_without_command=True, context_settings=CONTEXT)
@click.option("--version", "-V", is_flag=True, is_eager=True, expose_value=False, callback=show_version)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Evaluate vision-language models on published benchmarks."""
    if ctx.invoked_subcommand is None:
        echo(overview(), nl=False)


@verb(cli, "run")
def run(as_json: bool, **flags: Any) -> int:
    """Evaluate a model on tasks."""
    from kvl_eval.cli.run import run_verb

    with placed(click.get_current_context()):
        return run_verb(Flags(flags), as_json)


@verb(cli, "sweep")
def sweep(as_json: bool, **flags: Any) -> int:
    """Evaluate a model at several thinking budgets."""
    from kvl_eval.cli.run import run_verb

    with placed(click.get_current_context()):
        if not budgets(flags["think_budget"]):
            raise UsageError("usage.budget", "sweep needs --think-budget", fix="add --think-budget 1k,2k,4k,8k,16k")
        return run_verb(Flags(flags), as_json)


@verb(cli, "resume")
def resume(run_folder: str, include_path: tuple[str, ...], **flags: Any) -> int:
    """Continue an interrupted run."""
    from kvl_eval.cli.run import resume_verb
    from kvl_eval.tasks import include

    include(include_path)
    return resume_verb(Path(run_folder), Flags(flags))


@verb(cli, "score")
def score(as_json: bool, runs: tuple[str, ...], include_path: tuple[str, ...], **flags: Any) -> int:
    """Rescore stored answers, or score a file of answers."""
    from kvl_eval.cli.score import score_predictions_verb, score_runs_verb
    from kvl_eval.tasks import include

    include(include_path)
    if flags["predictions"] is not None:
        if runs or not flags["task"]:
            message = "--predictions needs --task and cannot be combined with a run folder"
            raise UsageError("usage.score", message, fix="use `kvl-eval score --task TASK --predictions FILE`")
        return score_predictions_verb(Flags(flags), as_json)
    if not runs:
        raise UsageError(
            "usage.score", "no run given", fix="kvl-eval score latest, or add --task NAME --predictions FILE"
        )
    return score_runs_verb([Path(name) for name in runs], Flags(flags), as_json)


@verb(cli, "doctor")
def doctor(task: str, as_json: bool, **flags: Any) -> int:
    """Test a model before a long run."""
    from kvl_eval.cli.doctor import doctor_verb

    return doctor_verb(task, Flags(flags), as_json)


@verb(cli, "watch")
def watch(file: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Repeat runs from a file and report significant drops."""
    from kvl_eval.cli.watch import watch_verb
    from kvl_eval.tasks import include

    include(include_path)
    return watch_verb(Path(file), Flags({**flags, "include_path": include_path}), as_json)


@verb(cli, "report")
def report(runs: tuple[str, ...], table: str | None, include_path: tuple[str, ...], **flags: Any) -> int:
    """Write reports of runs."""
    from kvl_eval.cli.report import prices_of, report_verb, table_verb
    from kvl_eval.reports.write import ReportForm
    from kvl_eval.tasks import include

    include(include_path)
    paths = [Path(name) for name in runs]
    if table is not None:
        return table_verb(table, paths, flags["include_demo"], flags["as_json"])
    out = Path(flags["output_dir"]) if flags["output_dir"] else None
    form = ReportForm(
        formats=flags["format"] or ("html",),
        images="none" if flags["no_pictures"] else flags["images"],
        include_demo=flags["include_demo"],
        title=flags["title"] or "",
        prices=prices_of(flags["price_per_hour"], flags["price_in"], flags["price_out"]),
    )
    return report_verb(paths, out, form, opens=flags["open"], as_json=flags["as_json"])


@verb(cli, "view")
def view(run_folder: str | None, port: int, include_path: tuple[str, ...], **flags: Any) -> int:
    """Open a run or a report in the browser."""
    from kvl_eval.cli.view import view_verb
    from kvl_eval.tasks import include

    include(include_path)
    opens = sys.stdout.isatty() and not flags["no_open"]
    return view_verb(None if run_folder is None else Path(run_folder), results_dir(), port, opens=opens)


@verb(cli, "export")
def export(run_or_model: str, folder: str | None, include_path: tuple[str, ...], **flags: Any) -> int:
    """Export a run, or a model."""
    from kvl_eval.cli.export import export_card_verb, export_model_verb, export_verb
    from kvl_eval.tasks import include

    out = flags["output_dir"] or folder
    if flags["format"] == "vllm":
        return export_model_verb(run_or_model, out, flags["as_json"])
    include(include_path)
    run = find_run(run_or_model, results_dir())
    if flags["format"] == "card":
        return export_card_verb(run, out, flags["protocol"], as_json=flags["as_json"])
    chosen = {name: flags[name] for name in ("format", "protocol", "as_json")}
    return export_verb(run, out=out, **chosen)


@verb(cli, "verify")
def verify(run_or_card: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Check that a run is complete and unchanged, or check a result card."""
    from kvl_eval.cli.verify import verify_card_verb, verify_verb
    from kvl_eval.tasks import include

    include(include_path)
    run, data_dir = flags["run_folder"], flags["data_dir"]
    if run_or_card.lower().endswith(".html"):
        return verify_card_verb(Path(run_or_card), run, data_dir, as_json=as_json)
    if run is not None or data_dir is not None:
        message = "a second run and --data-dir are for a result card"
        raise UsageError("usage.verify", message, fix="kvl-eval verify card.html RUN")
    return verify_verb(find_run(run_or_card, results_dir()), strict=flags["strict"], as_json=as_json)


@verb(cli, "compare")
def compare(a: str, b: str | None, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Compare two runs, or two protocols of one."""
    from kvl_eval.cli.compare import compare_verb
    from kvl_eval.tasks import include

    include(include_path)
    chosen = {name: flags[name] for name in ("task", "protocol")}
    return compare_verb(Path(a), None if b is None else Path(b), **chosen, as_json=as_json)


@verb(cli, "explain")
def explain(run_folder: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Show why a score is not the one expected."""
    from kvl_eval.cli.explain import explain_verb
    from kvl_eval.tasks import include

    include(include_path)
    return explain_verb(Path(run_folder), Flags(flags), results_dir(), as_json)


@verb(cli, "plan-size")
def plan_size(a: str | None, b: str | None, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Compute how many samples a comparison needs."""
    from kvl_eval.cli.plan_size import plan_size_verb
    from kvl_eval.tasks import include

    include(include_path)
    return plan_size_verb([Path(run) for run in (a, b) if run is not None], Flags(flags), as_json)


@verb(cli, "merge")
def merge(runs: tuple[str, ...], output_dir: str, compress: bool, as_json: bool, **flags: Any) -> int:
    """Merge the shards of one run."""
    from kvl_eval.cli.merge import merge_verb
    from kvl_eval.tasks import include

    include(flags["include_path"])
    return merge_verb([Path(run) for run in runs], Path(output_dir), compress=compress, as_json=as_json)


@verb(cli, "fetch")
def fetch(names: tuple[str, ...], include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Download and unpack data sets and checkpoints."""
    from kvl_eval.cli.fetch import fetch_verb
    from kvl_eval.tasks import include

    include(include_path)
    own = {"revision": flags.pop("revision"), "yes": flags.pop("yes"), "keep": flags.pop("keep_archives")}
    return fetch_verb(names, flags, **own, as_json=as_json)


@verb(cli, "list")
def list_(what: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """List tasks, models, runs or published results."""
    from kvl_eval.cli.list import list_verb
    from kvl_eval.tasks import include

    include(include_path, lambda error: click.echo(error.render(), err=True))
    return list_verb(what, Flags(flags), results_dir(), as_json)


@verb(cli, "describe")
def describe(task: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Show everything that defines a task's score."""
    from kvl_eval.cli.describe import describe_verb
    from kvl_eval.tasks import include

    include(include_path)
    return describe_verb(task, flags, as_json)


@verb(cli, "new-task")
def new_task(name: str, output_dir: str, builtin: bool, **flags: Any) -> int:
    """Create a task file and its test from a template."""
    from kvl_eval.cli.new_task import new_task_verb

    return new_task_verb(name, Path(flags["from"]) if flags["from"] else None, Path(output_dir), builtin)


cli.add_command(check)


@verb(cli, "version")
def version(as_json: bool) -> int:
    """Show versions."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    versions = {"kvl-eval": __version__, "python": sys.version.split()[0]}
    for name in ("torch", "transformers", "datasets", "numpy", "pillow", "tiktoken", "safetensors", "av", "decord"):
        try:
            versions[name] = installed(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    echo(json_line(versions) if as_json else "\n".join(f"{name:<14}{text}" for name, text in versions.items()))
    return 0


@verb(cli, "help")
def help_(names: tuple[str, ...], **_: Any) -> int:
    """Show the help of a command, or a topic."""
    from kvl_eval.cli.topics import topic

    command = BY_NAME.get(" ".join(typed_as(names))) if names else None
    echo(overview() if not names else command_help(command) if command else topic(" ".join(names)), nl=False)
    return 0


@verb(cli, "completion")
def completion(shell: str, **_: Any) -> int:
    """Print a completion script."""
    echo(script(cli, shell))
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; a foreseeable fault prints one block, never a traceback."""
    show_logs()
    begin()
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        translation = _read(typed)
        code = cli.main(args=list(translation.argv), prog_name="kvl-eval", standalone_mode=False, obj=typed)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KvlEvalError, click.ClickException) as problem:
        error = usage_error(problem) if isinstance(problem, click.ClickException) else problem
        echo(whole(error.render()), err=True)
        code = error.exit_code
        echo_error(typed, error, code)
    except (click.Abort, KeyboardInterrupt) as stop:
        code = 130
        echo("stopped: nothing was run" if typed[:1] in (["run"], ["sweep"], ["resume"]) else "stopped", err=True)
        echo_error(typed, KeyboardInterrupt() if isinstance(stop, click.Abort) else stop, code)
    except Exception as bug:
        fault = internal_error(bug)
        shown = traceback.format_exc() if wants_traceback(typed) else ""
        echo(f"{shown}{whole(fault.render())}", err=True)
        code = fault.exit_code
        echo_error(typed, fault, code)
    end()
    sys.exit(code if isinstance(code, int) else 0)


def _read(typed: Sequence[str]) -> Translation:
    """The words that the commands see, for those that were typed; prints notes. Raises: UsageError."""
    words = typed_as(typed)
    translation = translate(words, cli)  # refuses a key before anything is printed
    if words != tuple(typed) and words[:1] == ("run",) and typed[0].startswith("-"):
        echo(f"note: read as 'kvl-eval {shlex.join(words)}'", err=True)
    for note in translation.notes:
        echo(f"note: {note}", err=True)
    return translation
