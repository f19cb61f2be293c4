"""Judges behind real sockets: what is asked, kept, scored, and what a failure leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import kvl_eval
from kvl_eval.audit.compare import compare
from kvl_eval.audit.compare_text import as_text
from kvl_eval.audit.merge import merge
from kvl_eval.audit.verify import verify
from kvl_eval.backends.chat_client import Server
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.cli.main import main
from kvl_eval.errors import ConfigError, EndpointError, UsageError
from kvl_eval.reports.numbers import protocol_name
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.run.judge_stage import judge_run
from kvl_eval.run.progress import Silent, TaskCounts
from kvl_eval.run.runner import RunOutcome, resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import Source
from kvl_eval.store.replies import reply_lines
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task, open_split
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import Extraction, Message, Sample, Score
from tests.faults.invariants import check_invariants, no_model
from tests.faults.stub_server import Asked, Stub, chat, failing, in_turn, serving, unused_address
from tests.refusals import refused
from tests.tiny_task import comparable, rescored, rows, run_tiny, tiny
from tests.tiny_task import score as letter_score


def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """Half a point by the rule, and what the judge says where one was asked."""
    if isinstance(extraction, str):
        return Score.of(float(extraction), extraction, "given")
    return Score.of(0.5, answer, "rule")


def read_share(_: Sample, reply: str) -> str | None:
    """A number from 0 to 1, up to the first blank; anything else is unusable."""
    word = reply.strip().partition(" ")[0]
    try:
        return word if 0 <= float(word) <= 1 else None
    except ValueError:
        return None


def judge_prompt(sample: Sample, answer: str) -> str | None:
    """Nothing is asked about the first question."""
    return None if sample.id == "q/0" else f"{sample.question} {answer}?"


def judged(n: int = 4, rule: JudgeRule | None = None, **changes: Any) -> Task:
    rule = rule or JudgeRule(read=read_share, temperatures=(0.0, 0.7))
    protocols = {
        "official": Protocol(score=score, label="official-rule", judged="official"),
        "lenient": Protocol(score=letter_score),
    }
    return tiny(n, **{"judge_prompt": judge_prompt, "judge": rule, "protocols": protocols, **changes})


def options(stub: Stub, **more: Any) -> dict[str, Any]:
    return {"judge": "endpoint", "judge_base_url": stub.url, "judge_model": "umpire", **more}


def by_judge(outcome: RunOutcome) -> dict[str | None, ResultRow]:
    return {row.judge: row for row in outcome.results.rows if row.protocol == "official"}


def again(folder: RunFolder, task: Task, url: str, name: str = "umpire") -> dict[str, Any]:
    server = Server(base_url=url, model=name, max_retries=0, pause=0.01)
    judge_run(RunReader(folder, [task]), server, "answer", Silent())
    return rescored(folder, [task])


def compared(a: RunFolder, b: RunFolder, task: Task, **options: Any) -> list[Any]:
    comparison = compare(RunReader(a, [task]), RunReader(b, [task]), **options)
    return [pair.as_json() for pair in comparison.comparisons]


class Listening(Silent):
    """Keeps the counts that it is shown."""

    counts: Sequence[TaskCounts] = ()

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        self.counts = tasks


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(in_turn(chat("1.0", model="umpire-2026"))) as found:
        yield found


def test_scores_with_and_without_a_judge_stand_side_by_side(tmp_path: Path, stub: Stub) -> None:
    outcome = run_tiny(tmp_path, judged(), **options(stub))
    found = by_judge(outcome)
    assert (found[None].score, found["umpire"].score) == (0.5, (0.5 + 3) / 4)
    assert [protocol_name(row) for row in found.values()] == [
        "official-rule",
        "official (judge umpire)",
    ]
    assert outcome.exit_code == 0
    assert len(stub.asked) == 3, "nothing is asked where the task's rule suffices"
    lines = list(outcome.folder.scores("tiny", "official+umpire"))
    assert lines[0].judge is None
    said = lines[1].judge
    assert (said.judge, said.model, said.reply, lines[1].extract_method) == (
        "umpire",
        "umpire-2026",
        "1.0",
        "judge",
    )
    assert (lines[1].extracted, lines[1].verdict) == ("1.0", "correct")
    assert verify(RunReader(outcome.folder, [judged()])).verdict == "complete"
    assert write_report([outcome.folder.path])


def test_a_protocol_whose_rules_come_first(tmp_path: Path, stub: Stub) -> None:
    """Its rules decide the even questions, whatever the judge says of them."""
    first = Protocol(
        score=score, label="rule-first", judged="rule-first", asks=lambda sample, _: int(sample.row["number"]) % 2 == 1
    )
    outcome = run_tiny(tmp_path, judged(protocols={"official": first}), **options(stub))
    assert [row.score for row in outcome.results.rows] == [0.5, 0.75]
    lines = list(outcome.folder.scores("tiny", "official+umpire"))
    assert [(line.score, line.judge is None) for line in lines] == [(0.5, True), (1.0, False)] * 2


def test_what_a_reply_leaves_on_disk(tmp_path: Path, stub: Stub) -> None:
    outcome = run_tiny(tmp_path, judged(), **options(stub))
    line = next(line for line in reply_lines(outcome.folder, "tiny") if line.sample_id == "q/1")
    assert (line.judge, line.run, line.status, line.reply, line.verdict) == (
        "umpire",
        0,
        "ok",
        "1.0",
        "1.0",
    )
    assert (line.model, line.sample_id, line.thinking, line.attempts) == ("umpire-2026", "q/1", "split", 1)
    assert len(line.prompt_sha256) == 64 and line.tokens == {"prompt": 11, "completion": 3}
    body = stub.asked[0].body
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("umpire", 0.0, 256)


def test_S5_a_prompt_is_never_asked_twice(tmp_path: Path, stub: Stub) -> None:
    task = judged(content=[{**row, "question": "same"} for row in rows(6)])
    outcome = run_tiny(tmp_path, task, **options(stub, judge_connections=1), model_args={"answers": "constant:B"})
    assert len(stub.asked) == 1
    before = comparable(outcome)
    stub.script = in_turn(chat("0.0"))
    again(outcome.folder, task, stub.url)
    assert len(stub.asked) == 1
    assert comparable(outcome.folder.path) == before


def test_S5_another_judge_is_asked_and_shown_beside_the_first(tmp_path: Path, stub: Stub) -> None:
    task = judged()
    outcome = run_tiny(tmp_path, task, **options(stub))
    stub.script = in_turn(chat("0.0"))
    results = again(outcome.folder, task, stub.url, "referee")
    shown = [(row["judge"], row["score"]) for row in results["rows"]]
    assert shown == [(None, 0.5), ("umpire", 0.875), ("referee", 0.125)]
    assert verify(RunReader(outcome.folder, [task])).verdict == "complete"


@pytest.mark.parametrize("reply", ["", "I'm sorry, but I cannot grade this.", "nan", "inf", "1.5", "-0.1", "good"])
def test_S4_garbage_is_asked_again_and_never_a_score(tmp_path: Path, stub: Stub, reply: str) -> None:
    stub.script = in_turn(chat(reply, message={"refusal": ""}))
    outcome = run_tiny(tmp_path, judged(2), **options(stub))
    row = by_judge(outcome)["umpire"]
    assert [asked.body["temperature"] for asked in stub.asked] == [0.0, 0.7]
    assert (row.n_scored, row.verdicts, row.complete) == (1, {"not_scored": 1, "partial": 1}, False)
    assert outcome.exit_code == 3 and "--only-failed" in outcome.message
    line = list(outcome.folder.scores("tiny", "official+umpire"))[1]
    assert (line.score, line.verdict) == (None, "not_scored")
    assert line.reason.startswith("judge_error: the judge gave no usable reply in 2 attempts")
    assert by_judge(outcome)[None].score == 0.5, "without the judge the rule's score stands"


def test_S4_a_judge_that_recovers_finishes_later(tmp_path: Path, stub: Stub) -> None:
    def flaky(asked: Asked) -> Any:
        return failing(400, "no") if "ist 2?" in asked.texts else chat("1.0")

    stub.script = flaky
    task = judged()
    outcome = run_tiny(tmp_path, task, **options(stub))
    assert by_judge(outcome)["umpire"].n_scored == 3 and outcome.exit_code == 3
    asked = len(stub.asked)
    assert resume_run(RunReader.open(outcome.folder.path, [task]), no_model).exit_code == 3
    assert len(stub.asked) == asked, "a resume asks about what was never asked, not about what failed"
    stub.script = in_turn(chat("0.0"))
    results = again(outcome.folder, task, stub.url)
    assert len(stub.asked) == asked + 1
    assert [row["n_scored"] for row in results["rows"]] == [4, 4]
    assert verify(RunReader(outcome.folder, [task])).verdict == "complete"


@pytest.mark.parametrize("status", [401, 404])
def test_S4_an_unusable_judge_is_asked_once(tmp_path: Path, stub: Stub, status: int) -> None:
    stub.script = in_turn(failing(status, "go away"))
    task = judged()
    outcome = run_tiny(tmp_path, task, **options(stub, judge_connections=1))
    assert len(stub.asked) == 1
    assert [line.status for line in reply_lines(outcome.folder, "tiny")] == ["failed"] * 3
    assert all("go away" in line.message for line in reply_lines(outcome.folder, "tiny"))
    assert outcome.exit_code == 3 and any("judge is not usable" in text for _, text in outcome.folder.warnings)
    check_invariants(outcome.folder.path, task, exit_code=3)


def test_S4_an_unreachable_judge_is_noticed_before_anything_is_answered(tmp_path: Path) -> None:
    given = {"judge": "endpoint", "judge_base_url": unused_address(), "judge_model": "umpire"}
    with pytest.raises(EndpointError, match="cannot reach"):
        run_tiny(tmp_path, judged(), **given)
    assert not list(tmp_path.iterdir())


def test_S3_without_a_judge_what_needs_one_is_not_scored(tmp_path: Path) -> None:
    def needs_one(sample: Sample, answer: str, extraction: Extraction) -> Score:
        return score(sample, answer, extraction) if isinstance(extraction, str) else Score.not_scored("judge_missing")

    task = tiny(
        judge_prompt=lambda sample, answer: answer,
        protocols={"official": Protocol(score=needs_one, label="unjudged", judged="official")},
    )
    outcome = run_tiny(tmp_path, task)
    [row] = outcome.results.rows
    assert (row.score, row.n_scored, row.label, outcome.exit_code) == (None, 0, "unjudged", 3)


def test_the_mean_of_several_judge_runs(tmp_path: Path, stub: Stub) -> None:
    stub.script = lambda asked: chat(f"0.{asked.body['seed'] + 1}")
    rule = JudgeRule(read=read_share, runs=3)
    outcome = run_tiny(tmp_path, judged(2, rule), **options(stub))
    line = list(outcome.folder.scores("tiny", "official+umpire"))[1]
    assert line.score == pytest.approx(0.2)
    assert line.detail["judge_runs"] == pytest.approx([0.1, 0.2, 0.3])
    assert (line.verdict, line.extracted) == ("partial", ["0.1", "0.2", "0.3"])


def test_one_failed_run_of_several_is_no_mean_of_the_others(tmp_path: Path, stub: Stub) -> None:
    stub.script = lambda asked: chat("0.5") if asked.body["seed"] else chat("?")
    outcome = run_tiny(tmp_path, judged(2, JudgeRule(read=read_share, runs=2)), **options(stub))
    assert by_judge(outcome)["umpire"].n_scored == 1


def test_prompts_of_several_turns_and_what_is_said_again(tmp_path: Path, stub: Stub) -> None:
    stub.script = in_turn(chat("?"), chat("1"))
    rule = JudgeRule(read=read_share, again=" Only a number.", extra={"response_format": {"type": "text"}})
    task = judged(1, rule, judge_prompt=lambda *_: (Message.system("be strict"), Message.user("grade")))
    run_tiny(tmp_path, task, **options(stub))
    first, second = (asked.body for asked in stub.asked)
    assert first["messages"] == [{"role": "system", "content": "be strict"}, {"role": "user", "content": "grade"}]
    assert second["messages"][1]["content"] == "grade Only a number."
    assert first["response_format"] == {"type": "text"}


def test_an_unclosed_thought_is_not_shown_to_the_judge(tmp_path: Path, stub: Stub) -> None:
    outcome = run_tiny(tmp_path, judged(), think_budget=(3,), model_args={"think": 9}, **options(stub))
    assert not stub.asked
    assert by_judge(outcome)[None].verdicts == {"no_answer": 4}


def test_the_key_goes_to_the_judge_and_nowhere_else(
    tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-planted-secret")
    stub.script = lambda asked: failing(401, f"wrong key {asked.headers['authorization']}")
    outcome = run_tiny(tmp_path, judged(), **options(stub, judge_key_env="JUDGE_KEY"))
    assert stub.asked[0].headers["authorization"] == "Bearer sk-planted-secret"
    write_report([outcome.folder.path])
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"planted" not in path.read_bytes(), path
    assert "planted" not in outcome.message


def test_a_crash_among_replies_costs_no_reply(tmp_path: Path, stub: Stub) -> None:
    task = judged()
    outcome = run_tiny(tmp_path, task, **options(stub))
    path = outcome.folder.path / "judge" / "tiny.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    asked = len(stub.asked)
    results = again(RunFolder.open(outcome.folder.path), task, stub.url)
    assert len(stub.asked) == asked + 1
    assert [row["n_scored"] for row in results["rows"]] == [4, 4]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_replies_that_no_result_knows_yet_are_incomplete_not_damaged(tmp_path: Path, stub: Stub) -> None:
    task = judged()
    outcome = run_tiny(tmp_path, task)
    server = Server(base_url=stub.url, model="umpire")
    judge_run(RunReader(outcome.folder, [task]), server, "answer", Silent())  # and then the process is killed
    found = verify(RunReader.open(outcome.folder.path, [task]))
    assert found.verdict == "incomplete", found.findings
    rescored(outcome.folder, [task])
    assert verify(RunReader.open(outcome.folder.path, [task])).verdict == "complete"


def test_shards_bring_what_their_judges_said(tmp_path: Path, stub: Stub) -> None:
    task = judged(8)
    whole = run_tiny(tmp_path / "whole", task, **options(stub))
    shards = [run_tiny(tmp_path / "parts", task, shard=(part, 2), **options(stub)).folder.path for part in (1, 2)]
    asked = len(stub.asked)
    outcome, _ = merge(shards, tmp_path / "joined", [task])
    assert len(stub.asked) == asked
    assert [(row.judge, row.score, row.n_scored) for row in outcome.results.rows] == [
        (row.judge, row.score, row.n_scored) for row in whole.results.rows
    ]


def test_the_configuration_is_stored_and_read_again(tmp_path: Path, stub: Stub) -> None:
    outcome = run_tiny(tmp_path, judged(), **options(stub, judge_connections=3))
    stored = outcome.folder.manifest.config["judge"]
    assert (stored["base_url"], stored["model"], stored["max_connections"]) == (stub.url, "umpire", 3)
    text = (outcome.folder.path / "config.yaml").read_text()
    assert "judge: endpoint" in text and "judge_model: umpire" in text
    without = run_tiny(tmp_path, judged())
    assert without.folder.manifest.config_fingerprint == outcome.folder.manifest.config_fingerprint


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"judge_model": "x"}, UsageError, "without --judge endpoint"),
        ({"judge": "endpoint", "judge_model": "x"}, UsageError, "needs --judge-base-url"),
        ({"judge": "human"}, UsageError, "unknown judge 'human'"),
        ({"judge": "endpoint", "judge_base_url": "ftp://x", "judge_model": "x"}, ConfigError, "not a URL"),
        ({"judge": "endpoint", "judge_base_url": "http://u:planted@x/v1", "judge_model": "x"}, ConfigError, "login"),
        ({"judge": "endpoint", "judge_base_url": "http://x/v1?key=planted", "judge_model": "x"}, ConfigError, "query"),
    ],
)
def test_flags_that_name_no_judge(tmp_path: Path, given: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        run_tiny(tmp_path, judged(), **given)
    assert "planted" not in caught.value.render()


def test_two_judges_or_none_of_one_run_are_compared(tmp_path: Path, stub: Stub) -> None:
    task = judged()
    folder = run_tiny(tmp_path, task, **options(stub)).folder
    stub.script = in_turn(chat("0.0"))
    again(folder, task, stub.url, "second")
    found = compare(RunReader(folder, [task]), RunReader(folder, [task]), protocols=("official", "official+umpire"))
    [one] = found.as_json()["comparisons"]
    assert [one[side]["protocol"] for side in ("a", "b")] == ["official", "official+umpire"]
    assert (one["score_a"], one["score_b"]) == (0.5, (0.5 + 3) / 4)
    assert "official versus official+umpire" in as_text(found)
    [one] = compared(folder, folder, task, protocols=("official+umpire", "official+second"))
    assert [flip["sample_id"] for flip in one["lost"]] == ["q/1", "q/2", "q/3"]
    with refused(UsageError, "usage.judge", "'third'") as caught:
        compare(RunReader(folder, [task]), RunReader(folder, [task]), protocols=("official", "official+third"))
    assert caught.value.why == "asked: umpire, second"


def test_two_runs_are_compared_by_the_newest_judge_that_both_asked(tmp_path: Path, stub: Stub) -> None:
    task = judged()
    a, b, bare = (
        run_tiny(tmp_path / name, task, seed=number, **given).folder
        for number, (name, given) in enumerate({"a": options(stub), "b": options(stub), "bare": {}}.items())
    )
    again(a, task, stub.url, "only-here")
    [one] = compared(a, b, task)
    assert {one[side]["protocol"] for side in ("a", "b")} == {"official+umpire"}
    [one] = compared(a, bare, task)
    assert {one[side]["protocol"] for side in ("a", "b")} == {"official"}
    [one] = compared(a, bare, task, protocols=("lenient+umpire", "lenient"))
    assert {one[side]["protocol"] for side in ("a", "b")} == {"lenient"}  # which no judge reads


def mathvista(folder: Path, answer: str, **judge: Any) -> kvl_eval.EvaluationResult:
    backend = FakeBackend(answer=lambda request, repeat: answer)
    return kvl_eval.evaluate("fake", ["mathvista"], limit=6, split="mini", backend=backend, output_dir=folder, **judge)


def test_a_report_shows_a_judged_run_beside_an_unjudged_one(tmp_path: Path, stub: Stub) -> None:
    a = mathvista(tmp_path / "a", "I would rather not say", **options(stub))
    b = mathvista(tmp_path / "b", "I would rather not say it", blind=True)
    write_report([a.path, b.path], tmp_path / "report", ReportForm(images="none", include_demo=True))
    text = (tmp_path / "report" / "task-mathvista.html").read_text()
    assert "official (judge umpire)" in text and "official-rule" in text


def test_answers_from_a_file_are_judged_in_a_run_folder(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [one for _, one in zip(range(3), open_split(get_task("mathvista"), Source(), "mini"), strict=False)]
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(json.dumps({"id": one.id, "response": "I will not say"}) + "\n" for one in samples))
    stub.script = in_turn(chat(samples[0].answers[0]))
    with pytest.raises(SystemExit) as ended:
        main(["score", "--task", "mathvista", "--split", "mini", "--predictions", str(file), "--judge", "endpoint"])
    assert ended.value.code == 2 and "--model fake --model-args answers=FILE" in capsys.readouterr().err
    done = kvl_eval.evaluate(
        "fake",
        ["mathvista"],
        limit=3,
        split="mini",
        model_args={"answers": str(file)},
        output_dir=tmp_path / "runs",
        **options(stub),
    )
    rows = done.folder.results().rows
    scores = {row.judge: row.score for row in rows if row.protocol == "official"}
    assert scores[None] == 0 < scores["umpire"]


def test_progress_counts_each_question_of_the_judge_once(tmp_path: Path, stub: Stub) -> None:
    task = judged(6)
    folder = run_tiny(tmp_path, task).folder
    listening = Listening()
    judge_run(RunReader(folder, [task]), Server(base_url=stub.url, model="umpire"), "answer", listening)
    (counts,) = listening.counts
    assert (counts.planned, counts.done, counts.done_here, counts.ok) == (5, 5, 5, 5)
    assert (counts.weight_done, counts.weight_left) == (5, 5)
