"""`--limit` as typed, in a file or from Python: a count of samples, a fraction, or a percentage."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from kvl_eval.errors import ConfigError
from kvl_eval.printable import one_line

_RANGE = re.compile(r"\s*\d+\s*-\s*\d+\s*")


def sample_limit(value: object) -> int | float | None:
    """The number of samples (an int) or their share (a float below 1); None for every sample: `100%`, or no limit.

    Raises: ConfigError `config.limit`.
    """
    if value is None:
        return None
    try:
        number = _number(value)
    except (ArithmeticError, ValueError):
        number = None
    if number is None:
        raise limit_error(value)
    return None if number == "all" else number


def limit_error(value: object) -> ConfigError:
    """The error of a value that is not a limit."""
    text = str(value)
    return ConfigError(
        "config.limit",
        "--limit must be a positive integer, a fraction below 1 or a percentage up to 100%, "
        f"got {one_line(repr(text))}",
        fix="choose samples with --sample-ids" if _RANGE.fullmatch(text) else None,
    )


def _number(value: object) -> int | float | Literal["all"] | None:
    """The count, the share, `all`, or None for any other value. Raises: ArithmeticError, ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    text = str(value).strip()
    if text.isdecimal():
        return int(text) if int(text) > 0 else None
    share = Decimal(text.removesuffix("%").strip()) / (100 if text.endswith("%") else 1)
    if text.endswith("%") and share == 1:
        return "all"
    return float(share) if 0 < float(share) < 1 else None
