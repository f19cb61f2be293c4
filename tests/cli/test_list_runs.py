"""`kvl-eval list runs`: its table, what narrows and orders it, and the index it reads."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.reports.listed_runs import status_text
from kvl_eval.store import run_list
from kvl_eval.store.manifest import AnswerCounts, ModelFacts
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.run_entry import RunEntry
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import list_runs, write_index
from tests.cli.conftest import Kvl
from tests.records import make_data, make_manifest, make_row

LATER = "20261130-024555_kimi-vl-nano_mathvista_fc87"
EARLIER = "20261129-230114_some-very-long-owner-name_mathvista+mmmu_01ab"
KILLED = "20261129-201500_kimi-vl-thinking_mathvision_77aa"


def make_run(results: Path, name: str, rows: Sequence[ResultRow], **changes: Any) -> Path:
    """A run folder whose scores are given."""
    totals = {row.task: make_data(n=row.n_planned, total=90, split=row.split) for row in rows}
    folder = RunFolder.create(results, name, make_manifest(**{"data": totals, **changes}), [])
    if rows:
        folder.write_results(Results(run_id=name, rows=tuple(rows)))
    folder.unlock()
    return folder.path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    partial = make_row("mathvista", split="mini", n_planned=6, n_scored=6, score=2 / 3, partial="limit 6 of 90")
    whole = [make_row(name, split="val", n_planned=90, n_scored=90, score=0.561) for name in ("mathvista", "mmmu")]
    make_run(tmp_path, LATER, [partial], status="finished", created="2026-11-30T02:45:55+00:00")
    make_run(
        tmp_path,
        EARLIER,
        whole,
        status="finished",
        created="2026-11-29T23:01:14+00:00",
        model=ModelFacts(name="some-very-long-owner-name/and-an-equally-long-model"),
        counts=AnswerCounts(planned=180, ok=177, failed={"oom": 3}),
    )
    make_run(
        tmp_path,
        KILLED,
        [],
        status="interrupted",
        created="2026-11-29T20:15:00+00:00",
        data={"mathvision": make_data(n=3040, total=3040)},
        counts=AnswerCounts(planned=3040, ok=412, pending=2628),
    )
    return tmp_path


TABLE = """\
run              model                         tasks                  n  scores                     status
20261130-024555  kimi-vl-nano                  mathvista/mini      6/90  66.7                       finished (partial)
20261129-230114  some-very-lon…lly-long-model  mathvista mmmu       180  mathvista 56.1, mmmu 56.1  finished (3 failed)
20261129-201500  kimi-vl-nano                  mathvision      412/3040  -                          interrupted 13%
"""


def listed(kvl: Kvl, results: Path, *options: str) -> list[str]:
    """Run ids of `list runs --json`."""
    answer = kvl("list", "runs", "--json", "--results-dir", str(results), *options)
    assert answer.code == 0, answer.err
    return [entry["run_id"] for entry in json.loads(answer.out)]


def test_a_line_per_run_the_newest_first(results: Path, kvl: Kvl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    answer = kvl("list", "runs", "--results-dir", str(results))
    assert answer.out == TABLE
    assert answer.code == 0


@pytest.mark.parametrize("width", [120, 100, 80])
def test_no_line_is_wider_than_the_terminal(
    width: int, results: Path, kvl: Kvl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = kvl("list", "runs", "--results-dir", str(results)).out.splitlines()
    assert max(map(len, lines)) <= width
    assert not set("{['") & set("".join(lines))
    assert (" n " in lines[0]) == (width > 100)
    assert all(line.split()[0] in name for line, name in zip(lines[1:], (LATER, EARLIER, KILLED), strict=True))


def test_the_first_column_names_the_run(results: Path, kvl: Kvl) -> None:
    table = kvl("list", "runs", "--results-dir", str(results), "--task", "mathvista").out.splitlines()
    answer = kvl("report", table[1].split()[0], "--results-dir", str(results), "--format", "markdown", "--json")
    assert answer.code == 0, answer.err
    assert LATER in json.loads(answer.out)[0]


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        pytest.param((), [LATER, EARLIER, KILLED], id="all"),
        pytest.param(("--task", "MMMU"), [EARLIER], id="task"),
        pytest.param(("--model", "LONG"), [EARLIER], id="model"),
        pytest.param(("--model", "kimi-*"), [LATER, KILLED], id="model-glob"),
        pytest.param(("--status", "finished"), [LATER, EARLIER], id="finished"),
        pytest.param(("--status", "failed"), [EARLIER], id="failed"),
        pytest.param(("--status", "interrupted"), [KILLED], id="interrupted"),
        pytest.param(("--status", "running"), [], id="running"),
        pytest.param(("--since", "2026-11-30"), [LATER], id="since-a-date"),
        pytest.param(("--since", "1m"), [], id="since-a-span"),
        pytest.param(("--sort", "model"), [LATER, KILLED, EARLIER], id="by-model"),
        pytest.param(("--sort", "score", "--task", "mathvista"), [LATER, EARLIER], id="by-score"),
        pytest.param(("fc87",), [LATER], id="pattern"),
    ],
)
def test_runs_are_narrowed_and_ordered(options: tuple[str, ...], runs: list[str], results: Path, kvl: Kvl) -> None:
    assert listed(kvl, results, *options) == runs


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--since", "yesterday"), "usage.since"),
        (("--sort", "score"), "usage.sort"),
        (("--task", "nope"), "usage.task"),
    ],
)
def test_a_value_that_cannot_be_is_refused(options: tuple[str, ...], code: str, results: Path, kvl: Kvl) -> None:
    answer = kvl("list", "runs", "--results-dir", str(results), *options)
    assert answer.code == 2
    assert answer.err.startswith(f"error[{code}]")


def test_an_option_of_another_list_is_refused(kvl: Kvl) -> None:
    assert kvl("list", "tasks", "--status", "failed").code == 2


def test_twenty_runs_are_shown_unless_all_are_asked_for(tmp_path: Path, kvl: Kvl) -> None:
    for number in range(22):
        make_run(tmp_path, f"20261130-0245{number:02}_fake_t_fc87", [], created=f"2026-11-30T02:45:{number:02}+00:00")
    lines = kvl("list", "runs", "--results-dir", str(tmp_path)).out.splitlines()
    assert len(lines) == 22
    assert lines[-1] == "20 of 22 runs; --all shows the rest"
    assert len(kvl("list", "runs", "--all", "--results-dir", str(tmp_path)).out.splitlines()) == 23


def test_long_shows_each_result_with_interval_protocol_and_path(results: Path, kvl: Kvl) -> None:
    lines = kvl("list", "runs", "--long", "--results-dir", str(results)).out.splitlines()
    assert len(lines) == 5
    assert lines[0].split("  ")[0] == "run"
    assert lines[1].endswith(str(results / LATER))


def test_a_run_that_cannot_be_read_is_a_line_and_stops_nothing(results: Path, kvl: Kvl) -> None:
    (results / LATER / "run.json").write_text("{")
    lines = kvl("list", "runs", "--results-dir", str(results)).out.splitlines()
    assert [line.split()[-1] for line in lines if "unreadable" in line] == ["unreadable"]
    assert len(lines) == 4


def test_records_of_a_killed_run_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path, KILLED, [], status="running", counts=AnswerCounts(planned=4, pending=4))
    (run / "samples" / "mathvision.jsonl").write_text("{}\n{}\n{}\n{torn")
    (entry,) = list_runs(tmp_path)
    assert (entry.status, entry.answered, entry.planned) == ("interrupted", 3, 4)
    assert status_text(entry) == "interrupted 75%"


def test_no_runs_are_no_error(tmp_path: Path, kvl: Kvl) -> None:
    answer = kvl("list", "runs", "--results-dir", str(tmp_path))
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.startswith("no runs in")


# -- index.json -------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the run folders that `list_runs` opens."""
    names: list[str] = []
    original = run_list._run_entry

    def counted(path: Path) -> RunEntry:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(run_list, "_run_entry", counted)
    yield names


def test_the_index_holds_the_scores_so_that_no_run_is_opened(results: Path, opened: list[str]) -> None:
    before = list_runs(results)
    write_index(results)
    opened.clear()
    assert list_runs(results) == before
    assert opened == []
    assert [score.score for entry in before for score in entry.results] == [0.561, 0.561, 2 / 3]


def test_a_run_that_changed_since_is_opened(results: Path, opened: list[str]) -> None:
    write_index(results)
    opened.clear()
    folder = RunFolder.open(results / LATER)
    folder.write_results(Results(run_id=LATER, rows=(make_row("mathvista", score=0.5),)))
    assert [score.score for entry in list_runs(results) if entry.run_id == LATER for score in entry.results] == [0.5]
    assert opened == [LATER]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1, "runs": [{"run_id": 1}]}', '{"schema": 1, "runs": []}'])
def test_an_index_that_cannot_be_read_or_is_older_counts_as_none(text: str, results: Path) -> None:
    before = list_runs(results)
    (results / "index.json").write_text(text)
    assert list_runs(results) == before


def test_a_run_that_is_gone_is_not_listed(results: Path) -> None:
    write_index(results)
    RunFolder.open(results / LATER).discard()
    assert [entry.run_id for entry in list_runs(results)] == [KILLED, EARLIER]


@pytest.mark.slow
def test_two_hundred_runs_are_listed_in_a_second_of_processor_time(tmp_path: Path) -> None:
    for number in range(200):
        rows = [make_row(task) for task in ("mathvista", "mmmu", "mathvision")]
        make_run(tmp_path, f"20261130-{number:06}_fake_t_fc87", rows, created=f"2026-11-30T02:45:55.{number:03}+00:00")
    write_index(tmp_path)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "kvl_eval", "list", "runs", "--results-dir", str(tmp_path)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 1.0
