"""The command line as a user meets it: a fresh process, its output and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import python


def kvl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "kvl_eval", *arguments, cwd=cwd, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("runn",), "did you mean run?", id="verb"),
        pytest.param(("run", "--taks", "x"), "--task", id="option"),
        pytest.param(("run", "--task", "mathvist"), "did you mean mathvista", id="task"),
        pytest.param(("run", "--task", "mathvista", "--model", "kimi-vl-instrukt"), "kimi-vl-instruct", id="model"),
        pytest.param(("run", "--task", "mathvista", "--split", "tesmini"), "testmini", id="split"),
        pytest.param(("run", "--task", "mathvista", "--prompt", "queri"), "query", id="prompt"),
        pytest.param(("run", "--task", "mathvista", "--protocol", "oficial"), "official", id="protocol"),
        pytest.param(("run", "--model", "fake"), "kvl-eval list tasks", id="no-task"),
        pytest.param(("run", "--task", "mathvista", "--limit", "0"), "--limit", id="limit"),
        pytest.param(("run", "--task", "mathvista", "--trust-remote-code"), "never runs code", id="remote-code"),
        pytest.param(("sweep", "--task", "mathvista", "--model", "fake"), "--think-budget", id="sweep"),
        pytest.param(
            ("run", "--task", "mathvista", "--think-budget", "1k", "--max-new-tokens", "9"),
            "cannot be combined",
            id="budget",
        ),
        pytest.param(("score",), "no run given", id="score"),
        pytest.param(("report",), "fix:   kvl-eval report latest", id="report"),
        pytest.param(("describe", "mathvisa"), "mathvista", id="describe"),
    ],
)
def test_wrong_use_is_answered_in_one_block(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    done = kvl(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error[")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_the_older_words_for_what_a_scorer_sees_are_accepted(tmp_path: Path) -> None:
    line = {"id": "1", "response": "◁think▷14", "row": {"pid": "1", "question_type": "free_form", "answer": "14"}}
    line["row"] |= {"answer_type": "integer", "image": "1.jpg"}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line))
    scores = []
    for options in (
        (),
        ("--score-view", "answer"),
        ("--thinking", "split"),
        ("--score_view", "raw"),
        ("--thinking", "raw"),
    ):
        done = kvl("score", "--task", "mathvista", "--predictions", "answers.jsonl", "--json", *options, cwd=tmp_path)
        found = json.loads(done.stdout)
        scores.append((found["thinking"], found["score"]))
    assert scores == [*[("split", 0.0)] * 3, *[("raw", 1.0)] * 2]
    help_text = kvl("run", "--help-all", cwd=tmp_path).stdout
    assert "--score-view answer|raw" in help_text and "--thinking" not in help_text


def test_a_stored_configuration_keeps_its_word_for_what_a_scorer_sees(tmp_path: Path) -> None:
    options = ("--task", "mathvista", "--model", "fake", "--limit", "1", "--json", "--no-resume")
    first = kvl("run", *options, "--score-view", "raw", cwd=tmp_path)
    folder = tmp_path / json.loads(first.stdout)["folder"]
    assert "thinking: raw" in (folder / "config.yaml").read_text()
    assert json.loads((folder / "run.json").read_text())["config"]["thinking"] == "raw"
    again = kvl("run", "--config", str(folder / "config.yaml"), "--json", "--no-resume", cwd=tmp_path)
    assert [row["thinking"] for row in json.loads(again.stdout)["rows"]] == ["raw"], again.stderr


def test_both_spellings_and_aliases_mean_the_same(tmp_path: Path) -> None:
    plans = [
        kvl("run", *options, "--model", "fake", "--dry-run", cwd=tmp_path).stdout
        for options in (
            ("--task", "mathvista", "--max-new-tokens", "7", "--batch-size", "2", "--output-dir", "out"),
            ("--tasks", "mathvista", "--max_new_tokens", "7", "--batch_size", "2", "--output_path", "out"),
            ("-t", "mathvista", "--max-gen-toks", "7", "-b", "2", "-o", "out"),
        )
    ]
    assert "greedy, <= 7 " in plans[0]
    assert plans[0] == plans[1] == plans[2]
    assert not (tmp_path / "out").exists()


UNBUNDLED = """
from dataclasses import replace
from kvl_eval.tasks import egoschema
TASK = replace(egoschema.TASK, name="unbundled", mini=None, groups=("table3",))
"""


def test_what_is_not_bundled_is_left_out_of_groups_and_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "unbundled.py").write_text(UNBUNDLED)
    options = ("--model", "fake", "--dry-run", "--limit", "1", "--include-path", "own")
    done = kvl("run", "--task", "table3", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: skipping unbundled: has no bundled split" in done.stderr.splitlines()
    assert "unbundled" not in done.stdout
    named = kvl("run", "--task", "unbundled", *options, cwd=tmp_path)
    assert named.returncode == 2
    assert "give --data-dir" in named.stderr


def test_run_then_score_then_report_then_list(tmp_path: Path) -> None:
    done = kvl("run", "--task", "mathvista", "--model", "fake", "--limit", "5", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["rows"][0]["n_planned"] == 5
    assert results["rows"][0]["partial"].startswith("limit 5 of ")
    run = str(tmp_path / results["folder"])
    table = kvl("score", run, "--protocol", "all", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert all(name in table.stdout for name in ("official-rule", "official-exact", "vlmevalkit", "lmms-eval"))
    report = kvl("report", run, cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert report.stdout.startswith("report: ")
    page = Path(report.stdout.removeprefix("report: ").strip())
    assert page.name == "index.html" and page.exists()
    listed = json.loads(kvl("list", "runs", "--json", cwd=tmp_path).stdout)
    assert [row["status"] for row in listed] == ["finished"]


@pytest.mark.parametrize(
    ("options", "protocols"),
    [
        pytest.param((), ["reader", "official"], id="what-stands-beside-too"),
        pytest.param(("--protocol", "official"), ["official"], id="one"),
        pytest.param(("--protocol", "assumed"), ["reader"], id="by-its-older-name"),
    ],
)
def test_scoring_again_prints_the_protocols_that_are_asked_for(
    tmp_path: Path, options: tuple[str, ...], protocols: list[str]
) -> None:
    command = ("run", "--task", "mmmu", "--model", "fake", "--limit", "2", "--json")
    run = json.loads(kvl(*command, cwd=tmp_path).stdout)["folder"]
    done = kvl("score", run, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "mmmu/mini " in line]
    assert [row[-1] for row in rows] == protocols


def test_config_file_repeats_a_run_and_refuses_unknown_keys(tmp_path: Path) -> None:
    first = kvl("run", "--task", "mathvista", "--model", "fake", "--limit", "3", "--json", cwd=tmp_path)
    folder = Path(json.loads(first.stdout)["folder"])
    again = kvl("run", "--config", str(folder / "config.yaml"), "--json", "--no-resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    score = [json.loads(done.stdout)["rows"][0]["score"] for done in (first, again)]
    assert score[0] == score[1]
    (tmp_path / "odd.yaml").write_text("tsak: mathvista\n")
    odd = kvl("run", "--config", "odd.yaml", cwd=tmp_path)
    assert odd.returncode == 2
    assert (
        odd.stderr == "error[config.key]: unknown option 'tsak'\n  where: odd.yaml:1\n  fix:   did you mean 'task'?\n"
    )


def test_own_table_and_own_task_file(tmp_path: Path) -> None:
    rows = [{"question": "2 + 2?", "answer": 4}, {"question": "Which?", "choices": ["red", "blue"], "answer": "blue"}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = kvl("run", "--task", "file:mine.jsonl", "--model", "fake", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["n_scored"] == 2
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(
        "from pathlib import Path\nfrom dataclasses import replace\nfrom kvl_eval.tasks.table_file import table_task\n"
        f"TASK = replace(table_task(Path({str(tmp_path / 'mine.jsonl')!r})), name='mine')\n"
    )
    listed = kvl("list", "tasks", "--include-path", "own", cwd=tmp_path)
    assert "mine" in listed.stdout
    empty = kvl("list", "tasks", "--include-path", "nowhere", cwd=tmp_path)
    assert empty.returncode == 2


def test_predictions_from_anywhere(tmp_path: Path) -> None:
    line = {"id": "1", "response": "The answer is (B)", "row": {"question": "Which?", "choices": ["a", "b"]}}
    line["row"] |= {"pid": "1", "question_type": "multi_choice", "answer_type": "text", "answer": "b"}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
    done = kvl(
        "score", "--task", "mathvista", "--predictions", "answers.jsonl", "--out", "o.jsonl", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n"], found["score"], found["protocol"]) == (1, 1.0, "official")
    assert json.loads((tmp_path / "o.jsonl").read_text())["verdict"] == "correct"


def test_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m kvl_eval list references | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_demo_model_is_named_in_one_line_before_the_plan(tmp_path: Path) -> None:
    done = kvl("run", "--task", "niah-video", "--limit", "1", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    first, *others = done.stderr.splitlines()
    assert first == "note: kimi-vl-nano is a 5M-parameter demo; its scores are not Kimi-VL's."
    assert not any("demo" in line for line in (*others, *done.stdout.splitlines()))
