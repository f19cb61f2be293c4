"""Options of `report` that give prices."""

from __future__ import annotations

from kvl_eval.options.base import Heading, Option, ValueKind

PRICE_OPTIONS = tuple(
    Option(
        name=name,
        kind=ValueKind.NUMBER,
        above=0,
        metavar="X",
        help=help_text,
        group=Heading.OUTPUT,
        commands=("report",),
    )
    for name, help_text in (
        ("price_per_hour", "Add a cost column, an hour of a device or server at X dollars."),
        ("price_in", "Add a cost column, a million tokens of prompts at X dollars; needs --price-out."),
        ("price_out", "Add a cost column, a million tokens of replies at X dollars; needs --price-in."),
    )
)
