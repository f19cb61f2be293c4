"""The flags that verbs share: data, judge, and everything `run` takes."""

from __future__ import annotations

from pathlib import Path

import click

from kvl_eval.backends.base import WEIGHTS
from kvl_eval.cli.config_file import ConfigFile
from kvl_eval.cli.options import Command, spelled
from kvl_eval.store.run_names import default_results_dir
from kvl_eval.types import ScoreView, score_view


def _load_config(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        read = ConfigFile.read(Path(value), ctx)
        ctx.default_map = {**read.values, **(ctx.default_map or {})}
        ctx.obj = read
    return value


def json_option(command: Command) -> Command:
    """`--json`: the machine-readable result on standard output, everything else on standard error."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable result on standard output.")(command)


def include_option(command: Command) -> Command:
    """`--include-path`: where own tasks are."""
    return spelled(("--include-path",), multiple=True, help="Folder with own task files.")(command)


def data_options(command: Command) -> Command:
    """Where data comes from; the same for every verb that opens a data set."""
    for option in reversed(
        (
            spelled(("--split",), help="Split; `mini` is bundled."),
            spelled(("--data-dir", "--dataset-dir"), type=click.Path(), help="Local folder instead of the hub."),
            spelled(("--data-repo",), multiple=True, help="[TASK=]owner/name[@revision] instead of the official one."),
            spelled(
                ("--fields",),
                multiple=True,
                help="Own tables: ROLE=COLUMN,... or ignore=COLUMN; `describe file:T` shows.",
            ),
            spelled(("--data-version",), help="Data version, where a task has several."),
            spelled(("--cache-dir",), type=click.Path(), help="Where downloads and decoded media go."),
            spelled(("--offline",), is_flag=True, help="Use only what the cache holds."),
            include_option,
        )
    ):
        command = option(command)
    return command


def _view(_: click.Context, __: click.Parameter, value: str) -> ScoreView:
    return score_view(value)


score_view_option = spelled(
    ("--score-view", "--thinking"),
    type=click.Choice(["answer", "raw", "split"]),
    metavar="[answer|raw]",
    callback=_view,
    default="answer",
    show_default=True,
    help="What a scorer sees: the text after the thought, or the whole output.",
)
"""`--score-view`; `--thinking split` is an older form of `--score-view answer`."""

JUDGE_OPTIONS = (
    spelled(("--judge",), type=click.Choice(["endpoint", "none"]), help="Who reads answers where the authors ask one."),
    spelled(("--judge-base-url",), help="Its address, up to /v1."),
    spelled(("--judge-model",), help="The name it serves its model by."),
    spelled(("--judge-key-env",), help="Environment variable that holds its key."),
    spelled(("--judge-connections",), type=click.IntRange(min=1), help="Most requests to it at once; default 8."),
)


def judge_options(command: Command) -> Command:
    """A judge; the same for every verb that scores."""
    for option in reversed(JUDGE_OPTIONS):
        command = option(command)
    return command


max_image_pixels_option = spelled(
    ("--max-image-pixels",), type=click.IntRange(min=1), help="Refuse images of more than N pixels."
)
break_lock_option = spelled(
    ("--break-lock",), is_flag=True, help="Take over a run that a dead process of another host has locked."
)

CONFIRMING_OPTIONS = (
    spelled(("--base-url",), help="The server's address: confirms a stored one, or says where it is now."),
    spelled(("--api-key-env",), help="Environment variable that holds the server's key: confirms a stored one."),
    spelled(("--judge-base-url",), help="The judge's address, as --base-url."),
    spelled(("--judge-key-env",), help="Environment variable that holds the judge's key, as --api-key-env."),
    spelled(("--ray-address",), help="The cluster's address, as --base-url."),
    spelled(("--model", "-m"), help="Confirms a model that is fetched from the hub."),
    spelled(("--model-args", "-a"), multiple=True, help="Confirms checkpoint=owner/name or vllm_args=..."),
    spelled(("--data-repo",), multiple=True, help="Confirms TASK=owner/name."),
)


def confirming_options(command: Command) -> Command:
    """What a run folder would contact, said again: a folder that somebody else made cannot say it."""
    for option in reversed(CONFIRMING_OPTIONS):
        command = option(command)
    return command


family_option = spelled(("--family",), help="What the model is, where its files do not say: instruct, thinking, ...")

output_dir_option = spelled(
    ("--output-dir", "-o", "--output-path", "--work-dir", "--log-dir"),
    default=default_results_dir,
    show_default="results",
)

RUN_OPTIONS = (
    spelled(("--task", "--tasks", "--datasets", "-t"), multiple=True, help="Names, groups or globs; repeat or comma."),
    spelled(("--model", "-m", "-M"), default="kimi-vl-nano", show_default=True, help="Name, folder or owner/name."),
    spelled(("--model-args", "-a"), multiple=True, help="k=v,... for the model."),
    spelled(("--revision",), help="Revision of a hub checkpoint."),
    family_option,
    spelled(("--limit", "-L", "--max-samples"), help="First N samples, or a fraction; marks the result partial."),
    spelled(("--sample-ids", "--samples", "--sample-id"), help="Exact samples: ids, or a file with one a line."),
    spelled(("--shard",), help="i/n: a deterministic slice."),
    spelled(("--prompt",), help="Prompt by name, as `describe` lists them; part of the plan."),
    spelled(("--system-prompt",), help="System turn instead of the model's default."),
    spelled(("--prompt-file",), type=click.Path(), help="File whose text follows the question."),
    spelled(("--protocol",), help="How answers are scored, `all` for every; default: each task's own."),
    score_view_option,
    spelled(("--batch-size", "-b", "--eval-batch-size"), default="auto", show_default=True, help="Sequences at once."),
    spelled(
        ("--kv-cache-gb",),
        type=click.FloatRange(min=0, min_open=True),
        help="Memory of the KV cache in GiB; default: a share of what is free.",
    ),
    spelled(("--num-workers", "--api-nproc"), type=int, help="Processes that prepare media."),
    output_dir_option,
    click.option(
        "--resume/--no-resume",
        "--reuse/--no-reuse",
        "--use-cache",
        "-r",
        "resume",
        default=None,
        help="Continue the newest run of the same plan, or start a new one.  [default: resume]",
    ),
    spelled(("--rerun", "--retry-on-error"), help="Which records to redo on resume: failed, all, or ids."),
    spelled(("--seed",), type=int, default=0, show_default=True),
    spelled(("--temperature",), type=float),
    spelled(("--top-p",), type=float),
    spelled(("--top-k",), type=int),
    spelled(("--max-new-tokens", "--max-tokens", "--max-gen-toks"), type=int, help="Thinking included."),
    spelled(("--think-budget", "--reasoning-tokens", "--max-thinking-tokens"), help="1k,2k,4k or none."),
    spelled(("--budget-policy",), type=click.Choice(["cut", "force"]), default="cut", show_default=True),
    spelled(("--answer-tokens",), type=int, default=2048, show_default=True, help="After the thought."),
    spelled(("--repeats", "-n", "--epochs"), type=int, default=1, show_default=True, help="Answers per question."),
    spelled(("--image-prep",), type=click.Choice(["reference", "vlmevalkit"]), default="reference", show_default=True),
    spelled(("--blind",), is_flag=True, help="Every picture grey: how much can be answered without looking?"),
    spelled(
        ("--frames", "--nframe", "--max-frames"), type=click.IntRange(min=1), help="Of a video; with --fps the most."
    ),
    spelled(("--fps",), type=click.FloatRange(min=0, min_open=True), help="Frames a second of a video."),
    spelled(("--max-pixels",), type=click.IntRange(min=1), help="Of a picture, frame or page as the model sees it."),
    max_image_pixels_option,
    spelled(("--video-decoder",), type=click.Choice(["auto", "pyav", "decord"]), default="auto", show_default=True),
    spelled(("--no-cache",), is_flag=True, help="Decode again what an earlier run had decoded."),
    spelled(("--fail-on-error",), help="Failed samples tolerated: a count, or a share below 1."),
    spelled(("--allow-partial-data",), is_flag=True, help="Run what can be read; rows that cannot be used fail."),
    spelled(("--timeout",), type=float, default=300.0, show_default=True, help="Seconds to prepare one sample."),
    spelled(("--device",), help="cpu, cuda, cuda:1 ...; auto: layers over all cards that are there."),
    spelled(("--dtype",), help="float32, float64, bfloat16, float16; default: float32 on CPU, else the checkpoint's."),
    spelled(
        ("--weights",),
        type=click.Choice(WEIGHTS),
        help="Keep the weights in this form, on a CPU; default: as --dtype says.",
    ),
    spelled(("--dry-run",), is_flag=True, help="Show the plan; load no weights."),
    spelled(("--yes", "-y"), is_flag=True, help="Allow downloads above 2 GB."),
    spelled(("--base-url",), help="Of --model endpoint: the server's address, up to /v1."),
    spelled(("--served-model",), help="The name it serves the model by; default: the only one it lists."),
    spelled(("--api-key-env",), help="Environment variable that holds the server's key."),
    spelled(("--max-connections", "--concurrency"), type=click.IntRange(min=1), help="Requests at once; default 8."),
    spelled(("--max-retries",), type=click.IntRange(min=0), help="Further tries of a failed request; default 5."),
    spelled(("--request-timeout",), type=click.FloatRange(min=0, min_open=True), help="Seconds a try; default 600."),
    spelled(
        ("--backend",),
        type=click.Choice(["auto", "local", "vllm", "ray"]),
        default="auto",
        show_default=True,
        help="local: the bundled engine; vllm: a server of its own; ray: replicas over a cluster.",
    ),
    spelled(("--num-replicas",), type=click.IntRange(min=1), help="Processes with the whole model each; default 1."),
    spelled(("--gpus-per-replica",), type=click.FloatRange(min=0), help="GPUs Ray sets aside for each; default 0."),
    spelled(("--ray-address",), help="host:port of a running cluster; default: one on this machine."),
    *JUDGE_OPTIONS,
    spelled(("--no-progress",), is_flag=True),
    spelled(("--compress",), is_flag=True, help="Pack samples of more than 1 MiB when the run has finished (gzip)."),
    break_lock_option,
    click.option("--trust-remote-code", is_flag=True, hidden=True),
    click.option(
        "--config",
        "-C",
        "--run-config",
        callback=_load_config,
        is_eager=True,
        expose_value=False,
        help="YAML file with the same keys as flags; the command line wins.",
    ),
)


def run_options(command: Command) -> Command:
    """Everything `run` and `sweep` take."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return json_option(data_options(command))


LIST_OPTIONS = (
    spelled(("--task", "-t"), metavar="NAME", help="Show only this task (runs, references)."),
    spelled(("--model", "-m"), metavar="PATTERN", help="Show only models whose name fits (runs)."),
    spelled(
        ("--status",),
        metavar="NAME",
        type=click.Choice(["finished", "interrupted", "running", "failed", "unreadable"]),
        help="Show only runs that are finished, interrupted, running, failed or unreadable.",
    ),
    spelled(("--since",), metavar="TIME", help="Show only runs since a date or a span such as 7d (runs)."),
    spelled(("--sort",), type=click.Choice(["when", "model", "score"]), help="Sort runs by time, model or score."),
    spelled(("--system",), metavar="NAME", help="Show only results of this system (references)."),
    spelled(("--group",), metavar="NAME", help="Show only tasks of this group (tasks)."),
    spelled(
        ("--modality",),
        metavar="NAME",
        type=click.Choice(["text", "image", "images", "video", "document"]),
        help="Show only tasks whose questions come with this (tasks).",
    ),
    spelled(("--access",), type=click.Choice(["open", "gated", "none"]), help="Show only tasks with this access."),
    spelled(("--max-download",), metavar="SIZE", help="Show only tasks with a smaller download, such as 2GB (tasks)."),
    spelled(("--bundled",), is_flag=True, help="Show only tasks with a bundled mini split (tasks)."),
    spelled(("--all",), is_flag=True, help="Show all runs and not only the newest 20."),
    spelled(("--long",), is_flag=True, help="Show one line per result (runs)."),
)


def list_options(command: Command) -> Command:
    """What narrows and orders a list."""
    for option in reversed(LIST_OPTIONS):
        command = option(command)
    return command
