"""`describe` and `check data`."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from kvl_eval import check_data
from kvl_eval.describe import describe, rendered
from kvl_eval.describe_text import SECTIONS, as_text
from kvl_eval.scorers.answers import Reading, Wanted, reader
from kvl_eval.scorers.answers.accuracy import GENERATED, LABELED
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks import MINI, TASKS, open_split
from kvl_eval.tasks.base import READER
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


def test_a_section_is_shown_alone_and_all_sections_are_the_whole() -> None:
    found = describe(TASK, Source(repo=TASK.repos[0]), "mini")
    whole = as_text(found)
    sections = [as_text(found, section) for section in SECTIONS]
    assert whole.endswith("\n\n".join(sections))
    assert [text.partition("\n")[0].partition(" (")[0] for text in sections] == [
        *("Source", "Prompts", "Generation", "Protocols", "Published results")
    ]


def test_several_samples_of_any_task_are_shown_with_gold() -> None:
    found = describe(TASK, Source(repo=TASK.repos[0]), "mini", 2)
    assert [sample.id for sample in found.samples] == ["1", "2"]
    text = as_text(found, "prompts")
    assert text.startswith("Samples\n  1:\n    | [user] <image:1>Hint:") and "  gold: " in text


def test_the_data_section_tells_access_and_download() -> None:
    text = as_text(describe(TASKS["longvideobench"], Source(), "mini"), "data")
    assert "access gated" in text and "download 161.6 GB (files of longvideobench/LongVideoBench" in text


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
    assert check_data.as_text(report).endswith("OK")


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


def test_mmmu_tells_how_an_answer_is_extracted() -> None:
    text = as_text(describe(TASKS["mmmu"], Source(), "mini"))
    letters, labeled = GENERATED["letter"], f"{LABELED.agree:,} of {LABELED.replies:,}"
    for line in (
        "How an answer is extracted",
        "  protocol: reader",
        "  default prompt kimi_cot asks for: the answer in \\boxed{}",
        "  wanted: the letter of one option; a number; a text",
        '    1. the last place that is marked as the answer: "Red at first. Answer: C" gives C',
        '    a refusal: "I cannot tell from the image."',
        f"    the letter of one option: 100.0% ({letters.agree} of {letters.replies}) of generated replies",
        f"    the letter of one option: 98.6% ({labeled}) of replies that people labeled",
    ):
        assert line in text.splitlines()
    assert "<think>...</think>" in text


def test_where_a_question_may_have_no_answer_a_refusal_is_not_called_none() -> None:
    text = as_text(describe(TASKS["mmlongbench-doc"], Source(), "mini"))
    assert 'also an answer: that the question has no answer: "The document does not mention it."' in text
    assert "a refusal" not in text.partition("How an answer is extracted")[2].partition("Published")[0]


def test_a_task_whose_whole_answer_counts_tells_of_no_extraction() -> None:
    found = describe(TASKS["ocrbench"], Source(), "mini")
    assert found.extraction is None and "How an answer is extracted" not in as_text(found)


SCARCE: dict[str, set[str]] = {  # kinds that no bundled question wants
    "mathvista": {"text"},
    "mmmu": {"text"},
    "realworldqa": {"yesno", "text"},
    "videommmu": {"text"},
}


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.mini])
def test_a_task_wants_what_its_protocols_look_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Task.wanted` against the kinds that the reader is asked for, over the bundled questions."""
    kinds: set[str] = set()
    original = reader.read

    def recording(reply: str, wanted: Wanted, *, split: bool = True) -> Reading:
        if reply == "?!":
            kinds.update([wanted.kind, *(["unanswerable"] if wanted.unanswerable else [])])
        return original(reply, wanted, split=split)

    monkeypatch.setattr(reader, "read", recording)
    task = TASKS[name]
    items = [Item(sample, Answer.of("?!")) for sample in open_split(task, Source(), "mini")]
    for protocol in {task.default_protocol, READER} & set(task.protocols):
        score_outputs(task, protocol, items)
    assert kinds <= set(task.wanted)
    assert set(task.wanted) - kinds == SCARCE.get(name, set())
