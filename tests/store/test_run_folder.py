from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.decode import decode, encode_object
from kvl_eval.errors import DataError, InputError, UsageError
from kvl_eval.store.journal import encode_line
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.manifest_file import StoredManifest, json_text, read_manifest
from kvl_eval.store.names import file_name, run_name
from kvl_eval.store.plan_file import plan_line
from kvl_eval.store.records import Record
from kvl_eval.store.result_records import Results
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import list_runs, write_index
from kvl_eval.store.run_lock import read_lock
from kvl_eval.types import Generation
from tests.records import make_entry, make_manifest, make_record, make_row, make_sample, make_score
from tests.refusals import refused

FIRST, SECOND, OTHER = (make_sample(row={"q": number}) for number in (1, 2, 3))
PLAN = [
    plan_line(make_entry("a", sample=FIRST), first=True),
    plan_line(make_entry("a", sample=FIRST, repeat=1), first=False),
    plan_line(make_entry("b", sample=SECOND), first=True),
    plan_line(make_entry("a", sample=OTHER, task="u"), first=True),
]


def make(tmp_path: Path, name: str = "run") -> RunFolder:
    manifest = make_manifest(created="2026-01-01T00:00:00+00:00")
    return RunFolder.create(tmp_path, name, manifest, PLAN)


def change(folder: RunFolder, **changes: Any) -> None:
    folder.save(replace(folder.manifest, **changes))


def line_of(record: Record) -> bytes:
    return encode_line(encode_object(record))


def write(folder: RunFolder, *records: Record | bytes) -> None:
    lines = (record if isinstance(record, bytes) else line_of(record) for record in records)
    folder.samples_path("t").write_bytes(b"".join(lines))


def test_a_new_folder_can_be_opened_again(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.unlock()
    opened = RunFolder.open(folder.path)
    assert opened.problem is None
    assert opened.manifest == folder.manifest
    assert opened.status == "planned"
    opened.check_plan()


def test_two_runs_of_one_name_get_two_folders(tmp_path: Path) -> None:
    assert [make(tmp_path).run_id for _ in range(3)] == ["run", "run-2", "run-3"]


def test_the_name_holds_time_model_tasks_and_fingerprint() -> None:
    created = datetime(2026, 8, 11, 14, 22, 33, tzinfo=UTC)
    name = run_name(created, "kimi-vl-thinking", ["mathvista", "mathvision"], "7f3a99")
    assert name == "20260811-142233_kimi-vl-thinking_mathvista+mathvision_7f3a"


@pytest.mark.parametrize("name", ["../x", "a/b", "a\0b", "..", "x" * 500, "file:täsk"])
def test_no_name_leaves_its_folder(name: str) -> None:
    safe = file_name(name)
    assert "/" not in safe and not safe.startswith(".") and len(safe) < 100 and safe.isprintable()


def test_plan_entries_share_the_text_of_their_sample(tmp_path: Path) -> None:
    entries = list(make(tmp_path).plan())
    assert [(entry.sample_id, entry.repeat, entry.sample.row) for entry in entries] == [
        ("a", 0, {"q": 1}),
        ("a", 1, {"q": 1}),
        ("b", 0, {"q": 2}),
        ("a", 0, {"q": 3}),
    ]
    assert [entry.sample.row for entry in make(tmp_path).plan("u")] == [{"q": 3}]


def test_a_changed_plan_is_noticed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    path = folder.path / "plan.jsonl"
    path.write_bytes(b"".join(PLAN[:-1]))
    with pytest.raises(DataError) as caught:
        folder.check_plan()
    assert caught.value.code == "run.plan"


def test_a_damaged_plan_line_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path)
    path = folder.path / "plan.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"q":2', b'"q":7'))
    with refused(DataError, "run.plan") as caught:
        list(folder.plan())
    assert caught.value.where == f"{path} line 3"


def test_the_last_record_of_a_key_counts(tmp_path: Path) -> None:
    folder = make(tmp_path)
    write(
        folder,
        make_record("a", answer="old"),
        make_record("b"),
        make_record("a", answer="new"),
        make_record("a", repeat=1),
    )
    index = folder.index("t")
    assert index.duplicates == 1
    assert [(record.sample_id, record.repeat, record.answer) for record in folder.records("t")] == [
        ("b", 0, "4"),
        ("a", 0, "new"),
        ("a", 1, "4"),
    ]
    assert any("1 records were superseded" in notice for notice in folder.notices)


def test_a_success_takes_back_an_earlier_failure(tmp_path: Path) -> None:
    folder = make(tmp_path)
    write(
        folder,
        make_record("a", status="failed", reason="oom"),
        make_record("b", status="failed", reason="oom"),
        make_record("a"),
    )
    assert {key.sample_id: reason for key, reason in folder.index("t").failed.items()} == {"b": "oom"}


def test_damaged_lines_are_named_and_skipped_or_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    write(folder, make_record("a"), line_of(make_record("b")).replace(b'"answer":"4"', b'"answer":"5"'), b'{"torn')
    index = folder.index("t")
    assert [key.sample_id for key in index.offsets] == ["a"]
    assert index.torn
    assert index.damage == [f"{folder.samples_path('t')} line 2: its checksum does not match"]
    assert len(folder.notices) == 2
    with pytest.raises(DataError) as caught:
        folder.index("t", strict=True)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "stranger",
    [make_record("a", config_fingerprint="0" * 64), make_record("a", task="u")],
    ids=["other-configuration", "other-task"],
)
def test_records_of_another_run_are_never_mixed_in(tmp_path: Path, stranger: Record) -> None:
    folder = make(tmp_path)
    write(folder, make_record("b"), stranger)
    with pytest.raises(UsageError) as caught:
        list(folder.records("t"))
    assert caught.value.code == "run.mixed"
    assert "→" in str(caught.value.why)
    assert caught.value.exit_code == 2


def test_every_flipped_bit_of_the_manifest_is_noticed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.unlock()
    path = folder.path / "run.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(bytes(flipped))
        try:
            assert RunFolder.open(folder.path).problem is not None
        except InputError as error:
            assert error.code == "run.schema"  # the flip made it look newer


def test_settings_that_nobody_can_sample_with_are_noticed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    change(folder, generation={"t": Generation()})
    path = folder.path / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"top_p": 1.0', b'"top_p": 3.0'))
    opened = RunFolder.open(folder.path)
    assert opened.problem is not None and "top_p=3.0" in opened.problem
    assert (opened.status, len(list(opened.plan()))) == ("unknown", 4)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff"])
def test_a_lost_manifest_leaves_the_records_readable(tmp_path: Path, content: bytes | None) -> None:
    folder = make(tmp_path)
    write(folder, make_record("a"))
    folder.unlock()
    path = folder.path / "run.json"
    path.unlink() if content is None else path.write_bytes(content)
    opened = RunFolder.open(folder.path)
    assert opened.problem is not None and str(path) in opened.problem
    assert opened.status == "unknown"
    assert len(list(opened.records("t"))) == 1
    assert len(list(opened.plan())) == 4


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    change(folder, schema=2)
    with pytest.raises(InputError) as caught:
        RunFolder.open(folder.path)
    assert caught.value.exit_code == 4


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        RunFolder.open(tmp_path / "nothing")
    assert caught.value.code == "run.missing"


def test_an_output_folder_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        make(tmp_path / "file")
    assert caught.value.code == "output.unusable"


def test_scores_are_read_from_the_highest_version(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.write_scores("t", "official", "0.1.0", [make_score(score=0.0)])
    folder.write_scores("t", "official-exact", "0.1.0", [make_score(score=0.25)])
    path = folder.write_scores("t", "official", "0.2.0", [make_score(score=1.0)])
    os.utime(path, ns=(0, 0))  # a copy may have any times
    assert [line.score for line in folder.scores("t", "official")] == [1.0]
    assert [line.score for line in folder.scores("t", "official-exact")] == [0.25]
    assert list(folder.scores("t", "lenient")) == []
    assert sorted(one.name for one in (folder.path / "scores").iterdir()) == [
        "t@official-0.1.0.jsonl",
        "t@official-0.2.0.jsonl",
        "t@official-exact-0.1.0.jsonl",
    ]


def test_results_that_are_missing_say_how_to_make_them(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with pytest.raises(DataError, match=r"results\.json") as caught:
        folder.results()
    assert "kvl-eval score" in str(caught.value.fix)
    folder.write_results(Results(rows=(make_row(),)))
    assert folder.results().rows == (make_row(),)


# -- the lock ---------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with pytest.raises(UsageError) as caught:
        RunFolder.open(folder.path).lock()
    assert caught.value.code == "run.busy"
    assert f"pid {os.getpid()} on {socket.gethostname()}" in str(caught.value.where)
    folder.unlock()
    again = RunFolder.open(folder.path)
    again.lock()
    assert again.notices == []
    again.unlock()
    assert read_lock(folder.path) is None


def lock_of(folder: RunFolder, **changes: Any) -> None:
    path = folder.path / "lock"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_lock_whose_process_is_gone_is_taken_over(tmp_path: Path) -> None:
    folder = make(tmp_path)
    pid = dead_pid()
    lock_of(folder, pid=pid)
    left, used = folder.path / f".run.json.{pid}.tmp", folder.path / f".results.json.{os.getpid()}.tmp"
    left.write_text("half")
    used.write_text("of a process that runs")
    again = RunFolder.open(folder.path)
    again.lock()
    assert not left.exists() and used.exists()
    assert again.notices == [f"took over the lock of pid {pid} on {socket.gethostname()}, which no longer runs"]


def test_a_lock_whose_pid_was_given_to_another_process_is_taken_over(tmp_path: Path) -> None:
    folder = make(tmp_path)
    lock_of(folder, ticks=1)
    again = RunFolder.open(folder.path)
    again.lock()
    assert again.notices


def test_a_lock_of_another_host_is_respected_and_never_removed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    lock_of(folder, host="elsewhere", pid=dead_pid())
    with refused(UsageError, "run.busy"):
        RunFolder.open(folder.path).lock()
    folder.unlock()
    assert read_lock(folder.path) is not None


def test_a_damaged_lock_is_taken_over(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder.path / "lock").write_bytes(b"\0\0")
    RunFolder.open(folder.path).lock()


# -- several runs -----------------------------------------------------------------------------------------------


def test_runs_are_listed_oldest_first_with_what_became_of_them(tmp_path: Path) -> None:
    first, second, killed = make(tmp_path, "one"), make(tmp_path, "another"), make(tmp_path, "killed")
    change(killed, status="running", created="2027-01-01T00:00:00+00:00")
    lock_of(killed, pid=dead_pid())
    change(first, status="running", created="2025-01-01T00:00:00+00:00")
    second.save_status("running")
    second.unlock()
    (tmp_path / "no run").mkdir()
    change(make(tmp_path, "newer"), schema=99)
    assert [(run.run_id, run.status) for run in list_runs(tmp_path)] == [
        ("one", "running"),
        ("another", "interrupted"),
        ("killed", "interrupted"),
        ("newer", "unreadable"),
    ]
    write_index(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert [run["path"] for run in index["runs"]] == ["one", "another", "killed", "newer"]
    assert list_runs(tmp_path / "nothing") == []


def test_counts_that_a_manifest_does_not_name_are_none() -> None:
    assert decode(Manifest, {}).counts is None
    counts = decode(Manifest, {"counts": {"failed": {"oom": 1}}}).counts
    assert counts is not None
    assert (counts.planned, counts.ok, counts.failed, counts.pending) == (0, 0, {"oom": 1}, 0)


def test_a_field_that_a_manifest_gains_does_not_follow_its_checksum(tmp_path: Path) -> None:
    old = StoredManifest(make_manifest(), {"status": "planned", "sha256": "of the old text"})
    new = old.changed_to(make_manifest(status="finished", finished="2026-08-11T14:40:00+00:00"))
    assert list(new.fields)[-1] == "sha256"
    (tmp_path / "run.json").write_bytes(json_text(new.fields))
    again = read_manifest(tmp_path / "run.json")
    assert (again.problem, again.manifest.status) == (None, "finished")
