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
from kvl_eval.store.journal import encode_line
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.run_folder import RunFolder
from tests.reports.report_folders import VERDICTS, make_plan, make_record, make_run, make_score

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


QUESTION = (
    r"In $\triangle PQR$ the side $PQ$ is a wall and $PR$ a ladder: $PQ \perp QR$, $PR = 13$, $QR = 5$ and $PQ = 12$. "
    r"What is $\tan\angle R + \sin\angle P$?"
)
CHOICES = [r"$\frac{181}{65}$", r"$\frac{17}{13}$", r"$\frac{12}{13}$", r"$\frac{5}{12}$"]
SOLUTIONS = [
    (
        "In the right triangle $PQR$: $\\tan\\angle R = \\frac{PQ}{PR} = \\frac{12}{13}$.\n\n"
        "In the same one: $QR = \\sqrt{13^2 - 12^2} = 5$, so $\\sin\\angle P = \\frac{5}{13}$.\n\n"
        "The sum is about $1.31$, closest to **B**.\n\nAnswer: ",
        "B",
        "",
    ),
    (
        "1. $\\tan\\angle R = \\frac{PQ}{QR} = \\frac{12}{5}$\n2. $\\sin\\angle P = \\frac{QR}{PR} = \\frac{5}{13}$\n"
        "3. Sum: $\\frac{12}{5}+\\frac{5}{13} = \\frac{156+25}{65} = \\frac{181}{65}$\n\nThe answer is **",
        "A",
        "**.",
    ),
    ("From the right triangle, $\\frac{12}{5} + \\frac{5}{13} = \\frac{181}{65}$.\n\n$\\boxed{", "A", "}$"),
]


def solved_runs(folder: Path) -> list[Path]:
    """Runs of three models on a problem with formulas and four choices; the first one is wrong."""
    names = (("run-a", "my-vlm-7b"), ("run-b", "my-vlm-7b-v2"), ("run-c", "kimi-vl-thinking"))
    paths = []
    for (name, model), (before, value, after) in zip(names, SOLUTIONS, strict=True):
        entry = make_plan(0, "mathvista", "") | {"question": QUESTION, "choices": CHOICES, "gold": ["A"]}
        answer = f"{before}{value}{after}"
        record = make_record(0, "mathvista", "", answer=answer, raw_output=answer, thinking="", prompt_text=QUESTION)
        verdict = "correct" if value == "A" else "wrong"
        span: list[Any] = [len(before), len(before) + len(value)]
        score = replace(make_score(0, verdict, ""), extracted=value, gold=["A"], detail={"span": span})
        paths.append(_run_of(folder, name, model, [entry], [record], [score]))
    return paths


def swept_run(folder: Path) -> Path:
    """A run of six samples with two budgets; an image was rotated."""
    places: list[dict[str, Any]] = [{"budget": budget, "policy": "cut"} for budget in (1024, 4096)]
    entries = [make_plan(number, "mathvista", "") | place for place in places for number in range(6)]
    records = [make_record(number, "mathvista", "", **place) for place in places for number in range(6)]
    records[0]["media"][0]["flags"] = ["exif_applied"]
    scores = [
        replace(make_score(number, ("wrong", "correct", "no_answer")[(number + turn) % 3], ""), **place)
        for turn, place in enumerate(places)
        for number in range(6)
    ]
    return _run_of(folder, "run-s", "kimi-vl-thinking", entries, records, scores)


def _run_of(
    folder: Path,
    name: str,
    model: str,
    entries: Sequence[dict[str, Any]],
    records: Sequence[dict[str, Any]],
    scores: Sequence[ScoreLine],
) -> Path:
    """A finished run of these samples."""
    like = RunFolder.open(make_run(folder / "like", name=name, model=model, n=1))
    run = RunFolder.create(folder, name, like.manifest, [encode_line(entry) for entry in entries])
    journal = run.journal("mathvista")
    for record in records:
        journal.append(record)
    journal.close()
    run.write_scores("mathvista", "official", "1", scores)
    results = like.results()
    assert results is not None
    run.write_results(results)
    run.unlock()
    return run.path


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
