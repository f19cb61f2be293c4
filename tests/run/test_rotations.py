"""Questions that are asked several times, their options rotated: planning, failures, bounds, resuming, comparing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvl_eval
from kvl_eval.audit.compare import compare
from kvl_eval.backends.base import Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.cli.main import cli
from kvl_eval.decode import decode
from kvl_eval.reports.numbers import counted
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.scorers.aggregate import by_question
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import Source
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task, open_split
from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample, Score, Scored
from tests.tiny_task import config_of

TASK = "mmbench-en-v11"
SAMPLES = list(open_split(get_task(TASK), Source(), "mini"))
GOLD = {one.id: one.answers[0] for one in SAMPLES}
QUESTIONS = len({one.group for one in SAMPLES})
TURNED = "1000000"  # a rotation of question 0


def run(folder: Path, wrong: Sequence[str] = (), failing: Sequence[str] = (), **options: Any) -> Any:
    """The bundled split answered right, but for `wrong` samples and those that fail."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"id": name, "response": "none of them" if name in wrong else gold}
        | ({"fail": "worker_died"} if name in failing else {})
        for name, gold in GOLD.items()
    ]
    answers = folder / "answers.jsonl"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return kvl_eval.evaluate(
        model="fake",
        tasks=[TASK],
        split="mini",
        output_dir=str(folder),
        model_args={"answers": str(answers)},
        **options,
    )


def row_of(result: Any) -> dict[str, Any]:
    (row,) = [row for row in result.results["rows"] if row["protocol"] == "official"]
    return dict(row)


def test_one_wrong_rotation_loses_the_question(tmp_path: Path) -> None:
    row = row_of(run(tmp_path, wrong=[TURNED]))
    assert row["score"] == pytest.approx(1 - 1 / QUESTIONS)
    assert (row["n_planned"], row["n_scored"], row["n_questions"]) == (len(GOLD), len(GOLD), QUESTIONS)
    assert row["bounds"] == pytest.approx([row["score"]] * 2)
    assert row["complete"] and counted(decode(ResultRow, row)) == f"{len(GOLD)} ({QUESTIONS} questions)"
    assert float(row["official"]["all rotations, each for itself"]) == pytest.approx(1 - 1 / len(GOLD))
    assert sum(part["n"] for part in row["categories"]["l2-category"].values()) == QUESTIONS


def test_a_failed_rotation_leaves_its_question_open(tmp_path: Path) -> None:
    row = row_of(run(tmp_path, failing=[TURNED]))
    assert row["score"] == 1.0 and not row["complete"]
    assert row["bounds"] == pytest.approx([1 - 1 / QUESTIONS, 1.0])
    assert (row["n_failed"], row["n_scored"]) == (1, len(GOLD) - 1)


def test_a_wrong_rotation_settles_a_question_whatever_failed(tmp_path: Path) -> None:
    row = row_of(run(tmp_path, wrong=["0"], failing=[TURNED]))
    assert row["score"] == pytest.approx(1 - 1 / QUESTIONS)
    assert row["bounds"] == pytest.approx([row["score"]] * 2)


def test_resuming_asks_only_what_lacks(tmp_path: Path) -> None:
    first = run(tmp_path, wrong=[TURNED])
    records = Path(first.path) / "samples" / f"{TASK}.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["sample_id"] not in (TURNED, "2000001")]
    records.write_bytes(b"".join(kept))
    assert cli.main(["resume", str(first.path), "--no-progress", "--json"], standalone_mode=False) == 0
    assert len(records.read_bytes().splitlines()) == len(lines) == len(kept) + 2
    results = json.loads((Path(first.path) / "results.json").read_text())
    (row,) = [row for row in results["rows"] if row["protocol"] == "official"]
    assert row["complete"] and row["score"] == row_of(first)["score"]


def test_repeats_are_folded_each_for_itself(tmp_path: Path) -> None:
    row = row_of(run(tmp_path, wrong=[TURNED], repeats=3))
    assert row["n_questions"] == 3 * QUESTIONS
    assert row["repeats"]["questions"] == QUESTIONS and row["repeats"]["n"] == 3
    assert row["score"] == row["repeats"]["mean"] == pytest.approx(1 - 1 / QUESTIONS)


def test_a_limit_counts_questions_and_takes_all_their_rotations(tmp_path: Path) -> None:
    result = run(tmp_path, limit=2)
    row = row_of(result)
    assert (row["n_planned"], row["n_questions"]) == (8, 2)
    entries = list(RunFolder.open(Path(result.path)).plan())
    assert {entry.sample.group for entry in entries} == {"0", "1"}


def test_a_question_is_asked_for_by_its_own_id(tmp_path: Path) -> None:
    assert row_of(run(tmp_path, sample_ids=(f"{TASK}/1",)))["n_planned"] == 4


def test_shards_never_part_a_question(tmp_path: Path) -> None:
    parts = [row_of(run(tmp_path / str(part), shard=(part, 3))) for part in (1, 2, 3)]
    assert sum(part["n_planned"] for part in parts) == len(GOLD)
    assert sum(part["n_questions"] for part in parts) == QUESTIONS


def test_the_plan_says_how_many_requests_there_are(tmp_path: Path) -> None:
    task: Task = get_task(TASK)
    plan = plan_run(config_of(task, tmp_path, split="mini"), FakeBackend(Settings.of(model_args={})), [task])
    assert plan.requests == len(GOLD)
    assert f", {QUESTIONS} questions, " in plan_text(plan, details=True)


def test_runs_are_compared_by_question(tmp_path: Path) -> None:
    a, b = (RunFolder.open(Path(run(tmp_path / n, wrong=w).path)) for n, w in (("a", ["0"]), ("b", ["0", TURNED, "1"])))
    (found,) = compare(RunReader(a), RunReader(b), task=TASK).as_json()["comparisons"]
    assert found["n"] == QUESTIONS
    assert found["difference"] == pytest.approx(-1 / QUESTIONS), "question 0 is lost in both"
    assert [flip["sample_id"] for flip in found["lost"]] == ["1"]


VALUES = st.sampled_from([0.0, 1.0, None])


@given(st.lists(st.tuples(st.integers(0, 3), VALUES), max_size=12))
def test_a_question_is_worth_its_worst_answer(asked: list[tuple[int, float | None]]) -> None:
    scored = [
        Scored(
            sample=Sample(id=f"{number}/{group}", question="", row={}, group=str(group)),
            score=Score.not_scored("x") if value is None else Score.of(value, value),
        )
        for number, (group, value) in enumerate(asked)
    ]
    folded = {one.sample.id: one.score for one in by_question(scored)}
    assert set(folded) == {str(group) for group, _ in asked}
    for group, score in folded.items():
        values = [value for name, value in asked if str(name) == group]
        assert score.value == (0.0 if 0.0 in values else None if None in values else 1.0)
        assert len(score.extracted) == len(values)


def test_samples_of_their_own_stay_as_they_are() -> None:
    scored = [Scored(sample=Sample(id=str(n), question="", row={}), score=Score.of(n % 2, n)) for n in range(4)]
    assert by_question(scored) == scored
