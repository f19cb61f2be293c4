"""What results cost: tokens, hours, and money where prices are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.store.result_records import ResultRow

MILLION = 1_000_000
THOUSAND = 1000  # samples that a cost is of


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in dollars.

    Attributes:
        per_hour:   of a device, or of a server; None where tokens are paid.
        per_input:  of a million tokens of prompts, images included.
        per_output: of a million tokens of replies, thoughts included.
    """

    per_hour: float | None = None
    per_input: float | None = None
    per_output: float | None = None

    def of_thousand(self, rows: Sequence[ResultRow]) -> float | None:
        """Dollars for 1,000 samples with these results; None without a price, or where nothing was measured."""
        n = sum(row.n_ok for row in rows)
        if not n:
            return None
        if self.per_hour is not None:
            hours = hours_of(rows)
            return None if hours is None else THOUSAND * self.per_hour * hours / n
        if self.per_input is None or self.per_output is None:
            return None
        prompts = math.fsum(row.n_ok * row.tokens["prompt"].mean for row in rows if "prompt" in row.tokens)
        replies = math.fsum(row.n_ok * (reply_tokens(row) or 0.0) for row in rows)
        return THOUSAND * (self.per_input * prompts + self.per_output * replies) / MILLION / n

    @property
    def words(self) -> str:
        """What a legend says of them; empty without a price."""
        if self.per_hour is not None:
            return f"Cost at ${self.per_hour:,.2f} per hour."
        if self.per_input is None or self.per_output is None:
            return ""
        return f"Cost at ${self.per_input:,.2f} and ${self.per_output:,.2f} for a million tokens read and written."


NO_PRICES = Prices()


def tokens_of(rows: Sequence[ResultRow]) -> float | None:
    """Mean tokens of a reply over these results, thoughts included; None where nothing was counted."""
    known = [(row.n_ok, reply_tokens(row)) for row in rows if row.n_ok]
    counted = [(n, mean) for n, mean in known if mean is not None]
    n = sum(count for count, _ in counted)
    return math.fsum(count * mean for count, mean in counted) / n if n else None


def reply_tokens(row: ResultRow) -> float | None:
    """Mean tokens of a reply of one result, the thought included."""
    parts = [row.tokens[name].mean for name in ("thinking", "answer") if name in row.tokens]
    return math.fsum(parts) if parts else None


def hours_of(rows: Sequence[ResultRow]) -> float | None:
    """Hours that answers were under way, times devices, over these results; None where one does not say."""
    known = [(row.seconds, row.devices or 1) for row in rows if row.seconds is not None]
    if not rows or len(known) < len(rows):
        return None
    return math.fsum(seconds * devices for seconds, devices in known) / 3600
