from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends.base import Backend, Description, Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.cli.internal import internal_error
from kvl_eval.errors import CheckpointError, DataError, InputError, KvlEvalError, StorageError, UsageError
from kvl_eval.reports.warnings import run_warnings
from kvl_eval.run import session
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import plan_run
from kvl_eval.run.progress import TaskCounts
from kvl_eval.run.runner import RunOutcome, resume_run, start_run
from kvl_eval.run.same_run import same_runs
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import Reporter, Source
from kvl_eval.store.journal import Disk, encode_line
from kvl_eval.store.manifest import AnswerCounts
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.types import Completion, Message, Sample, Score
from tests.faults.invariants import check_invariants
from tests.forks import python
from tests.processes import running
from tests.refusals import refused
from tests.tiny_task import comparable, config_of, gold_answer, make_fake, rows, run_tiny, sample_of, tiny

SCRIPT = Path(__file__).resolve().parents[1] / "tiny_task.py"
RECORD_TIMES = ("time", "ended_at", "crc")


def resume(path: Path, task: Task | None = None, **options: Any) -> RunOutcome:
    chosen = task or tiny()
    return resume_run(RunReader.open(path, [chosen]), make_fake, **options)


def no_model(config: RunConfig) -> Backend:
    raise AssertionError("the model must not be made")


def record_lines(path: Path, task: str = "tiny") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "samples" / f"{task}.jsonl").read_bytes().splitlines()]


def said(path: Path) -> dict[tuple[Any, ...], Any]:
    """Every record without times, by its key."""
    return {
        (record["sample_id"], record["repeat"], record["budget"]): {
            name: value for name, value in record.items() if name not in RECORD_TIMES
        }
        for record in record_lines(path)
    }


# -- an ordinary run --------------------------------------------------------------------------------------------


def test_a_run_answers_scores_and_says_where_it_lies(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path)
    assert outcome.exit_code == 0
    [row] = outcome.results.rows
    right = sum(
        record["raw_output"] == "AB"[number % 2] for number, record in enumerate(record_lines(outcome.folder.path))
    )
    assert (row.score, row.n_planned, row.n_ok, row.n_scored) == (right / 10, 10, 10, 10)
    assert row.complete and row.partial is None
    assert row.verdicts == {"correct": right, "wrong": 10 - right}
    assert row.categories["parity"]["odd"].n == 5
    assert row.ci95[0] <= row.score <= row.ci95[1]
    assert str(outcome.folder.path) in outcome.message
    manifest = RunFolder.open(outcome.folder.path).manifest
    assert (manifest.status, manifest.counts.ok) == ("finished", 10)
    assert json.loads((tmp_path / "index.json").read_text())["runs"][0]["run_id"] == outcome.folder.run_id
    check_invariants(outcome.folder.path)


def test_records_hold_what_was_asked_and_answered(tmp_path: Path) -> None:
    first = record_lines(run_tiny(tmp_path, model_args={"think": 3, "answers": "constant:B"}).folder.path)[0]
    assert first["prompt_text"] == "[user]\n<image:1>Wieviel ist 0?\nAnswer A or B."
    assert (first["answer"], first["think_closed"], first["tokens"]["thinking"]) == ("B", True, 5)
    assert first["raw_output"].startswith("◁think▷")
    assert first["config_fingerprint"] and first["prompt_sha256"] and first["ended_at"]


def test_the_same_run_gives_the_same_records_and_results(tmp_path: Path) -> None:
    one, two = run_tiny(tmp_path), run_tiny(tmp_path, model_args={"concurrency": 5, "delay": 0.002, "jitter": 1.0})
    assert one.folder.path != two.folder.path
    finished = [record["sample_id"] for record in record_lines(two.folder.path)]
    assert finished != sorted(finished)
    assert said(one.folder.path) == said(two.folder.path)
    assert comparable(one) == comparable(two)


def test_repeats_and_budgets(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path, repeats=3, think_budget=(4, 8), model_args={"think": 5, "answers": "hash"})
    cut, whole = outcome.results.rows
    assert (cut.budget, whole.budget, cut.policy) == (4, 8, "cut")
    assert (cut.n_planned, whole.n_planned) == (30, 30)
    assert cut.verdicts == {"no_answer": 30}
    assert cut.truncated_share == 1.0
    assert whole.repeats.n == 3
    assert whole.repeats.pass_at["3"] >= whole.repeats.pass_at["1"] == pytest.approx(whole.score)
    assert whole.ci_method == "cluster bootstrap"
    check_invariants(outcome.folder.path)


def test_forced_budgets_are_answered_and_counted(tmp_path: Path) -> None:
    args = {"think": 5, "answers": "constant:B"}
    [row] = run_tiny(tmp_path, think_budget=(4,), budget_policy="force", model_args=args).results.rows
    assert (row.forced_share, row.score, row.tokens["thinking"].mean) == (1.0, 0.5, 4.0)


def test_several_tasks_stand_in_the_order_asked(tmp_path: Path) -> None:
    tasks = {name: tiny(name=name) for name in ("zebra", "ant")}
    from kvl_eval.run.config import resolve

    config = resolve("fake", "fake", list(tasks.values()), {"output_dir": str(tmp_path), "protocol": "all"})
    backend = FakeBackend(config.settings, answer=gold_answer)
    outcome = start_run(plan_run(config, backend, list(tasks.values())), backend)
    assert [(row.task, row.protocol) for row in outcome.results.rows] == [
        ("zebra", "official"),
        ("zebra", "lenient"),
        ("ant", "official"),
        ("ant", "lenient"),
    ]
    assert outcome.results.rows[1].label == "lenient rule"


def test_a_part_of_a_split_is_marked(tmp_path: Path) -> None:
    assert run_tiny(tmp_path, limit=4).results.rows[0].partial == "limit 4 of 10"
    assert run_tiny(tmp_path, sample_ids=("q/3",)).results.rows[0].partial == "1 chosen samples of 10"
    assert run_tiny(tmp_path, shard=(1, 2)).results.rows[0].partial.startswith("shard 1/2: ")


def test_output_folders_that_cannot_be_are_refused_before_the_model_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        run_tiny(tmp_path / "file")
    assert caught.value.exit_code == 2


def test_a_planted_key_is_nowhere_in_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kvl-eval", "run", "--judge-key", "PLANTED", "--model-args", "api_key=PLANTED"])
    monkeypatch.setenv("JUDGE_KEY", "PLANTED")
    run_tiny(tmp_path)
    assert all(b"PLANTED" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


# -- failures ---------------------------------------------------------------------------------------------------


def warned(outcome: RunOutcome) -> list[str]:
    """The sentences of the run's warnings, but for one about this checkout."""
    warnings = run_warnings(outcome.folder, outcome.results)
    return [str(warning) for warning in warnings if warning.code != "versions"]


def test_failed_samples_are_counted_by_reason_and_bound_the_score(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path, model_args={"answers": "constant:A", "fail": "oom:@q/1+timeout:@q/2+timeout:@q/4"})
    assert outcome.exit_code == 3
    [row] = outcome.results.rows
    assert row.failed == {"oom": 1, "timeout": 2}
    assert (row.n_ok, row.score, row.complete) == (7, 3 / 7, False)
    assert row.bounds == (0.3, 0.6)
    assert warned(outcome) == [
        "scripted answers: do not compare these scores with published results",
        "tiny: incomplete: 3 failed of 10 (timeout 2, oom 1); the score lies between 30.0 and 60.0",
    ]
    counts = AnswerCounts(planned=10, ok=7, failed={"oom": 1, "timeout": 2}, pending=0)
    assert RunFolder.open(outcome.folder.path).manifest.counts == counts
    assert "--rerun failed" in outcome.message
    assert "failed[timeout] tiny q/2: scripted failure: timeout" in (outcome.folder.path / "log.txt").read_text()
    check_invariants(outcome.folder.path)


def test_a_prompt_may_begin_the_reply(tmp_path: Path) -> None:
    def prompt(sample: Sample) -> list[Message]:
        return [Message.user(sample.question), Message.assistant("Best: ", "(")]

    outcome = run_tiny(tmp_path, tiny(2, prompts={"plain": prompt}), model_args={"answers": "constant:B) yes"})
    assert [record["raw_output"] for record in record_lines(outcome.folder.path)] == ["Best: (B) yes"] * 2
    assert record_lines(outcome.folder.path)[0]["prompt_text"].endswith("[assistant]\nBest: (")
    check_invariants(outcome.folder.path)


def test_a_prompt_that_raises_fails_its_sample_only(tmp_path: Path) -> None:
    def prompt(sample: Sample) -> list[Message]:
        if sample.id == "q/4":
            raise IndexError("no such picture")
        return [Message.user(sample.question)]

    outcome = run_tiny(tmp_path, tiny(prompts={"plain": prompt}), repeats=2)
    [row] = outcome.results.rows
    assert (row.failed, row.n_ok) == ({"prompt_failed": 2}, 18)
    failed = next(record for record in record_lines(outcome.folder.path) if record["status"] == "failed")
    assert failed["message"] == "IndexError: no such picture"


def test_a_scorer_that_raises_leaves_its_sample_unscored(tmp_path: Path) -> None:
    def score(sample: Sample, answer: str, extraction: Any) -> Score:
        if sample.id == "q/4":
            raise ZeroDivisionError("oh")
        return Score.of(1.0, answer)

    outcome = run_tiny(tmp_path, tiny(protocols={"official": Protocol(score=score)}))
    [row] = outcome.results.rows
    assert outcome.exit_code == 3
    assert (row.n_ok, row.n_scored, row.verdicts) == (10, 9, {"correct": 9, "not_scored": 1})
    assert any("tiny: 1 of 10 replies not scored" in text for text in warned(outcome))


def test_twenty_failures_of_one_kind_end_the_run(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path, tiny(50), model_args={"fail": "oom:1000"})
    assert outcome.exit_code == 4
    [row] = outcome.results.rows
    assert (row.failed, row.n_pending, row.score, row.ci95) == ({"oom": 20}, 30, None, None)
    assert row.bounds == (0.0, 1.0)
    assert outcome.message.splitlines()[:2] == [
        "stopped: the first 20 samples all failed (oom)",
        "stopped: 20 of 50 answers saved",
    ]
    check_invariants(outcome.folder.path, resumable=False)  # it would end the same way


def test_failures_of_several_kinds_do_not(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path, tiny(30), model_args={"fail": "oom:10+timeout:1000"})
    assert (outcome.exit_code, outcome.results.rows[0].n_failed) == (3, 30)


@pytest.mark.parametrize(("allowed", "failed"), [(0, 1), (2, 3), (0.1, 4)])
def test_fail_on_error_stops_after_so_many(tmp_path: Path, allowed: float, failed: int) -> None:
    outcome = run_tiny(tmp_path, tiny(30), model_args={"fail": "oom:10"}, fail_on_error=allowed)
    assert outcome.exit_code == 3
    assert outcome.results.rows[0].n_failed == failed
    assert "--fail-on-error" in outcome.message


def test_what_hangs_when_a_run_is_to_stop_is_given_up_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = []

    class Hanging(FakeBackend):
        """Hangs after the first request, which fails."""

        async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
            async for answered in super().generate(islice(requests, 1)):
                yield answered
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                given_up.append(True)
                raise

    monkeypatch.setattr(session, "GRACE", 0.05)
    task = tiny()
    config = config_of(task, tmp_path, model_args={"fail": "oom:1"}, fail_on_error=0)
    backend = Hanging(config.settings)
    outcome = start_run(plan_run(config, backend, [task]), backend)
    assert (outcome.exit_code, given_up) == (3, [True])
    row = outcome.results.rows[0]
    assert (row.n_failed, row.n_pending) == (1, 9)


class Broken(FakeBackend):
    """Answers three requests, then cannot go on."""

    def __init__(self, error: Exception) -> None:
        super().__init__(answer=gold_answer)
        self.error = error
        self.closed = False

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        for number, request in enumerate(requests):
            if number == 3:
                raise self.error
            async for answered in super().generate([request]):
                yield answered

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("error", [CheckpointError("checkpoint.shard", "gone"), RuntimeError("a bug")], ids=repr)
def test_a_backend_that_breaks_leaves_a_run_that_resumes(tmp_path: Path, error: Exception) -> None:
    task, backend = tiny(), Broken(error)
    plan = plan_run(config_of(task, tmp_path), backend, [task])
    with pytest.raises(type(error)) as caught:
        start_run(plan, backend)
    assert backend.closed
    [path] = [one for one in tmp_path.iterdir() if one.is_dir()]
    assert RunFolder.open(path).status == "interrupted"
    assert "Traceback" in (path / "log.txt").read_text()
    if isinstance(error, RuntimeError):
        assert internal_error(caught.value).where == f"traceback: {path / 'log.txt'}"
    outcome = resume(path)
    assert (outcome.exit_code, len(record_lines(path))) == (0, 10)
    assert comparable(outcome) == comparable(run_tiny(tmp_path))


def test_an_answer_that_nobody_asked_for_is_an_error(tmp_path: Path) -> None:
    class Confused(FakeBackend):
        async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
            for request in requests:
                yield request.key, Completion(repeat=7)

    task, backend = tiny(), Confused()
    plan = plan_run(config_of(task, tmp_path), backend, [task])
    with refused(KvlEvalError, "backend.answer"):
        start_run(plan, backend)


def test_answers_that_never_came_stay_pending(tmp_path: Path) -> None:
    class Lazy(FakeBackend):
        async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
            async for key, completion in super().generate(requests):
                if key != "tiny/q/3":
                    yield key, completion

    task, backend = tiny(), Lazy(answer=gold_answer)
    plan = plan_run(config_of(task, tmp_path), backend, [task])
    outcome = start_run(plan, backend)
    assert (outcome.exit_code, outcome.results.rows[0].n_pending) == (3, 1)
    assert "kvl-eval resume" in outcome.message
    assert resume(outcome.folder.path).exit_code == 0


# -- storage ----------------------------------------------------------------------------------------------------


class Full(Disk):
    """Refuses from the `after`-th record on, or files called `name`."""

    def __init__(self, after: int = 10**6, name: str = "") -> None:
        self.after, self.name = after, name

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        self.after -= 1
        if self.after < 0:
            os.write(descriptor, data[:20])
            raise StorageError("storage.full", f"cannot write {path}: No space left on device")
        super().append(descriptor, data, path)

    def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
        if path.name == self.name:
            raise StorageError("storage.full", f"cannot write {path}: No space left on device")
        super().replace(path, chunks)


@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_a_full_disk_stops_the_run_at_once_and_resume_completes_it(tmp_path: Path, after: int) -> None:
    with pytest.raises(StorageError) as caught:
        run_tiny(tmp_path, disk=Full(after))
    assert caught.value.exit_code == 6
    [path] = [one for one in tmp_path.iterdir() if one.is_dir()]
    outcome = resume(path)
    assert any("removed 20 bytes" in notice for notice in outcome.folder.notices)
    assert [record["sample_id"] for record in record_lines(path)] == [f"q/{number}" for number in range(10)]
    assert comparable(outcome) == comparable(run_tiny(tmp_path))
    check_invariants(path)


def test_a_disk_that_is_full_when_results_are_written_keeps_every_record(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        run_tiny(tmp_path, disk=Full(name="results.json"))
    [path] = [one for one in tmp_path.iterdir() if one.is_dir()]
    assert len(record_lines(path)) == 10
    outcome = resume_run(RunReader.open(path, [tiny()]), no_model)
    assert outcome.exit_code == 0
    check_invariants(path)


def test_a_system_that_refuses_to_write_is_a_storage_error(tmp_path: Path) -> None:
    class NoSpace(Disk):
        def append(self, descriptor: int, data: bytes, path: Path) -> None:
            read_only = os.open(path, os.O_RDONLY)
            try:
                super().append(read_only, data, path)
            finally:
                os.close(read_only)

    with pytest.raises(StorageError) as caught:
        run_tiny(tmp_path, disk=NoSpace())
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EBADF


# -- resuming ---------------------------------------------------------------------------------------------------


def interrupted(tmp_path: Path, kept: int, **options: Any) -> Path:
    """A run of which only the first `kept` records are left."""
    path = run_tiny(tmp_path, **options).folder.path
    (path / "results.json").unlink()
    file = path / "samples" / "tiny.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:kept]))
    RunFolder.open(path).save_status("running")
    return path


@pytest.mark.parametrize("kept", range(13))
def test_a_sweep_with_repeats_resumes_from_any_record(tmp_path: Path, kept: int) -> None:
    options: dict[str, Any] = {
        "repeats": 2, "think_budget": (4, 8), "limit": 3, "model_args": {"think": 5, "answers": "hash"},
    }  # fmt: skip
    whole = run_tiny(tmp_path, **options)
    path = interrupted(tmp_path, kept, **options)
    before = record_lines(path)
    outcome = resume(path)
    assert record_lines(path)[:kept] == before
    assert len(record_lines(path)) == 12
    assert said(path) == said(whole.folder.path)
    assert comparable(outcome) == comparable(whole)


def test_resuming_a_finished_run_does_nothing(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    outcome = resume_run(RunReader.open(path, [tiny()]), no_model)
    assert outcome.exit_code == 0
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_run_killed_before_its_results_makes_them_without_a_model(tmp_path: Path) -> None:
    path = interrupted(tmp_path, 10)
    outcome = resume_run(RunReader.open(path, [tiny()]), no_model)
    assert outcome.exit_code == 0
    assert RunFolder.open(path).manifest.status == "finished"
    check_invariants(path)


def test_failed_samples_are_answered_again_when_asked(tmp_path: Path) -> None:
    task = tiny()
    config = config_of(task, tmp_path, model_args={"fail": "oom:4"})
    path = start_run(plan_run(config, make_fake(config), [task]), make_fake(config)).folder.path
    untouched = resume_run(RunReader.open(path, [task]), no_model)
    assert untouched.exit_code == 3

    class Repaired(FakeBackend):
        async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
            async for answered in FakeBackend(answer=gold_answer).generate(requests):
                yield answered

    outcome = resume_run(RunReader.open(path, [task]), lambda config: Repaired(config.settings), rerun="failed")
    assert (outcome.exit_code, len(record_lines(path))) == (0, 14)
    chosen = resume_run(RunReader.open(path, [task]), lambda config: Repaired(config.settings), rerun=["q/5"])
    assert (chosen.exit_code, len(record_lines(path))) == (0, 15)
    again = resume_run(RunReader.open(path, [task]), lambda config: Repaired(config.settings), rerun="all")
    assert (again.exit_code, len(record_lines(path))) == (0, 25)
    check_invariants(path)


def test_another_configuration_is_refused_with_old_and_new(tmp_path: Path) -> None:
    path = interrupted(tmp_path, 4)
    before = record_lines(path)
    with pytest.raises(UsageError) as caught:
        resume(path, changes={"seed": 1, "repeats": 2})
    assert caught.value.code == "run.mismatch"
    assert caught.value.why == "seed 0 → 1; repeats 1 → 2"
    assert "--no-resume" in str(caught.value.fix)
    assert record_lines(path) == before
    assert not (path / "lock").exists()


def test_changed_data_is_refused(tmp_path: Path) -> None:
    path = interrupted(tmp_path, 4)
    content = rows(10)
    content[9]["question"] = "Something else?"
    with refused(UsageError, "run.mismatch") as caught:
        resume(path, tiny(content=content))
    assert "tasks.tiny.data" in str(caught.value.why)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    class Other(FakeBackend):
        def describe(self) -> Description:
            description = super().describe()
            return replace(description, identity={**description.identity, "weights_sha256": "0" * 64})

    path = interrupted(tmp_path, 4)
    with pytest.raises(UsageError) as caught:
        resume_run(RunReader.open(path, [tiny()]), lambda config: Other(config.settings))
    assert "model.weights_sha256" in str(caught.value.why)


def test_another_shard_is_refused(tmp_path: Path) -> None:
    path = interrupted(tmp_path, 1, shard=(1, 2))
    with pytest.raises(UsageError) as caught:
        resume(path, changes={"shard": (2, 2)})
    assert caught.value.why == "shard 1/2 → 2/2"


def test_another_device_is_a_notice(tmp_path: Path) -> None:
    class Elsewhere(FakeBackend):
        def describe(self) -> Description:
            description = super().describe()
            return replace(description, facts={**description.facts, "device": "cuda:0"})

    path = interrupted(tmp_path, 4)
    outcome = resume_run(RunReader.open(path, [tiny()]), lambda config: Elsewhere(config.settings, gold_answer))
    assert outcome.exit_code == 0
    assert (
        "device",
        "resumed on another device (cpu → cuda:0): results may differ slightly",
    ) in outcome.folder.warnings
    assert outcome.folder.manifest.model.device == "cuda:0"
    assert len(outcome.folder.manifest.resumes) == 1


@pytest.mark.parametrize("name", ["run.json", "plan.jsonl"])
def test_a_damaged_manifest_or_plan_is_not_resumed(tmp_path: Path, name: str) -> None:
    path = interrupted(tmp_path, 4)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content.replace(b"tiny", b"tinz", 1))
    with pytest.raises(DataError):
        resume(path)


def test_a_damaged_record_is_answered_again(tmp_path: Path) -> None:
    whole = run_tiny(tmp_path)
    path = interrupted(tmp_path, 10)
    file = path / "samples" / "tiny.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"raw_output":"', b'"raw_output":"X')
    file.write_bytes(b"".join(lines))
    outcome = resume(path)
    assert any("line 4" in notice for notice in outcome.folder.notices)
    assert comparable(outcome) == comparable(whole)


def test_the_newest_run_of_the_same_plan_is_found_first(tmp_path: Path) -> None:
    task = tiny()

    def found(**options: Any) -> list[Path]:
        config = config_of(task, tmp_path, **options)
        return [Path(run.path) for run in same_runs(plan_run(config, make_fake(config), [task]))]

    whole = run_tiny(tmp_path).folder.path
    older, newer = interrupted(tmp_path, 2), interrupted(tmp_path, 3)
    folder = RunFolder.open(older)
    folder.save(replace(folder.manifest, created="2020-01-01T00:00:00+00:00"))
    assert found() == [newer, whole, older]
    assert found(batch_size=7) == found()
    assert found(seed=1) == found(shard=(1, 2)) == []


def test_a_run_inside_a_running_event_loop(tmp_path: Path) -> None:
    async def notebook() -> RunOutcome:
        return run_tiny(tmp_path)

    assert asyncio.run(notebook()).exit_code == 0


def test_loading_that_breaks_in_the_middle_ends_the_run_with_its_error(tmp_path: Path) -> None:
    reads = []

    def load(source: Source, split: str, reporter: Reporter) -> Iterator[Sample]:
        reads.append(1)
        for number, row in enumerate(rows(10)):
            if len(reads) == 2 and number == 5:
                raise DataError("data.corrupt", "row group 1 cannot be read")
            yield sample_of(row)

    with pytest.raises(InputError) as caught:
        run_tiny(tmp_path, tiny(load=load))
    assert caught.value.exit_code == 4
    [path] = [one for one in tmp_path.iterdir() if one.is_dir()]
    assert len(record_lines(path)) == 5


class Watching:
    """A progress that looks at the disk whenever it is told of a record."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir, self.tasks, self.seen = output_dir, [], []  # type: ignore[var-annotated]

    def start(self, tasks: Any) -> None:
        self.tasks: list[TaskCounts] = list(tasks)

    def update(self) -> None:
        on_disk = sum(len(path.read_bytes().splitlines()) for path in self.output_dir.glob("*/samples/*.jsonl"))
        self.seen.append((self.tasks[0].done, on_disk))

    def notice(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Listening(Watching):
    """A progress that keeps the notices."""

    def __init__(self, output_dir: Path) -> None:
        super().__init__(output_dir)
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_house_d8_why_a_run_stops_is_told_without_blanks_for_columns(tmp_path: Path) -> None:
    task, listening = tiny(50), Listening(tmp_path)
    config = config_of(task, tmp_path, model_args={"fail": "oom:1000"})
    backend = FakeBackend(config.settings)
    start_run(plan_run(config, backend, [task]), backend, listening)
    (notice,) = [text for text in listening.notices if "the first 20 samples" in text]
    assert notice.startswith("stopping: the first 20 samples all failed (oom); finishing the requests in flight ")
    assert "  " not in notice


def test_what_progress_shows_is_in_the_file(tmp_path: Path) -> None:
    task, watching = tiny(), Watching(tmp_path)
    config = config_of(task, tmp_path)
    backend = FakeBackend(config.settings, gold_answer)
    start_run(plan_run(config, backend, [task]), backend, watching)
    assert len(watching.seen) >= 10
    assert all(shown <= on_disk for shown, on_disk in watching.seen)


# -- killed from outside ----------------------------------------------------------------------------------------


Child = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def child() -> Iterator[Child]:
    """Starts `tiny_task.py VERB WHERE` with options; what still runs at the end of the test is killed."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with ExitStack() as stack:

        def start(verb: str, where: Path, **options: Any) -> subprocess.Popen[str]:
            command = [sys.executable, str(SCRIPT), verb, str(where), json.dumps(options)]
            return stack.enter_context(running(command, env=environment, **pipes))

        yield start


def script(verb: str, where: Path, **options: Any) -> int:
    """How `tiny_task.py VERB WHERE` with options ended."""
    return python(str(SCRIPT), verb, str(where), json.dumps(options), timeout=60).returncode


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def only_run(output_dir: Path) -> Path:
    [path] = [one for one in output_dir.iterdir() if one.is_dir()]
    return path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    return run_tiny(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("torn", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("after", [0, 1, 7, 9])
def test_kill_minus_nine_then_resume(tmp_path: Path, uninterrupted: RunOutcome, after: int, torn: bool) -> None:
    assert script("run", tmp_path, die_after=after, torn=torn) == -signal.SIGKILL
    path = only_run(tmp_path)
    assert RunFolder.open(path).status == "interrupted"
    assert len(list(RunFolder.open(path).records("tiny"))) == after
    outcome = resume(path)
    assert outcome.exit_code == 0
    assert any("took over the lock" in notice for notice in outcome.folder.notices)
    assert any("a crash left incomplete" in notice for notice in outcome.folder.notices) == torn
    assert len(record_lines(path)) == 10
    assert {key[0] for key in said(path)} == {f"q/{number}" for number in range(10)}
    assert comparable(outcome) == comparable(uninterrupted)
    check_invariants(path)


def test_killed_again_and_again(tmp_path: Path, uninterrupted: RunOutcome) -> None:
    script("run", tmp_path, die_after=2)
    path = only_run(tmp_path)
    for _ in range(3):
        assert script("resume", path, die_after=2, torn=True) == -signal.SIGKILL
    assert script("resume", path) == 0
    assert len(record_lines(path)) == 10
    assert comparable(path) == comparable(uninterrupted)


def wait_for_records(output_dir: Path, count: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if sum(len(path.read_bytes().splitlines()) for path in output_dir.glob("*/samples/*.jsonl")) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no records came")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_one_signal_ends_a_run_in_order(child: Child, tmp_path: Path, number: signal.Signals) -> None:
    process = child("run", tmp_path, n=200, model_args={"delay": 0.05})
    wait_for_records(tmp_path, 3, process)
    process.send_signal(number)
    code, out, err = ended(process)
    path = only_run(tmp_path)
    assert code == 128 + number
    assert f"kvl-eval resume {path}" in out
    assert ("press Ctrl-C again" in err) if number == signal.SIGINT else (f"stopping: {number.name}; " in err)
    assert out.splitlines()[-3].startswith("stopped: ") and out.splitlines()[-3].endswith(" of 200 answers saved")
    assert out.splitlines()[-1] == f"folder:  {path}"
    assert "Traceback" not in err
    assert RunFolder.open(path).manifest.status == "interrupted"
    [row] = json.loads((path / "results.json").read_text())["rows"]
    assert row["n_ok"] >= 3 and row["n_pending"] > 100 and row["n_ok"] + row["n_pending"] == 200
    check_invariants(path)


def test_what_is_under_way_is_given_up_after_its_grace(child: Child, tmp_path: Path) -> None:
    process = child("run", tmp_path, n=4, model_args={"delay": 3.0, "concurrency": 2, "jitter": 1.0})
    wait_for_records(tmp_path, 1, process)
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    check_invariants(only_run(tmp_path))


def test_a_second_signal_ends_a_run_at_once(child: Child, tmp_path: Path) -> None:
    process = child("run", tmp_path, n=50, model_args={"delay": 0.05})
    wait_for_records(tmp_path, 2, process)
    process.send_signal(signal.SIGSTOP)  # both signals are there when it wakes
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    code, _, err = ended(process)
    assert code in (130, 143)
    assert "Traceback" not in err
    path = only_run(tmp_path)
    stopped, following, folder = err.splitlines()[-3:]
    assert re.fullmatch(r"stopped: \d+ of 50 answers saved", stopped)
    assert (following, folder) == (f"next:    kvl-eval resume {path}", f"folder:  {path}")
    assert len(record_lines(path)) >= 2
    assert script("resume", path, n=50) == 0
    assert len(record_lines(path)) == 50
    check_invariants(path)


def test_a_second_process_on_one_run_is_refused(child: Child, tmp_path: Path) -> None:
    process = child("run", tmp_path, n=100, model_args={"delay": 0.05})
    wait_for_records(tmp_path, 1, process)
    path = only_run(tmp_path)
    with pytest.raises(UsageError) as caught:
        resume(path, tiny(100))
    assert caught.value.code == "run.busy"
    assert f"pid {process.pid}" in str(caught.value.where)
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130


def test_a_closed_standard_error_ends_nothing(child: Child, tmp_path: Path) -> None:
    process = child("run", tmp_path, n=30, model_args={"delay": 0.01})
    assert process.stderr is not None and process.stdout is not None
    process.stderr.close()
    assert "folder:  " in process.stdout.read()
    assert process.wait(timeout=60) == 0
    check_invariants(only_run(tmp_path))


def test_records_of_a_stranger_stop_a_resume(tmp_path: Path) -> None:
    path = interrupted(tmp_path, 4)
    file = path / "samples" / "tiny.jsonl"
    stranger = {**record_lines(path)[0], "config_fingerprint": "0" * 64, "sample_id": "q/9"}
    stranger.pop("crc")
    file.write_bytes(file.read_bytes() + encode_line(stranger))
    with pytest.raises(UsageError) as caught:
        resume(path)
    assert caught.value.code == "run.mixed"
