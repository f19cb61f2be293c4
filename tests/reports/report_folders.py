"""Run folders made by hand through the real store, for the reports' tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.cli.main import main
from kvl_eval.decode import decode
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.store.journal import encode_line
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task, open_split
from tests.reports.report_rows import make_results, make_row

DATA = {"revision": None, "version": None, "total": None, "media": 0, "partial": None}
VERDICTS = ("correct", "wrong", "no_answer", "correct", "partial")
SCORES = {"correct": 1.0, "wrong": 0.0, "no_answer": 0.0, "partial": 0.5, "not_scored": None}


@cache
def picture_shas() -> list[str]:
    """Content hashes of the bundled MathVista split's pictures, one a sample, in the split's order."""
    samples = open_split(get_task("mathvista"), Source(), "mini")
    return [hashlib.sha256(read_bytes(sample.media[0])).hexdigest() for sample in samples]  # type: ignore[arg-type]


def sample_id(number: int) -> str:
    return f"{number + 1}"


def make_record(number: int, task: str, text: str, **changes: Any) -> dict[str, Any]:
    record = {
        "schema": 1,
        "task": task,
        "split": "testmini",
        "sample_id": sample_id(number),
        "repeat": 0,
        "budget": None,
        "policy": None,
        "status": "ok",
        "reason": None,
        "message": None,
        "attempt": 1,
        "config_fingerprint": "7f3a",
        "prompt_sha256": "0" * 64,
        "prompt_text": f"<image:1>What is drawn in picture {number}? {text}",
        "image_prep": "reference",
        "media": [
            {
                "sha256": picture_shas()[number % len(picture_shas())],
                "kind": "image",
                "w": 120,
                "h": 80,
                "resized_to": [112, 84],
                "tokens": 12,
                "pre_shrunk": None,
                "note": None,
            }
        ],
        "raw_output": f"◁think▷Let me look. {text}◁/think▷The answer is {number}. {text}",
        "thinking": f"Let me look. {text}",
        "answer": f"The answer is {number}. {text}",
        "think_closed": True,
        "budget_forced": False,
        "finish_reason": "stop",
        "trajectory_id": None,
        "tokens": {"prompt": 40, "image": 12, "thinking": 5 * number + 1, "answer": 3 + number},
        "seed": 11 * number,
        "time": {"queue": 0.0, "load": 0.1, "prefill": 0.2, "decode": 0.7, "total": 1.0},
        "worker": "0",
        "ended_at": "2026-08-11T14:23:00Z",
        "extra": {"thought": "kimi"},
    }
    return {**record, **changes}


def make_score(number: int, verdict: str, text: str) -> ScoreLine:
    line = {
        "sample_id": sample_id(number),
        "repeat": 0,
        "budget": None,
        "policy": None,
        "extracted": None if verdict == "no_answer" else f"{number} {text}".strip(),
        "extract_ok": verdict != "no_answer",
        "extract_method": "cue",
        "gold": [f"{number} {text}".strip()],
        "score": SCORES[verdict],
        "verdict": verdict,
        "reason": "nothing_found" if verdict == "no_answer" else None,
        "detail": {"point": [30.0, 20.0], "box": [10.0, 10.0, 60.0, 50.0]} if number == 0 else {},
        "categories": {"task": ["counting" if number % 2 else "geometry"]},
        "cluster": None,
        "scorer": "official",
        "scorer_version": "1",
    }
    return decode(ScoreLine, line)


def make_plan(number: int, task: str, text: str) -> dict[str, Any]:
    return {
        "task": task,
        "split": "testmini",
        "sample_id": sample_id(number),
        "repeat": 0,
        "budget": None,
        "policy": None,
        "media": 1,
        "messages_sha256": "0" * 64,
        "row": {"pid": sample_id(number)},
        "question": f"What is drawn in picture {number}? {text}".strip(),
        "gold": [f"{number}"],
        "choices": ["0", "1"] if number % 2 else [],
        "categories": {"task": ["counting" if number % 2 else "geometry", *([text] if text else [])]},
        "cluster": None,
    }


def make_run(
    folder: Path,
    *,
    name: str = "run-a",
    model: str = "kimi-vl-instruct",
    family: str = "instruct",
    task: str = "mathvista",
    n: int = 10,
    text: str = "",
    demo: bool = False,
    missing: int = 0,
    failed: int = 0,
    verdicts: tuple[str, ...] = VERDICTS,
    rows: Sequence[ResultRow] | None = None,
    **manifest: Any,
) -> Path:
    """A run folder of `n` samples: the last `missing` have no answer, the `failed` before failed.

    `text` is put into every place that holds foreign text.
    """
    fields = {
        "schema": 1,
        "status": "finished" if not missing else "interrupted",
        "created": "2026-08-11T14:22:33Z",
        "finished": "2026-08-11T14:40:00Z",
        "command": ["kvl-eval", "run", "--task", task, "--model", model],
        "config_fingerprint": "7f3a",
        "code": {"version": "0.1.0", "commit": "0123456789abcdef", "dirty": False, "files_sha256": "ab" * 32},
        "model": {"name": model, "family": family, "dtype": "float32", "device": "cpu"},
        "data": {task: {"source": "AI4Math/MathVista", "split": "testmini", "n": n, **DATA, "fingerprint": "cd" * 32}},
        "prompt": {task: {"name": "default", "template_sha256": "ef" * 32, "mean_tokens": None}},
        "generation": {task: {"max_new_tokens": 4096, "temperature": 0.0}},
        "environment": {"python": "3.11.7", "torch": "2.13.0", "variables": {"TZ": "UTC"}},
        "seeds": {"seed": 0, "rule": ""},
        "counts": {"planned": n, "ok": n - missing - failed, "failed": {"oom": failed}, "pending": missing},
        "resumes": [],
        "config": {"tasks": [{"task": task, "split": "mini", "source": {"repo": "AI4Math/MathVista"}}]},
        **manifest,
    }
    plan = [encode_line(make_plan(i, task, text)) for i in range(n)]
    run = RunFolder.create(folder, name, decode(Manifest, fields), plan)
    answered = n - missing
    journal = run.journal(task)
    for i in range(answered):
        broken = i >= answered - failed
        change = {"status": "failed", "reason": "oom", "message": f"too big {text}"} if broken else {}
        journal.append(make_record(i, task, text, **change))
    journal.close()
    scored = [(i, verdicts[i % len(verdicts)]) for i in range(answered - failed)]
    run.write_scores(task, "official", "1", [make_score(i, verdict, text) for i, verdict in scored])
    lenient = [(i, "correct" if verdict == "no_answer" else verdict) for i, verdict in scored]
    run.write_scores(task, "vlmevalkit", "1", [make_score(i, verdict, text) for i, verdict in lenient])
    run.write_results(make_results(*(rows or default_rows(task, n, missing, failed, scored)), demo=demo, run_id=name))
    run.unlock()
    return run.path


def report_verb(*arguments: str) -> int:
    """Exit code of `kvl-eval report ARGUMENTS`."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    return int(ended.value.code or 0)


def default_rows(task: str, n: int, missing: int, failed: int, scored: list[tuple[int, str]]) -> list[ResultRow]:
    verdicts: dict[str, int] = {}
    for _, verdict in scored:
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    mean = sum(SCORES[verdict] or 0 for _, verdict in scored) / len(scored) if scored else None
    row = make_row(
        task=task,
        n_planned=n,
        n_ok=n - missing - failed,
        n_failed=failed,
        n_pending=missing,
        failed={"oom": failed} if failed else {},
        n_scored=len(scored),
        n_unextracted=verdicts.get("no_answer", 0),
        verdicts=verdicts,
        score=mean,
        complete=not missing and not failed,
        bounds=[0.4, 0.6],
        ci95=[0.3, 0.8],
    )
    return [row, replace(row, protocol="vlmevalkit", label="vlmevalkit", reference=None)]
