"""Two runs of one table that differ for known reasons, and the report that explains them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kvl_eval.reports.write import ReportForm, write_report
from tests.explanation.commands import command
from tests.reports.sample_reports import index_of

N = 40
HOSTILE = "q<img src=x>|`7"


def explained_report(folder: Path) -> list[Path]:
    """The run folders: in the second some replies hold no answer, some end at a limit, some are wrong, one failed."""
    table = folder / "questions.jsonl"
    ids = [HOSTILE if n == 7 else f"q{n}" for n in range(N)]
    lines = [
        {"id": name, "question": f"What is {n} modulo 4?", "choices": list("wxyz"), "answer": "ABCD"[n % 4]}
        for n, name in enumerate(ids)
    ]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = []
    for run in ("a", "b"):
        script = folder / f"{run}.jsonl"
        replies = [{"id": name, **(_reply(n) if run == "b" else _right(n))} for n, name in enumerate(ids)]
        script.write_text("".join(json.dumps(reply) + "\n" for reply in replies))
        words = ["run", f"file:{table}", "-m", "fake", "--model-args", f"answers={script}", "--max-new-tokens", "8"]
        said = command(*words, "-o", str(folder / run), "--json", "-q")
        assert said.code in (0, 3), said.err
        runs.append(Path(json.loads(said.out)["folder"]))
    return runs


def _right(n: int) -> dict[str, Any]:
    return {"response": f"The answer is ({'ABCD'[n % 4]})."}


def _reply(n: int) -> dict[str, Any]:
    if n in (3, 7, 11):
        return {"response": "Nothing can be seen."}
    if n in (4, 8):
        return {"response": "We look at it once more and then again and again."}
    if n in (12, 16, 20):
        return {"response": f"The answer is ({'ABCD'[(n + 1) % 4]})."}
    return {"fail": "timeout"} if n == 24 else _right(n)


def sample_ids(runs: list[Path], out: Path) -> dict[str, set[str]]:
    """{name of a part: ids of the samples that the browser of a written report lists under it}."""
    write_report(runs, out, ReportForm(images="none"))
    index = index_of(out)
    names, columns = index["names"], index["columns"]
    listed: dict[str, set[str]] = {}
    for sample, causes in zip(columns["id"], columns["causes"], strict=True):
        for cause in causes:
            listed.setdefault(names[cause], set()).add(sample)
    return listed
