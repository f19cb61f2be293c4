"""Names of runs and of the files in their folders."""

from __future__ import annotations

from datetime import datetime

import pytest

from kvl_eval.store.names import file_name, run_name, scores_file, scores_name


@pytest.mark.parametrize(
    ("tasks", "part"),
    [
        (["a"], "a"),
        (["a", "b", "c"], "a+b+c"),
        (["a", "b", "c", "d"], "a+b+c+1more"),
        (["a", "b", "c", "d", "e"], "a+b+c+2more"),
    ],
)
def test_a_run_is_named_by_time_model_and_its_first_three_tasks(tasks: list[str], part: str) -> None:
    name = run_name(datetime(2026, 8, 11, 14, 22, 33), "kimi-vl-nano", tasks, "7f3a99")
    assert name == f"20260811-142233_kimi-vl-nano_{part}_7f3a"


def test_a_run_of_long_names_has_a_name_that_file_systems_take() -> None:
    name = run_name(datetime(2026, 8, 11), "org/" + "m" * 300, ["t" * 300], "7f3a")
    assert len(name) == 15 + 1 + 40 + 1 + 60 + 1 + 4 and "/" not in name


@pytest.mark.parametrize(("length", "kept"), [(80, True), (81, False)])
def test_a_long_name_ends_in_a_hash(length: int, kept: bool) -> None:
    name = file_name("n" * length)
    assert (name == "n" * length) is kept
    assert len(name) == (80 if kept else 60 + 1 + 16)
    assert file_name("n" * 100) != file_name("n" * 101)


@pytest.mark.parametrize(("name", "expected"), [("a/b", "a%2Fb"), ("a-b_c.d+e", "a-b_c.d+e"), ("a b", "a%20b")])
def test_a_name_leaves_no_folder(name: str, expected: str) -> None:
    assert file_name(name) == expected


@pytest.mark.parametrize(
    ("name", "beginning"), [("..", "_-"), (".", "_-"), (".hidden", "hidden-"), ("", "_-"), ("con.txt", "con.txt-")]
)
def test_a_name_that_means_something_else_ends_in_a_hash(name: str, beginning: str) -> None:
    assert file_name(name)[:-16] == beginning


def test_scores_are_named_by_protocol_view_judge_and_version() -> None:
    assert scores_name("official") == "official"
    assert scores_name("official", "raw", "umpire") == "official.raw+umpire"
    assert scores_file("mathvista", "official+a/b", "0.1.0") == "mathvista@official+a%2Fb-0.1.0.jsonl"
