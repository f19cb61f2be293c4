"""`check gold`: planted wrong gold answers are listed, and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import UsageError
from kvl_eval.explanation.gold import doubts, vote_weight
from kvl_eval.explanation.gold_text import as_lines, as_text
from kvl_eval.scoring.run_reader import RunReader
from tests.cli.test_schemas import validate
from tests.explanation.test_explain import answered, gold, says
from tests.refusals import refused
from tests.tiny_task import rows, tiny

N = 40
PLANTED = (3, 17)


def run(folder: Path, voter: str, wrong: set[int], *, seed: int = 0) -> RunReader:
    """A run of a model that is wrong on `wrong`, and whose weights are called `voter`."""
    task = tiny(N)
    said: dict[str, Any] = gold(N) | {f"q/{number}": says(number, right=False) for number in wrong}
    made = answered(folder / f"{voter}-{seed}", said, task, seed=seed or sum(map(ord, voter)))
    path = made.path / "run.json"
    manifest = json.loads(path.read_text())
    manifest["model"] |= {"weights_sha256": voter, "name": voter}
    path.write_text(json.dumps(manifest))
    return RunReader.open(made.path, [task])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunReader]:
    folder = tmp_path_factory.mktemp("gold")
    own = ({0, 1, 2}, {5, 6, 7}, {9, 10})
    return [run(folder, f"model-{name}", {*PLANTED, *wrong}) for name, wrong in zip("abc", own, strict=True)]


def test_planted_wrong_gold_answers_are_listed_and_nothing_else(runs: list[RunReader]) -> None:
    report = doubts(runs)
    validate("check-gold", report.as_json())
    assert [doubt.id for doubt in report.doubts] == ["q/17", "q/3"]
    assert {doubt.leading for doubt in report.doubts} == {"A"}
    assert all(doubt.posterior > 0.99 and doubt.share == 1 for doubt in report.doubts)
    assert report.verdict[0] == "2 gold answers of 40 look doubtful."
    assert [round(one.score * N) for one in report.runs] == [35, 35, 36]
    assert report.runs[0].score_without == pytest.approx(35 / 38)


def test_the_posterior_is_that_of_independent_raters(runs: list[RunReader]) -> None:
    accuracies = [35 / 40, 35 / 40, 36 / 40]
    right = math.prod(accuracies)
    wrong = math.prod(1 - accuracy for accuracy in accuracies)  # of two options the other is the only wrong one
    assert doubts(runs).doubts[0].posterior == pytest.approx(right / (right + wrong))


@pytest.mark.parametrize("options", [2, 4, 20])
def test_a_vote_at_chance_weighs_little_and_a_better_one_more(options: int) -> None:
    assert 0 < vote_weight(0.0, options) == vote_weight(1 / options, options) < 0.3
    assert vote_weight(0.9, options) < vote_weight(1.0, options) == vote_weight(0.99, options)


def test_a_model_that_agrees_with_gold_removes_the_doubt(runs: list[RunReader], tmp_path: Path) -> None:
    report = doubts([*runs, run(tmp_path, "model-d", {3})])
    assert [doubt.id for doubt in report.doubts] == ["q/3"]
    assert (
        report.doubts[0].votes.keys() == {f"model-{name}"[:20] for name in "abcd"} or len(report.doubts[0].votes) == 4
    )


def test_runs_of_the_same_weights_count_as_one_vote(runs: list[RunReader], tmp_path: Path) -> None:
    again = [run(tmp_path, "model-a", set(PLANTED), seed=seed) for seed in (1, 2)]
    with refused(UsageError, "usage.gold") as caught:
        doubts([runs[0], *again])
    assert caught.value.message == "check gold needs runs of three different models, got 1"
    assert len(doubts([*runs, *again]).doubts[0].votes) == 3


def test_the_same_run_twice_and_two_runs_are_refused(runs: list[RunReader]) -> None:
    for few in ([runs[0], runs[0], runs[1]], runs[:2], []):
        with refused(UsageError, "usage.gold"):
            doubts(few)


def test_lines_and_table_name_the_sample(runs: list[RunReader]) -> None:
    report = doubts(runs)
    lines = [json.loads(line) for line in as_lines(report).splitlines()]
    assert [line["id"] for line in lines] == ["q/17", "q/3"]
    assert set(lines[0]) == {"id", "gold", "leading", "votes", "posterior", "categories"}
    text = as_text(report)
    assert "q/17" in text and "a reason to look, not proof" in text and "kvl-eval view" in text


def test_hostile_ids_stay_on_their_line(tmp_path: Path) -> None:
    evil = "q/\x1b[31m\n<b>" + "x" * 300
    content = [{**row, "id": evil if row["number"] == 0 else row["id"]} for row in rows(N)]
    task = tiny(N, content=content)
    readers = []
    for number, voter in enumerate(("one", "two", "three")):
        said = gold(N) | {evil: says(0, right=False), f"q/{5 + number}": says(5 + number, right=False)}
        made = answered(tmp_path / voter, said, task, seed=number)
        path = made.path / "run.json"
        manifest = json.loads(path.read_text())
        manifest["model"]["weights_sha256"] = voter
        path.write_text(json.dumps(manifest))
        readers.append(RunReader.open(made.path, [task]))
    report = doubts(readers)
    assert [doubt.id for doubt in report.doubts] == [evil]
    assert "\x1b" not in as_text(report) and len(as_lines(report).splitlines()) == 1
