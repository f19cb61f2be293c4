"""Data of the sample page: one row a sample, one outcome for each run, replies with the extracted answer's place."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval.evaluation import evaluate
from kvl_eval.reports.pages.series import series_of
from kvl_eval.reports.runs import main_rows, open_runs
from kvl_eval.reports.sample_index import preview
from kvl_eval.reports.sample_reply import chosen_option, right_options
from kvl_eval.scorers.outcomes import OUTCOMES
from kvl_eval.store.run_folder import RunFolder
from tests.reports.report_folders import make_record, make_run
from tests.reports.report_rows import HOSTILE
from tests.reports.sample_reports import index_of, sample_page, samples_of, spanned_run, three_runs


def outcomes(index: dict, row: int) -> list[str]:  # type: ignore[type-arg]
    """What became of each voice's reply to a sample."""
    names = {str(place): name for place, name in enumerate(OUTCOMES)}
    return [names.get(code, "not_run") for code in index["columns"]["outcomes"][row]]


def test_a_sample_of_several_runs_is_one_row(tmp_path: Path) -> None:
    sample_page(tmp_path / "out", three_runs(tmp_path), images="none")
    index = index_of(tmp_path / "out")
    assert {len(values) for values in index["columns"].values()} == {25}
    assert [run["name"] for run in index["runs"]] == ["kimi-vl-instruct", "kimi-vl-thinking", "other"]
    assert [run["shape"] for run in index["runs"]] == ["circle", "square", "triangle"]
    assert outcomes(index, 0) == ["correct", "wrong", "correct"]
    assert outcomes(index, 4) == ["partial", "partial", "partial"]
    assert outcomes(index, 22)[2] == outcomes(index, 23)[2] == "failed"
    assert outcomes(index, 24)[2] == "pending"


def test_a_sample_that_one_run_did_not_plan_is_not_run_there(tmp_path: Path) -> None:
    runs = [spanned_run(tmp_path, n=2), spanned_run(tmp_path, name="run-b", n=3)]
    sample_page(tmp_path / "out", runs, images="none")
    index = index_of(tmp_path / "out")
    assert index["columns"]["id"] == ["1", "2", "3"]
    assert outcomes(index, 2) == ["not_run", "no_answer"]


def test_report_s6_the_span_of_a_reply_is_the_extracted_answer(tmp_path: Path) -> None:
    text = "\x1b 😀"
    sample_page(tmp_path / "out", three_runs(tmp_path, 12, text), images="none")
    spans = 0
    for number, sample in enumerate(samples_of(tmp_path / "out")):
        for reply in sample["replies"].values():
            if reply["span"] is not None:
                units = reply["text"].encode("utf-16-le")
                assert units[2 * reply["span"][0] : 2 * reply["span"][1]].decode("utf-16-le") == f"{number}"
                spans += 1
    assert spans > 20


def test_report_a7_two_builds_write_equal_bytes(tmp_path: Path) -> None:
    runs = three_runs(tmp_path, 12)
    for name in ("one", "two"):
        sample_page(tmp_path / name, runs)
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*") if path.is_file()} == files
    assert len([file for file in files if file.suffix == ".webp"]) == 12
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_budgets_are_voices_the_largest_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=1, missing=1)
    folder = RunFolder.open(run)
    entry = next(iter(folder.plan()))
    from kvl_eval.reports.sample_index import Voice, voices_of

    assert Voice.of(0, replace(entry, budget=1024, policy="cut", repeat=1)).address == "r1/b1024cut"
    assert [voice.budget for voice in voices_of(open_runs([run]))] == [None]
    shown = Voice(0, 1, 4096, "force").shown()
    assert (shown["budget"], shown["label"]) == ("4k force", "4k force, repeat 2")


def test_foreign_texts_are_ascii_and_leave_no_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=3, text=HOSTILE)
    sample_page(tmp_path / "out", [run], images="none")
    for path in (tmp_path / "out" / "data").iterdir():
        text = path.read_bytes()
        assert text.isascii() and not set(b"<>&\x1b\x00") & set(text)


def test_causes_are_filters(tmp_path: Path) -> None:
    runs = three_runs(tmp_path, 3)
    sample_page(tmp_path / "out", runs, images="none", causes={("mathvista", "2"): ("truncated", "content")})
    index = index_of(tmp_path / "out")
    names = [[index["names"][number] for number in numbers] for numbers in index["columns"]["causes"]]
    assert names == [[], ["truncated", "content"], []]


def test_a_reply_that_failed_says_why(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=2, missing=1)
    journal = RunFolder.open(run).journal("mathvista")
    journal.append(make_record(1, "mathvista", "", status="failed", reason="oom", message="too big"))
    journal.close()
    sample_page(tmp_path / "out", [run], images="none")
    reply = samples_of(tmp_path / "out")[1]["replies"]["0"]
    assert (reply["status"], reply["reason"], reply["message"], reply["tokens"]) == ("failed", "oom", "too big", None)
    index = index_of(tmp_path / "out")
    assert index["columns"]["reasons"][1] == [0, index["names"].index("oom")]


@pytest.mark.parametrize(
    ("choices", "answer", "place"),
    [
        (("cat", "dog"), "B", 1),
        (("cat", "dog"), "dog", 1),
        (("cat", "dog"), "C", None),
        (("cat", "dog"), 1, None),
        ((), "A", None),
    ],
)
def test_which_option_was_chosen(choices: tuple[str, ...], answer: object, place: int | None) -> None:
    assert chosen_option(choices, answer) == place  # type: ignore[arg-type]
    assert right_options(choices, [str(answer)]) == ([] if place is None else [place])


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("<image 1>What is $x^2$?", "What is x^2 ?"),
        ("**Find** \\frac{1}{2}\nof it", "Find 1 2 of it"),
        ("$$", "$$"),
        ("a" * 100, "a" * 80),
    ],
)
def test_the_list_shows_questions_without_markup(question: str, line: str) -> None:
    assert preview(question) == line


def test_runs_of_one_model_are_told_by_their_setting(tmp_path: Path) -> None:
    seeds = [{"seed": 0, "rule": ""}, {"seed": 1, "rule": ""}]
    runs = open_runs([make_run(tmp_path, name=f"run-{seed['seed']}", n=1, seeds=seed) for seed in seeds])
    assert [mark.name for mark in series_of(runs)] == ["kimi-vl-instruct (seed 0)", "kimi-vl-instruct (seed 1)"]


@pytest.mark.slow
def test_outcomes_of_the_page_are_those_of_the_results(tmp_path: Path) -> None:
    run = evaluate("fake", "mmmu", limit=30, output_dir=str(tmp_path)).path
    (opened,) = sample_page(tmp_path / "out", [run], images="none")
    row = main_rows(opened)[0]
    index = index_of(tmp_path / "out")
    counted = Counter(outcomes(index, place)[0] for place in range(30))
    assert dict(counted) == dict(row.outcomes)
