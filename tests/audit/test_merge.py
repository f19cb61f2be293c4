from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.merge import merge, shard_lines
from kvl_eval.audit.verify import verify
from kvl_eval.decode import encode_object
from kvl_eval.errors import DataError, UsageError
from kvl_eval.run.runner import RunOutcome, resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import decode_line, encode_line
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from tests.forks import python
from tests.tiny_task import comparable, make_fake, run_tiny, tiny

SCRIPT = Path(__file__).resolve().parents[1] / "tiny_task.py"
TIMES = ("time", "ended_at")


def shards(output_dir: Path, n: int = 3, task: Task | None = None, **options: Any) -> list[Path]:
    return [run_tiny(output_dir, task, shard=(part, n), **options).folder.path for part in range(1, n + 1)]


def merged(paths: Sequence[Path], output_dir: Path, task: Task | None = None) -> tuple[RunOutcome, list[str]]:
    outcome, found = merge(paths, output_dir, [task or tiny()])
    return outcome, shard_lines(found)


def said(path: Path) -> dict[Any, dict[str, Any]]:
    return {
        record.key: {name: value for name, value in encode_object(record).items() if name not in TIMES}
        for record in RunFolder.open(path).records("tiny")
    }


SWEEP = {"repeats": 2, "think_budget": (4, 8), "model_args": {"think": 5, "answers": "hash"}}
LONG = {"repeats": 2, "think_budget": (64, 128, 256), "model_args": {"think": 200, "answers": "hash"}}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param(SWEEP, id="sweep-and-repeats"),
        pytest.param(LONG, id="sweep-of-long-thoughts"),
        pytest.param({"limit": 7}, id="limit"),
        pytest.param({"protocol": "all"}, id="every-protocol"),
    ],
)
def test_joined_shards_equal_the_run_that_was_never_split(options: dict[str, Any], tmp_path: Path) -> None:
    whole = run_tiny(tmp_path / "whole", **options)
    parts = shards(tmp_path / "parts", **options)
    outcome, _ = merged(list(reversed(parts)), tmp_path / "joined")
    path, other = outcome.folder.path, whole.folder.path
    assert (path / "plan.jsonl").read_bytes() == (other / "plan.jsonl").read_bytes()
    assert said(path) == said(other)
    assert comparable(path) == comparable(other)
    manifest, expected = RunFolder.open(path).manifest, whole.folder.manifest
    for name in ("config_fingerprint", "identity", "selection", "plan_sha256", "data", "counts", "status"):
        assert getattr(manifest, name) == getattr(expected, name), name
    assert sorted(one.shard for one in manifest.merged) == ["1/3", "2/3", "3/3"]
    assert outcome.exit_code == 0
    found = verify(RunReader.open(path, [tiny()]), strict=True)
    assert (found.findings, found.exit_code) == ([], 0)
    assert not (path / "lock").exists()


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_the_last_answer_of_a_shard_is_the_joined_one(tmp_path: Path, policy: str) -> None:
    """Also where a rerun that did not end left answers of an older trajectory beside those of a newer one."""
    parts = shards(tmp_path / "parts", budget_policy=policy, **LONG)
    file = RunFolder.open(parts[0]).samples_path("tiny")
    lines = file.read_bytes().splitlines(keepends=True)
    again = {**decode_line(lines[0]), "answer": "another", "raw_output": "◁think▷otherwise◁/think▷another"}
    file.write_bytes(b"".join(lines) + encode_line({**again, "thinking": "otherwise", "of_a_later_version": [1]}))
    outcome, _ = merged(parts, tmp_path / "joined")
    folder = RunFolder.open(outcome.folder.path)
    assert said(folder.path) == {key: one for part in parts for key, one in said(part).items()}
    assert [record.answer for record in folder.records("tiny") if record.others] == ["another"]
    assert len(list(folder.records("tiny"))) == 10 * 2 * 3
    assert verify(RunReader(folder, [tiny()])).exit_code == 0


def test_several_tasks_keep_the_order_asked(tmp_path: Path) -> None:
    from kvl_eval.backends.fake import FakeBackend
    from kvl_eval.run.config import resolve
    from kvl_eval.run.plan import plan_run
    from kvl_eval.run.runner import start_run
    from tests.tiny_task import gold_answer

    tasks = {name: tiny(name=name) for name in ("zebra", "ant")}

    def run(**options: Any) -> Path:
        config = resolve("fake", "fake", list(tasks.values()), {"output_dir": str(tmp_path / "runs"), **options})
        backend = FakeBackend(config.settings, answer=gold_answer)
        plan = plan_run(config, backend, list(tasks.values()))
        return start_run(plan, backend).folder.path

    parts = [run(shard=(part, 2)) for part in (2, 1)]
    outcome, _ = merge(parts, tmp_path / "joined", list(tasks.values()))
    assert comparable(outcome) == comparable(run())


def test_a_shard_that_holds_nothing_need_not_be_there(tmp_path: Path) -> None:
    task = tiny(2)
    parts = []
    for part in range(1, 6):
        try:
            parts.append(run_tiny(tmp_path, task, shard=(part, 5)).folder.path)
        except UsageError as error:
            assert error.code == "usage.empty"
    assert len(parts) == 2
    outcome, _ = merged(parts, tmp_path / "joined", task)
    assert outcome.results.rows[0].n_ok == 2


def test_P15_a_dead_shard_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    options = json.dumps({"shard": [1, 2], "die_after": 2, "repeats": 2})
    python(str(SCRIPT), "run", str(tmp_path), options)
    dead = next(path for path in tmp_path.iterdir() if path.is_dir())
    alive = run_tiny(tmp_path, shard=(2, 2), repeats=2).folder.path
    planned = sum(1 for _ in RunFolder.open(dead).plan())
    outcome, lines = merged([dead, alive], tmp_path / "joined")
    assert lines[0] == (
        f"shard 1/2  {dead}: 2 of {planned} answers; {planned // 2 - 1} samples are missing; run `kvl-eval resume "
        f"{dead}`"
    )
    assert lines[1].endswith("answers")
    assert outcome.exit_code == 3
    assert outcome.results.rows[0].n_pending == planned - 2
    assert RunFolder.open(outcome.folder.path).status == "interrupted"
    finished = resume_run(RunReader.open(outcome.folder.path, [tiny()]), make_fake)
    assert finished.exit_code == 0
    assert comparable(finished) == comparable(run_tiny(tmp_path / "whole", repeats=2))


# -- what cannot be joined --------------------------------------------------------------------------------------


def refused(paths: Sequence[Path], output_dir: Path, code: str, task: Task | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        merged(paths, output_dir, task)
    assert caught.value.code == code
    assert not output_dir.exists()
    return caught.value


def test_other_configurations_are_refused_naming_both(tmp_path: Path) -> None:
    one, two = (run_tiny(tmp_path, shard=(part, 2), seed=part).folder.path for part in (1, 2))
    error = refused([one, two], tmp_path / "joined", "merge.fingerprint")
    assert error.where == f"{one} and {two}"
    assert error.why == "seed 1 → 2"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        pytest.param({"shard": (2, 3)}, "shard 2 → 3", id="dealt-otherwise"),
        pytest.param({"shard": (2, 2), "limit": 8}, "limit null → 8", id="another-limit"),
    ],
)
def test_other_choices_of_samples_are_refused(other: dict[str, Any], why: str, tmp_path: Path) -> None:
    one, two = run_tiny(tmp_path, shard=(1, 2)).folder.path, run_tiny(tmp_path, **other).folder.path
    assert why in str(refused([one, two], tmp_path / "joined", "merge.fingerprint").why)


def test_overlapping_runs_are_refused_naming_both_and_the_sample(tmp_path: Path) -> None:
    one, two, three = shards(tmp_path)
    again = run_tiny(tmp_path, shard=(2, 3)).folder.path
    error = refused([one, two, again, three], tmp_path / "joined", "merge.overlap")
    assert error.where == f"{two} (shard 2/3) and {again} (shard 2/3)"
    first = next(RunFolder.open(two).plan()).sample_id
    assert error.message == f"sample {first} of tiny is in two of the runs"


def test_missing_shards_are_named_with_the_number_of_samples(tmp_path: Path) -> None:
    one, two, three = shards(tmp_path)
    lost = sum(1 for _ in RunFolder.open(two).plan())
    error = refused([one, three], tmp_path / "joined", "merge.shards")
    assert error.why == f"no run of shard 2/3; {lost} of 10 samples are missing"


def test_one_run_alone_and_a_running_one_are_refused(tmp_path: Path) -> None:
    one, two, _ = shards(tmp_path)
    refused([one], tmp_path / "joined", "merge.one")
    folder = RunFolder.open(two)
    folder.lock()
    folder.save_status("running")
    refused([one, two], tmp_path / "joined", "run.busy")
    folder.unlock()


@pytest.mark.parametrize("name", ["run.json", "plan.jsonl"])
def test_damaged_shards_are_refused(name: str, tmp_path: Path) -> None:
    paths = shards(tmp_path)
    (paths[1] / name).write_bytes((paths[1] / name).read_bytes().replace(b"tiny", b"tony", 1))
    with pytest.raises(DataError, match="changed"):
        merged(paths, tmp_path / "joined")


def kvl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "kvl_eval", *arguments, cwd=cwd)


def test_merge_on_the_command_line(tmp_path: Path) -> None:
    options = ("--task", "mathvista", "--model", "fake", "--limit", "6", "--json", "--no-resume")
    runs = [
        json.loads(kvl("run", *options, "--shard", shard, cwd=tmp_path).stdout)["folder"] for shard in ("1/2", "2/2")
    ]
    done = kvl("merge", *runs, "--output-dir", "joined", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shard 1/2" in done.stderr
    found = json.loads(done.stdout)
    assert found["rows"][0]["n_ok"] == 6
    assert found["rows"][0]["partial"].startswith("limit 6 of ")
    assert kvl("verify", found["folder"], cwd=tmp_path).returncode == 0
    refused = kvl("merge", runs[0], cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error[merge.one]")
