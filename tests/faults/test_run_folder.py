"""A run folder that was damaged after it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.cli.main import main
from kvl_eval.decode import encode_object
from kvl_eval.errors import DataError, InputError
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.store.journal import encode_line
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import Message, Sample
from tests.faults.invariants import check_invariants, no_model
from tests.tiny_task import comparable, config_of, make_fake, rescored, run_tiny, sample_of, tiny


def records_file(path: Path) -> Path:
    return path / "samples" / "tiny.jsonl"


def lines_of(path: Path) -> list[bytes]:
    return records_file(path).read_bytes().splitlines(keepends=True)


def running(path: Path) -> Path:
    """As a kill leaves it: no results, and a manifest that still says so."""
    (path / "results.json").unlink()
    RunFolder.open(path).save_status("running")
    return path


def test_R1_records_cut_at_any_byte(tmp_path: Path) -> None:
    """Every cut of the last two records; the reader's own test cuts a small file at every byte."""
    whole = run_tiny(tmp_path / "whole", tiny(3)).folder.path
    path = running(run_tiny(tmp_path / "run", tiny(3)).folder.path)
    lines = lines_of(path)
    content, kept = b"".join(lines), len(lines[0])
    for cut in [kept, kept + 1, kept + len(lines[1]) - 1, kept + len(lines[1]), *range(kept + 9, len(content), 331)]:
        records_file(path).write_bytes(content[:cut])
        check_invariants(path, tiny(3), whole=whole)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda line: line[:40] + bytes([line[40] ^ 4]) + line[41:], id="bit"),
        pytest.param(lambda line: line[:40] + b"\xff\xfe" + line[42:], id="not-utf-8"),
        pytest.param(lambda line: b"\0" * (len(line) - 1) + b"\n", id="zeros"),
        pytest.param(lambda line: b"", id="gone"),
    ],
)
def test_R2_garbage_in_the_middle(tmp_path: Path, damage: Any) -> None:
    whole = run_tiny(tmp_path / "whole").folder.path
    path = running(run_tiny(tmp_path / "run").folder.path)
    lines = lines_of(path)
    changed = damage(lines[3])
    records_file(path).write_bytes(b"".join([*lines[:3], changed, *lines[4:]]))
    folder = RunFolder.open(path)
    assert len(list(folder.records("tiny"))) == 9
    assert any("tiny.jsonl line 4" in notice for notice in folder.notices) == bool(changed)
    if changed:
        with pytest.raises(DataError) as caught:
            rescored(RunFolder.open(path), [tiny()], strict=True)
        assert caught.value.exit_code == 4
    check_invariants(path, whole=whole)


def test_R3_duplicate_records(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    lines = lines_of(path)
    records_file(path).write_bytes(b"".join([*lines, lines[2], lines[5]]))
    folder = RunFolder.open(path)
    [row] = rescored(folder, [tiny()])["rows"]
    assert (row["n_ok"], row["n_scored"]) == (10, 10)
    assert any("2 records were superseded" in notice for notice in folder.notices)
    check_invariants(path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]\n", b"\xff\xff"], ids=["gone", "empty", "cut", "list", "no"])
def test_R6_manifest_missing_or_unreadable(tmp_path: Path, content: bytes | None) -> None:
    path = run_tiny(tmp_path).folder.path
    scored = comparable(path)["rows"][0]["score"]
    (path / "run.json").unlink()
    if content is not None:
        (path / "run.json").write_bytes(content)
    (path / "results.json").unlink()
    folder = RunFolder.open(path)
    assert str(path / "run.json") in str(folder.problem)
    [row] = rescored(folder, [tiny()])["rows"]
    assert row["score"] == scored
    report = write_report([path], form=ReportForm(images="none"))[-1].read_text()
    assert "unknown" in report


@pytest.mark.parametrize("place", ["samples/tiny.jsonl", "run.json"])
def test_R7_written_by_a_newer_version(tmp_path: Path, place: str) -> None:
    path = run_tiny(tmp_path).folder.path
    if place == "run.json":
        (path / place).write_text(json.dumps({**encode_object(RunFolder.open(path).manifest), "schema": 99}))
    else:
        newer = {**encode_object(RunFolder.open(path).manifest), "schema": 99}
        (path / place).write_bytes((path / place).read_bytes() + encode_line(newer))
    with pytest.raises(InputError) as caught:
        rescored(RunFolder.open(path), [tiny()])
    shown = caught.value.render()
    assert (caught.value.code, caught.value.exit_code) == ("run.schema", 4)
    assert "schema 99" in shown and "up to 1" in shown


def test_R8_not_one_finished_sample(tmp_path: Path) -> None:
    path = running(run_tiny(tmp_path).folder.path)
    records_file(path).write_bytes(b"")
    [row] = rescored(RunFolder.open(path), [tiny()])["rows"]
    assert (row["score"], row["n_pending"], row["bounds"], row["complete"]) == (None, 10, [0.0, 1.0], False)
    short, page = (path.read_text() for path in write_report([path], form=ReportForm(images="none")))
    assert "10 of 10 samples pending" in page
    assert "0.0" not in short
    check_invariants(path)


LONG = "Zeile 一\r\n\t\u2028 \x00 \x1b[31m é " * 60_000


@pytest.mark.parametrize("answer", [LONG, "\n" * 1000, "◁ " + "=1+1\t" * 50], ids=["long", "lines", "markers"])
def test_R9_long_and_strange_answers_come_back_exactly(tmp_path: Path, answer: str) -> None:
    assert len(LONG) > 10**6
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps({"id": f"q/{number}", "response": answer}) + "\n" for number in range(2)))
    script = {"answers": str(path)}
    outcome = run_tiny(tmp_path / "run", tiny(2), model_args=script, max_new_tokens=10**7)
    for record in outcome.folder.records("tiny"):
        assert record.raw_output == answer
    verdicts = outcome.results.rows[0].verdicts
    assert verdicts == ({"no_answer": 2} if answer is LONG or not answer.strip() else {"wrong": 2})
    check_invariants(outcome.folder.path, tiny(2), exit_code=0)


IDS = ["a/../../etc/passwd", "..", "/", " ", "a b\n\x1b[31m", "x" * 10_240, "CON", "名前", "tiny/q/1", "#1/x", "<b>&"]


def test_D19_hostile_ids_name_no_file(tmp_path: Path) -> None:
    content = [
        {"id": name, "number": number, "question": "?", "answer": "AB"[number % 2]} for number, name in enumerate(IDS)
    ]
    task, config = tiny(content=content), config_of(tiny(content=content), tmp_path / "out" / "runs")
    backend = make_fake(config)
    backend._answer = lambda request, repeat: "A"
    outcome = start_run(plan_run(config, backend, [task]), backend)
    assert outcome.results.rows[0].n_ok == len(IDS)
    assert {record.sample_id for record in outcome.folder.records("tiny")} == set(IDS)
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    assert sorted(one.name for one in (outcome.folder.path / "samples").iterdir()) == ["tiny.jsonl"]
    check_invariants(outcome.folder.path, task, make=no_model, exit_code=0)


@pytest.mark.parametrize("ids", [["q/1", "q/2", "q/1"]])
def test_D19_duplicate_ids_are_refused(tmp_path: Path, ids: list[str]) -> None:
    content = [{"id": name, "number": 1, "question": "?", "answer": "A"} for name in ids]
    with pytest.raises(DataError) as caught:
        run_tiny(tmp_path, tiny(content=content))
    assert "q/1" in caught.value.render()
    assert not list(tmp_path.iterdir())


def hostile_prompt(sample: Sample) -> list[Message]:
    return [Message.user("".join(chr(code) for code in range(32)) + "</script><img src=x onerror=alert(1)>{{ 7*7 }}")]


def test_D17_hostile_texts_go_through_a_run(tmp_path: Path) -> None:
    content = [
        {"id": "<script>", "number": 1, "question": "{{ 7*7 }}\x1b]0;x\x07\u202e\x00", "answer": "</script>"},
        {"id": "ok", "number": 2, "question": "=cmd()", "answer": "{% include '/etc/passwd' %}"},
    ]
    task = tiny(content=content, prompts={"plain": hostile_prompt, "short": hostile_prompt})
    config = config_of(task, tmp_path, model_args={"answers": "constant:<script>alert(1)</script>\x1b[2J{{ 7*7 }}"})
    outcome = start_run(plan_run(config, make_fake(config), [task]), make_fake(config))
    check_invariants(outcome.folder.path, task, make=no_model, exit_code=0)
    for page in write_report([outcome.folder.path], form=ReportForm(images="none")):
        text = page.read_text()
        assert "<script>alert" not in text and "\x1b" not in text and "onerror=alert" not in text
        assert "root:" not in text
    assert sample_of(content[0]).question == content[0]["question"]


def exit_code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_R8_P3_score_and_report_of_a_run_killed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verbs themselves: neither needs results.json, and both say that nothing is there."""
    out = ("--output-dir", str(tmp_path), "--no-progress")
    assert exit_code_of("run", "--task", "mathvista", "--model", "fake", "--limit", "3", *out) == 0
    [path] = [one for one in tmp_path.iterdir() if one.is_dir()]
    running(path)
    (path / "samples" / "mathvista.jsonl").write_bytes(b"")
    assert exit_code_of("report", str(path), "--no-pictures") == 0
    assert "3 of 3 samples pending" in (path / "report" / "index.html").read_text()
    assert exit_code_of("score", str(path)) == 3
    assert exit_code_of("resume", str(path), "--no-progress") == 0
    assert "Traceback" not in capsys.readouterr().err
