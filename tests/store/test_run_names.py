"""How a user may name a run: the rules of `find_run`, and the short names that lists print."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.errors import DataError, UsageError
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_names import default_results_dir, find_run, run_names, short_names
from tests.records import make_manifest
from tests.refusals import refused

FIRST = "20261129-230114_kimi-vl-nano_mathvista_fc87"
SECOND = "20261130-024555_kimi-vl-nano_mathvista+mmmu_fc87"
TWIN = f"{SECOND}-2"
OTHER = "20261130-024555_fake_mmmu_01ab"


def make_run(results: Path, name: str, created: str) -> Path:
    folder = RunFolder.create(results, name, make_manifest(created=created), [])
    folder.unlock()
    return folder.path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for name, created in ((SECOND, "2026-11-30T02:45:55+00:00"), (FIRST, "2026-11-29T23:01:14+00:00")):
        make_run(folder, name, created)
    (folder / "notes").mkdir()
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param(SECOND, SECOND, id="id"),
        pytest.param("20261130-024555", SECOND, id="beginning"),
        pytest.param("20261129", FIRST, id="shorter-beginning"),
        pytest.param("mmmu_fc87", SECOND, id="end"),
        pytest.param("latest", SECOND, id="latest"),
        pytest.param("latest~1", FIRST, id="the-one-before"),
    ],
)
def test_a_run_is_found_by(text: str, name: str, results: Path) -> None:
    assert find_run(text, results) == results / name


def test_a_path_is_taken_as_it_is(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run(str(results / FIRST), Path("elsewhere")) == results / FIRST
    assert find_run("no/such/run", results) == Path("no/such/run")
    monkeypatch.chdir(results)
    assert find_run(FIRST, Path("elsewhere")) == Path(FIRST)


def test_latest_is_the_newest_by_creation_and_not_by_name(results: Path) -> None:
    make_run(results, "a-copy", "2026-12-01T00:00:00+00:00")
    assert find_run("latest", results) == results / "a-copy"


def test_latest_is_never_a_run_that_cannot_be_read(results: Path) -> None:
    (make_run(results, "odd", "2026-12-01T00:00:00+00:00") / "run.json").write_text("{")
    assert find_run("latest", results) == results / SECOND


def test_an_ambiguous_beginning_is_refused_with_the_candidates(results: Path) -> None:
    with refused(UsageError, "usage.run", "'2026'") as caught:
        find_run("2026", results)
    assert str(caught.value.why).split(", ") == [SECOND, FIRST]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["nothing", "", "notes", "latest~2", "latest~x"])
def test_what_names_no_run_is_refused(text: str, results: Path) -> None:
    with refused(DataError, "run.missing"):
        find_run(text, results)


def test_a_results_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert run_names(tmp_path / "none") == []
    with refused(DataError, "run.missing", "no runs in"):
        find_run("latest", tmp_path / "none")


def test_names_are_listed_newest_first_without_other_folders(results: Path) -> None:
    assert run_names(results) == [SECOND, FIRST]


@pytest.mark.parametrize("names", [(FIRST, SECOND), (SECOND, TWIN), (SECOND, TWIN, OTHER), (FIRST, "own name")])
def test_short_names_are_distinct_and_find_their_run(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        make_run(tmp_path, name, "2026-11-30T02:45:55+00:00")
    short = short_names(names)
    assert len(set(short.values())) == len(names)
    assert {name: find_run(text, tmp_path).name for name, text in short.items()} == {name: name for name in names}


def test_equal_times_get_the_suffix_of_the_folder() -> None:
    assert short_names([SECOND, TWIN]) == {SECOND: "20261130-024555", TWIN: "20261130-024555-2"}
    assert short_names([SECOND, OTHER]) == {SECOND: "20261130-024555-fc87", OTHER: "20261130-024555-01ab"}


def test_the_results_folder_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KVL_EVAL_RESULTS_DIR", raising=False)
    assert default_results_dir() == "results"
    monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", "elsewhere")
    assert default_results_dir() == "elsewhere"
