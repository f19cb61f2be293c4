"""An option of the table as `click` has it."""

from __future__ import annotations

from typing import Any

import click

from kvl_eval.errors import UsageError
from kvl_eval.options import Option, ValueKind
from kvl_eval.options.values import wrong_value


class TableOption(click.Option):
    """A `click` option that knows its row of the table."""

    def __init__(self, row: Option, names: list[str], **attributes: Any) -> None:
        if attributes.get("default") is None and row.kind is not ValueKind.TOGGLE:
            attributes.pop("default", None)  # to click None is a value, which satisfies `required`
        super().__init__([*names, row.parameter or row.name], **attributes)
        self.row = row

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value by type. Raises: UsageError that names the option and what it may be."""
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter:
            shown = ", ".join(map(str, value)) if isinstance(value, tuple | list) else value
            raise UsageError("usage.option", wrong_value(self.row, shown).message) from None
