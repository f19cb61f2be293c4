from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.verification import Verification
from kvl_eval.audit.verify import verify
from kvl_eval.audit.verify_text import as_text
from kvl_eval.decode import encode_object
from kvl_eval.errors import DataError, InputError, KvlEvalError
from kvl_eval.run.runner import resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import STRICT, Reporter, Source
from kvl_eval.store.journal import decode_line, encode_line
from kvl_eval.store.manifest import AnswerCounts
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, Sample
from tests.forks import python
from tests.records import make_media
from tests.tiny_task import make_fake, rows, run_tiny, sample_of, tiny

SCRIPT = Path(__file__).resolve().parents[1] / "tiny_task.py"


def verified(path: Path, task: Task | None = None, **options: Any) -> Verification:
    return verify(RunReader.open(path, [task or tiny()]), **options)


def finished(output_dir: Path, **options: Any) -> Path:
    return run_tiny(output_dir, **options).folder.path


def codes(found: Verification, severity: str = "damaged") -> set[str]:
    return {one.code for one in found.findings if one.severity == severity}


def records_of(path: Path) -> list[dict[str, Any]]:
    return [decode_line(line) for line in (path / "samples" / "tiny.jsonl").read_bytes().splitlines(keepends=True)]


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    (path / "samples" / "tiny.jsonl").write_bytes(b"".join(encode_line(record) for record in records))


def killed(output_dir: Path, **options: Any) -> Path:
    """A run whose process killed itself."""
    python(str(SCRIPT), "run", str(output_dir), json.dumps(options))
    return next(path for path in output_dir.iterdir() if path.is_dir())


# -- whole runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"protocol": "all"}, id="every-protocol"),
        pytest.param({"thinking": "raw"}, id="raw"),
        pytest.param({"repeats": 3, "think_budget": (4, 8), "model_args": {"think": 5, "answers": "hash"}}, id="sweep"),
        pytest.param({"limit": 4}, id="limit"),
        pytest.param({"shard": (1, 2)}, id="shard"),
        pytest.param({"sample_ids": ("q/3", "q/4")}, id="chosen"),
    ],
)
def test_a_whole_run_is_proven(options: dict[str, Any], tmp_path: Path) -> None:
    path = finished(tmp_path, **options)
    found = verified(path, strict=True)
    assert (found.findings, found.exit_code, found.verdict) == ([], 0, "complete")
    assert len(found.proven) == 6
    assert found.counts["ok"] == found.counts["planned"] == len(records_of(path))


def test_nothing_is_written(tmp_path: Path) -> None:
    path = finished(tmp_path)

    def content() -> dict[Path, tuple[bytes, int]]:
        return {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in tmp_path.rglob("*") if one.is_file()}

    before = content()
    verified(path)
    assert content() == before


def test_failed_answers_are_accounted_for(tmp_path: Path) -> None:
    found = verified(finished(tmp_path, model_args={"answers": "constant:A", "fail": "oom:@q/1"}))
    assert (found.exit_code, found.counts["failed"], codes(found, "note")) == (0, 1, {"record.failed"})


def test_records_answered_again_are_told_and_no_damage(tmp_path: Path) -> None:
    path = finished(tmp_path)
    resume_run(RunReader.open(path, [tiny()]), make_fake, rerun=("q/3",))
    found = verified(path, strict=True)
    assert (found.exit_code, codes(found, "note")) == (0, {"record.replaced"})


# -- flipped bits -----------------------------------------------------------------------------------------------


def flip(path: Path, position: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def positions(data: bytes, step: int, seed: int) -> Iterator[tuple[int, int]]:
    """Every `step`-th byte with a seeded bit, and the last three line breaks with all bits."""
    draw = random.Random(seed)
    yield from ((position, draw.randrange(8)) for position in range(draw.randrange(step), len(data), step))
    ends = [position for position, byte in enumerate(data) if byte == ord("\n")]
    yield from ((position, bit) for position in ends[-3:] for bit in range(8))


def noticed(path: Path, task: Task) -> tuple[int, set[str]]:
    """Exit code, and where the damage lies."""
    try:
        found = verified(path, task)
    except KvlEvalError as error:
        return error.exit_code, {str(error.where or error.message)}
    return found.exit_code, {one.where for one in found.findings if one.severity in ("damaged", "trace")}


@pytest.mark.parametrize("name", ["run.json", "plan.jsonl", "samples/tiny.jsonl"])
def test_any_flipped_bit_of_a_primary_file_is_noticed(name: str, tmp_path: Path) -> None:
    task = tiny(3)
    path = finished(tmp_path, task=task, repeats=2)
    file = path / name
    original = file.read_bytes()
    for position, bit in positions(original, 9, seed=len(name)):
        flip(file, position, bit)
        code, where = noticed(path, task)
        assert code == 4, (name, position, bit)
        line = original[:position].count(b"\n") + 1
        expected = str(file) if name == "run.json" else f"{file} line {line}"
        assert any(one.startswith(expected) for one in where), (name, position, bit, where)
        file.write_bytes(original)
    assert verified(path, task).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "plan.jsonl", "samples/tiny.jsonl"])
def test_every_byte_of_a_primary_file_counts(name: str, tmp_path: Path) -> None:
    task = tiny(1)
    path = finished(tmp_path, task=task)
    original = (path / name).read_bytes()
    draw = random.Random(0)
    for position in range(len(original)):
        bit = draw.randrange(8)
        flip(path / name, position, bit)
        assert noticed(path, task)[0] == 4, (position, bit)
        (path / name).write_bytes(original)


# -- what is missing or does not belong -------------------------------------------------------------------------


def test_a_killed_run_is_incomplete_and_its_torn_end_is_strict_damage(tmp_path: Path) -> None:
    path = killed(tmp_path, die_after=4, torn=True)
    found = verified(path)
    assert (found.exit_code, found.verdict) == (3, "incomplete")
    assert codes(found, "trace") == {"record.torn"}
    missing = [one for one in found.findings if one.code == "record.missing"]
    assert [one.what for one in missing] == [f"q/{number} has no record" for number in range(4, 10)]
    assert found.counts == {"planned": 10, "ok": 4, "failed": 0, "pending": 6}
    assert verified(path, strict=True).exit_code == 4
    resume_run(RunReader.open(path, [tiny()]), make_fake)
    assert verified(path, strict=True).findings == []


def test_damage_that_was_answered_again_is_a_trace(tmp_path: Path) -> None:
    path = finished(tmp_path)
    flip(path / "samples" / "tiny.jsonl", 60, 3)
    assert verified(path).exit_code == 4
    resume_run(RunReader.open(path, [tiny()]), make_fake)
    found = verified(path)
    assert (found.exit_code, codes(found, "trace")) == (0, {"record.damaged"})
    assert verified(path, strict=True).exit_code == 4


def test_a_whole_line_taken_out_of_a_finished_run_is_damage(tmp_path: Path) -> None:
    path = finished(tmp_path)
    write_records(path, [record for record in records_of(path) if record["sample_id"] != "q/7"])
    found = verified(path)
    assert found.exit_code == 4
    assert codes(found) == {"record.count"}
    assert [one.what for one in found.findings if one.code == "record.missing"] == ["q/7 has no record"]


def swept(output_dir: Path) -> tuple[Path, list[bytes]]:
    """A sweep and its lines: three of each question."""
    path = finished(output_dir, think_budget=(64, 128, 256), model_args={"think": 200, "answers": "hash"})
    return path, (path / "samples" / "tiny.jsonl").read_bytes().splitlines(keepends=True)


def test_a_sweep_is_whole(tmp_path: Path) -> None:
    found = verified(swept(tmp_path)[0], strict=True)
    assert (found.findings, found.exit_code) == ([], 0)


@pytest.mark.parametrize("how", ["damaged", "taken-out"])
def test_a_lost_record_costs_none_of_its_trajectory(tmp_path: Path, how: str) -> None:
    path, lines = swept(tmp_path)
    file = path / "samples" / "tiny.jsonl"
    left = [lines[3].replace(b"so", b"os")] if how == "damaged" else []
    file.write_bytes(b"".join([*lines[:3], *left, *lines[4:]]))
    found = verified(path)
    assert found.exit_code == 4
    assert found.counts == {"planned": 30, "ok": 29, "failed": 0, "pending": 1}
    resume_run(RunReader.open(path, [tiny()]), make_fake)
    found = verified(path)
    assert (found.exit_code, found.counts["ok"]) == (0, 30)
    assert codes(found, "trace") == ({"record.damaged"} if left else set()), found.findings
    assert verified(path, strict=True).exit_code == (4 if left else 0)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param({"config_fingerprint": "0" * 64}, "record.fault", "belongs to another run", id="R4-other-run"),
        pytest.param({"task": "other"}, "record.fault", "belongs to task 'other'", id="other-task"),
        pytest.param({"sample_id": "q/99"}, "record.unplanned", "q/99 is not in the plan", id="unplanned"),
        pytest.param({"repeat": 7}, "record.unplanned", "q/0 repeat 7", id="unplanned-repeat"),
        pytest.param({"answer": None}, "record.damaged", "answer: null, expected text", id="type"),
        pytest.param({"seed": True}, "record.damaged", "seed: true, expected an integer", id="truth-is-no-number"),
        pytest.param({"status": "fine"}, "record.damaged", 'status: "fine", expected one of ok, failed', id="value"),
        pytest.param({"status": "failed"}, "record.fault", "has no reason", id="reason"),
        pytest.param({"tokens": {"prompt": 1}}, "record.fault", "tokens.image is missing", id="tokens"),
        pytest.param(
            {"time": {"total": "long"}}, "record.damaged", 'time.total: "long", expected a finite number', id="time"
        ),
        pytest.param({"media": ["x"]}, "record.damaged", 'media[0]: "x", expected an object', id="media"),
        pytest.param({"prompt_text": "Which?"}, "record.fault", "not the hash of prompt_text", id="prompt"),
    ],
)
def test_records_that_do_not_belong_are_named(change: dict[str, Any], code: str, words: str, tmp_path: Path) -> None:
    path = finished(tmp_path)
    first, *others = records_of(path)
    write_records(path, [{**first, **change}, *others])
    found = verified(path)
    assert found.exit_code == 4
    named = [one for one in found.findings if one.code == code and one.where.endswith("tiny.jsonl line 1")]
    assert any(words in one.what for one in named)


def test_a_record_without_a_field(tmp_path: Path) -> None:
    path = finished(tmp_path)
    records = records_of(path)
    del records[4]["raw_output"]
    write_records(path, records)
    [fault] = [one for one in verified(path).findings if one.code == "record.damaged"]
    assert fault.what == "not a record: raw_output is missing, expected text"
    assert fault.where == f"{path / 'samples' / 'tiny.jsonl'} line 5"


def test_records_of_a_task_nobody_planned(tmp_path: Path) -> None:
    path = finished(tmp_path)
    (path / "samples" / "other.jsonl").write_bytes(b"")
    assert codes(verified(path)) == {"record.unplanned"}


def test_a_manifest_rewritten_with_its_hash_still_contradicts_itself(tmp_path: Path) -> None:
    path = finished(tmp_path)
    folder = RunFolder.open(path)
    folder.save(replace(folder.manifest, identity={**folder.manifest.identity, "seed": 5}))
    assert codes(verified(path)) == {"manifest.fingerprint"}
    identity = {**folder.manifest.identity, "seed": 0}
    folder.save(replace(folder.manifest, identity=identity, counts=AnswerCounts(planned=11)))
    assert "plan.count" in codes(verified(path))


@pytest.mark.parametrize("name", ["run.json", "plan.jsonl"])
def test_missing_files(name: str, tmp_path: Path) -> None:
    path = finished(tmp_path)
    (path / name).unlink()
    found = verified(path)
    assert found.exit_code == 4
    assert any(one.where == str(path / name) for one in found.findings)


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = finished(tmp_path)
    write_records(path, [{**record, "schema": 3} for record in records_of(path)])
    with pytest.raises(InputError, match="schema 3, this version reads up to 1"):
        verified(path)


def test_leftovers_of_a_killed_writer_are_traces(tmp_path: Path) -> None:
    path = finished(tmp_path)
    (path / "scores" / ".tiny.jsonl.999999999.tmp").write_text("half")
    found = verified(path)
    assert (found.exit_code, codes(found, "trace")) == (0, {"file.leftover"})


# -- what is derived --------------------------------------------------------------------------------------------


def test_results_that_scoring_again_does_not_give(tmp_path: Path) -> None:
    path = finished(tmp_path)
    results = json.loads((path / "results.json").read_text())
    was = results["rows"][0]["score"]
    results["rows"][0]["score"] = 0.9875
    (path / "results.json").write_text(json.dumps(results))
    [finding] = verified(path).findings
    assert (finding.severity, finding.code) == ("damaged", "results.differ")
    assert f"score 0.9875 → {was}" in finding.what
    results["rows"][0]["score"], results["model"]["name"] = was, "kimi"
    (path / "results.json").write_text(json.dumps(results))
    [finding] = verified(path).findings
    assert "model.name kimi → fake" in finding.what


def test_scores_that_scoring_again_does_not_give(tmp_path: Path) -> None:
    path = finished(tmp_path)
    [file] = (path / "scores").iterdir()
    lines = [decode_line(line) for line in file.read_bytes().splitlines(keepends=True)]
    lines[2]["score"] = 0.5
    file.write_bytes(b"".join(encode_line(line) for line in lines))
    [finding] = verified(path).findings
    assert (finding.code, finding.where) == ("scores.differ", f"{file} line 3")
    file.rename(older := file.with_name("tiny@official-0.0.9.jsonl"))
    assert (verified(path).exit_code, codes(verified(path), "note")) == (0, {"results.version"})
    older.unlink()
    assert codes(verified(path), "incomplete") == {"scores.missing"}


def test_what_is_derived_may_be_missing(tmp_path: Path) -> None:
    path = finished(tmp_path)
    (path / "results.json").unlink()
    found = verified(path)
    assert (found.exit_code, codes(found, "incomplete")) == (3, {"results.missing"})
    (path / "results.json").write_text("{")
    assert verified(path).exit_code == 4


def test_stale_results_of_an_interrupted_run_are_incomplete(tmp_path: Path) -> None:
    path = killed(tmp_path, die_after=4)
    whole = finished(tmp_path / "whole")
    (path / "results.json").write_bytes((whole / "results.json").read_bytes())
    found = verified(path)
    assert "results.differ" in codes(found, "incomplete") | codes(found)
    assert any("n_ok 10 → 4" in one.what for one in found.findings)


# -- the data set -----------------------------------------------------------------------------------------------


def test_D21_changed_samples_are_named(tmp_path: Path) -> None:
    path = finished(tmp_path)
    changed = rows(11)
    changed[2]["answer"], changed[5]["question"], changed[6]["hint"] = "B", "How much is 5?", "look"
    del changed[9]
    found = verified(path, tiny(content=changed))
    assert found.exit_code == 4
    assert {one.where: one.what.removeprefix("changed since the run: ") for one in found.findings} == {
        "tiny q/2": "gold, row.answer",
        "tiny q/5": "question, row.question",
        "tiny q/6": "row.hint",
        "tiny q/9": "removed from the data",
        "tiny q/10": "new in the data",
    }


def other_picture(task: Task) -> Task:
    """The same texts, but the picture of q/3 is another one."""

    def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
        for sample in task.load(source, split):
            picture = (ImageRef(name="another", data=b"another picture"),)
            yield replace(sample, media=picture) if sample.id == "q/3" else sample

    return replace(task, load=load)


def test_D21_changed_pictures_are_named_where_records_tell(tmp_path: Path) -> None:
    path = finished(tmp_path)
    [finding] = verified(path, other_picture(tiny())).findings
    assert (finding.where, finding.code) == ("tiny", "data.changed")
    info = encode_object(make_media(sha256=hashlib.sha256(b"not a picture").hexdigest()))
    write_records(path, [{**one, "media": [info] * (one["sample_id"] in "q/0 q/3")} for one in records_of(path)])
    [finding] = verified(path, other_picture(tiny())).findings
    assert (finding.where, finding.what) == ("tiny q/3", "changed since the run: media")


def test_data_out_of_reach_is_a_note(tmp_path: Path) -> None:
    path = finished(tmp_path)

    def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
        assert source.offline
        raise DataError("data.missing", "tiny: nothing in the cache")

    found = verified(path, tiny(load=load, sample=sample_of))
    assert found.exit_code == 0
    assert [one.what for one in found.findings] == ["data set not compared: tiny: nothing in the cache"]


# -- as text and on the command line ----------------------------------------------------------------------------


def test_text_shows_twenty_of_a_kind_and_json_all(tmp_path: Path) -> None:
    path = killed(tmp_path, die_after=1, n=40)
    found = verified(path, tiny(40))
    text = as_text(found)
    assert text.count("record.missing  /") == 20
    assert "record.missing  and 19 more" in text
    assert text.splitlines()[-1] == f"incomplete  {path}: 40 planned, 1 ok, 0 failed, 39 pending"
    assert sum(one["code"] == "record.missing" for one in found.as_json()["findings"]) == 39


def kvl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "kvl_eval", *arguments, cwd=cwd)


def test_verify_on_the_command_line(tmp_path: Path) -> None:
    done = kvl("run", "--task", "mathvista", "--model", "fake", "--limit", "4", "--json", cwd=tmp_path)
    run = json.loads(done.stdout)["folder"]
    whole = kvl("verify", run, cwd=tmp_path)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.splitlines()[-1].startswith("complete")
    flip(tmp_path / run / "samples" / "mathvista.jsonl", 700, 2)
    damaged = kvl("verify", run, "--json", cwd=tmp_path)
    assert damaged.returncode == json.loads(damaged.stdout)["exit_code"] == 4
    assert kvl("verify", "nowhere", cwd=tmp_path).returncode == 4
