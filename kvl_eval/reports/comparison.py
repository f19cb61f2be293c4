"""The page that sets runs side by side: how each differs from the first one, with a link to every flipped sample.

What is compared comes from `kvl_eval.audit.compare`, as JSON values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvl_eval.reports.links import sample_address
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import Run
from kvl_eval.reports.table import short

SHOWN = 200  # flips in each direction; the sample browser has all

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the run at place `b` of a report differs from the one at `a`.

    Attributes:
        found:   what `audit.compare.compare` gave; None where the runs cannot be compared.
        problem: why they cannot.
    """

    a: int
    b: int
    found: Fields | None
    problem: str = ""


def comparison_page(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """What the template shows."""
    return {
        "title": "Comparison",
        "pairs": [
            {
                "a": runs[one.a],
                "b": runs[one.b],
                "problem": plain(one.problem),
                "settings": (one.found or {}).get("settings", []),
                "circumstances": (one.found or {}).get("circumstances", []),
                "tasks": [_task(one, task) for task in (one.found or {}).get("comparisons", [])],
            }
            for one in comparisons
        ],
    }


def _task(pair: Comparison, one: Fields) -> dict[str, Any]:
    """One task of one pair as texts."""
    known = one["difference"] is not None
    left_out = {
        "only in the first": one["only_a"],
        "only in the second": one["only_b"],
        "without a score": one["not_scored"],
        "question or gold changed": len(one["changed_samples"]),
    }
    return {
        "task": plain(one["task"]),
        "title": plain(one["title"]),
        "sides": [_side(one[side]) for side in ("a", "b")],
        "n": one["n"],
        "left_out": ", ".join(f"{count} {text}" for text, count in left_out.items() if count),
        "scores": [f"{100 * one[name]:.1f}" for name in ("score_a", "score_b")] if known else ["", ""],
        "difference": f"{100 * one['difference']:+.1f}" if known else "",
        "interval": "[{:+.1f}, {:+.1f}]".format(*(100 * bound for bound in one["ci95"])) if known else "",
        "p": "" if not known or one["p_value"] is None else f"{one['p_value']:.4f}",
        "detectable": "" if not known or one["detectable"] is None else f"{100 * one['detectable']:.1f}",
        "flips": [
            {"what": what, "n": len(one[name]), "shown": list(_flips(pair, one, one[name][:SHOWN]))}
            for name, what in (("gained", "only the second is right"), ("lost", "only the first is right"))
            if one[name]
        ],
    }


def _side(side: Fields) -> str:
    budget = "" if side["budget"] is None else f" at {side['budget']} ({side['policy']})"
    return plain(f"{side['protocol']}{budget}")


def _flips(pair: Comparison, one: Fields, flips: Sequence[Fields]) -> Iterator[dict[str, Any]]:
    for flip in flips:
        entry = {"task": one["task"], "sample_id": flip["sample_id"], "repeat": flip["repeat"]}
        yield {
            "id": plain(flip["sample_id"]),
            "repeat": flip["repeat"],
            "links": [
                sample_address(run, {**entry, "budget": one[side]["budget"], "policy": one[side]["policy"]})
                for run, side in ((pair.a, "a"), (pair.b, "b"))
            ],
            "verdicts": [flip[side]["verdict"].replace("_", " ") for side in ("a", "b")],
            "extracted": [short(flip[side]["extracted"], 120) for side in ("a", "b")],
            "gold": short(" | ".join(str(value) for value in flip["gold"]), 120),
        }
