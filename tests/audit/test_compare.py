from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.compare import RunComparison, compare
from kvl_eval.audit.compare_text import as_text
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import UsageError
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.types import Extraction, Sample, Score
from tests.forks import python
from tests.refusals import refused
from tests.tiny_task import gold_answer, rows, run_tiny, score, tiny


def answers(path: Path, said: dict[str, Any]) -> str:
    """An answers file of the fake backend: {sample: answer}."""
    path.write_text("".join(json.dumps({"id": name, "response": text}) + "\n" for name, text in said.items()))
    return str(path)


def gold(n: int = 10) -> dict[str, str]:
    return {f"q/{number}": "AB"[number % 2] for number in range(n)}


def run(folder: Path, said: dict[str, Any], task: Task | None = None, **options: Any) -> RunFolder:
    folder.mkdir(exist_ok=True)
    args = {"answers": answers(folder / "answers.jsonl", said), **options.pop("model_args", {})}
    return run_tiny(folder, task, model_args=args, **options).folder


def compared_runs(a: RunFolder, b: RunFolder, *own: Task, **options: Any) -> RunComparison:
    tasks = own or [tiny()]
    return compare(RunReader(a, tasks), RunReader(b, tasks), **options)


def compared(a: RunFolder, b: RunFolder, *own: Task, **options: Any) -> dict[str, Any]:
    return compared_runs(a, b, *own, **options).as_json()


def names(flips: list[dict[str, Any]]) -> list[str]:
    return [flip["sample_id"] for flip in flips]


def test_report_c6_causes_corrected_p_values_and_words_stand_in_the_document(tmp_path: Path) -> None:
    a = run(tmp_path / "a", gold() | {"q/0": "B", "q/1": "", "q/2": "B"})
    b = run(tmp_path / "b", gold())
    found = compared(a, b)
    [one] = found["comparisons"]
    causes = {cause["cause"]: (cause["value"], cause["only_a"], cause["only_b"]) for cause in one["causes"]}
    assert causes == {"no_answer": (pytest.approx(0.1), 0, 1), "content": (pytest.approx(0.2), 0, 2)}
    assert sum(cause["value"] for cause in one["causes"]) == pytest.approx(one["difference"])
    assert one["p_holm"] == one["p_value"], "a single task is not corrected"
    assert one["verdict"] == found["verdict"] and found["verdict"][0].startswith("No difference shown between A and B")


def test_paired_difference_with_test_and_flips(tmp_path: Path) -> None:
    a = run(tmp_path / "a", dict.fromkeys(gold(), "A"))  # right where the number is even
    b = run(tmp_path / "b", gold() | {"q/0": "B"})  # right everywhere but at q/0
    found = compared(a, b)
    [one] = found["comparisons"]
    assert (one["n"], one["score_a"], one["score_b"]) == (10, 0.5, 0.9)
    assert one["difference"] == pytest.approx(0.4)
    assert names(one["gained"]) == ["q/1", "q/3", "q/5", "q/7", "q/9"]
    assert names(one["lost"]) == ["q/0"]
    assert one["p_value"] == pytest.approx(14 / 64)  # 2 * (C(6,0) + C(6,1)) / 2**6
    assert one["ci95"][0] < 0.4 < one["ci95"][1]
    # differences are 5 times 1, once -1, 4 times 0, mean 0.4: variance (5 * 0.36 + 1.96 + 4 * 0.16) / 9
    assert one["stderr"] == pytest.approx((4.4 / 9 / 10) ** 0.5)
    assert one["detectable"] == pytest.approx((1.959964 + 0.841621) * (4.4 / 9 / 10) ** 0.5, rel=1e-6)
    assert one["gained"][0] == {
        "sample_id": "q/1",
        "repeat": 0,
        "gold": ["B"],
        "a": {"extracted": "A", "verdict": "wrong", "reason": None, "score": 0.0},
        "b": {"extracted": "B", "verdict": "correct", "reason": None, "score": 1.0},
    }


def test_differing_settings_come_first(tmp_path: Path) -> None:
    a, b = run_tiny(tmp_path).folder, run_tiny(tmp_path, seed=1, limit=9).folder
    found = compared_runs(a, b)
    assert "seed 0 → 1" in list(found.settings)
    assert "limit null → 9" in list(found.settings)
    lines = as_text(found).splitlines()
    assert lines[2] == "settings that can change an answer:"
    assert lines.index("  seed 0 → 1") < next(number for number, line in enumerate(lines) if "same samples" in line)


def test_settings_of_tasks_stand_together(tmp_path: Path) -> None:
    tasks = {name: tiny(name=name) for name in ("zebra", "ant")}

    def two(**options: Any) -> RunFolder:
        config = resolve("fake", "fake", list(tasks.values()), {"output_dir": str(tmp_path), **options})
        backend = FakeBackend(config.settings, answer=gold_answer)
        return start_run(plan_run(config, backend, list(tasks.values())), backend).folder

    a, b = two(), two(max_new_tokens=9, prompt={"ant": "short"})
    found = compared(a, b, *tasks.values())["settings"]
    assert "every task: max_new_tokens 512 → 9" in found
    assert "ant: prompt plain → short" in found
    only = compared(a, b, *tasks.values(), task="zebra")
    assert (only["settings"], len(only["comparisons"])) == (["zebra: max_new_tokens 512 → 9"], 1)


def test_only_samples_of_both_runs_count(tmp_path: Path) -> None:
    a = run(tmp_path / "a", gold(), limit=6)
    b = run(tmp_path / "b", gold() | {"q/2": "B"}, model_args={"fail": "oom:@q/1"})
    [one] = compared(a, b)["comparisons"]
    assert (one["n"], one["only_a"], one["only_b"]) == (5, 1, 4)
    assert names(one["lost"]) == ["q/2"]
    assert "(left out: 1 scored only in A, left out: 4 scored only in B)" in as_text(compared_runs(a, b))


def test_samples_whose_question_or_gold_changed_are_left_out(tmp_path: Path) -> None:
    changed = rows(10)
    changed[4]["question"], changed[5]["answer"] = "How much is 4?", "A"
    a, b = run(tmp_path / "a", gold()), run(tmp_path / "b", gold(), tiny(content=changed))
    [one] = compared(a, b)["comparisons"]
    assert (one["n"], one["changed_samples"]) == (8, ["q/4", "q/5"])


def test_samples_of_one_page_count_together(tmp_path: Path) -> None:
    task = tiny(content=rows(10, pages=True))
    a, b = run(tmp_path / "a", dict.fromkeys(gold(), "A"), task), run(tmp_path / "b", gold(), task)
    [one] = compared(a, b, task)["comparisons"]
    assert (one["n"], one["n_clusters"], one["ci_method"]) == (10, 5, "cluster bootstrap")
    assert one["ci95"] == [0.5, 0.5]  # on each page one of two answers is gained
    assert "the interval does not" in as_text(compared_runs(a, b, task))


def test_repeats_are_paired_and_count_together(tmp_path: Path) -> None:
    a = run(tmp_path / "a", gold(), repeats=2)
    b = run(tmp_path / "b", gold() | {"q/3": ["B", "A"]}, repeats=2)
    [one] = compared(a, b)["comparisons"]
    assert (one["n"], one["n_samples"], one["n_clusters"]) == (20, 10, 10)
    assert [(flip["sample_id"], flip["repeat"]) for flip in one["lost"]] == [("q/3", 1)]
    assert "q/3 repeat 1: 'B' → 'A', gold ['B']" in as_text(compared_runs(a, b))


def test_equal_runs_show_no_difference_and_no_false_certainty(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", gold()), run(tmp_path / "b", gold())
    [one] = compared(a, b)["comparisons"]
    assert (one["difference"], one["p_value"], one["detectable"]) == (0.0, 1.0, None)
    assert one["ci95"][0] == -one["ci95"][1] < 0


def grade(sample: Sample, answer: str, extraction: Extraction) -> Score:
    return Score.of({"A": 0.25, "B": 0.75}.get(answer, 1.0), answer)


def test_graded_scores_have_no_exact_test(tmp_path: Path) -> None:
    task = tiny(protocols={"official": Protocol(score=grade)})
    a = run(tmp_path / "a", dict.fromkeys(gold(), "A"), task)
    b = run(tmp_path / "b", dict.fromkeys(gold(), "A") | {"q/1": "B", "q/2": "C"}, task)
    [one] = compared(a, b, task)["comparisons"]
    assert one["p_value"] is None
    assert (one["n_higher"], one["n_lower"], names(one["gained"]), one["lost"]) == (2, 0, ["q/2"], [])
    assert one["difference"] == pytest.approx(0.125)


# -- protocols and budgets of one run ---------------------------------------------------------------------------


def never_b(sample: Sample, answer: str, extraction: Extraction) -> Score:
    return score(sample, answer, extraction) if answer.startswith("A") else Score.no_answer("not_a")


TWO = {"official": Protocol(score=score), "never-b": Protocol(score=never_b)}


def test_two_protocols_of_one_run(tmp_path: Path) -> None:
    task = tiny(protocols=TWO)
    folder = run(tmp_path / "a", gold(), task)
    before = sorted(path.name for path in (folder.path / "scores").iterdir())
    found = compared_runs(folder, folder, task, protocols=("official", "never-b"))
    [one] = found.as_json()["comparisons"]
    assert (found.settings, one["a"]["protocol"], one["b"]["protocol"]) == ((), "official", "never-b")
    assert names(one["lost"]) == ["q/1", "q/3", "q/5", "q/7", "q/9"]
    assert "q/1: 'B' → nothing (not_a), gold ['B']" in as_text(found)
    assert sorted(path.name for path in (folder.path / "scores").iterdir()) == before


def test_what_a_scorer_of_raw_outputs_sees(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", gold(), model_args={"think": 2})
    [one] = compared(folder, folder, protocols=("official", "official.raw"))["comparisons"]
    assert len(one["lost"]) == 10


def test_budgets_of_a_sweep_stand_against_its_largest(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", gold(), think_budget=(4, 8, 16), model_args={"think": 5})
    found = compared(folder, folder)["comparisons"]
    assert [(one["a"]["budget"], one["b"]["budget"]) for one in found] == [(4, 16), (8, 16)]
    assert [len(one["gained"]) for one in found] == [10, 0]
    other = run(tmp_path / "b", gold(), think_budget=(8, 32), model_args={"think": 5})
    [shared] = compared(folder, other)["comparisons"]
    assert (shared["a"]["budget"], shared["b"]["budget"]) == (8, 8)
    unlimited = compared(run(tmp_path / "c", gold(), model_args={"think": 5}), other)["comparisons"]
    assert [(one["a"]["budget"], one["b"]["budget"]) for one in unlimited] == [(None, 8), (None, 32)]


def test_stored_scores_of_an_unfinished_run_are_not_trusted(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", gold()), run(tmp_path / "b", gold() | {"q/3": "A"})
    [scores] = (b.path / "scores").iterdir()
    scores.write_bytes(b"".join(scores.read_bytes().splitlines(keepends=True)[:2]))
    assert compared(a, b)["comparisons"][0]["n"] == 2
    b.save_status("interrupted")
    [one] = compared(a, b)["comparisons"]
    assert (one["n"], names(one["lost"])) == (10, ["q/3"])


# -- what cannot be compared ------------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a = run(tmp_path / "a", gold())
    other = run(tmp_path / "b", gold(), tiny(name="other"))
    with refused(UsageError, "usage.compare", "the same run"):
        compared(a, a)
    with refused(UsageError, "usage.compare", "task"):
        compared(a, other)
    with refused(UsageError, "usage.task", "'tony'") as caught:
        compared(a, run(tmp_path / "c", gold()), task="tony")
    assert caught.value.suggestions == ("tiny",)
    with refused(UsageError, "usage.protocol", "'oficial'") as caught:
        compared(a, a, protocols=("oficial", None))
    assert caught.value.suggestions == ("official",)
    sweeps = [
        run(tmp_path / name, gold(), think_budget=budgets, model_args={"think": 5})
        for name, budgets in (("d", (4, 8)), ("e", (16, 32)))
    ]
    with refused(UsageError, "usage.compare", "budget"):
        compared(*sweeps)


def test_runs_without_a_common_sample_say_so(tmp_path: Path) -> None:
    a = run(tmp_path / "a", gold(), sample_ids=("q/1",))
    b = run(tmp_path / "b", gold(), sample_ids=("q/2",))
    found = compared_runs(a, b)
    assert found.comparisons[0].pairs.counts.n == 0
    assert "nothing to compare" in as_text(found)


def test_hostile_answers_stay_text(tmp_path: Path) -> None:
    def read(sample: Sample, answer: str, extraction: Extraction) -> Score:
        return Score.of(float(answer == "A"), answer, "whole")

    task = tiny(protocols={"official": Protocol(score=read)})
    a = run(tmp_path / "a", dict.fromkeys(gold(), "A"), task)
    b = run(tmp_path / "b", dict.fromkeys(gold(), "\x1b[2J\u202e" + "x" * 500), task)
    text = as_text(compared_runs(a, b, task))
    assert "\x1b" not in text and "\u202e" not in text
    assert max(map(len, text.splitlines())) < 250


def kvl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "kvl_eval", *arguments, cwd=cwd)


def test_compare_on_the_command_line(tmp_path: Path) -> None:
    options = ("run", "--task", "mathvista", "--model", "fake", "--limit", "8", "--json", "--no-resume")
    runs = [json.loads(kvl(*options, "--seed", seed, cwd=tmp_path).stdout)["folder"] for seed in "01"]
    done = kvl("compare", *runs, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["settings"] == ["seed 0 → 1"]
    assert found["comparisons"][0]["n"] == 8
    text = kvl("compare", *runs, "--task", "mathvista", "--protocol", "vlmevalkit", cwd=tmp_path)
    assert "vlmevalkit versus vlmevalkit" in text.stdout
    one = kvl("compare", runs[0], "--protocol", "official,vlmevalkit", cwd=tmp_path)
    assert (one.returncode, one.stderr) == (0, "")
    assert "official versus vlmevalkit" in one.stdout
    refused = kvl("compare", runs[0], "--protocol", "a,b,c", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error[usage.protocol]")


def test_the_text_ends_with_what_the_difference_says(tmp_path: Path) -> None:
    a = run(tmp_path / "a", dict.fromkeys(gold(), "C"))
    b = run(tmp_path / "b", gold())
    text = as_text(compared_runs(a, b))
    assert "verdict: B is better than A on " in text and "(10 samples, p = 0.002)." in text
    same = as_text(compared_runs(b, run(tmp_path / "c", gold() | {"q/0": "B"})))
    assert "verdict: No difference shown between A and B on " in same
