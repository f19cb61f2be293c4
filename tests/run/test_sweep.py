"""`kvl-eval sweep` from the command line, on scripted outputs: what each budget makes of a thought, by policy.

The scripted outputs pass through the same trajectory code as a model's (`kvl_eval/engine/trajectory.py`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.decode import encode_object
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import resume_run, start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import Completion, Extraction, Sample, Score
from tests.faults import children
from tests.forks import python
from tests.processes import running
from tests.test_cli import kvl
from tests.tiny_task import Deadly, comparable, config_of, make_fake, run_tiny, score, tiny

SCRIPT = Path(__file__).resolve().parents[1] / "tiny_task.py"
TIMES = ("time", "ended_at")
OUTPUTS: dict[str, list[str]] = {
    "before": [THINK_OPEN, "a ", "b ", THINK_CLOSE, "B"],  # closed at 4
    "below": [THINK_OPEN, "a ", "b ", "c ", THINK_CLOSE, "B"],  # closed at 5
    "exactly": [THINK_OPEN, "a ", "b ", "c ", "d ", THINK_CLOSE, "B"],  # closed at 6
    "above": [THINK_OPEN, "a ", "b ", "c ", "d ", "e ", THINK_CLOSE, "B"],  # closed at 7
    "split": [THINK_OPEN, "a ", "b ", "c ", "◁/th", "ink▷B"],  # closed at 6, by a token that begins the answer
    "joined": [THINK_OPEN, "a ", "b ", "c◁/", "think▷", "B"],  # closed at 5; a forced close takes back half a token
    "endless": [THINK_OPEN, *["so "] * 50],
    "gives up": [THINK_OPEN, "a "],  # ends in mid-thought, below every budget but 0
    "wordy": [THINK_OPEN, "a ", THINK_CLOSE, "B ", "or ", "perhaps ", "C ", "or ", "D"],
    "two closings": [THINK_OPEN, "a ", THINK_CLOSE, "B", THINK_CLOSE, "C"],
    "no thought": ["B"],
    "late": ["B ", THINK_OPEN, "a ", THINK_CLOSE],  # what does not open with a thought has none
    "nothing": [],
}
FORCED = "D"  # what every sample answers where its thought was closed by force

Record = dict[str, Any]
# (finish_reason, think_closed, budget_forced, thinking tokens, answer tokens, answer) at budgets 0, 5, 6
CUT = {
    "before": [("budget", False, False, 0, 0, ""), *[("stop", True, False, 4, 1, "B")] * 2],
    "below": [("budget", False, False, 0, 0, ""), *[("stop", True, False, 5, 1, "B")] * 2],
    "exactly": [
        ("budget", False, False, 0, 0, ""),
        ("budget", False, False, 5, 0, ""),
        ("stop", True, False, 6, 1, "B"),
    ],
    "above": [("budget", False, False, budget, 0, "") for budget in (0, 5, 6)],
    "split": [
        ("budget", False, False, 0, 0, ""),
        ("budget", False, False, 5, 0, ""),
        ("stop", True, False, 6, 0, "B"),
    ],
    "joined": [("budget", False, False, 0, 0, ""), *[("stop", True, False, 5, 1, "B")] * 2],
    "endless": [("budget", False, False, budget, 0, "") for budget in (0, 5, 6)],
    "gives up": [("budget", False, False, 0, 0, ""), *[("stop", False, False, 2, 0, "")] * 2],
    "wordy": [("budget", False, False, 0, 0, ""), *[("length", True, False, 3, 3, "B or perhaps")] * 2],
    "two closings": [("budget", False, False, 0, 0, ""), *[("length", True, False, 3, 3, "B◁/think▷C")] * 2],
    "no thought": [("stop", None, False, 0, 1, "B")] * 3,
    "late": [("length", None, False, 0, 3, "B ◁think▷a ")] * 3,
    "nothing": [("stop", None, False, 0, 0, "")] * 3,
}
ENDED = {  # what `force` makes of the same thoughts where `cut` ends them, with the thinking tokens that stay
    "exactly": [0, 5],
    "above": [0, 5, 6],
    "split": [0, 4],
    "endless": [0, 5, 6],
}


def expected(policy: str, name: str) -> list[tuple[Any, ...]]:
    if policy == "cut":
        return CUT[name]
    stays = ENDED.get(name, [0])
    return [
        ("stop", True, True, stays[place], 1, FORCED) if found[0] == "budget" else found
        for place, found in enumerate(CUT[name])
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of questions, gold B, and the scripted outputs that answer them."""
    path = tmp_path_factory.mktemp("sweep")
    choices = ["red", "green", "blue", "grey"]
    rows = [{"id": name, "question": "Which?", "choices": choices, "answer": "B"} for name in OUTPUTS]
    script = [{"id": name, "tokens": tokens, "response": FORCED} for name, tokens in OUTPUTS.items()]
    for name, lines in (("mine", rows), ("script", script)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return path


def sweep(folder: Path, out: str, policy: str, budgets: str, *more: str, code: int = 0) -> tuple[Path, dict[str, Any]]:
    """`kvl-eval sweep` over the scripted table: its run folder and results."""
    done = kvl("sweep", *arguments(out, policy, budgets), *more, "--json", cwd=folder)
    assert done.returncode == code, done.stderr
    results = json.loads(done.stdout)
    return folder / results["folder"], results


def arguments(out: str, policy: str, budgets: str, args: str = "answers=script.jsonl") -> list[str]:
    options = ["--task", "file:mine.jsonl", "--model", "fake", "--model-args", args, "--answer-tokens", "3"]
    return [*options, "--think-budget", budgets, "--budget-policy", policy, "--output-dir", out]


def records(run: Path) -> list[Record]:
    folder = RunFolder.open(run)
    [task] = folder.manifest.data
    return [encode_object(record) for record in folder.records(task)]


def by_key(found: Iterable[Record], *without: str) -> dict[tuple[Any, ...], Record]:
    """Records by sample, repeat and budget, without times."""
    left_out = {*TIMES, *without}
    keyed = {}
    for record in found:
        key = record["sample_id"], record["repeat"], record["budget"]
        assert key not in keyed, "answered twice"
        keyed[key] = {name: value for name, value in record.items() if name not in left_out}
    return keyed


@pytest.fixture(scope="module", params=["cut", "force"])
def swept(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Path, dict[str, Any]]:
    """(policy, run folder, results) of one pass over budgets 0, 5 and 6."""
    return (request.param, *sweep(folder, f"one-{request.param}", request.param, "0,5,6"))


@pytest.mark.parametrize("name", OUTPUTS)
def test_each_budget_has_its_exact_record(swept: tuple[str, Path, Any], name: str) -> None:
    policy, run, _ = swept
    found = sorted((one for one in records(run) if one["sample_id"] == name), key=lambda one: int(one["budget"]))
    assert [one["budget"] for one in found] == [0, 5, 6]
    assert {one["policy"] for one in found} == {policy}
    seen = [
        (
            one["finish_reason"],
            one["think_closed"],
            one["budget_forced"],
            one["tokens"]["thinking"],
            one["tokens"]["answer"],
            one["answer"],
        )
        for one in found
    ]
    assert seen == expected(policy, name)


def test_raw_outputs_keep_the_forced_marker_and_no_half_of_one(folder: Path, swept: tuple[str, Path, Any]) -> None:
    policy, run, _ = swept
    raw = {key: one["raw_output"] for key, one in by_key(records(run)).items()}
    forced = {
        ("split", 5): "◁think▷a b c ◁/think▷D",
        ("above", 6): "◁think▷a b c d e ◁/think▷D",
        ("endless", 0): "◁/think▷D",
    }
    cut = {("split", 5): "◁think▷a b c ◁/th", ("above", 6): "◁think▷a b c d e ", ("endless", 0): ""}
    for (name, budget), text in (cut if policy == "cut" else forced).items():
        assert raw[name, 0, budget] == text
    alone, _ = sweep(folder, f"half-{policy}", policy, "4")
    half = by_key(records(alone))["joined", 0, 4]
    assert half["raw_output"] == ("◁think▷a b c◁/" if policy == "cut" else "◁think▷a b c◁/think▷D")
    assert half["tokens"]["thinking"] == 4


def newest(out: Path) -> Path:
    return max(path for path in out.iterdir() if path.is_dir())


def test_one_pass_equals_separate_runs_record_by_record(folder: Path, swept: tuple[str, Path, Any]) -> None:
    policy, run, results = swept
    one_pass, separate, rows = by_key(records(run), "config_fingerprint"), {}, []
    for budget in ("0", "5", "6"):
        alone, found = sweep(folder, f"alone-{policy}-{budget}", policy, budget)
        separate |= by_key(records(alone), "config_fingerprint")
        rows += found["rows"]
    assert one_pass == separate
    untimed = [
        {name: value for name, value in row.items() if name not in ("time", "seconds", "devices")}
        for row in (*results["rows"], *rows)
    ]
    assert untimed[: len(rows)] == untimed[len(rows) :]


def test_results_have_a_row_for_each_budget(swept: tuple[str, Path, dict[str, Any]]) -> None:
    policy, run, results = swept
    rows = results["rows"]
    assert [(row["budget"], row["policy"], row["n_planned"]) for row in rows] == [
        (budget, policy, len(OUTPUTS)) for budget in (0, 5, 6)
    ]
    for place, row in enumerate(rows):
        planned = [expected(policy, name)[place] for name in OUTPUTS]
        assert row["unclosed_share"] == pytest.approx(sum(one[1] is False for one in planned) / len(OUTPUTS))
        assert row["forced_share"] == pytest.approx(sum(one[2] for one in planned) / len(OUTPUTS))
        assert row["tokens"]["thinking"]["mean"] == pytest.approx(sum(one[3] for one in planned) / len(OUTPUTS))
        unread = ("", "B◁/think▷C", "B ◁think▷a ", "B or perhaps")
        assert row["verdicts"]["no_answer"] == sum(one[5] in unread for one in planned)
        assert row["reference"] is None
    assert json.loads((run / "results.json").read_text())["rows"] == rows


def test_an_unclosed_thought_is_never_searched_for_an_answer(folder: Path) -> None:
    rows = [{"id": "1", "question": "Which?", "choices": ["red", "green"], "answer": "B"}]
    (folder / "tempting.jsonl").write_text(json.dumps(rows[0]) + "\n")
    tokens = [THINK_OPEN, "The answer is (B). ", "\\boxed{B} ", *["B "] * 9]
    (folder / "tempts.jsonl").write_text(json.dumps({"id": "1", "tokens": tokens}) + "\n")
    options = [*arguments("tempted", "cut", "0,3,8", "answers=tempts.jsonl")]
    options[1] = "file:tempting.jsonl"
    done = kvl("sweep", *options, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert [row["verdicts"] for row in json.loads(done.stdout)["rows"]] == [{"no_answer": 1}] * 3


# -- kill and resume --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["cut", pytest.param("force", marks=pytest.mark.slow)])
def test_a_killed_sweep_goes_on_where_it_was(folder: Path, policy: str) -> None:
    out = f"killed-{policy}"
    args = "answers=script.jsonl,delay=0.05"
    command = [sys.executable, "-m", "kvl_eval", "sweep", *arguments(out, policy, "0,5,6", args)]
    with running(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        kill_after(process, folder / out, 4)
    run = newest(folder / out)
    [path] = (run / "samples").glob("*.jsonl")
    kept = path.read_bytes()
    whole = kept[: kept.rfind(b"\n") + 1]
    assert 4 <= whole.count(b"\n") < 3 * len(OUTPUTS)
    again = kvl("resume", str(run), cwd=folder)
    assert again.returncode == 0, again.stderr
    assert path.read_bytes().startswith(whole), "nothing finished was answered again"
    undisturbed, _ = sweep(folder, f"whole-{policy}", policy, "0,5,6")
    assert by_key(records(run)) == by_key(records(undisturbed))
    assert comparable(run) == comparable(undisturbed)


def kill_after(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    """SIGKILL once `count` records are written."""
    until = time.monotonic() + 60
    while sum(path.read_bytes().count(b"\n") for path in out.glob("*/samples/*.jsonl")) < count:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "no records came"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL


class Watched(FakeBackend):
    """Remembers which budgets it was asked for."""

    asked: list[tuple[str, tuple[int, ...], tuple[int, ...]]]

    async def generate(self, requests: Iterable[Request]) -> Any:
        self.asked = []

        def seen() -> Iterator[Request]:
            for request in requests:
                self.asked.append((request.key, request.repeats, request.generation.think_budgets))
                yield request

        async for answered in super().generate(seen()):
            yield answered


def test_a_resumed_sweep_asks_for_the_missing_budgets_alone(tmp_path: Path) -> None:
    options = {"think_budget": [4, 8, 16], "repeats": 2, "model_args": {"think": 6, "answers": "hash"}}
    done = python(str(SCRIPT), "run", str(tmp_path), json.dumps({**options, "die_after": 8}), timeout=60)
    assert done.returncode == -signal.SIGKILL
    made: list[Watched] = []

    def make(config: RunConfig) -> Watched:
        made.append(Watched(config.settings))
        return made[0]

    outcome = resume_run(RunReader.open(newest(tmp_path), [tiny()]), make)
    assert outcome.exit_code == 0
    assert made[0].asked[:3] == [
        ("tiny/q/1", (0,), (4,)),  # killed between the second and the third budget of the first repeat
        ("tiny#1/q/1", (1,), (4, 8, 16)),
        ("tiny/q/2", (0, 1), (4, 8, 16)),
    ]
    assert len(made[0].asked) == 2 + 8
    whole = run_tiny(tmp_path / "whole", think_budget=(4, 8, 16), repeats=2, model_args=options["model_args"])
    assert by_key(records(outcome.folder.path)) == by_key(records(whole.folder.path))
    assert comparable(outcome) == comparable(whole)


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_P4_a_sweep_killed_inside_every_third_record_loses_nothing(tmp_path: Path, policy: str) -> None:
    """Whatever was cut off, each record that is left has its whole text, though a thought is stored once."""
    args = {"think": 200, "answers": "hash"}
    options: dict[str, Any] = {"think_budget": (64, 128, 256), "budget_policy": policy, "model_args": args}
    whole = by_key(records(run_tiny(tmp_path / "whole", **options).folder.path))
    run = tmp_path / "killed"
    assert children.run(lambda: run_tiny(run, disk=Deadly(2, torn=True), **options)) == -signal.SIGKILL
    path, kills = newest(run), 1
    while True:
        left = by_key(records(path))
        assert left == {key: whole[key] for key in left}
        assert len(left) == 2 * kills
        found = verify(RunReader.open(path, [tiny()]))
        assert (found.exit_code, found.has("damaged")) == (3, False)
        code = children.run(
            lambda: resume_run(RunReader(RunFolder.open(path, Deadly(2, torn=True)), [tiny()]), make_fake)
        )
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills == len(whole) / 2 - 1
    assert by_key(records(path)) == whole
    assert comparable(path) == comparable(newest(tmp_path / "whole"))


class Unlucky(FakeBackend):
    """Fails at the largest budget."""

    async def generate(self, requests: Iterable[Request]) -> Any:
        async for key, found in super().generate(requests):
            failed = Completion(budget=found.budget, status="failed", reason="oom", finish_reason="error")
            yield key, failed if found.budget == 256 else found


def test_where_the_largest_budget_failed_it_alone_is_answered_again(tmp_path: Path) -> None:
    task = tiny(2)
    options = {"think_budget": (32, 64, 128, 256), "model_args": {"think": 200, "answers": "hash"}}
    config = config_of(task, tmp_path / "unlucky", **options)
    backend = Unlucky(config.settings)
    plan = plan_run(config, backend, [task])
    outcome = start_run(plan, backend)
    folder = outcome.folder
    assert (outcome.exit_code, len(folder.index("tiny").failed)) == (3, 2)
    before = folder.samples_path("tiny").read_bytes()
    again = resume_run(RunReader.open(folder.path, [task]), make_fake, rerun="failed")
    assert again.exit_code == 0
    assert folder.samples_path("tiny").read_bytes().removeprefix(before).count(b"\n") == 2
    whole = run_tiny(tmp_path / "whole", task, **options).folder.path
    assert by_key(records(folder.path)) == by_key(records(whole))


# -- repeats ----------------------------------------------------------------------------------------------------


def test_repeats_are_summed_up_at_each_budget(tmp_path: Path) -> None:
    """Two questions, three answers each; thoughts of 3 and of 5 tokens at budgets 3 and 8."""
    thoughts = {3: [THINK_OPEN, "a ", THINK_CLOSE], 5: [THINK_OPEN, "a ", "b ", "c ", THINK_CLOSE]}
    script = {"x": [(3, "B"), (3, "B"), (5, "C")], "y": [(3, "A"), (5, "C"), (5, "C")]}
    gold = {"x": "B", "y": "A"}
    choices = ["red", "green", "blue"]
    rows = [{"id": name, "question": "?", "choices": choices, "answer": gold[name]} for name in script]
    lines = [
        {"id": name, "tokens": [[*thoughts[size], answer] for size, answer in answers]}
        for name, answers in script.items()
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run, results = sweep(tmp_path, "out", "cut", "3,8", "--repeats", "3")
    low, high = (row["repeats"] for row in results["rows"])
    assert (low["n"], low["questions"], high["n"], high["questions"]) == (3, 2, 3, 2)
    assert low["mean"] == high["mean"] == pytest.approx(0.5)
    for found in (low, high):  # two of three right, and one of three, at both budgets
        assert found["pass_at"] == {
            "1": pytest.approx(0.5),
            "2": pytest.approx((1 + 2 / 3) / 2),
            "3": pytest.approx(1.0),
        }
    assert low["majority"] == 1.0, "what has no answer does not vote"
    assert high["majority"] == 0.5
    assert results["rows"][0]["stderr"] > 0
    assert len(by_key(records(run))) == 2 * 3 * 2
    page = kvl("report", str(run), "--no-pictures", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    [text] = [path.read_text() for path in (run / "report").glob("task-*.html")]
    assert "pass@3" in text and "100.0" in text and "50.0" in text


def test_repeats_are_counted_too_where_a_protocol_needs_the_whole_run(tmp_path: Path) -> None:
    def score_run(items: Sequence[tuple[Sample, str, Extraction]]) -> list[Score]:
        return [score(*item) for item in items]

    task = tiny(protocols={"official": Protocol(score=score), "exact": Protocol(score=score, score_run=score_run)})
    args = {"think": 3, "answers": "hash"}
    outcome = run_tiny(tmp_path, task, repeats=3, think_budget=(4, 8), model_args=args, protocol="all")
    rows = {(row.protocol, row.budget): row.repeats for row in outcome.results.rows}
    assert rows["exact", 8] == rows["official", 8]
    assert rows["exact", 4] == rows["official", 4]
    assert rows["exact", 8].n == 3
