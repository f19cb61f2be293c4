"""What a run is in Python: scores, frames of results and samples, text and HTML."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

import kvl_eval
from kvl_eval.audit.merge import merge
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import DataError, UsageError
from kvl_eval.exports import export_run
from kvl_eval.exports.tables import COLUMNS
from kvl_eval.results.evaluation_result import EvaluationResult
from tests.refusals import refused
from tests.tiny_task import gold_answer, tiny

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_COLUMNS = (
    *("sample_id", "repeat", "budget", "status", "reason", "question", "choices", "gold", "prompt", "thinking"),
    *("answer", "raw_output", "extracted", "verdict", "score", "correct", "finish_reason", "think_closed"),
    *("prompt_tokens", "image_tokens", "thinking_tokens", "answer_tokens", "seconds"),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    """Two tasks at two budgets; one request of the first has failed."""
    return kvl_eval.evaluate(
        "fake",
        "mathvista,mmmu",
        limit=4,
        think_budget="16,1k",
        model_args={"think": 60, "fail": "oom:1"},
        output_dir=tmp_path_factory.mktemp("results"),
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    return kvl_eval.evaluate("fake", "mathvista", limit=4, output_dir=tmp_path_factory.mktemp("results"))


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_scores_have_a_key_per_task_and_in_a_sweep_per_budget(
    plain: EvaluationResult, sweep: EvaluationResult
) -> None:
    assert list(plain.scores) == ["mathvista"]
    assert list(sweep.scores) == ["mathvista@16", "mathvista@1k", "mmmu@16", "mmmu@1k"]
    row = plain.results["rows"][0]
    score = plain.score()
    assert score == plain.scores["mathvista"] == plain.score("MathVista")
    assert (float(score), score.n, score.protocol, score.label) == (row["score"], 4, "official", "official-rule")
    assert sweep.score("mmmu", budget="1k") == sweep.score("mmmu@1k") == sweep.score("mmmu", budget=1024)


def test_a_score_prints_as_in_a_table(plain: EvaluationResult) -> None:
    score = plain.score()
    low, high = score.ci95 or (0, 0)
    assert str(score) == f"{100 * float(score):.1f} [{100 * low:.1f}, {100 * high:.1f}], n=4, official-rule"
    assert repr(plain.scores) == f"{{'mathvista': {score}}}"


def test_requests_that_are_unknown_or_ambiguous_name_the_choices(sweep: EvaluationResult) -> None:
    for request, code, choice in (
        ({}, "usage.task", "mathvista, mmmu"),
        ({"task": "mmu"}, "usage.task", "mathvista, mmmu"),
        ({"task": "mmmu"}, "usage.budget", "16, 1k"),
        ({"task": "mmmu", "budget": "2k"}, "usage.budget", "16, 1k"),
        ({"task": "mmmu", "budget": "many"}, "usage.budget", ""),
        ({"task": "mmmu", "budget": 16, "protocol": "nope"}, "usage.protocol", "reader"),
    ):
        with refused(UsageError, code) as caught:
            sweep.score(**request)
        assert choice in (caught.value.why or "")
    with refused(UsageError, "usage.protocol") as caught:
        sweep.score("mmmu", budget=16, protocol="lmms-eval")
    assert caught.value.fix == '.rescore("lmms-eval")'


def test_a_task_without_a_score_has_no_number(tmp_path: Path) -> None:
    result = kvl_eval.evaluate("fake", "mathvista", limit=1, model_args="fail=oom:1", output_dir=tmp_path)
    assert result.score().value is None
    with refused(UsageError, "usage.score"):
        float(result.score())
    assert str(result.score()) == "-, n=0/1, official-rule"


def test_results_are_rows_of_a_frame(sweep: EvaluationResult) -> None:
    frame = sweep.to_pandas()
    assert frame.shape[0] == len(sweep.results["rows"])
    assert list(frame.columns[:10]) == [
        *("task", "split", "budget", "policy", "protocol", "label", "judge", "score", "unit", "ci_low")
    ]
    first = sweep.score("mathvista@16")
    chosen = frame[(frame.task == "mathvista") & (frame.budget == 16) & (frame.protocol == first.protocol)].iloc[0]
    assert (chosen.score, chosen.ci_low) == (first.value, (first.ci95 or (0, 0))[0])
    assert chosen.failed == 1 and not chosen.complete


def test_samples_are_rows_of_a_frame(sweep: EvaluationResult) -> None:
    frame = sweep.samples("mathvista")
    assert tuple(frame.columns[: len(SAMPLE_COLUMNS)]) == SAMPLE_COLUMNS
    assert {"skills", "grade", "category_task"} <= set(frame.columns)
    assert (frame.sample_id.dtype, frame.correct.dtype, frame.think_closed.dtype) == ("string", "boolean", "boolean")
    assert len(frame) == 4 * 2 and set(frame.budget) == {16, 1024}
    failed = frame[frame.status == "failed"]
    assert list(failed.reason.unique()) == ["oom"] and failed.answer.isna().all() and failed.correct.isna().all()
    scored = frame[frame.budget == 1024].dropna(subset=["score"])
    assert scored.score.mean() == pytest.approx(float(sweep.score("mathvista@1k")))
    assert (scored.correct == (scored.verdict == "correct")).all()
    assert len(sweep.samples("mmmu", budget="1k")) == 4 and len(sweep.samples()) == 16


def test_exports_have_the_columns_and_types_of_the_frame(sweep: EvaluationResult, tmp_path: Path) -> None:
    frame = sweep.samples()
    (parquet,) = export_run(sweep.folder, "parquet", tmp_path)
    (comma,) = export_run(sweep.folder, "csv", tmp_path)
    stored = pd.read_parquet(parquet)
    assert stored.dtypes.equals(frame.dtypes)
    assert list(stored.answer) == list(frame.answer) and list(stored.skills) == list(frame.skills)
    assert list(pd.read_csv(comma, nrows=0).columns) == list(frame.columns)
    assert list(frame.columns)[: len(COLUMNS)] == list(COLUMNS)


def test_the_representation_is_one_short_line(plain: EvaluationResult, sweep: EvaluationResult) -> None:
    score = f"{100 * float(plain.score()):.1f}"
    assert repr(plain).startswith(f"<EvaluationResult mathvista {score}, 4/4, finished, ")
    for result in (plain, sweep):
        assert len(repr(result)) <= 120 and "\n" not in repr(result)
    assert str(plain) == plain.table() and "official-rule" in str(plain)


def test_html_is_a_table_with_warnings_above_and_the_report_below(plain: EvaluationResult) -> None:
    page = plain._repr_html_()
    assert page.index(plain.warnings[0]) < page.index("<table>")
    assert "official-rule" in page and "budget" not in page and "href" not in page
    written = plain.report()
    assert written == plain.path / "report" / "index.html"
    assert os.path.relpath(written) in plain._repr_html_()


def test_html_escapes_all_text(tmp_path: Path) -> None:
    task = tiny(name="<img src=x>")
    result = kvl_eval.evaluate(FakeBackend(answer=gold_answer), task, limit=2, output_dir=tmp_path)
    page = result._repr_html_()
    assert "<img" not in page and "&lt;img src=x&gt;" in page


def test_a_stored_run_is_opened_by_path_name_or_latest_and_nothing_is_written(plain: EvaluationResult) -> None:
    before = contents(plain.path.parent)
    for name in (plain.path, str(plain.path), plain.run_id, plain.run_id[:15], "latest"):
        result = kvl_eval.open_run(name, results_dir=plain.path.parent)
        assert result.path == plain.path
        assert result.score("mathvista") == plain.score("mathvista")
        assert (result.exit_code, result.status, result.model) == (0, "finished", "fake")
        result.samples(), result.to_pandas(), result._repr_html_(), repr(result)
    assert contents(plain.path.parent) == before
    with refused(DataError, "run.missing"):
        kvl_eval.open_run("2019", results_dir=plain.path.parent)


def test_an_interrupted_run_is_opened_with_what_it_has_and_resumed(tmp_path: Path) -> None:
    whole = kvl_eval.evaluate("fake", "mathvista", limit=4, output_dir=tmp_path)
    records = whole.folder.samples_path("mathvista")
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-2]))
    whole.folder.save_status("interrupted")
    before = contents(whole.path)
    result = kvl_eval.open_run(whole.path)
    assert (result.status, result.exit_code) == ("interrupted", 3)
    assert (result.score().n, result.score().n_planned, result.score().complete) == (2, 4, False)
    frame = result.samples()
    assert list(frame.status) == ["ok", "ok", "pending", "pending"] and frame.verdict.notna().sum() == 2
    assert contents(whole.path) == before
    resumed = result.resume()
    assert (resumed.status, resumed.exit_code) == ("finished", 0)
    assert resumed.score() == whole.score()


def test_another_protocol_is_scored_on_the_stored_answers(plain: EvaluationResult) -> None:
    rescored = plain.rescore("vlmevalkit")
    assert rescored.score("mathvista").protocol == "vlmevalkit"
    assert "vlmevalkit" in rescored.table() and "official-rule" not in rescored.table()
    assert set(rescored.samples().protocol) == {"vlmevalkit"}
    stored = kvl_eval.open_run(plain.path)
    assert stored.score().protocol == "official"
    assert stored.score(protocol="vlmevalkit") == rescored.score()
    assert plain.rescore("all").score().protocol == "official"
    with refused(UsageError, "usage.protocol"):
        plain.rescore("nope")


def test_an_address_that_only_a_folder_names_is_not_contacted(plain: EvaluationResult) -> None:
    """`resume` of a stored run asks as the command line does; the caller of `evaluate` has named it already."""
    from kvl_eval.results.evaluation_result import _make_trusted
    from kvl_eval.run.config import resolve
    from kvl_eval.tasks import get_task

    config = resolve("endpoint", "other", [get_task("mathvista")], {"base_url": "http://192.0.2.1:9/v1"})
    with refused(UsageError, "trust.server") as caught:
        _make_trusted(plain.reader())(config)
    assert "kvl-eval resume" in (caught.value.fix or "")


def test_two_runs_are_compared(plain: EvaluationResult, tmp_path: Path) -> None:
    other = kvl_eval.evaluate("fake", "mathvista", limit=4, model_args="answers=constant:B", output_dir=tmp_path)
    comparison = kvl_eval.compare(plain, other.path)
    frame = comparison.to_pandas()
    assert list(frame.task) == ["mathvista"] and frame.n[0] == 4
    assert frame.difference[0] == pytest.approx(float(other.score()) - float(plain.score()))
    assert "difference B - A" in str(comparison) and len(repr(comparison)) < 200
    assert comparison._repr_html_().startswith("<pre>")


def test_runs_and_tasks_are_listed_as_frames(plain: EvaluationResult) -> None:
    runs = kvl_eval.list_runs(plain.path.parent)
    assert list(runs.run_id) == [plain.run_id] and runs.planned[0] == 4
    assert runs.scores[0] == f"mathvista {100 * float(plain.score()):.1f}"
    assert len(kvl_eval.list_runs(plain.path.parent, task="mmmu")) == 0
    assert len(kvl_eval.list_runs(plain.path.parent, task="MathVista", model="fa*")) == 1
    assert list(kvl_eval.list_tasks("math*").task) == ["mathvista", "mathvision"]
    everything, runnable = set(kvl_eval.list_tasks().task), set(kvl_eval.list_tasks("all").task)
    assert everything - runnable == {"desktop-apps", "osworld", "osworld-local"} and len(runnable) > 20


def test_a_run_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Two tasks, two budgets, two repeats, failed samples, a judge's replies; written by 0.1.0."""
    path = shutil.copytree(ROOT / "tests" / "data" / "release_run", tmp_path / "run")
    before = contents(path)
    result = kvl_eval.open_run(path)
    assert {score.task for score in result.scores.values()} == {"mathvista", "mmmu"} and len(result.scores) == 4
    assert len(result.to_pandas()) == len(result.results["rows"])
    frame = result.samples("mathvista")
    assert len(frame) == 3 * 2 * 2 and frame.answer.notna().any() and set(frame.judge.dropna()) == {"umpire"}
    assert contents(path) == before


def test_a_merged_run_is_read(tmp_path: Path) -> None:
    shards = [kvl_eval.evaluate("fake", "mathvista", limit=4, shard=f"{i}/2", output_dir=tmp_path) for i in (1, 2)]
    outcome, _ = merge([shard.path for shard in shards], tmp_path / "merged")
    merged = kvl_eval.open_run(outcome.folder.path)
    assert (merged.score().n, merged.status) == (4, "finished")
    assert set(merged.samples().sample_id) == {name for shard in shards for name in shard.samples().sample_id}


def test_a_run_in_progress_is_read(tmp_path: Path) -> None:
    run = kvl_eval.evaluate("fake", "mathvista", limit=4, output_dir=tmp_path)
    run.folder.save_status("running")
    run.folder.lock()
    try:
        result = kvl_eval.open_run("latest", results_dir=tmp_path)
        assert (result.status, result.exit_code, result.score().n) == ("running", 3, 4)
    finally:
        run.folder.unlock()
