"""The command line: flags to values, errors to exit codes. Everything heavy is imported inside the verbs.

Exit codes: 0 done, 1 a bug, 2 usage, 3 finished with gaps, 4 inputs unusable, 6 storage, 130/143 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kvl_eval import __version__
from kvl_eval.cli import options
from kvl_eval.cli.config_file import placed
from kvl_eval.cli.flags import (
    break_lock_option,
    confirming_options,
    data_options,
    family_option,
    include_option,
    json_option,
    judge_options,
    list_options,
    max_image_pixels_option,
    output_dir_option,
    run_options,
    score_view_option,
)
from kvl_eval.cli.json_errors import INTERNAL, echo_error
from kvl_eval.cli.options import spelled
from kvl_eval.cli.run_argument import results_dir, results_dir_option, run_argument
from kvl_eval.cli.terminal import begin, echo, show_logs
from kvl_eval.cli.translation import translate
from kvl_eval.errors import KvlEvalError, UsageError
from kvl_eval.printable import json_line, whole
from kvl_eval.store.run_names import find_run

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda text: text.replace("_", "-"),
    "max_content_width": 120,
}
SHORT_HELP = """\
kvl-eval reproduces, explains and helps to trust vision-language benchmark numbers.

  kvl-eval run --task mathvista                      the embedded demo model on the bundled mini split
  kvl-eval run --task mathvista --model kimi-vl-instruct --batch-size 32
  kvl-eval score --task mathvista --predictions answers.jsonl

Verbs: run, resume, sweep, fetch, score, report, view, export, compare, verify, merge, list, describe, check, version.
`kvl-eval VERB --help` shows what a verb takes; `kvl-eval list tasks` and `list models` what there is.
"""


class Verbs(click.Group):
    """The verbs; an unknown one is answered with the nearest names."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that `args` names. Raises UsageError."""
        name = args[0].replace("_", "-")
        if not name.startswith("-") and name not in self.commands:
            from kvl_eval.errors import unknown

            raise unknown("verb", name, list(self.commands), "kvl-eval --help")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, invoke_without_command=True, context_settings=CONTEXT)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Reproduce, explain and trust vision-language benchmark numbers."""
    if ctx.invoked_subcommand is None:
        echo(SHORT_HELP, nl=False)


@cli.command()
@run_options
def run(as_json: bool, **flags: Any) -> int:
    """Evaluate a model on tasks."""
    from kvl_eval.cli.run import run_verb

    with placed(click.get_current_context()):
        return run_verb(options.Flags(flags), as_json)


@cli.command()
@run_options
def sweep(as_json: bool, **flags: Any) -> int:
    """`run` over thinking budgets (--think-budget is required)."""
    from kvl_eval.cli.run import run_verb

    if not options.budgets(flags["think_budget"]):
        raise UsageError("usage.budget", "sweep needs --think-budget", fix="such as --think-budget 1k,2k,4k,8k,16k")
    with placed(click.get_current_context()):
        return run_verb(options.Flags(flags), as_json)


@cli.command()
@run_argument("run_folder")
@spelled(("--rerun", "--retry-on-error"), help="Which records to redo: failed, all, or ids.")
@spelled(("--compress",), is_flag=True, help="Pack samples of more than 1 MiB when the run has finished (gzip).")
@spelled(("--no-progress",), is_flag=True)
@break_lock_option
@confirming_options
@include_option
@json_option
def resume(run_folder: str, include_path: tuple[str, ...], **flags: Any) -> int:
    """Finish an interrupted run with its stored configuration."""
    from kvl_eval.cli.run import resume_verb
    from kvl_eval.tasks import include

    include(include_path)
    return resume_verb(Path(run_folder), options.Flags(flags))


@cli.command()
@run_argument("runs", nargs=-1)
@spelled(("--task", "-t"), help="Task that --predictions answer.")
@spelled(("--predictions",), type=click.Path(allow_dash=True), help="JSON Lines, plain or gzip; `-` for stdin.")
@spelled(("--out",), type=click.Path(), help="Where scored lines go.")
@spelled(("--protocol",), help="Protocol by name, or `all`; default: each task's own.")
@score_view_option
@spelled(("--only-failed",), is_flag=True, help="Ask the run's own judge again about what has no usable reply.")
@spelled(("--no-progress",), is_flag=True)
@break_lock_option
@judge_options
@data_options
@json_option
def score(as_json: bool, runs: tuple[str, ...], include_path: tuple[str, ...], **flags: Any) -> int:
    """Score stored answers again, or answers from anywhere. Never loads a model."""
    from kvl_eval.cli.score import score_predictions_verb, score_runs_verb
    from kvl_eval.tasks import include

    include(include_path)
    if flags["predictions"] is not None:
        if runs or not flags["task"]:
            raise UsageError("usage.score", "--predictions goes with --task and without a run folder")
        return score_predictions_verb(options.Flags(flags), as_json)
    if not runs:
        raise UsageError("usage.score", "nothing to score", fix="give run folders, or --task NAME --predictions FILE")
    return score_runs_verb([Path(name) for name in runs], options.Flags(flags), as_json)


@cli.command()
@run_argument("runs", nargs=-1)
@spelled(("--out", "--output-dir", "-o"), type=click.Path(), help="Folder; default: report/ in the first run.")
@spelled(("--format",), multiple=True, type=click.Choice(["markdown", "html"]), help="Default: both.")
@spelled(("--include-demo",), is_flag=True, help="Show demo runs in published tables too, marked.")
@spelled(("--no-pictures",), is_flag=True, help="No thumbnails in the sample browser.")
@spelled(
    ("--table",), type=click.Choice(["table3", "thinking", "budget", "niah", "2506"]), help="Print that table alone."
)
@include_option
@json_option
def report(runs: tuple[str, ...], table: str | None, include_path: tuple[str, ...], **flags: Any) -> int:
    """Write Markdown and HTML reports of runs, beside the published figures."""
    from kvl_eval.cli.report import report_verb, table_verb
    from kvl_eval.tasks import include

    include(include_path)
    paths = [Path(name) for name in runs]
    if table is not None:
        return table_verb(table, paths, flags["include_demo"], flags["as_json"])
    out = Path(flags["out"]) if flags["out"] else None
    switches = {"pictures": not flags["no_pictures"], "demo": flags["include_demo"], "as_json": flags["as_json"]}
    return report_verb(paths, out, flags["format"], **switches)


@cli.command()
@run_argument("run_folder", required=False)
@spelled(("--port",), type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@results_dir_option("--output-dir", "-o")
@include_option
def view(run_folder: str | None, port: int, include_path: tuple[str, ...]) -> int:
    """Show a run in a browser, also while it goes on; on 127.0.0.1 only, until Ctrl-C."""
    from kvl_eval.cli.view import view_verb
    from kvl_eval.tasks import include

    include(include_path)
    return view_verb(None if run_folder is None else Path(run_folder), results_dir(), port)


@cli.command()
@click.argument("run_or_model")
@results_dir_option()
@click.argument("folder", type=click.Path(), required=False)
@spelled(
    ("--format", "-f"),
    type=click.Choice(["csv", "parquet", "lm-eval", "inspect", "submission", "vllm"]),
    required=True,
    help="vllm: a model as a checkpoint that vLLM serves; the others: a run.",
)
@spelled(("--out", "--output-dir", "-o"), type=click.Path(), help="As FOLDER; default: export/FORMAT in the run.")
@spelled(("--protocol",), help="Whose verdicts are written, P or P+JUDGE; default: each task's own.")
@include_option
@json_option
def export(
    run_or_model: str, folder: str | None, out: str | None, include_path: tuple[str, ...], format: str, **flags: Any
) -> int:
    """Write a run for other tools (pandas, inspect_ai, lm-evaluation-harness, a benchmark's server), or a model."""
    from kvl_eval.cli.export import export_model_verb, export_verb
    from kvl_eval.tasks import include

    if format == "vllm":
        return export_model_verb(run_or_model, out or folder, flags["as_json"])
    include(include_path)
    return export_verb(find_run(run_or_model, results_dir()), format=format, out=out or folder, **flags)


@cli.command()
@run_argument("run_folder")
@spelled(("--strict",), is_flag=True, help="What a crash left behind counts as damage too.")
@include_option
@json_option
def verify(run_folder: str, strict: bool, include_path: tuple[str, ...], as_json: bool) -> int:
    """Prove a run whole: every answer accounted for, nothing changed, the same scores when scored again."""
    from kvl_eval.cli.verify import verify_verb
    from kvl_eval.tasks import include

    include(include_path)
    return verify_verb(Path(run_folder), strict=strict, as_json=as_json)


@cli.command()
@run_argument("a")
@run_argument("b", required=False)
@spelled(("--task", "-t"), help="One task; default: all that both runs have.")
@spelled(("--protocol",), help="P, or P,Q for A under P and B under Q; P+JUDGE: a judge's. Default: the task's.")
@include_option
@json_option
def compare(a: str, b: str | None, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Compare two runs on the same samples, or two protocols of one run (--protocol P,Q)."""
    from kvl_eval.cli.compare import compare_verb
    from kvl_eval.tasks import include

    include(include_path)
    return compare_verb(Path(a), None if b is None else Path(b), **flags, as_json=as_json)


@cli.command()
@run_argument("runs", nargs=-1)
@output_dir_option
@spelled(("--compress",), is_flag=True, help="Pack samples of more than 1 MiB (gzip).")
@include_option
@json_option
def merge(runs: tuple[str, ...], output_dir: str, compress: bool, include_path: tuple[str, ...], as_json: bool) -> int:
    """Join the shards of one configuration (--shard i/n) into one run folder."""
    from kvl_eval.cli.merge import merge_verb
    from kvl_eval.tasks import include

    include(include_path)
    return merge_verb([Path(run) for run in runs], Path(output_dir), compress=compress, as_json=as_json)


@cli.command()
@click.argument("names", nargs=-1)
@spelled(("--revision",), help="Revision of a hub checkpoint.")
@spelled(("--yes", "-y"), is_flag=True, help="Allow downloads above 2 GB.")
@spelled(("--keep-archives",), is_flag=True, help="Leave fetched archives where they are once they are unpacked.")
@data_options
@json_option
def fetch(names: tuple[str, ...], include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Download and unpack what tasks and models need, from where it stopped; with --data-dir unpack what lies there."""
    from kvl_eval.cli.fetch import fetch_verb
    from kvl_eval.tasks import include

    include(include_path)
    own = {"revision": flags.pop("revision"), "yes": flags.pop("yes"), "keep": flags.pop("keep_archives")}
    return fetch_verb(names, flags, **own, as_json=as_json)


@cli.command("list")
@click.argument("what", type=click.Choice(["tasks", "models", "references", "runs"]))
@click.argument("pattern", required=False)
@list_options
@results_dir_option("--output-dir", "-o")
@include_option
@json_option
def list_(what: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """List tasks, models, runs or published results. PATTERN filters by name."""
    from kvl_eval.cli.list import list_verb
    from kvl_eval.tasks import include

    include(include_path, lambda error: click.echo(error.render(), err=True))
    return list_verb(what, options.Flags(flags), results_dir(), as_json)


@cli.command()
@click.argument("task")
@data_options
@json_option
def describe(task: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Show a task: data, splits, prompts on one sample, protocols, published figures."""
    from kvl_eval.cli.describe import describe_verb
    from kvl_eval.tasks import include

    include(include_path)
    return describe_verb(task, flags, as_json)


@cli.command("new-task")
@click.argument("name")
@spelled(("--from",), type=click.Path(), help="Use the questions of this table.")
@spelled(("--output-dir", "-o"), default=".", help="Write the files into this folder.")
@spelled(("--builtin",), is_flag=True, help="Write a built-in task, in a checkout of kvl-eval.")
def new_task(name: str, output_dir: str, builtin: bool, **flags: Any) -> int:
    """Create a task file and its test from a template."""
    from kvl_eval.cli.new_task import new_task_verb

    return new_task_verb(name, Path(flags["from"]) if flags["from"] else None, Path(output_dir), builtin)


@cli.group(invoke_without_command=False)
def check() -> None:
    """Check data, a checkpoint or an installation of vLLM without a run."""


@check.command("data")
@click.argument("task")
@max_image_pixels_option
@data_options
@json_option
def check_data(task: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Layout, counts, ids, and the header of every picture."""
    from kvl_eval.cli.check import check_data_verb
    from kvl_eval.tasks import include

    include(include_path)
    return check_data_verb(task, flags, as_json)


@check.command("model")
@click.argument("location")
@spelled(("--revision",), help="Revision of a hub checkpoint.")
@family_option
@spelled(("--offline",), is_flag=True)
@json_option
def check_model(location: str, revision: str | None, family: str | None, offline: bool, as_json: bool) -> int:
    """Shards, tensor names and shapes, tokenizer, chat template."""
    from kvl_eval.cli.check import check_model_verb

    return check_model_verb(location, revision=revision, family=family, offline=offline, as_json=as_json)


@check.command("vllm")
@spelled(("--model-args", "-a"), multiple=True, help="vllm_args=... or start_timeout=SECONDS.")
@json_option
def check_vllm(model_args: tuple[str, ...], as_json: bool) -> int:
    """Compare twenty answers of the demo model through vLLM with the bundled engine's."""
    from kvl_eval.cli.check import check_vllm_verb
    from kvl_eval.cli.options import pairs

    return check_vllm_verb(pairs(model_args, "--model-args"), as_json)


@cli.command()
@json_option
def version(as_json: bool) -> int:
    """Versions of everything that can move a score."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; a foreseeable fault prints one block, never a traceback."""
    show_logs()
    begin()
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        translation = translate(typed, cli)
        for note in translation.notes:
            echo(f"note: {note}", err=True)
        code = cli.main(args=list(translation.argv), prog_name="kvl-eval", standalone_mode=False, obj=typed)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KvlEvalError, click.ClickException) as problem:
        error = _usage(problem) if isinstance(problem, click.ClickException) else problem
        echo(whole(error.render()), err=True)
        code = error.exit_code
        echo_error(typed, error, code)
    except (click.Abort, KeyboardInterrupt) as stop:
        code = 130
        echo_error(typed, KeyboardInterrupt() if isinstance(stop, click.Abort) else stop, code)
    except Exception as bug:
        echo_error(typed, bug, INTERNAL)
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException) -> UsageError:
    """A usage error of click in our form, with the three nearest names of an unknown option."""
    if isinstance(error, click.NoSuchOption):
        from kvl_eval.errors import unknown

        known = [name for p in (error.ctx.command.params if error.ctx else []) for name in p.opts if name[:2] == "--"]
        where = error.ctx.command_path if error.ctx else "kvl-eval"
        return unknown("option", error.option_name, known, f"{where} --help")
    return UsageError("usage.option", error.format_message())
