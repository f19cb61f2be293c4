r"""R12: lone surrogates in any text of a run: six characters, `\ud800`, in every export and view; exact in records."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.decode import encode
from kvl_eval.evaluation import evaluate
from kvl_eval.exports import export_run
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import Completion
from kvl_eval.view.live import LiveRun
from tests.faults.shell import Shell

LONE = "\ud800"
SHOWN = "\\ud800"  # six characters
LONE_ANSWERS = {"a": f"{LONE} Answer: A", "b": LONE}
ROWS = [
    {
        "id": f"{name}{LONE}",
        "question": f"{name} {LONE}?",
        "choices": [f"one {LONE}", f"two {LONE}"],
        "answer": "A",
        "category": f"group {LONE}",
        "cluster": f"cluster {LONE}",
        "note": {f"key {LONE}": [LONE]},
    }
    for name in "ab"
]


class Replies(FakeBackend):
    """Answers as a server may send them, by the first letter of the question's id."""

    def __init__(self, replies: Mapping[str, str]) -> None:
        super().__init__(answer=lambda request, repeat: "A")
        self._replies = replies

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        async for key, completion in super().generate(requests):
            text = self._replies[key.rpartition("/")[2][0]]
            yield key, replace(completion, raw_output=text, answer=text)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs over rows with a lone surrogate in every text; every answer of the first has one."""
    place = tmp_path_factory.mktemp("runs")
    table = place / "t.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return [
        evaluate(Replies(replies), f"file:{table}", resume=False, output_dir=place / "runs").path
        for replies in (LONE_ANSWERS, {"a": "B", "b": "A"})
    ]


def texts(value: Any) -> Iterator[str]:
    """Every text in a parsed JSON value, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from (name, *texts(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def check(found: Iterable[str], *wanted: str) -> None:
    """No lone surrogate in any text, and every one of `wanted` in some text."""
    listed = list(found)
    assert not [text for text in listed if re.search("[\ud800-\udfff]", text)]
    for name in wanted:
        assert any(name in text for text in listed), (name, listed[:20])


FIELDS = (f"a{SHOWN}", f"a {SHOWN}?", f"one {SHOWN}", f"group {SHOWN}", f"cluster {SHOWN}", f"{SHOWN} Answer: A")


def cell_texts(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Texts in the rows of a table, in the cells that hold JSON too."""
    for row in rows:
        for name, cell in row.items():
            is_json = isinstance(cell, str) and name in ("choices", "gold", "categories", "detail") and cell
            yield from texts([name, json.loads(cell) if is_json else cell])


def csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def json_texts(path: Path) -> Iterator[str]:
    whole = path.read_text("utf-8")
    values = [json.loads(whole)] if path.suffix == ".json" else [json.loads(line) for line in whole.splitlines()]
    return texts(values)


def archive_texts(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name
            yield from texts(json.loads(archive.read(name).decode("utf-8")))


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    "csv": lambda path: cell_texts(csv_rows(path)),
    "parquet": lambda path: cell_texts(pq.read_table(path).to_pylist()),
    "lm-eval": json_texts,
    "inspect": archive_texts,
}


@pytest.mark.parametrize("form", READERS)
def test_R12_exports(runs: list[Path], tmp_path: Path, form: str) -> None:
    paths = export_run(RunFolder.open(runs[0]), form, tmp_path)
    check([text for path in paths for text in READERS[form](path)], *FIELDS)


def test_R12_submissions(tmp_path: Path) -> None:
    backend = Replies(dict.fromkeys("123456789", f"{LONE} Answer: A"))
    done = evaluate(tasks=["mathvista"], split="mini", limit=2, model="fake", backend=backend, output_dir=str(tmp_path))
    [path] = export_run(RunFolder.open(done.path), "submission", tmp_path / "out")
    check(json_texts(path), f"{SHOWN} Answer: A")


def script_texts(path: Path) -> Iterator[str]:
    """Texts in the argument of the call that a file of a report's data is."""
    call = path.read_text("ascii")
    argument = call[call.index("(") + 1 : call.rindex(")")]
    if (parsed := re.search(r"JSON\.parse\('(.*)'\)", argument)) is not None:
        return texts(json.loads(re.sub(r"\\(.)", r"\1", parsed[1])))
    return texts(json.loads(f"[{argument}]"))


def test_R12_reports(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs, tmp_path, form=ReportForm(images="none"))
    assert LONE not in (tmp_path / "report.md").read_text("utf-8")
    pages = [path.read_text("utf-8") for path in tmp_path.glob("*.html")]
    check(pages, f"group {SHOWN}")
    check([text for path in (tmp_path / "data").glob("*.js") for text in script_texts(path)], *FIELDS)


def test_R12_the_page_of_a_run_that_goes_on(runs: list[Path]) -> None:
    live = LiveRun(runs[0])
    check(texts(json.loads(json.dumps(encode(live.state())))), f"a{SHOWN}", f"a {SHOWN}?", f"{SHOWN} Answer: A")
    live.close()


@pytest.mark.parametrize(
    "arguments",
    [("score", 0, "--json"), ("compare", 0, 1, "--json"), ("report", 0, "--json"), ("verify", 0, "--json")],
    ids=lambda arguments: str(arguments[0]),
)
def test_R12_results_as_json(shell: Shell, runs: list[Path], arguments: tuple[str | int, ...]) -> None:
    outcome = shell(*(runs[part] if isinstance(part, int) else part for part in arguments))
    check(texts(json.loads(outcome.out)), *([f"group {SHOWN}"] if arguments[0] == "score" else []))
    if arguments[0] == "compare":
        check(texts(json.loads(outcome.out)), f"b{SHOWN}")


def test_R12_compare_on_the_terminal(shell: Shell, runs: list[Path]) -> None:
    check([shell("compare", *runs).out], f"a{SHOWN}")


def test_R12_scored_predictions(shell: Shell, tmp_path: Path) -> None:
    table, replies, out = tmp_path / "t.jsonl", tmp_path / "p.jsonl", tmp_path / "scored.jsonl"
    table.write_text("".join(json.dumps({**row, "choices": None, "answer": LONE}) + "\n" for row in ROWS))
    replies.write_text("".join(json.dumps({"id": row["id"], "response": LONE}) + "\n" for row in ROWS))
    more = ("--predictions", replies, "--out", out, "--json")
    outcome = shell("score", "--task", f"file:{table}", *more)
    assert outcome.code == 0, outcome.err
    check(json_texts(out), f"a{SHOWN}", SHOWN)
    check(texts(json.loads(outcome.out)), f"group {SHOWN}")


def test_R12_records_keep_what_was_written(runs: list[Path]) -> None:
    [name] = RunFolder.open(runs[0]).manifest.data
    stored = {record.sample_id: record.raw_output for record in RunFolder.open(runs[0]).records(name)}
    assert stored == {f"{name}{LONE}": text for name, text in LONE_ANSWERS.items()}
