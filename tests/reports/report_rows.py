"""Results as `results.json` holds them, for the reports' tests."""

from __future__ import annotations

from typing import Any

from kvl_eval.decode import decode
from kvl_eval.store.result_records import ResultRow, Results

HOSTILE = (
    "<script>alert(1)</script></script><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}javascript:alert(3) "
    "\x1b[31mred\x1b[0m \u202egnp.exe \x00 &amp; \"quoted\" 'single' `code` | pipe | [link](javascript:alert(4))\n"
    "# heading"
)


PUBLISHED = {
    "system": "Kimi-VL-A3B-Instruct",
    "unit": "percent",
    "source": "Kimi-VL-A3B-Instruct model card (report, Table 3)",
    "table": None,
    "delta": None,
    "inside_ci": None,
    "note": "",
}


def make_row(**changes: Any) -> ResultRow:
    """One row of results.json: a whole MathVista run of 1,000 questions. `changes` are JSON values."""
    row: dict[str, Any] = {
        "task": "mathvista",
        "title": "MathVista",
        "split": "testmini",
        "budget": None,
        "policy": None,
        "protocol": "official",
        "label": "official-rule",
        "thinking": "split",
        "n_planned": 1000,
        "n_ok": 1000,
        "n_failed": 0,
        "n_pending": 0,
        "failed": {},
        "n_scored": 1000,
        "n_unextracted": 4,
        "verdicts": {"correct": 679, "wrong": 317, "no_answer": 4},
        "score": 0.679,
        "unit": "percent",
        "complete": True,
        "partial": None,
        "bounds": [0.679, 0.679],
        "ci95": [0.6494, 0.7072],
        "ci_method": "wilson",
        "stderr": 0.01477,
        "stderr_clustered": 0.01481,
        "official": {"average": "67.9"},
        "categories": {
            "task": {
                "geometry problem solving": {"n": 208, "score": 0.625, "ci95": [0.5575, 0.6880]},
                "figure question answering": {"n": 12, "score": 0.75, "ci95": [0.4677, 0.9111]},
            }
        },
        "tokens": {
            "thinking": {"mean": 0.0, "median": 0, "p95": 0},
            "answer": {"mean": 181.0, "median": 140, "p95": 420},
            "prompt": {"mean": 620.0, "median": 600, "p95": 1100},
            "image": {"mean": 500.0, "median": 480, "p95": 1024},
        },
        "truncated_share": 0.0,
        "unclosed_share": 0.0,
        "forced_share": 0.0,
        "blind": False,
        "time": {"total": 840.0, "mean": 0.84},
        "repeats": None,
        "reference": {"value": 0.687, "delta": -0.008, "inside_ci": True},
    }
    row |= changes
    reference = row["reference"]
    return decode(ResultRow, {**row, "reference": None if reference is None else {**PUBLISHED, **reference}})


def make_results(*rows: ResultRow, demo: bool = False, run_id: str = "run-a") -> Results:
    """The whole of results.json."""
    return Results(run_id=run_id, created="2026-08-11T14:22:33Z", demo=demo, rows=rows)
