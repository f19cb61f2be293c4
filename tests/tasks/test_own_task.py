"""Tasks of one's own: what they may leave out, what their functions may return, and the example of the guide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kvl_eval
from kvl_eval import Sample, Score, Task, check_data, image, read_jsonl, read_rows, video
from kvl_eval.errors import DataError, UsageError
from kvl_eval.evaluation import evaluate
from kvl_eval.scoring.outputs import Item, score_outputs, score_so_far
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks import _OWN, TASKS, get_task, include, open_split
from kvl_eval.types import MISSING, ImageRef, Message
from tests.faults.shell import Shell
from tests.forks import python
from tests.tasks.tables import png
from tests.tasks.vectors import check_same_again

INVOICES = '''"""Invoices: read one field of a scanned invoice."""

from pathlib import Path

from kvl_eval import Sample, Task, image, read_jsonl

HERE = Path(__file__).parent


def load(source, split):
    for row in read_jsonl(HERE / "invoices.jsonl"):
        photo = image(row["image"], root=HERE)
        yield Sample(id=row["id"], question=row["question"], media=(photo,), answers=(row["answer"],))


def score(sample, answer):
    return answer.strip().lower() == sample.answers[0].lower()


TASK = Task(name="invoices", load=load, score=score)
'''
KILLED = """
import sys
from pathlib import Path
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.tasks import TASKS, include
from tests.tiny_task import Deadly
include([sys.argv[1]])
config = resolve("fake", "fake", [TASKS["invoices"]], {"output_dir": sys.argv[2], "num_workers": 0})
start_run(plan_run(config, FakeBackend(config.settings)), FakeBackend(config.settings), disk=Deadly(3))
"""


@pytest.fixture(autouse=True)
def registered_tasks() -> Iterator[None]:
    """What a test includes is forgotten behind it."""
    known, own = dict(TASKS), dict(_OWN)
    yield
    for registry, before in ((TASKS, known), (_OWN, own)):
        registry.clear()
        registry.update(before)


@pytest.fixture
def invoices(tmp_path: Path) -> Path:
    """The folder of the example, with six invoices."""
    rows = [
        {"id": str(number), "question": "Total?", "image": f"{number}.png", "answer": f"EUR {number}"}
        for number in range(6)
    ]
    for number, row in enumerate(rows):
        (tmp_path / row["image"]).write_bytes(png(number))
    (tmp_path / "invoices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "invoices.py").write_text(INVOICES)
    return tmp_path


def test_the_example_is_at_most_fifteen_lines() -> None:
    lines = [line for line in INVOICES.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= 15


def test_the_example_resumes_after_a_kill_is_rescored_reported_and_exported(
    invoices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, results = str(invoices / "invoices.py"), invoices / "results"
    killed = python("-c", KILLED, file, str(results))
    assert killed.returncode == -9
    (run,) = [path for path in results.iterdir() if path.is_dir()]
    shell = Shell(capsys)
    forgotten = shell("score", run)
    assert forgotten.code == 2 and "--include-path with the file that defines invoices" in forgotten.err
    resumed = shell("resume", run, "--include-path", file, "--no-progress", "--json")
    assert resumed.code == 0, resumed.err
    (row,) = json.loads(resumed.out)["rows"]
    assert (row["task"], row["protocol"], row["n_scored"]) == ("invoices", "own", 6)
    (invoices / "invoices.jsonl").unlink()  # scoring reads the run folder alone
    for verb in (("score",), ("report",), ("verify",), ("export", "-f", "csv"), ("export", "-f", "parquet")):
        ended = shell(verb[0], run, *verb[1:], "--include-path", file)
        assert ended.code == 0, ended.err


def test_a_folder_of_task_files_is_run(invoices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", "fake", "--model-args", "answers=constant: eur 3 ", "--num-workers", "0", "--no-progress")
    shell = Shell(capsys)
    done = shell("run", "--task", "invoices", "--include-path", invoices, *options, "-o", invoices / "r", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["rows"][0]["score"] == pytest.approx(1 / 6)


def test_the_example_keeps_what_tasks_promise(invoices: Path) -> None:
    include([str(invoices / "invoices.py")])
    task = get_task("invoices")
    assert (task.title, task.doc) == ("invoices", "Invoices: read one field of a scanned invoice.")
    assert (task.split_names(), task.default_split, task.default_prompt) == (("all",), "all", "plain")
    assert list(task.protocols) == ["own"] and task.protocol_named("official") == "own"
    samples = list(open_split(task, Source(), "all"))
    check_same_again(task, samples)
    assert check_data.check(task, Source(), "all").ok
    (turn,) = task.prompts["plain"](samples[2])
    assert isinstance(turn.parts[0], ImageRef) and turn.parts[1:] == ("Total?",)


# What functions may return


def task_of(returned: Any, *, gold: tuple[str, ...] = ("x",)) -> tuple[Task, Sample]:
    task = Task(name="mine", load=lambda source, split: [], score=lambda sample, answer: returned)
    return task, Sample(id="q 7", question="?", answers=gold)


def scored(task: Task, sample: Sample, answer: str = "x") -> Score:
    item = Item(sample, Answer.of(answer))
    return score_outputs(task, task.default_protocol, [item])[0]


@pytest.mark.parametrize(
    ("returned", "value", "verdict"),
    [
        (True, 1.0, "correct"),
        (False, 0.0, "wrong"),
        (0.25, 0.25, "partial"),
        (1, 1.0, "correct"),
        (np.float32(0.5), 0.5, "partial"),
        (np.True_, 1.0, "correct"),
        (None, 0.0, "no_answer"),
        (Score.of(0.5, "half", "mine"), 0.5, "partial"),
        (Score.not_scored("no_gold"), None, "not_scored"),
    ],
)
def test_a_score_is_a_verdict_a_share_a_score_or_nothing(returned: Any, value: float | None, verdict: str) -> None:
    score = scored(*task_of(returned))
    assert (score.value, score.verdict) == (value, verdict)


@pytest.mark.parametrize("returned", ["yes", 2, -0.1, float("nan"), [True], {"score": 1}])
def test_anything_else_is_an_error_with_the_sample(returned: Any) -> None:
    task, sample = task_of(returned)
    with pytest.raises(UsageError) as caught:
        scored(task, sample)
    assert caught.value.code == "task.score" and "'q 7'" in caught.value.message
    assert "test_own_task.py" in (caught.value.where or "") and "number from 0 to 1" in (caught.value.why or "")
    assert score_so_far(task, "own", Item(sample, Answer.of("x")), "answer") is None


def test_a_wrong_return_value_costs_no_answer(invoices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, right = invoices / "invoices.py", INVOICES
    file.write_text(right.replace("answer.strip().lower() ==", "answer.strip().lower() and 'maybe' or "))
    shell, options = Shell(capsys), ("--model", "fake", "--num-workers", "0", "-o", invoices / "r")
    ended = shell("run", "--task", "invoices", "--include-path", file, *options)
    assert ended.code == 2 and "error[task.score]: invoices: score of sample '0' returned 'maybe'" in ended.err
    file.write_text(right)
    (run,) = [path for path in (invoices / "r").iterdir() if path.is_dir()]
    assert shell("score", run, "--include-path", file).code == 0


def test_a_score_that_raises_costs_its_sample_and_without_gold_nothing_is_scored() -> None:
    task = Task(name="mine", load=lambda source, split: [], score=lambda sample, answer: sample.answers[1] == answer)
    assert scored(task, Sample(id="1", question="?", answers=("x",))).reason == (
        "scorer_error: IndexError: tuple index out of range"
    )
    assert scored(task, Sample(id="1", question="?")).reason == "no_gold"


def test_a_score_may_take_the_extraction() -> None:
    task = Task(name="mine", load=lambda source, split: [], score=lambda sample, answer, found: found is MISSING)
    assert scored(task, Sample(id="1", question="?", answers=("x",))).value == 1.0


def test_a_load_that_raises_names_its_line(tmp_path: Path) -> None:
    def load(source: Source, split: str) -> Iterator[Sample]:
        yield Sample(id="1", question="?")
        raise KeyError("total")

    task = Task(name="mine", load=load, score=lambda sample, answer: True)
    with pytest.raises(DataError) as caught:
        list(open_split(task, Source(), "all"))
    error = caught.value
    assert (error.code, error.message) == ("task.load", "mine: load failed after 1 samples")
    assert error.why == "KeyError: 'total'" and "test_own_task.py:" in (error.where or "")


def test_fields_are_read_as_they_are_meant() -> None:
    row = {"id": 7, "question": "Which?", "answers": "b", "choices": ["a", "b"], "categories": {"kind": "easy"}}
    task = Task(name="mine", load=lambda source, split: [Sample(**row, row={"when": np.int64(3)})])
    (sample,) = open_split(task, Source(), "all")
    assert (sample.id, sample.answers, sample.choices) == ("7", ("b",), ("a", "b"))
    assert sample.categories == {"kind": ("easy",)} and sample.row["when"] == 3
    check_same_again(task, [sample])
    assert task.default_protocol == "reader" and scored(task, sample, "The answer is (B).").value == 1.0
    (turn,) = task.prompts["plain"](sample)
    assert turn == Message.user("Which?\n(A) a\n(B) b")


# Tables, rows and media


def test_a_table_is_a_task_with_a_score_of_its_own(invoices: Path, tmp_path: Path) -> None:
    task = Task.from_table("invoices", invoices / "invoices.jsonl", score=lambda sample, answer: answer == "yes")
    assert (task.name, list(task.protocols), task.data.table is not None) == ("invoices", ["own"], True)
    done = evaluate(
        "fake", [task], limit=2, output_dir=str(tmp_path / "r"), num_workers=0, model_args={"answers": "constant:yes"}
    )
    assert done.exit_code == 0 and done.results["rows"][0]["score"] == 1.0  # type: ignore[index,call-overload]


def test_a_table_without_a_score_keeps_its_protocols(invoices: Path) -> None:
    task = Task.from_table("invoices", invoices / "invoices.jsonl", title="Invoices")
    assert (task.title, task.default_protocol) == ("Invoices", "reader")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.parquet"])
def test_rows_of_any_table_format_are_read(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"id": [1, 2], "text": ["a", "b"]})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    elif name.endswith("csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=name.endswith("jsonl"))
    rows = list(read_rows(path))
    assert [(str(row["id"]), row["text"]) for row in rows] == [("1", "a"), ("2", "b")]
    if name.endswith("jsonl"):
        assert list(read_jsonl(path)) == rows


def test_media_are_files_bytes_or_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    assert (image("a.png", root=tmp_path).root, image("a.png", root=tmp_path).path) == (str(tmp_path), "a.png")
    assert (image(tmp_path / "a.png").root, image(tmp_path / "a.png").path) == (str(tmp_path), "a.png")
    assert image(png()).data == png()
    clip = video("v.mp4", root=tmp_path, frames=8)
    assert (clip.path, clip.root, clip.frames) == ("v.mp4", str(tmp_path), 8)


def test_the_names_of_task_authors_are_exported() -> None:
    names = ["Task", "Sample", "Score", "Message", "Prompt", "Protocol", "Split"]
    names += ["image", "video", "pdf", "read_jsonl", "read_rows"]
    assert set(names) <= set(kvl_eval.__all__) and all(getattr(kvl_eval, name) for name in names)


def test_a_file_that_defines_no_task_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("TASKS = 3\n")
    ended = Shell(capsys)("run", "--task", "mathvista", "--include-path", tmp_path, "--dry-run")
    assert ended.code == 2 and "mine.py defines no TASK or TASKS" in ended.err and "kvl-eval new-task" in ended.err
