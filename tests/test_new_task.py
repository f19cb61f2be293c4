"""`kvl-eval new-task`: what it writes runs and passes its test at once, and nothing is overwritten."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvl_eval.cli.new_task import registered
from kvl_eval.tasks import _OWN, TASKS, include
from tests.faults.shell import Shell

ROOT = Path(__file__).resolve().parents[1]
FAKE = ("--model", "fake", "--num-workers", "0", "--no-progress")


@pytest.fixture(autouse=True)
def registered_tasks() -> Iterator[None]:
    known, own = dict(TASKS), dict(_OWN)
    yield
    for registry, before in ((TASKS, known), (_OWN, own)):
        registry.clear()
        registry.update(before)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def passes(path: Path, tmp_path: Path) -> None:
    """Runs the tests of a file that was written."""
    names: dict[str, object] = {"__file__": str(path.absolute())}
    exec(compile(path.read_text(), str(path), "exec"), names)
    tests = [(name, test) for name, test in names.items() if name.startswith("test_") and callable(test)]
    assert len(tests) >= 4
    for name, test in tests:
        test(tmp_path) if name == "test_run" else test()


def test_the_files_run_and_their_test_passes_at_once(shell: Shell, tmp_path: Path) -> None:
    written = shell("new-task", "demo")
    assert written.code == 0, written.err
    assert written.out.splitlines() == [
        *(f"wrote {name}" for name in ("tasks/demo.py", "tasks/demo.jsonl", "tests/test_demo.py")),
        "try:  kvl-eval run demo --include-path tasks --model fake",
        "      pytest tests/test_demo.py",
    ]
    assert len(Path("tasks/demo.jsonl").read_text().splitlines()) == 3
    options = ("--include-path", "tasks", *FAKE, "--model-args", "answers=constant:Red.", "--json")
    done = shell("run", "demo", *options)
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["rows"]
    assert (row["score"], row["n_scored"]) == (pytest.approx(1 / 3), 3)
    assert set(row["categories"]["shape"]) == {"circle", "square", "triangle"}
    passes(Path("tests/test_demo.py"), tmp_path)


def test_nothing_is_overwritten(shell: Shell) -> None:
    assert shell("new-task", "demo").code == 0
    Path("tasks/demo.py").write_text("mine")
    again = shell("new-task", "demo")
    assert (again.code, Path("tasks/demo.py").read_text()) == (2, "mine")
    assert again.err.startswith("error[usage.exists]: tasks/demo.py exists")


def test_another_folder(shell: Shell) -> None:
    assert shell("new-task", "my-demo", "--output-dir", "there").code == 0
    assert sorted(path.name for path in Path("there").rglob("*.*")) == [
        "my_demo.jsonl",
        "my_demo.py",
        "test_my_demo.py",
    ]


@pytest.mark.parametrize("name", ["mathvista", "MathVista", "1st", "../x", "a b", "class", ""])
def test_names_that_no_task_can_have(shell: Shell, name: str) -> None:
    refused = shell("new-task", name)
    assert refused.code == 2 and "error[usage.name]" in refused.err and not Path("tasks").exists()


def test_rows_and_roles_of_a_table(shell: Shell, tmp_path: Path) -> None:
    Path("data").mkdir()
    rows = [{"prompt": "2+2?", "target": ["4", "four"]}, {"prompt": 'the "sum"?', "target": "7"}]
    Path("data/my rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = shell("new-task", "sums", "--from", "data/my rows.jsonl")
    assert written.code == 0, written.err
    text = Path("tasks/sums.py").read_text()
    assert "    answer    <- target\n" in text and '"../data/my rows.jsonl"' in text
    done = shell("run", "--task", "sums", "--include-path", "tasks", *FAKE, "--json")
    assert done.code == 0 and json.loads(done.out)["rows"][0]["n_scored"] == 2
    passes(Path("tests/test_sums.py"), tmp_path)


def test_a_table_that_cannot_be_read_is_refused_before_anything_is_written(shell: Shell) -> None:
    Path("bad.jsonl").write_text('{"question": "", "answer": "x"}\n')
    refused = shell("new-task", "bad", "--from", "bad.jsonl")
    assert refused.code == 4 and "the question is empty" in refused.err and not Path("tasks").exists()


def test_a_built_in_task_is_written_and_listed(shell: Shell) -> None:
    assert "--builtin needs a checkout" in shell("new-task", "charts", "--builtin").err
    Path("kvl_eval/tasks").mkdir(parents=True)
    registry = Path("kvl_eval/tasks/__init__.py")
    registry.write_text((ROOT / registry).read_text())
    written = shell("new-task", "charts", "--builtin")
    assert written.code == 0, written.err
    listed = registry.read_text()
    ast.parse(listed)
    assert "    blink,\n    charts,\n    desktop_apps,\n" in listed and "        charts.TASK,\n    )\n}" in listed
    assert "Left to do" in written.out and "tests/tasks/test_charts.py" in written.out
    include(["kvl_eval/tasks/charts.py"])
    row = {"id": "1", "question": "Which?", "options": ["red", "blue"], "answer": "B", "category": "color"}
    assert TASKS["charts"].sample(row).answers == ("B",)


def test_the_list_of_tasks_is_found() -> None:
    text = (ROOT / "kvl_eval/tasks/__init__.py").read_text()
    assert registered(text, "zzz").count("zzz") == 2
