"""The options of tasks that agents play on a desktop."""

from __future__ import annotations

from kvl_eval.options.base import Heading, Option, Scope, ValueKind

AGENT_OPTIONS = (
    Option(
        name="max_steps",
        kind=ValueKind.INTEGER,
        metavar="N",
        least=1,
        default_text="that of the task",
        help="Stop an agent's episode after N steps.",
        group=Heading.AGENTS,
        advanced=True,
        scope=Scope.RUN,
        in_fingerprint=True,
    ),
    Option(
        name="provider",
        kind=ValueKind.CHOICE,
        choices=("drawn", "xvfb", "docker"),
        metavar="drawn|xvfb|docker",
        default_text="that of the task",
        help="Run desktops drawn, in a sandbox with an X server, or on OSWorld's image.",
        group=Heading.AGENTS,
        advanced=True,
        scope=Scope.RUN,
        in_fingerprint=True,
    ),
    Option(
        name="desktops",
        kind=ValueKind.INTEGER,
        metavar="N",
        least=1,
        default_text="4",
        help="Run N desktops at the same time.",
        group=Heading.AGENTS,
        advanced=True,
        scope=Scope.RUN,
    ),
)
