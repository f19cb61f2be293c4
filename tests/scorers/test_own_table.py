"""The protocols of a table of one's own: what each counts as right, and that a stored run is scored by any of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks import open_split
from kvl_eval.tasks.table_file import table_task
from kvl_eval.tasks.table_protocols import judge_prompt, read_verdict
from kvl_eval.types import MISSING, Extraction, Sample, Score
from tests.faults.shell import Shell, newest
from tests.faults.stub_server import chat, serving

PROTOCOLS = ["reader", "exact", "contains", "anls", "relaxed", "math", "judge"]
CHOICES = {"question": "Which?", "choices": ["red", "dark blue"], "answer": "B"}


def sample_of(folder: Path, row: dict[str, object]) -> Sample:
    path = folder / "t.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (sample,) = open_split(table_task(path), Source(), "all")
    return sample


def scored(folder: Path, row: dict[str, object], protocol: str, answer: str, found: Extraction = MISSING) -> Score:
    item = Item(sample_of(folder, row), Answer.of(answer), found)
    return score_outputs(table_task(folder / "t.jsonl"), protocol, [item])[0]


RIGHT = [
    ("exact", {"question": "q", "answer": "1000"}, "First 3. The answer is: 1,000."),
    ("exact", {"question": "q", "answer": "4"}, "Answer: 5? No, answer: 4.0"),
    ("exact", {"question": "q", "answer": ["New  York", "NYC"]}, "new york."),
    ("exact", CHOICES, "(B)"),
    ("exact", CHOICES, "The answer is Dark Blue."),
    ("contains", {"question": "q", "answer": "Paris"}, "I think it is paris, in France"),
    ("contains", CHOICES, "it is dark blue"),
    ("anls", {"question": "q", "answer": "hello world"}, "Hello world"),
    ("relaxed", {"question": "q", "answer": "100"}, "The answer is 104.9"),
    ("relaxed", {"question": "q", "answer": "40%"}, "0.41"),
    ("relaxed", {"question": "q", "answer": "cat"}, "Cat."),
    ("math", {"question": "q", "answer": "0.5"}, "so \\boxed{\\frac{1}{2}}"),
    ("math", CHOICES, "The answer is (B)."),
    ("reader", CHOICES, "So it must be **B**."),
]
WRONG = [
    ("exact", {"question": "q", "answer": "4"}, "The answer is 4 apples"),
    ("exact", CHOICES, "A"),
    ("contains", {"question": "q", "answer": "Paris"}, "London"),
    ("contains", CHOICES, "B"),  # a letter occurs in nearly every text
    ("anls", {"question": "q", "answer": "hello world"}, "goodbye"),
    ("relaxed", {"question": "q", "answer": "100"}, "106"),
    ("relaxed", {"question": "q", "answer": "0"}, "0.01"),
    ("math", {"question": "q", "answer": "0.5"}, "\\boxed{0.6}"),
    ("math", CHOICES, "A"),
]


@pytest.mark.parametrize(("protocol", "row", "answer"), RIGHT)
def test_it_is_right(tmp_path: Path, protocol: str, row: dict[str, object], answer: str) -> None:
    assert scored(tmp_path, row, protocol, answer).verdict == "correct"


@pytest.mark.parametrize(("protocol", "row", "answer"), WRONG)
def test_it_is_wrong(tmp_path: Path, protocol: str, row: dict[str, object], answer: str) -> None:
    assert scored(tmp_path, row, protocol, answer).verdict == "wrong"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_gold_nothing_is_scored_and_an_empty_reply_is_no_answer(tmp_path: Path, protocol: str) -> None:
    assert scored(tmp_path, {"question": "q"}, protocol, "x").reason == "no_gold"
    empty = scored(tmp_path, {"question": "q", "answer": "x"}, protocol, " \n")
    assert empty.verdict == ("not_scored" if protocol == "judge" else "no_answer")


@pytest.mark.parametrize("protocol", ["exact", "contains", "anls", "relaxed", "math"])
def test_a_given_extraction_is_compared(tmp_path: Path, protocol: str) -> None:
    assert scored(tmp_path, CHOICES, protocol, "nothing", "dark blue").verdict == "correct"


def test_a_partial_edit_distance_is_partial(tmp_path: Path) -> None:
    score = scored(tmp_path, {"question": "q", "answer": "abcdefgh"}, "anls", "abcdefgx")
    assert (score.verdict, score.value) == ("partial", pytest.approx(0.875))


def test_a_judge_decides_and_without_one_nothing_is_scored(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "x"}
    assert scored(tmp_path, row, "judge", "y").reason == "judge_missing"
    assert scored(tmp_path, row, "judge", "y", "correct").value == 1.0
    assert scored(tmp_path, row, "judge", "y", "incorrect").value == 0.0
    sample = sample_of(tmp_path, CHOICES)
    asked = judge_prompt(sample, "It is dark blue, {really}.")
    assert "(A) red\n(B) dark blue" in asked and "Accepted answers: (B) dark blue" in asked and "{really}" in asked
    replies = {"correct": "correct", "**Incorrect.**": "incorrect", "Correctly": None, "I think so": None}
    assert {reply: read_verdict(sample, reply) for reply in replies} == replies


def test_a_stored_run_is_scored_by_any_protocol_when_the_file_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, shell = tmp_path / "t.jsonl", Shell(capsys)
    rows = [{"question": "a?", "answer": "Paris"}, {"question": "b?", "answer": "Rome"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--model", "fake", "--model-args", "answers=constant:It is in Paris or so", "--num-workers", "0")
    done = shell("run", "--task", f"file:{path}", *options, "-o", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    path.unlink()
    run = newest(tmp_path / "r")
    for protocol, score in (("contains", 0.5), ("exact", 0.0), ("official", None)):
        again = shell("score", run, "--protocol", protocol, "--json")
        assert again.code == 0, again.err
        rows_of = {row["protocol"]: row for row in json.loads(again.out)["rows"]}
        assert "official" not in rows_of
        assert score is None or rows_of[protocol]["score"] == score
    assert shell("report", run).code == 0


def test_a_judge_scores_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, shell = tmp_path / "t.jsonl", Shell(capsys)
    rows = [{"question": "a?", "answer": "Paris"}, {"question": "b?", "answer": "Rome"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(lambda asked: chat("correct" if "Paris" in asked.texts else "incorrect")) as judge:
        judged = ("--protocol", "judge", "--judge", "endpoint", "--judge-base-url", judge.url, "--judge-model", "j")
        done = shell("run", path, "--model", "fake", "--num-workers", "0", *judged, "-o", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    scores = {row["judge"]: row["score"] for row in json.loads(done.out)["rows"] if row["protocol"] == "judge"}
    assert scores["j"] == 0.5 and len(judge.asked) == 2
