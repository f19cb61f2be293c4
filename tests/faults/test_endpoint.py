"""Servers that refuse, hang, babble or lie: the rows E1 to E13, each over a real socket on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends.chat_client import Gate, retry_after
from kvl_eval.errors import ConfigError, EndpointError
from kvl_eval.reports.warnings import run_warnings
from kvl_eval.reports.write import write_report
from kvl_eval.run.runner import resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.thinking import THINK_OPEN
from tests.faults.server_runs import check, failures, quick, run, words
from tests.faults.stub_server import (
    MODEL,
    Answer,
    Asked,
    Stub,
    chat,
    failing,
    in_turn,
    models,
    serving,
    unused_address,
)
from tests.forks import python

KEY = "sk-planted-4711"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(in_turn(chat("B"))) as found:
        yield found


def only(question: str, otherwise: Answer) -> Any:
    """Another answer to one question than to the rest."""
    return lambda asked: otherwise if f"{question}?" in asked.texts else chat("B")


def test_E1_nobody_listens(tmp_path: Path) -> None:
    url = unused_address()
    with pytest.raises(EndpointError, match="cannot reach") as caught:
        run(tmp_path, url)
    assert url in caught.value.message and caught.value.exit_code == 4
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("listed", [Answer(body=b"<html>hello"), Answer(body=b"{}"), failing(500), failing(401)])
def test_E1_a_server_that_is_no_model_server(tmp_path: Path, stub: Stub, listed: Answer) -> None:
    stub.models = listed
    with pytest.raises(EndpointError) as caught:
        run(tmp_path, stub.url)
    assert caught.value.exit_code == 4 and not stub.asked


@pytest.mark.parametrize("headers", [{}, {"retry_after": "0.2"}], ids=["without", "with-retry-after"])
def test_E2_too_many_requests(tmp_path: Path, stub: Stub, headers: dict[str, str]) -> None:
    stub.script = lambda asked: failing(429, **headers) if asked.number < 4 else chat("B")
    outcome, backend, _ = run(tmp_path, stub.url, n=12)
    assert outcome.exit_code == 0 and not failures(outcome)
    assert backend.client.counts["limited"] == 4
    records = list(outcome.folder.records("tiny"))
    servers = [record.extra.others["server"] for record in records if "server" in record.extra.others]
    rooms = [server["room"] for server in servers]
    assert max(rooms) == 4, "the server keeps up again"
    if headers:
        waited = [record.time["queue"] for record in records if record.attempt > 1]
        assert min(waited) >= 0.2
    assert max(server["limited"] for server in servers) == 4
    check(outcome, 12)


def test_E2_half_as_many_at_once_then_one_more_after_a_round() -> None:
    async def limits() -> list[int]:
        gate = Gate(8)
        epochs = [await gate.enter() for _ in range(3)]
        seen = []
        for epoch in epochs:  # those under way together halve once
            gate.overloaded(epoch)
            seen.append(gate.limit)
        gate.overloaded(await gate.enter())
        seen.append(gate.limit)
        for _ in range(20):
            gate.succeeded()
        return [*seen, gate.limit]

    assert asyncio.run(limits()) == [4, 4, 4, 2, 6]


def test_E2_what_the_progress_line_shows() -> None:
    from kvl_eval.run.progress import TaskCounts, progress_lines

    counts = TaskCounts("tiny", 10, 10.0, ok=3, server={"retries": 5, "limited": 4, "room": 2})
    (line,) = progress_lines([counts], 0.0, 120)
    assert line.endswith("5 retries (4 rate limited), 2 connections")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("", None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_E2_retry_after_in_all_its_forms(text: str, seconds: float | None) -> None:
    assert retry_after(text) == seconds


@pytest.mark.parametrize("status", [500, 502, 503])
def test_E3_a_server_that_recovers(tmp_path: Path, stub: Stub, status: int) -> None:
    tries: list[Asked] = []

    def script(asked: Asked) -> Answer:
        tries.extend([asked] if "1?" in asked.texts else [])
        return failing(status) if "1?" in asked.texts and len(tries) < 3 else chat("B")

    stub.script = script
    outcome, _, _ = run(tmp_path, stub.url, n=3)
    assert outcome.exit_code == 0
    assert sorted(record.attempt for record in outcome.folder.records("tiny")) == [1, 1, 3]
    check(outcome, 3)


def test_E4_one_request_fails_for_ever(tmp_path: Path, stub: Stub) -> None:
    stub.script = only("3", failing(500, "no luck"))
    outcome, _, progress = run(tmp_path, stub.url)
    assert failures(outcome) == {"q/3": "endpoint_error"}
    [record] = [record for record in outcome.folder.records("tiny") if record.status == "failed"]
    assert (record.attempt, len(stub.asked)) == (6, 9 + 6)
    assert "no luck" in record.message and outcome.exit_code == 3
    assert any("endpoint_error" in text for text in progress.texts)
    check(outcome)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_E5_the_server_rejects_a_request(tmp_path: Path, stub: Stub, status: int) -> None:
    stub.script = only("3", failing(status, "too many pictures"))
    outcome, _, _ = run(tmp_path, stub.url)
    assert failures(outcome) == {"q/3": "rejected_request"}
    assert len(stub.asked) == 10, "no second try"
    assert "too many pictures" in (outcome.folder.path / "log.txt").read_text()
    check(outcome)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_E6_the_server_refuses_everybody(
    tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    stub.script = lambda asked: failing(status, f"unknown key {KEY}") if asked.number >= 3 else chat("B")
    with pytest.raises(EndpointError) as caught:
        run(tmp_path, stub.url, max_connections=1, api_key_env="STUB_KEY")
    assert caught.value.exit_code == 4 and str(status) in caught.value.message
    assert KEY not in caught.value.render() and "***" in caught.value.render()
    [path] = [one for one in tmp_path.iterdir() if one.is_dir()]
    stub.script = in_turn(chat("B"))
    outcome = resume_run(RunReader.open(path, [words()]), quick)
    assert outcome.exit_code == 0 and not failures(outcome), "nothing was counted as answered or failed"


@pytest.mark.parametrize(
    "hang",
    [chat("B", delay=60), chat("B", drip=5), Answer(body=b" " * 10_000, drip=0.02)],
    ids=["before-headers", "between-bytes", "drop-by-drop"],
)
def test_E7_a_reply_that_takes_for_ever(tmp_path: Path, stub: Stub, hang: Answer) -> None:
    stub.script = only("3", hang)
    outcome, backend, _ = run(tmp_path, stub.url, n=5, request_timeout=1.0, max_retries=1)
    assert failures(outcome) == {"q/3": "endpoint_error"}
    assert backend.client.counts["timeouts"] >= 2
    check(outcome, 5)


@pytest.mark.parametrize("hang_up", [-1, 0, 25], ids=["before-headers", "before-body", "mid-body"])
def test_E7_the_connection_breaks(tmp_path: Path, stub: Stub, hang_up: int) -> None:
    stub.script = only("3", chat("B", hang_up=hang_up))
    outcome, _, _ = run(tmp_path, stub.url, n=5, max_retries=1)
    assert failures(outcome) == {"q/3": "endpoint_error"}
    check(outcome, 5)


BODIES = {
    "html": Answer(body=b"<html><body>Bad gateway</body></html>"),
    "empty": Answer(body=b""),
    "cut": Answer(body=chat("B").body[:60]),
    "list": Answer(body=b"[1]"),
    "fields": Answer(body=b'{"answer": "B"}'),
    "no-choices": chat("B", choices=[]),
    "choices-null": chat("B", choices=None),
    "content-null": chat(None),
    "content-list": chat(["B"]),  # type: ignore[arg-type]
    "deep": Answer(body=b"[" * 100_000),
    "100-mb": Answer(body=b"A" * 100_000_000),
    "latin": Answer(body=b'{"choices": "\xff\xfe"}'),
    "finish": chat("B", finish="tool_calls"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_E8_bodies_that_are_no_answer(tmp_path: Path, stub: Stub, body: Answer) -> None:
    stub.script = only("3", body)
    outcome, _, _ = run(tmp_path, stub.url, n=5)
    assert failures(outcome) == {"q/3": "bad_response"}
    log = (outcome.folder.path / "log.txt").read_text()
    assert "bad_response" in log and len(log) < 4_000
    if body is BODIES["html"]:
        assert "Bad gateway" in log
    check(outcome, 5)


def test_E9_an_answer_cut_by_the_limit(tmp_path: Path, stub: Stub) -> None:
    stub.script = only("3", chat(f"{THINK_OPEN}A or B", finish="length"))
    outcome, _, _ = run(tmp_path, stub.url, n=5)
    found = {record.sample_id: record for record in outcome.folder.records("tiny")}["q/3"]
    assert (found.finish_reason, found.think_closed, found.answer) == ("length", False, "")
    assert outcome.results.rows[0].verdicts == {"correct": 4, "no_answer": 1}
    check(outcome, 5)


def test_E10_another_model_answers(tmp_path: Path, stub: Stub) -> None:
    stub.script = only("3", chat("B", model="somebody-else"))
    outcome, _, _ = run(tmp_path, stub.url, n=5)
    [row] = outcome.folder.results().rows
    assert row.answered_by == {"somebody-else": 1}
    said = "the server answered with another model than the one asked for: somebody-else (1)"
    assert said in [warning.text for warning in run_warnings(outcome.folder, outcome.folder.results())]
    written = write_report([outcome.folder.path])
    assert "somebody-else" in written[-1].read_text()
    check(outcome, 5)


@pytest.mark.parametrize(("n", "code"), [(5, 3), (40, 4)])
def test_E11_every_sample_fails(tmp_path: Path, stub: Stub, n: int, code: int) -> None:
    stub.script = in_turn(failing(400, "no pictures here"))
    outcome, _, _ = run(tmp_path, stub.url, n=n)
    [row] = outcome.results.rows
    assert (row.score, row.n_scored, outcome.exit_code) == (None, 0, code)
    assert len(stub.asked) < 30
    check(outcome, n)


def test_E12_the_key_is_nowhere_but_in_the_header(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)

    def script(asked: Asked) -> Answer:
        key = asked.headers["authorization"].removeprefix("Bearer ")
        odd = {0: failing(400, f"bad key {key}"), 1: failing(500, key), 2: Answer(body=f"<html>{key}".encode())}
        return odd.get(asked.number, chat("B"))

    stub.script = script
    outcome, _, _ = run(tmp_path, stub.url, max_connections=1, api_key_env="STUB_KEY")
    assert {asked.headers["authorization"] for asked in stub.asked} == {f"Bearer {KEY}"}
    write_report([outcome.folder.path])
    for path in tmp_path.rglob("*"):
        assert KEY not in path.name
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in outcome.message
    check(outcome)


@pytest.mark.parametrize("url", [f"http://me:{KEY}@127.0.0.1:1/v1", f"http://127.0.0.1:1/v1?api_key={KEY}"])
def test_E12_a_key_in_the_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, url)
    assert KEY not in caught.value.render() and not list(tmp_path.iterdir())


def test_E13_redirects_are_not_followed(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    with serving(in_turn(chat("B"))) as elsewhere:
        stub.script = in_turn(Answer(status=307, headers={"location": f"{elsewhere.url}/chat/completions"}))
        with pytest.raises(EndpointError, match="redirects to another address"):
            run(tmp_path, stub.url, api_key_env="STUB_KEY")
        stub.models = Answer(status=302, headers={"location": f"{elsewhere.url}/models"})
        with pytest.raises(EndpointError, match="redirects to another address"):
            run(tmp_path, stub.url, api_key_env="STUB_KEY")
        assert not elsewhere.paths


def test_E13_proxy_variables_are_not_followed(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(in_turn(chat("B"))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "")
        outcome, _, _ = run(tmp_path, stub.url, n=3)
        assert outcome.exit_code == 0 and not proxy.paths
    assert len(stub.asked) == 3


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        pytest.param(in_turn(chat("7")), 0, "mathvista/mini", id="fine"),
        pytest.param(in_turn(failing(401)), 4, "error[endpoint.refused]", id="E6-refused"),
        pytest.param(in_turn(failing(400)), 3, "rejected_request 3", id="E11-all-rejected"),
    ],
)
def test_E6_E11_exit_codes_of_the_command_line(tmp_path: Path, stub: Stub, script: Any, code: int, said: str) -> None:
    stub.script, stub.models = script, models(MODEL, "another")
    command = ["-m", "kvl_eval", "run", "--task", "mathvista", "--split", "mini", "--limit", "3"]
    command += ["--model", "endpoint", "--base-url", stub.url, "--served-model", MODEL, "--api-key-env", "STUB_KEY"]
    command += ["--no-progress", "--num-workers", "0", "--max-retries", "0"]
    environment = {**os.environ, "STUB_KEY": KEY, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "home")}
    done = python(*command, cwd=tmp_path, env=environment, timeout=100)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    manifests = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    begun = [] if code == 4 else [[MODEL, "another"]]  # who refuses everybody is found before there is a folder
    assert [one["model"]["listed"] for one in manifests] == begun
