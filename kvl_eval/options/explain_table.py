"""The options of `explain`."""

from __future__ import annotations

from kvl_eval.options.base import Heading, NameKind, Option, ValueKind

EXPLAIN = ("explain",)

EXPLAIN_OPTIONS = (
    Option(
        name="task",
        aliases=("-t",),
        metavar="TASK",
        default_text="the run's only one",
        help="Explain the score of this task.",
        group=Heading.DATA,
        commands=EXPLAIN,
        completes=NameKind.TASK,
    ),
    Option(
        name="to",
        metavar="NAME|NUMBER|RUN",
        default_text="the published result of the run's model",
        help="Compare with the published result of a system, a number, or a run.",
        group=Heading.DATA,
        commands=EXPLAIN,
        completes=NameKind.RUN,
    ),
    Option(
        name="to_n",
        kind=ValueKind.INTEGER,
        least=1,
        metavar="N",
        default_text="the published size, or the run's",
        help="Take N as the number of questions behind the reference.",
        group=Heading.DATA,
        commands=EXPLAIN,
    ),
    Option(
        name="protocol",
        metavar="NAME",
        default_text="the run's own",
        help="Explain the score under this protocol.",
        group=Heading.SCORING,
        commands=EXPLAIN,
        completes=NameKind.PROTOCOL,
    ),
    Option(
        name="as",
        metavar="NAME",
        default_text="the reference's own, else reader",
        help="Read the answers with this protocol to compare them.",
        group=Heading.SCORING,
        commands=EXPLAIN,
        completes=NameKind.PROTOCOL,
    ),
    Option(
        name="budget",
        metavar="N",
        default_text="the largest",
        help="Explain the score at this thinking budget.",
        group=Heading.GENERATION,
        commands=EXPLAIN,
    ),
    Option(
        name="output_file",
        aliases=("--out",),
        kind=ValueKind.FILE,
        metavar="FILE",
        help="Write the explanation to this file: a page (.html) or Markdown.",
        group=Heading.OUTPUT,
        commands=EXPLAIN,
    ),
    Option(
        name="probe",
        metavar="LIST",
        help="Send a sample of the questions again, with each of these settings (NAME or NAME=VALUE) changed alone.",
        group=Heading.PROBES,
        commands=EXPLAIN,
    ),
    Option(
        name="samples",
        kind=ValueKind.INTEGER,
        least=1,
        metavar="N",
        default=200,
        help="Use N samples in each arm of a probe.",
        group=Heading.PROBES,
        commands=EXPLAIN,
    ),
    Option(
        name="joint",
        kind=ValueKind.SWITCH,
        help="Run an arm with all settings of --probe together, too.",
        group=Heading.PROBES,
        commands=EXPLAIN,
    ),
    Option(
        name="yes",
        aliases=("-y",),
        kind=ValueKind.SWITCH,
        help="Send more than 500 requests, or for more than 10 minutes, without asking.",
        group=Heading.PROBES,
        commands=EXPLAIN,
    ),
)
