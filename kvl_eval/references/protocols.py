"""Which protocol a published result was scored with, where that is known.

`reference_protocols.csv` holds what is known of how results were made, one fact per row: `read` in the source named,
`inferred` from it, or `unknown`. A benchmark `*` stands for all of a system's results.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from kvl_eval.references import FOLDER, ReferenceScore

OFFICIAL = "official"
LEADERBOARDS = (
    "MMMU-Benchmark/MMMU",
    "egoschema/EgoSchema",
    "lupantech/MathVista",
    "mathllm/MATH-V",
    "mayubo2333/MMLongBench-Doc",
)
"""Repositories in which the authors of a benchmark list results, scored with their own script."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known, or known to be unknown, of how results were made."""

    system: str
    benchmark: str
    field: str
    value: str
    evidence: str
    source: str
    note: str


def protocol_of(score: ReferenceScore) -> str | None:
    """The protocol of a published result: as recorded, or `official` on the authors' own list; None where unknown."""
    for fact in facts():
        if fact.field == "protocol" and fact.system == score.system and fact.benchmark in ("*", score.benchmark):
            return fact.value if fact.evidence in ("read", "inferred") else None
    return OFFICIAL if score.source.startswith(LEADERBOARDS) else None


@cache
def facts() -> tuple[Fact, ...]:
    """The rows of `reference_protocols.csv`."""
    with (FOLDER / "reference_protocols.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Fact(**row) for row in csv.DictReader(file))
