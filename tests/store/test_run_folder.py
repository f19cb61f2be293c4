from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import DataError, InputError, UsageError
from kvl_eval.store.journal import encode_line
from kvl_eval.store.names import file_name, run_name
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import legacy_list_runs, write_index
from kvl_eval.store.run_lock import read_lock


def entry(task: str, sample_id: str, repeat: int = 0, **text: Any) -> dict[str, Any]:
    key = {"sample_id": sample_id, "repeat": repeat, "budget": None, "policy": None}
    return {"task": task, "split": "s", **key, **text}


PLAN = [
    entry("t", "a", row={"q": 1}, gold=["A"]),
    entry("t", "a", 1),
    entry("t", "b", row={"q": 2}, gold=["B"]),
    entry("u", "a", row={"q": 3}, gold=["C"]),
]


def make(tmp_path: Path, name: str = "run") -> RunFolder:
    manifest = {
        "schema": 1,
        "status": "planned",
        "config_fingerprint": "f" * 64,
        "created": "2026-01-01T00:00:00+00:00",
    }
    return RunFolder.create(tmp_path, name, manifest, [encode_line(line) for line in PLAN])


def record(sample_id: str, repeat: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "task": "t",
        "split": "s",
        "sample_id": sample_id,
        "repeat": repeat,
        "budget": None,
        "policy": None,
        "status": "ok",
        "reason": None,
        "config_fingerprint": "f" * 64,
        "answer": "A",
        **fields,
    }


def write(folder: RunFolder, *records: dict[str, Any] | bytes) -> None:
    path = folder.samples_path("t")
    path.write_bytes(b"".join(one if isinstance(one, bytes) else encode_line(one) for one in records))


def test_a_new_folder_can_be_opened_again(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.unlock()
    opened = RunFolder.open(folder.path)
    assert opened.problem is None
    assert opened.legacy_manifest == folder.legacy_manifest
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
    entries = list(make(tmp_path).legacy_plan())
    assert [(entry["sample_id"], entry["repeat"], entry["row"]) for entry in entries] == [
        ("a", 0, {"q": 1}),
        ("a", 1, {"q": 1}),
        ("b", 0, {"q": 2}),
        ("a", 0, {"q": 3}),
    ]
    assert [entry["row"] for entry in make(tmp_path).legacy_plan("u")] == [{"q": 3}]


def test_a_changed_plan_is_noticed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    path = folder.path / "plan.jsonl"
    path.write_bytes(b"".join(encode_line(line) for line in PLAN[:-1]))
    with pytest.raises(DataError) as caught:
        folder.check_plan()
    assert caught.value.code == "run.plan"


def test_a_damaged_plan_line_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path)
    path = folder.path / "plan.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"q":2', b'"q":7'))
    with pytest.raises(DataError, match="damaged") as caught:
        list(folder.legacy_plan())
    assert caught.value.where == f"{path} line 3"


def test_the_last_record_of_a_key_counts(tmp_path: Path) -> None:
    folder = make(tmp_path)
    write(folder, record("a", answer="old"), record("b"), record("a", answer="new"), record("a", 1))
    index = folder.index("t")
    assert index.duplicates == 1
    assert [(one["sample_id"], one["repeat"], one["answer"]) for one in folder.legacy_records("t")] == [
        ("b", 0, "A"),
        ("a", 0, "new"),
        ("a", 1, "A"),
    ]
    assert any("1 records were replaced" in notice for notice in folder.notices)


def test_a_success_takes_back_an_earlier_failure(tmp_path: Path) -> None:
    folder = make(tmp_path)
    write(folder, record("a", status="failed", reason="oom"), record("b", status="failed", reason="oom"), record("a"))
    assert {key.sample_id: reason for key, reason in folder.index("t").failed.items()} == {"b": "oom"}


def test_damaged_lines_are_named_and_skipped_or_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    write(folder, record("a"), encode_line(record("b")).replace(b'"answer":"A"', b'"answer":"B"'), b'{"torn')
    index = folder.index("t")
    assert [key.sample_id for key in index.offsets] == ["a"]
    assert index.torn
    assert index.damage == [f"{folder.samples_path('t')} line 2: its checksum does not fit"]
    assert len(folder.notices) == 2
    with pytest.raises(DataError) as caught:
        folder.index("t", strict=True)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "stranger",
    [record("a", config_fingerprint="0" * 64), record("a", task="u")],
    ids=["other-configuration", "other-task"],
)
def test_records_of_another_run_are_never_mixed_in(tmp_path: Path, stranger: dict[str, Any]) -> None:
    folder = make(tmp_path)
    write(folder, record("b"), stranger)
    with pytest.raises(UsageError) as caught:
        list(folder.legacy_records("t"))
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


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff"])
def test_a_lost_manifest_leaves_the_records_readable(tmp_path: Path, content: bytes | None) -> None:
    folder = make(tmp_path)
    write(folder, record("a"))
    folder.unlock()
    path = folder.path / "run.json"
    path.unlink() if content is None else path.write_bytes(content)
    opened = RunFolder.open(folder.path)
    assert opened.problem is not None and str(path) in opened.problem
    assert opened.status == "unknown"
    assert len(list(opened.legacy_records("t"))) == 1
    assert len(list(opened.legacy_plan())) == 4


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.legacy_save({"schema": 2})
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


def test_scores_are_read_from_the_version_written_last(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.write_scores("t", "official", "0.1.0", [{"score": 0.0}])
    folder.write_scores("t", "official-exact", "0.1.0", [{"score": 0.25}])
    path = folder.write_scores("t", "official", "0.2.0", [{"score": 1.0}])
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))
    assert [line["score"] for line in folder.legacy_scores("t", "official")] == [1.0]
    assert [line["score"] for line in folder.legacy_scores("t", "official-exact")] == [0.25]
    assert list(folder.legacy_scores("t", "lenient")) == []
    assert sorted(one.name for one in (folder.path / "scores").iterdir()) == [
        "t@official-0.1.0.jsonl",
        "t@official-0.2.0.jsonl",
        "t@official-exact-0.1.0.jsonl",
    ]


def test_results_that_are_missing_say_how_to_make_them(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with pytest.raises(DataError, match=r"results\.json") as caught:
        folder.legacy_results()
    assert "kvl-eval score" in str(caught.value.fix)
    folder.legacy_write_results({"rows": []})
    assert folder.legacy_results() == {"rows": []}


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
    assert again.notices == [f"took over the lock of pid {pid} on {socket.gethostname()}, which is gone"]


def test_a_lock_whose_pid_was_given_to_another_process_is_taken_over(tmp_path: Path) -> None:
    folder = make(tmp_path)
    lock_of(folder, ticks=1)
    again = RunFolder.open(folder.path)
    again.lock()
    assert again.notices


def test_a_lock_of_another_host_is_respected_and_never_removed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    lock_of(folder, host="elsewhere", pid=dead_pid())
    with pytest.raises(UsageError, match="another process"):
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
    killed.legacy_save({"status": "running", "created": "2027-01-01T00:00:00+00:00"})
    lock_of(killed, pid=dead_pid())
    first.legacy_save({"status": "running", "created": "2025-01-01T00:00:00+00:00"})
    second.legacy_save({"status": "running"})
    second.unlock()
    (tmp_path / "no run").mkdir()
    make(tmp_path, "newer").legacy_save({"schema": 99})
    assert [(run["run_id"], run["status"]) for run in legacy_list_runs(tmp_path)] == [
        ("one", "running"),
        ("another", "interrupted"),
        ("killed", "interrupted"),
        ("newer", "unreadable"),
    ]
    write_index(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert [run["path"] for run in index["runs"]] == ["one", "another", "killed", "newer"]
    assert legacy_list_runs(tmp_path / "nothing") == []
