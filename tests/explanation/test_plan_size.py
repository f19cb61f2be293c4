"""`plan-size`: what runs say of the samples that are needed, and lists of ids."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kvl_eval.errors import UsageError
from kvl_eval.explanation.plan_size import SizeRequest, plan_size, task_unit
from kvl_eval.explanation.plan_size_text import as_text
from kvl_eval.explanation.score_columns import ScoreColumns, columns_of, design_effect
from kvl_eval.explanation.stratified import chosen_ids, stratified_order
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.tasks import task_named
from tests.cli.conftest import Kvl
from tests.cli.conftest import kvl as kvl
from tests.explanation.test_explain import answered, gold, says
from tests.refusals import refused
from tests.tiny_task import rows, tiny


def columns(folder: Path, wrong: range, n: int = 40, **options: object) -> ScoreColumns:
    task = tiny(n)
    said = gold(n) | {f"q/{number}": says(number, right=False) for number in wrong}
    return columns_of(RunReader(answered(folder, said, task, **options), [task]), "tiny")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScoreColumns, ScoreColumns]:
    folder = tmp_path_factory.mktemp("pair")
    return columns(folder / "a", range(8)), columns(folder / "b", range(4, 10))


def test_two_runs_give_the_share_of_changed_verdicts(pair: tuple[ScoreColumns, ScoreColumns]) -> None:
    [estimate] = plan_size(pair, tiny(40), SizeRequest(precision=0.05)).estimates
    assert estimate.basis.variance == pytest.approx(6 / 40)  # four became right, two became wrong
    assert estimate.basis.difference == pytest.approx(2 / 40)
    assert estimate.n_of_kind == 227  # 1.96^2 (0.15 - 0.0025) / 0.05^2
    assert (estimate.n_of_these, estimate.feasible) == (34, False)


def test_a_difference_to_show_replaces_the_measured_one(pair: tuple[ScoreColumns, ScoreColumns]) -> None:
    [estimate] = plan_size(pair, tiny(40), SizeRequest(detect=0.1)).estimates
    assert estimate.basis.difference == 0.1
    assert estimate.n_of_kind == 116


def test_one_run_gives_its_score_and_an_assumed_range(pair: tuple[ScoreColumns, ScoreColumns]) -> None:
    document = plan_size(pair[:1], tiny(40), SizeRequest(precision=0.05))
    assert [(one.basis.kind, one.basis.source) for one in document.estimates] == [
        ("score", "runs"),
        ("difference", "assumed"),
        ("difference", "assumed"),
    ]
    assert document.estimates[0].basis.variance == pytest.approx(0.2 * 0.8)
    assert "at best" in " ".join(document.verdict) and "±5.0" in as_text(document)


def test_repeats_say_what_they_save(tmp_path: Path) -> None:
    task = tiny(40)  # right or wrong by the seed: all variance is within questions
    from tests.tiny_task import run_tiny

    run = run_tiny(tmp_path, task, repeats=4, temperature=1.0).folder
    found = plan_size([columns_of(RunReader(run, [task]), None)], task, SizeRequest(detect=0.1))
    assert [one.basis.source for one in found.estimates] == ["repeats"]
    assert found.repeats is not None and found.repeats.repeats == 4
    assert found.repeats.share == pytest.approx(1.0, abs=0.15)
    assert "fewer questions: sampling noise alone" in found.verdict[-1]


def test_a_score_without_a_run() -> None:
    task = task_named("mathvision")
    document = plan_size([], task, SizeRequest(precision=0.02, score=0.25))
    assert (document.total, document.estimates[0].n_of_kind, document.estimates[0].n_of_these) == (3040, 1801, 1131)
    assert task_unit(task) == "percent" and task_unit(task_named("ocrbench")) == "points"


def test_samples_that_share_an_image_count_less() -> None:
    assert design_effect([1, 1, 0, 0] * 5, [f"page {number // 2}" for number in range(20)]) == pytest.approx(2, abs=0.2)
    assert design_effect([1, 0, 1], ["a", "b", "c"]) == 1


def test_lists_are_nested_proportional_and_keep_clusters_whole(tmp_path: Path) -> None:
    task = tiny(content=rows(60, pages=True))
    said = gold(60) | {f"q/{number}": says(number, right=False) for number in range(20)}
    samples = columns_of(RunReader(answered(tmp_path, said, task), [task]), None)
    order = stratified_order(samples)
    small, large = chosen_ids(order, 15), chosen_ids(order, 30)
    assert large[: len(small)] == small and len(small) == 16 and len(chosen_ids(order, 99)) == 60
    wrong = Counter(int(name.removeprefix("q/")) < 20 for name in large)
    assert wrong[True] == pytest.approx(10, abs=2)
    pages = Counter(int(name.removeprefix("q/")) // 2 for name in large)
    assert set(pages.values()) == {2}
    assert stratified_order(samples, seed=1) != order


def test_runs_of_other_questions_are_refused(pair: tuple[ScoreColumns, ScoreColumns], tmp_path: Path) -> None:
    task = tiny(content=[{**row, "id": f"other/{row['number']}"} for row in rows(10)])
    said = {f"other/{number}": says(number) for number in range(10)}
    other = columns_of(RunReader(answered(tmp_path, said, task), [task]), None)
    with refused(UsageError, "usage.plan_size"):
        plan_size([pair[0], other], task, SizeRequest(precision=0.02))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "mathvision"), "needs either --precision or --detect"),
        (("--precision", "2"), "needs a run or --task"),
        (("--task", "mathvision", "--precision", "0"), "--precision must be 0.01 to 100 in percent, got 0"),
        (("--task", "mathvision", "--precision", "nan"), "--precision must be"),
        (("--task", "mathvision", "--detect", "3", "--power", "1"), "--power must be 0.05 to 1"),
        (("--task", "mathvision", "--detect", "3", "--score", "50"), "--score is for --task and --precision"),
        (("--task", "mathvision", "--precision", "2", "--output-file", "x"), "--output-file needs a run"),
        (("--task", "mathvisio", "--precision", "2"), "unknown task"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], message: str, kvl: Kvl) -> None:
    said = kvl("plan-size", *words)
    assert said.code == 2 and message in said.err


def test_the_command_writes_a_list_that_a_run_takes(kvl: Kvl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in ("0", "1"):
        assert kvl("run", "mathvista", "-m", "fake", "--limit", "20", "--seed", seed, "-q").code == 0
    said = kvl("plan-size", "latest", "latest~1", "--precision", "5", "--output-file", "ids.txt")
    assert said.code == 0, said.err
    ids = Path("ids.txt").read_text().split()
    assert 1 <= len(ids) <= 20
    assert kvl("run", "mathvista", "-m", "fake", "--sample-ids", "ids.txt", "-q").code == 0
