"""Results and published figures that are not one to one: a mean of two sets (MMMU-Pro), figures by length (needles)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kvl_eval.references import MEAN_NOTE, ReferenceScore
from kvl_eval.reports.numbers import Row

ADDED = ("n_planned", "n_ok", "n_failed", "n_pending", "n_scored")


def mean_result(rows: Sequence[Row], wanted: ReferenceScore) -> dict[str, Any]:
    """The unweighted mean of results of several tasks, with the interval of a mean of independent scores.

    Its parts' reasons not to compare are its own, but for the one that each alone is only a part of the figure.
    """
    scores = [row.get("score") for row in rows]
    known = [score for score in scores if score is not None]
    score = math.fsum(known) / len(known) if len(known) == len(scores) else None
    spread = math.sqrt(math.fsum(_spread(row) ** 2 for row in rows)) / len(rows)
    ci95 = None if score is None else [max(0.0, score - spread), min(1.0, score + spread)]
    notes = [(row.get("reference") or {}).get("note") or "" for row in rows]
    note = next((note for note in notes if note and not note.startswith(MEAN_NOTE)), None)
    comparable = note is None and score is not None and ci95 is not None
    return {
        **rows[0],
        **{name: sum(int(row.get(name) or 0) for row in rows) for name in ADDED},
        "score": score,
        "ci95": ci95,
        "complete": all(row.get("complete", True) for row in rows),
        "partial": next((row["partial"] for row in rows if row.get("partial")), None),
        "reference": {
            **(rows[0].get("reference") or {}),
            "value": wanted.value,
            "delta": score - wanted.value if comparable and score is not None else None,
            "inside_ci": ci95[0] <= wanted.value <= ci95[1] if comparable and ci95 is not None else None,
            "note": note,
        },
    }


def part_result(row: Row, by: str, wanted: ReferenceScore) -> dict[str, Any] | None:
    """What a result says of the one value of a category that a figure was published for; None where it has none.

    It carries no difference: such figures, one for each value, are shown side by side.
    """
    values = (row.get("categories") or {}).get(by) or {}
    part = next((one for value, one in values.items() if wanted.setting == f"{by}={value}"), None)
    if part is None:
        return None
    counts = {"n_planned": part["n"], "n_scored": part["n"]}
    return {**row, **counts, "score": part["score"], "ci95": part.get("ci95"), "reference": None}


def _spread(row: Row) -> float:
    """Half the width of a result's interval."""
    low, high = row.get("ci95") or (0.0, 1.0)
    return float(high - low) / 2
