"""Sample pages of runs made by hand, whose score lines say where the extracted answer stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kvl_eval.reports.page_data import parsed
from kvl_eval.reports.runs import ReportRun, open_runs
from kvl_eval.reports.sample_page import SamplePageChoice, write_sample_page
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder
from tests.reports.report_folders import VERDICTS, make_run, make_score

BEFORE = len("The answer is ")
OTHERS = ("wrong", "correct", "no_answer", "correct", "partial")


def spanned_run(folder: Path, **changes: Any) -> Path:
    """A run as `make_run` makes it; `The answer is 17.` has a span around 17."""
    run = make_run(folder, **changes)
    count, lost = changes.get("n", 10), changes.get("missing", 0) + changes.get("failed", 0)
    verdicts: Sequence[str] = changes.get("verdicts", VERDICTS)
    lines = []
    for number in range(count - lost):
        line = make_score(number, verdicts[number % len(verdicts)], changes.get("text", ""))
        span: list[Any] = [BEFORE, BEFORE + len(str(number))]
        is_read = line.verdict != "no_answer"
        lines.append(replace(line, detail={**line.detail, **({"span": span} if is_read else {})}))
    RunFolder.open(run).write_scores(changes.get("task", "mathvista"), "official", "1", lines)
    return run


def three_runs(folder: Path, n: int = 25, text: str = "") -> list[Path]:
    """Runs of three models that differ on some samples; the last one did not finish."""
    return [
        spanned_run(folder, n=n, text=text),
        spanned_run(folder, name="run-b", model="kimi-vl-thinking", n=n, text=text, verdicts=OTHERS),
        spanned_run(folder, name="run-c", model="other", family="other", n=n, text=text, failed=2, missing=1),
    ]


def sample_page(out: Path, runs: Sequence[Path], **choice: Any) -> list[ReportRun]:
    """Write the sample page of these runs into `out`; returns the runs."""
    opened = open_runs(runs)
    values = {"cache_dir": out.parent / "cache", "workers": 0, **choice}
    write_sample_page(opened, OutputFolder(out), SamplePageChoice(**values))
    return opened


def index_of(out: Path) -> dict[str, Any]:
    """What `data/index.js` registers."""
    text = (out / "data" / "index.js").read_text(encoding="ascii")
    quoted = text.removeprefix("kvl.index(JSON.parse('").removesuffix("'));\n")
    index: dict[str, Any] = json.loads(quoted.replace("\\'", "'").replace("\\\\", "\\"))
    return index


def samples_of(out: Path) -> list[dict[str, Any]]:
    """The samples of all chunk files, in order."""
    samples: list[dict[str, Any]] = []
    for number in range(len(list((out / "data").glob("c*.js")))):
        text = (out / "data" / f"c{number}.js").read_text(encoding="ascii")
        samples += json.loads(text.removeprefix(f"kvl.chunk({number},").removesuffix(");\n"))
    return samples


def stretched(out: Path, rows: int) -> None:
    """Make `rows` rows of the page's own: all samples again and again, by other ids."""
    index = index_of(out)
    count = len(index["columns"]["id"])
    for name, values in index["columns"].items():
        index["columns"][name] = [values[row % count] for row in range(rows)]
    index["columns"]["id"] = [f"{row + 1}" for row in range(rows)]
    (out / "data" / "index.js").write_text(f"kvl.index({parsed(index)});\n", encoding="ascii")
