"""`describe` and `check data`."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from kvl_eval import check_data
from kvl_eval.describe import EXAMPLES, as_text, describe, rendered
from kvl_eval.scorers.answers import Wanted, read
from kvl_eval.sources import Source
from kvl_eval.tasks import MINI, TASKS
from kvl_eval.tasks.expected import CountCheck
from kvl_eval.tasks.mathvista import TASK
from kvl_eval.types import ImageRef, Message
from tests.tasks.test_mathvista import hub_folder, tsv_folder


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_describes_itself(name: str) -> None:
    task = TASKS[name]
    found = describe(task, Source(repo=next(iter(task.repos), None)), "mini" if task.mini else task.default_split)
    json.dumps(asdict(found))
    text = as_text(found)
    for part in (*task.prompts, *task.protocols, *task.repos, task.licence):
        assert part in text
    assert found.default_prompt in found.prompts and found.default_protocol in found.protocols


def test_mathvista_shows_prompts_protocols_and_figures() -> None:
    found = describe(TASK, Source(repo=TASK.repos[0]), "mini")
    assert found.prompts["query"].startswith("[user] <image:1>Hint: Please answer")
    kimi = [one for one in found.references if one.system == "kimi-vl-a3b-instruct" and one.is_default]
    assert [(one.value, one.printed) for one in kimi] == [(0.687, "68.7")]
    text = as_text(found)
    assert "official (shown as official-rule)" in text and "Kimi-VL-A3B-Instruct: 68.7%" in text


def test_nothing_is_fetched_to_describe() -> None:
    assert describe(TASK, Source(repo="nobody/nothing"), "testmini").sample == "1"


def test_pictures_are_numbered() -> None:
    picture = ImageRef(name="p", data=b"x")
    messages = [Message.system("Be brief."), Message.user("see ", picture, " and ", picture)]
    assert rendered(messages) == "[system] Be brief.\n[user] see <image:1> and <image:2>"


def test_the_bundled_split_is_fine() -> None:
    report = check_data.check(TASK, Source(), "mini")
    assert report.ok, report.problems
    assert report.rows == report.pictures >= 60
    assert check_data.as_text(report).endswith("everything is as expected")


def test_every_bad_row_is_listed(tmp_path: Path) -> None:
    good = {"question": "q", "question_type": "free_form", "answer_type": "integer", "answer": "1"}
    rows = [
        {**good, "pid": "1", "image": "1.png"},
        {**good, "pid": "2", "image": "none.png"},
        {**good, "pid": "3", "image": "3.png", "answer_type": "essay"},
        {**good, "pid": "1", "image": "1.png", "answer": None},
        {**good, "pid": "5", "image": "../1.png"},
    ]
    (tmp_path / "testmini.json").write_text(json.dumps(rows))
    (tmp_path / "1.png").write_bytes(b"no picture")
    report = check_data.check(TASK, Source(data_dir=tmp_path), "testmini")
    assert not report.ok and report.rows == 4
    assert sorted((one.code, one.where[:19]) for one in report.problems) == [
        ("data.duplicate", "row 3, id 1"),
        ("data.field", "testmini.json row 3"),
        ("data.no_gold", "row 3, id 1"),
        ("media.corrupt", "row 1, id 1"),
        ("media.corrupt", "row 3, id 1"),
        ("media.missing", "row 2, id 2"),
        ("media.path_outside", "row 4, id 5"),
    ]
    assert CountCheck(what="rows", expected=1000, found=4, ok=False) in report.counts
    text = check_data.as_text(report)
    assert "note rows: 4, expected 1000" in text
    assert text.count("  BAD ") == 7 and text.endswith("\n7 problems")


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    report = check_data.check(TASK, Source(data_dir=tmp_path), "testmini")
    assert [one.code for one in report.problems] == ["data.missing"]
    assert (report.ok, report.counts) == (False, [])


def test_counts_are_only_of_fields_the_layout_has(tmp_path: Path) -> None:
    report = check_data.check(TASK, Source(data_dir=tsv_folder(tmp_path)), "testmini")
    fields = {one.what.partition("=")[0] for one in report.counts}
    assert "language" not in fields and {"rows", "task", "skills"} <= fields


def test_rows_that_cannot_be_decoded_end_the_list(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path)
    path = next(folder.glob("data/*.parquet"))
    path.write_bytes(path.read_bytes()[:-8])
    report = check_data.check(TASK, Source(data_dir=folder), "testmini")
    assert [one.code for one in report.problems] == ["data.corrupt"]


def test_mini_folders_exist() -> None:
    for task in TASKS.values():
        assert task.mini is None or (MINI / task.mini).is_dir()


def test_a_prompt_says_which_form_of_an_answer_it_asks_for() -> None:
    found = describe(TASKS["mmmu"], Source(), "mini")
    assert (found.answer_forms["kimi_cot"], found.answer_forms["vlmevalkit"]) == ("boxed", "free")
    assert "kimi_cot (asks for: boxed):" in as_text(found)


def test_examples_of_how_a_reply_is_read_are_read_so() -> None:
    hows = {}
    for rank, reply in EXAMPLES.items():
        reading = read(reply, Wanted(kind="letter", options=("blue", "red", "green")))
        assert reading.value == "B"
        hows[rank] = reading.how
    assert hows == {"marked": "answer_line", "alone": "first_line", "stated": "conclusion", "contained": "contained"}
    shown = {
        name: "How a reply is read" in as_text(describe(TASKS[name], Source(), "mini")) for name in ("mmmu", "blink")
    }
    assert shown == {"mmmu": True, "blink": True}
