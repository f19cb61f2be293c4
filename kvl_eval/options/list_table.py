"""The options of `list`, `describe`, `new-task`, `plan-size` and `check gold`."""

from __future__ import annotations

from kvl_eval.options.base import Heading, NameKind, Option, ValueKind

LIST = ("list",)
DESCRIBE = ("describe",)
NEW_TASK = ("new-task",)

LIST_OPTIONS = (
    Option(
        name="task",
        aliases=("-t",),
        metavar="NAME",
        help="Show only this task (runs, references).",
        group=Heading.DATA,
        commands=LIST,
        completes=NameKind.TASK,
    ),
    Option(
        name="model",
        aliases=("-m",),
        metavar="NAME",
        help="Show only runs of models whose name fits this pattern.",
        group=Heading.DATA,
        commands=LIST,
        completes=NameKind.MODEL,
    ),
    Option(
        name="status",
        kind=ValueKind.CHOICE,
        choices=("finished", "interrupted", "running", "failed", "unreadable"),
        metavar="NAME",
        help="Show only runs that are finished, interrupted, running, failed or unreadable.",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="since",
        metavar="TIME",
        help="Show only runs since a date or a span such as 7d (runs).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="system",
        metavar="NAME",
        help="Show only results of this system (references).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="group",
        metavar="NAME",
        help="Show only tasks of this group (tasks).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="modality",
        kind=ValueKind.CHOICE,
        choices=("text", "image", "images", "video", "document"),
        metavar="NAME",
        help="Show only tasks with text, image, images, video or document (tasks).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="access",
        kind=ValueKind.CHOICE,
        choices=("open", "gated", "none"),
        metavar="open|gated|none",
        help="Show only tasks with this access (tasks).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="max_download",
        metavar="SIZE",
        help="Show only tasks with a smaller download, such as 2GB (tasks).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="bundled",
        kind=ValueKind.SWITCH,
        help="Show only tasks with a bundled mini split (tasks).",
        group=Heading.DATA,
        commands=LIST,
    ),
    Option(
        name="sort",
        kind=ValueKind.CHOICE,
        choices=("when", "model", "score"),
        metavar="NAME",
        help="Sort runs by when they began, by model or by score.",
        group=Heading.OUTPUT,
        commands=LIST,
    ),
    Option(
        name="all",
        kind=ValueKind.SWITCH,
        help="Show all runs and not only the newest 20.",
        group=Heading.OUTPUT,
        commands=LIST,
    ),
    Option(
        name="long",
        kind=ValueKind.SWITCH,
        help="Show one line per result (runs).",
        group=Heading.OUTPUT,
        commands=LIST,
    ),
)

DESCRIBE_OPTIONS = (
    Option(
        name="section",
        kind=ValueKind.CHOICE,
        choices=("data", "prompts", "generation", "protocols", "results"),
        metavar="NAME",
        help="Show only data, prompts, generation, protocols or results.",
        group=Heading.OUTPUT,
        commands=DESCRIBE,
    ),
    Option(
        name="samples",
        kind=ValueKind.INTEGER,
        metavar="N",
        least=1,
        default_text="1, of an own table 3",
        help="Show N samples with their gold answers.",
        group=Heading.OUTPUT,
        commands=DESCRIBE,
    ),
)

NEW_TASK_OPTIONS = (
    Option(
        name="from",
        kind=ValueKind.FILE,
        metavar="FILE",
        help="Use the questions of this table.",
        group=Heading.DATA,
        commands=NEW_TASK,
    ),
    Option(
        name="output_dir",
        aliases=("-o",),
        kind=ValueKind.FOLDER,
        metavar="DIR",
        default=".",
        help="Write the files into this folder.",
        group=Heading.OUTPUT,
        commands=NEW_TASK,
    ),
    Option(
        name="builtin",
        kind=ValueKind.SWITCH,
        help="Write a built-in task, in a checkout of kvl-eval.",
        group=Heading.OUTPUT,
        commands=NEW_TASK,
    ),
)

PLAN_SIZE = ("plan-size",)
GOLD = ("check gold",)

PLANNING_OPTIONS = (
    Option(
        name="task",
        aliases=("-t",),
        metavar="TASK",
        default_text="the run's only one",
        help="Compute the size for this task.",
        group=Heading.DATA,
        commands=PLAN_SIZE,
        completes=NameKind.TASK,
    ),
    Option(
        name="precision",
        kind=ValueKind.NUMBER,
        metavar="X",
        help="Compute the samples whose 95% interval is X points to each side.",
        group=Heading.SCORING,
        commands=PLAN_SIZE,
    ),
    Option(
        name="detect",
        kind=ValueKind.NUMBER,
        metavar="X",
        help="Compute the samples that show a difference of X points.",
        group=Heading.SCORING,
        commands=PLAN_SIZE,
    ),
    Option(
        name="power",
        kind=ValueKind.NUMBER,
        metavar="X",
        default=0.8,
        help="Show the difference of --detect in this share of cases.",
        group=Heading.SCORING,
        commands=PLAN_SIZE,
    ),
    Option(
        name="score",
        kind=ValueKind.NUMBER,
        metavar="X",
        help="Take this as the expected score, without a run.",
        group=Heading.SCORING,
        commands=PLAN_SIZE,
    ),
    Option(
        name="output_file",
        aliases=("--out",),
        kind=ValueKind.FILE,
        metavar="FILE",
        help="Write the ids of a stratified list to this file, for run --sample-ids.",
        group=Heading.OUTPUT,
        commands=PLAN_SIZE,
    ),
    Option(
        name="task",
        aliases=("-t",),
        metavar="TASK",
        default_text="the runs' only one",
        help="Read the gold answers of this task.",
        group=Heading.DATA,
        commands=GOLD,
        completes=NameKind.TASK,
    ),
    Option(
        name="output_file",
        aliases=("--out",),
        kind=ValueKind.FILE,
        metavar="FILE",
        help="Write one line per doubtful sample as JSON Lines to this file.",
        group=Heading.OUTPUT,
        commands=GOLD,
    ),
)
