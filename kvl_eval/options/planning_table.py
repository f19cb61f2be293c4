"""The options of `plan-size` and `check gold`."""

from __future__ import annotations

from kvl_eval.options.base import Heading, NameKind, Option, ValueKind

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
