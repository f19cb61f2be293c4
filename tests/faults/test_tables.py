"""Tables of one's own: every common way to write a row gives the sample it means, anything else is refused by name."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from html import unescape
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import kvl_eval
from kvl_eval.cli.main import main
from kvl_eval.errors import DataError, KvlEvalError, UsageError
from kvl_eval.evaluation import evaluate
from kvl_eval.run.config import resolve
from kvl_eval.run.data_digest import media_digest, sample_digest
from kvl_eval.run.prompts import prompt_messages
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import Source, Tables, read_rows
from kvl_eval.sources.pictures import NamedPictures
from kvl_eval.tasks import MINI, TASKS, get_task, open_split, select
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.own import plain_prompt
from kvl_eval.types import MISSING, ImageRef, Message, PdfRef, Sample, VideoRef
from tests.conftest import DATA
from tests.faults.stub_server import Stub, chat, serving
from tests.tasks.tables import png, write_parquet

FIELD = DATA / "field"
TURNS = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "x"})


def write_rows(folder: Path, *rows: Mapping[str, Any], name: str = "t.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def samples(path: Path, *fields: str, data_dir: Path | None = None) -> list[Sample]:
    task = get_task(f"file:{path}")
    return list(open_split(task, Source(data_dir=data_dir, fields=fields), task.default_split))


def one_sample(folder: Path, row: Mapping[str, Any], *fields: str) -> Sample:
    (sample,) = samples(write_rows(folder, row), *fields)
    return sample


def refusal(folder: Path, row: Mapping[str, Any], *fields: str) -> DataError:
    with pytest.raises(DataError) as caught:
        one_sample(folder, row, *fields)
    return caught.value


def ends(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "b.png")):
        (tmp_path / name).write_bytes(png(40 * number))
    return tmp_path


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(lambda asked: chat("cat")) as served:
        yield served


# Rows as other tools write them


READ = [
    ({"prompt": "2+2?", "target": "4"}, {"question": "2+2?", "answers": ("4",)}),
    ({"input": "2+2?", "target": ["4", "four"]}, {"answers": ("4", "four")}),
    ({"query": "2+2?", "response": "4"}, {"question": "2+2?", "answers": ("4",)}),
    ({"question": "q", "answer": "x", "images": ["a.png", "b.png"]}, {"images": ["a.png", "b.png"]}),
    ({"question": "q", "answer": "x", "image": ["a.png"]}, {"images": ["a.png"]}),
    ({"question": "q", "answer": "x", "images": "a.png"}, {"images": ["a.png"]}),
    ({"question": "q", "answer": "x", "Image Path": "a.png"}, {"images": ["a.png"]}),
    ({"question": "q", "answer": "x", "img": {"path": "a.png"}}, {"images": ["a.png"]}),
    ({"question": "q", "answer": "x", "images": "['a.png', 'b.png']"}, {"images": ["a.png", "b.png"]}),
    ({"question": "q", "answer": "x", "image": ""}, {"images": []}),
    ({"question": "q", "answer": "B", "A": "cat", "B": "dog"}, {"choices": ("cat", "dog"), "answers": ("B",)}),
    ({"question": "q", "answer": "dog", "options": "['cat','dog']"}, {"choices": ("cat", "dog"), "answers": ("B",)}),
    ({"question": "q", "answer": "b", "choices": {"A": "cat", "B": "dog"}}, {"answers": ("B",)}),
    ({"question": "q", "answer": ["A", "dog"], "choices": ["cat", "dog", "cow"]}, {"answers": ("A", "B")}),
    ({"question": "q", "answer": 2, "choices": ["1", "2"]}, {"answers": ("B",)}),
    ({"question": "q", "label": 1, "choices": ["cat", "dog"]}, {"answers": ("B",)}),
    ({"question": "q", "answer": "4", "target": 4}, {"answers": ("4",)}),
    ({"question": "q", "answer": True}, {"answers": ("True",)}),
    ({"question": "q", "answer": None}, {"answers": ()}),
    ({"question": "q", "answer": "x", "qid": 7}, {"id": "7"}),
    ({"messages": [*TURNS]}, {"question": "q", "answers": ("x",)}),
    ({"messages": json.dumps(TURNS)}, {"question": "q", "answers": ("x",)}),
    ({"messages": [TURNS[0]], "answer": "x"}, {"question": "q", "answers": ("x",)}),
    ({"messages": [TURNS[0]], "choices": ["x", "y"], "answer": "y"}, {"choices": ("x", "y"), "answers": ("B",)}),
    ({"question": "q", "answer": "x", "video": "v.mp4"}, {"question": "q", "answers": ("x",)}),
    ({"question": "q", "answer": "x", "topic": ["a", "b"]}, {"categories": {"category": ("a", "b")}}),
    ({"question": "q", "answer": "x", "difficulty": "hard", "source": {"page": 3}}, {"answers": ("x",)}),
]


@pytest.mark.parametrize(("row", "expected"), READ, ids=lambda value: json.dumps(value)[:60])
def test_D25_a_row_is_read_as_it_is_meant(folder: Path, row: dict[str, Any], expected: dict[str, Any]) -> None:
    sample = one_sample(folder, row)
    images = [medium.path for medium in sample.media if isinstance(medium, ImageRef)]
    for name, value in expected.items():
        assert (images if name == "images" else getattr(sample, name)) == value, name
    stored = get_task(f"file:{folder / 't.jsonl'}").sample(json.loads(json.dumps(sample.row)))
    assert replace(stored, row={}) == replace(sample, row={}, media=())


REFUSED = [
    (
        {"question": "q", "answer": 1, "choices": ["cat", "dog"]},
        "data.field",
        "count from 0 or 1",
        "answer_index=answer",
    ),
    ({"question": "q", "answer": "C", "choices": ["cat", "dog"]}, "data.field", "'C'", None),
    ({"question": "q", "answer": "A", "choices": ["B", "A"]}, "data.field", "option A, or the text of option B", None),
    ({"question": "q", "answer": "x", "target": "y"}, "data.column", "answer and target", "--fields answer=target"),
    ({"question": "q", "answer": "x", "image_url": "https://x/a.png"}, "data.column", "image_url", "download"),
    ({"question": "q", "answer": "x", "image": "https://x/a.png"}, "data.field", "https://x/a.png", "download"),
    ({"question": "<image> and <image>?", "answer": "x", "image": "a.png"}, "data.field", "marks 2 images", None),
    ({"question": "<image 2>?", "answer": "x", "image": "a.png"}, "data.field", "the row has 1", None),
    ({"question": "", "answer": "x"}, "data.field", "question", None),
    ({"question": "q", "answer": ""}, "data.field", "answer is empty", None),
    ({"question": "q", "answer": []}, "data.field", "answer is empty", None),
    ({"question": "q", "answer": {"text": "x"}}, "data.field", "answer is {'text': 'x'}", None),
    ({"question": "q", "answer": "A", "choices": 5}, "data.field", "choices is 5", None),
    ({"question": "q", "answer": "A", "choices": ["cat", ["dog"]]}, "data.field", "choices", None),
    ({"question": "q", "answer": "A", "choices": {"A": "cat", "C": "cow"}}, "data.field", "option B is missing", None),
    ({"question": "q", "answer": "A", "A": "cat", "C": "cow"}, "data.field", "option B is missing", None),
    ({"question": "q", "answer": "x", "images": 7}, "data.field", "images is 7", None),
    ({"question": "q", "answer": "x", "images": [None, "a.png"]}, "data.field", "None", None),
    ({"answer": "x"}, "data.column", "no column holds the question", "--fields question="),
    ({"question": "q", "answer": "x", "photo_file": "a.png"}, "data.column", "photo_file", "--fields image=photo_file"),
    ({"question": "q", "answer": "x", "figure": "a.png"}, "data.column", "figure", "--fields ignore=figure"),
    (
        {"question": "q", "answer": "x", "answer_options": ["a"]},
        "data.column",
        "answer_options",
        "choices=answer_options",
    ),
    ({"question": "q", "answer": "x", "video": "https://x/v.mp4"}, "data.field", "https://x/v.mp4", "download"),
    ({"question": "q", "answer": "x", "video": "../v.mp4"}, "data.field", "../v.mp4", "--data-dir"),
    ({"question": "q", "answer": "x", "video": {"bytes": "AAAA"}}, "data.field", "video is", None),
    ({"question": "q", "answer": "x", "pdf": "notes.txt"}, "data.field", "pdf is", None),
    ({"question": "q", "answer": "x", "clip": "v.mp4"}, "data.column", "clip", "--fields video=clip"),
    ({"question": "q", "answer": "x", "doc_file": "d.pdf"}, "data.column", "doc_file", "--fields document=doc_file"),
    ({"question": "q", "answer": "x", "sound": "s.mp3"}, "data.column", "sound", "--fields ignore=sound"),
    ({"question": "q", "answer": "x", "conversations": [1]}, "data.column", "conversations", "ignore=conversations"),
    ({"question": "q", "messages": [{"role": "user"}]}, "data.field", "messages is", None),
    (
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        "data.field",
        "messages",
        None,
    ),
    ({"messages": [{"role": "tool", "content": "a"}]}, "data.field", "messages", None),
    ({"messages": [{"role": "assistant", "content": "a"}]}, "data.field", "messages", None),
    ({"answer": "y", "messages": [*TURNS]}, "data.column", "messages and answer", "ignore=messages"),
]


@pytest.mark.parametrize(("row", "code", "said", "fix"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_D25_anything_else_is_refused_with_its_place_and_a_way_out(
    folder: Path, row: dict[str, Any], code: str, said: str, fix: str | None
) -> None:
    fault = refusal(folder, row)
    assert fault.code == code
    assert said in fault.message and str(fault.where).startswith("t.jsonl:1")
    assert fix is None or fix in str(fault.fix)


def test_D25_columns_that_no_role_fits_say_what_tables_take(folder: Path) -> None:
    fault = refusal(folder, {"question": "q", "answer": "x", "audio": "a.wav"})
    assert fault.why == "own tables take text, images, videos, documents and messages"
    assert one_sample(folder, {"question": "q", "answer": "x", "video": None}).media == ()


def test_a_video_and_a_document_are_asked_about(folder: Path) -> None:
    (folder / "v.mp4").write_bytes(b"video")
    sample = one_sample(folder, {"question": "<image> or clip?", "answer": "x", "video": "v.mp4", "image": "a.png"})
    picture, clip = sample.media
    assert isinstance(clip, VideoRef) and (clip.path, clip.root) == ("v.mp4", str(folder))
    (turn,) = plain_prompt(sample)
    assert turn.parts == (clip, picture, " or clip?")
    (document,) = one_sample(folder, {"question": "q", "answer": "x", "pdf_path": ["d.pdf"]}).media
    assert isinstance(document, PdfRef) and document.path == "d.pdf"
    data = base64.b64encode(b"%PDF-1.7" + bytes(60)).decode()
    (document,) = one_sample(
        folder, {"question": "q", "answer": "x", "pdf": f"data:application/pdf;base64,{data}"}
    ).media
    assert isinstance(document, PdfRef) and document.data is not None and document.data.startswith(b"%PDF")


def test_the_plan_counts_videos_and_says_which_are_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(folder, {"question": "q", "answer": "x", "video": "v.mp4"}, {"question": "r", "answer": "y"})
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "--dry-run") == 0
    shown = capsys.readouterr()
    assert "2 rows, 0 with images, 1 with videos" in shown.err
    assert "1 of 2 samples will fail: media_missing 1" in shown.err


def test_a_video_is_asked_about_by_its_frames(folder: Path, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(MINI / "mlvu" / "video" / "mlvu001.mp4", folder / "v.mp4")
    path = write_rows(folder, {"question": "q", "answer": "cat", "video": "v.mp4"})
    options = ("--model", "endpoint", "--base-url", stub.url, "--frames", "2", "--num-workers", "0")
    assert ends("run", f"file:{path}", *options, "-o", str(folder / "out")) == 0, capsys.readouterr().err
    (asked,) = stub.asked
    (turn,) = asked.body["messages"]
    assert [part["type"] for part in turn["content"]] == ["image_url", "image_url", "text"]


def test_a_system_turn_begins_the_prompt_and_an_option_replaces_it(folder: Path) -> None:
    row = {"messages": [{"role": "system", "content": "Be brief."}, *TURNS], "image": "a.png"}
    path = write_rows(folder, row)
    (sample,) = samples(path)
    assert [turn.role for turn in plain_prompt(sample)] == ["system", "user"]
    task = get_task(f"file:{path}")
    stored = task.sample(json.loads(json.dumps(sample.row)))
    assert plain_prompt(stored)[0] == Message.system("Be brief.")
    config = resolve("fake", "fake", [task], {"system_prompt": "Other."})
    turns = prompt_messages(task, config.tasks[0], config, sample)
    assert [turn.parts for turn in turns if turn.role == "system"] == [("Other.",)]


def test_images_stand_in_a_turn_or_in_a_column(folder: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    parts = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "What?"}]
    sample = one_sample(folder, {"messages": [{"role": "user", "content": parts}, TURNS[1]]})
    assert sample.question == "<image>What?" and [ref.data for ref in sample.media] == [png()]  # type: ignore[union-attr]
    parts = [{"type": "text", "text": "What? "}, {"type": "image"}]
    sample = one_sample(folder, {"messages": [{"role": "user", "content": parts}, TURNS[1]], "images": ["a.png"]})
    assert sample.question == "What? <image>" and sample.media[0].path == "a.png"


def test_D25_fields_name_a_column_for_any_role_and_win(folder: Path) -> None:
    row = {"text": "q", "answer": "no", "target": "yes", "photo": "a.png", "frame_count": 3}
    sample = one_sample(folder, row, "question=text,answer=target", "image=photo", "ignore=Frame Count")
    assert (sample.question, sample.answers, len(sample.media)) == ("q", ("yes",), 1)
    indexed = one_sample(folder, {"question": "q", "answer": 1, "choices": ["cat", "dog"]}, "answer_index=answer")
    assert indexed.answers == ("B",)
    assert "no row has that column" in refusal(folder, {"question": "q", "answer": "x"}, "answer=target").message


@pytest.mark.parametrize("text", ["answer", "=x", "colour=x", "answer=a,answer=b"])
def test_D25_fields_that_mean_nothing_are_a_usage_error(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(folder, {"question": "q", "answer": "x"})
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "--fields", text, "--dry-run") == 2
    assert "error[usage.fields]" in capsys.readouterr().err


def test_D25_images_stand_where_the_question_marks_them(folder: Path) -> None:
    task = get_task(f"file:{write_rows(folder, {'question': 'q', 'answer': 'x'})}")

    def parts(question: str) -> list[str]:
        (message,) = task.prompts["plain"](
            one_sample(folder, {"question": question, "answer": "x", "image": ["a.png", "b.png"]})
        )
        return [
            part if isinstance(part, str) else str(part.path) for part in message.parts if not hasattr(part, "rule")
        ]

    assert parts("which?") == ["a.png", "b.png", "which?"]
    assert parts("<image> or <image>?") == ["a.png", " or ", "b.png", "?"]
    assert parts("<image 2> or <image_1>?") == ["b.png", " or ", "a.png", "?"]


def test_D25_any_accepted_answer_is_right(folder: Path) -> None:
    path = write_rows(folder, {"question": "q", "answer": ["4", "four"]})
    task = get_task(f"file:{path}")
    (sample,) = samples(path)
    score = task.protocols["reader"].score
    verdicts = [score(sample, reply, MISSING).verdict for reply in ("The answer is four.", "Answer: 4", "Answer: five")]
    assert verdicts == ["correct", "correct", "wrong"]


def forms_of_list(items: Sequence[str]) -> list[Any]:
    return [list(items), json.dumps(list(items)), str(list(items))]


IMAGE = base64.b64encode(png(40)).decode()
SPELLINGS = {
    "question": ["question", "Prompt", "INPUT", "query", "instruction", "problem"],
    "answer": ["answer", "Answers", "target", "gold", "ground-truth", "expected output", "solution"],
    "choices": ["choices", "options", "Candidates"],
    "image": ["image", "images", "image_path", "Image-Files", "img", "picture"],
    "id": ["id", "index", "qid", "question_id", "uid"],
}
FORMS: dict[str, list[Any]] = {
    "question": ["Which?"],
    "answer": ["B", "b", "(B)", "dog", ["B"], ["dog"], "['dog']"],
    "choices": [*forms_of_list(["cat", "dog"]), {"A": "cat", "B": "dog"}, '{"A": "cat", "B": "dog"}', "columns"],
    "image": [
        *("b.png", ["b.png"], "['b.png']", {"path": "b.png"}, [{"bytes": None, "path": "b.png"}], IMAGE),
        *({"bytes": IMAGE}, f"data:image/png;base64,{IMAGE}", {"url": f"data:image/png;base64,{IMAGE}"}),
    ],
    "id": ["7", 7, 7.0],
}


@st.composite
def written_rows(draw: st.DrawFn) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for role in draw(st.permutations(list(FORMS))):
        value = draw(st.sampled_from(FORMS[role]))
        columns = {"A": "cat", "B": "dog"} if value == "columns" else {draw(st.sampled_from(SPELLINGS[role])): value}
        cells |= columns
    if draw(st.booleans()):
        cells |= {"difficulty": "hard", "video": "", "notes": None}
    return cells


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=written_rows())
def test_D25_every_way_to_write_a_row_gives_the_same_sample(folder: Path, row: dict[str, Any]) -> None:
    plainly = {"id": "7", "question": "Which?", "answer": "B", "choices": ["cat", "dog"], "image": "b.png"}
    assert sample_digest(one_sample(folder, row)) == sample_digest(one_sample(folder, plainly))


def test_D25_base64_of_a_jpeg_is_no_absolute_path(folder: Path) -> None:
    buffer = BytesIO()
    Image.effect_noise((40, 40), 50).save(buffer, "JPEG")
    text = base64.b64encode(buffer.getvalue()).decode()
    assert text.startswith("/9j/")
    (image,) = one_sample(folder, {"question": "q", "answer": "x", "image": text}).media
    assert isinstance(image, ImageRef) and image.data == buffer.getvalue()


@pytest.mark.parametrize("verb", [("check", "data"), ("describe",), ("run", "--model", "fake", "--dry-run", "--task")])
def test_D25_fields_without_an_own_table_are_a_usage_error(verb: Sequence[str]) -> None:
    assert ends(*verb, "mathvista", "--fields", "answer=target") == 2


# The same rows, as a run asks them


def test_D25_the_sample_page_has_the_row_as_it_was_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(folder, {"Prompt": "Which?", "target": "x", "source": "a </script> book", "img": "a.png"})
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "--json", "-o", str(folder / "out")) == 0
    run = json.loads(capsys.readouterr().out)["folder"]
    assert ends("report", run) == 0
    (chunk,) = (Path(run) / "report").rglob("c0.js")
    (sample,) = json.loads(chunk.read_text().partition(",")[2].rpartition(")")[0])
    assert json.loads(sample["row"]) == {
        **{"Prompt": "Which?", "target": "x", "source": "a </script> book", "img": "a.png"},
        "id": "1",
    }
    assert "sample.row" in (Path(kvl_eval.__file__).parent / "reports" / "assets" / "sample_page.js").read_text()


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        *[
            (name, 1)
            for name in ("image_path", "images_text", "image_list", "choices_text", "choices_object", "options")
        ],
        *[(name, 0) for name in ("answer_list", "prompt_target")],
    ],
)
def test_D25_D42_tables_of_the_field_are_asked_and_right(
    tmp_path: Path, stub: Stub, name: str, pictures: int, capsys: pytest.CaptureFixture[str]
) -> None:
    task = f"file:{FIELD / 'tables' / name}.jsonl"
    asked = (
        "run",
        "--task",
        task,
        "--model",
        "endpoint",
        "--base-url",
        stub.url,
        "--json",
        "-o",
        str(tmp_path / "out"),
    )
    assert ends(*asked) == 0, capsys.readouterr().err
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["score"] for row in rows] == [1.0]
    (request,) = stub.asked
    assert len(request.pictures) == pictures
    text = request.texts
    assert ("(A) cat\n(B) dog" in text) == (name in ("choices_text", "choices_object", "options"))
    assert "(C)" not in text and "<image>" not in text


@pytest.mark.parametrize(
    ("name", "code", "column"),
    [
        ("unknown_media", "data.column", "photo_file"),
        ("choices_number", "data.field", "choices is 5"),
        ("images_number", "data.field", "images is 7"),
    ],
)
def test_D25_D36_bad_rows_are_refused_before_anything_is_asked(
    tmp_path: Path, stub: Stub, name: str, code: str, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = f"file:{FIELD / 'tables' / name}.jsonl"
    run = ("run", "--task", task, "--model", "endpoint", "--base-url", stub.url, "-o", str(tmp_path / "out"))
    for arguments in (run, (*run, "--dry-run"), (*run, "--allow-partial-data"), ("check", "data", task)):
        assert ends(*arguments) == 4
        printed = capsys.readouterr()
        said = printed.out + printed.err
        assert code in said and column in said and f"{name}.jsonl:1" in said
    assert not stub.asked and not (tmp_path / "out").exists()


WRONG = [5, True, [], {}, "x", None, float("nan"), [[]], {"A": []}, ["", None], -1.5]
ALLOWED = {  # what a column of own tables may hold among these; a gap where the column may be missing
    "question": [5, "x", -1.5],
    "answer": [None, float("nan")],
    "choices": [[], {}, None, float("nan")],
    "image": ["x", [], None, float("nan")],
    "id": [5, "x", None, float("nan"), -1.5],
    "category": [5, True, "x", [], None, float("nan"), -1.5, ["", None]],
    "cluster": [5, True, "x", None, float("nan"), -1.5],
}


@pytest.mark.parametrize("column", ALLOWED)
def test_D36_a_cell_of_the_wrong_type_is_refused_with_file_line_and_column(folder: Path, column: str) -> None:
    row = {"id": "1", "question": "q", "answer": "cat", "choices": ["cat", "dog"], "image": "a.png"}
    read = []
    for value in WRONG:
        try:
            one_sample(folder, row | {column: value})
            read.append(value)
        except DataError as fault:
            assert fault.code in ("data.field", "data.column")
            assert str(fault.where).startswith("t.jsonl:1") and column in fault.message
    assert str(sorted(read, key=str)) == str(sorted(ALLOWED[column], key=str))


WITH_ROWS = {name: task for name, task in TASKS.items() if task.mini}


@pytest.mark.parametrize("task", WITH_ROWS.values(), ids=WITH_ROWS)
def test_D36_a_cell_of_the_wrong_type_in_any_column_of_any_task_is_no_traceback(task: Task) -> None:
    row = dict(next(iter(open_split(task, Source(), "mini"))).row)
    for column in row:
        for value in [*WRONG, "absent"]:
            others = {name: cell for name, cell in row.items() if name != column}
            with suppress(DataError):
                task.sample(others if value == "absent" else {**others, column: value})


HUGE = [10**30, -(10**30), 10**400, 1e308, float("inf"), 2**40]


@pytest.mark.parametrize("task", WITH_ROWS.values(), ids=WITH_ROWS)
def test_K7_a_huge_number_in_any_column_of_any_task_is_refused_or_harmless(task: Task) -> None:
    row = dict(next(iter(open_split(task, Source(), "mini"))).row)
    for column in row:
        for value in HUGE:
            with suppress(KvlEvalError):
                task.prompts[task.default_prompt](task.sample({**row, column: value}))


def test_D42_bad_rows_are_counted_and_five_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": "q", "answer": "x", **({} if number % 2 else {"images": number})} for number in range(14)]
    path = write_rows(folder, *rows)
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "--limit", "1", "--dry-run") == 4
    said = capsys.readouterr().err
    assert "7 rows are unusable" in said and "and 2 more" in said
    assert all(f"t.jsonl:{line}" in said for line in (1, 3, 5, 7, 9)) and "t.jsonl:11" not in said


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "link/secret.png", "C:\\x.png", "file:///x.png"])
def test_D42_a_path_that_leaves_the_folder_is_refused_before_the_run(tmp_path: Path, path: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(png())
    os.symlink(tmp_path, tmp_path / "data" / "link")
    fault = refusal(tmp_path / "data", {"question": "q", "answer": "x", "image": path})
    assert fault.code == "data.field" and repr(path) in fault.message


def test_D42_the_fix_for_a_path_outside_works(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "images").mkdir()
    shutil.copy(FIELD / "tables" / "a.png", tmp_path / "images" / "a.png")
    fault = refusal(tmp_path / "data", {"question": "q", "answer": "x", "image": "../images/a.png"})
    assert "--data-dir PARENT" in str(fault.fix)
    path = write_rows(tmp_path / "data", {"question": "q", "answer": "x", "image": "images/a.png"})
    (sample,) = samples(path, data_dir=tmp_path)
    assert sample.media[0].root == str(tmp_path)


def test_D42_describe_shows_columns_and_the_first_prompt(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"prompt": "Which animal?", "target": "B", "options": ["cat", "dog"], "img": "a.png", "source": "book"}
    assert ends("describe", f"file:{write_rows(folder, row)}") == 0
    said = capsys.readouterr().out
    assert "answer    <- target" in said and "image     <- img" in said and "choices   <- options" in said
    assert "unused    source" in said and "images    1 found, 0 missing" in said and "choices   2 in 1 of 1 row" in said
    assert "<image:1>Which animal?" in said and "(B) dog" in said and "gold: B" in said


def test_describe_shows_three_samples_of_a_table_with_gold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"{number} + 1?", "target": [number + 1, "more"], "img": "a.png"} for number in range(4)]
    rows[3]["img"] = "none.png"
    path = write_rows(folder, *rows)
    assert ends("describe", f"file:{path}") == 0
    said = capsys.readouterr().out
    assert f"file      {path} (JSON Lines), 4 rows" in said and "  answer    <- target\n" in said
    assert "images    3 found, 1 missing" in said
    for number in range(3):
        assert f"  | [user] <image:1>{number} + 1?\n" in said and f"gold: {number + 1} | more\n" in said
    assert "3 + 1?" not in said
    assert all(f"\n  {name}" in said for name in ("reader", "exact", "contains", "anls", "relaxed", "math", "judge"))
    assert ends("describe", f"file:{path}", "--samples", "4", "--section", "prompts") == 0
    said = capsys.readouterr().out
    assert "3 + 1?" in said and said.startswith("Samples\n") and "Protocols" not in said
    assert ends("describe", f"file:{path}", "--json") == 0
    assert [sample["gold"] for sample in json.loads(capsys.readouterr().out)["samples"]] == [
        [str(number + 1), "more"] for number in range(3)
    ]


def test_D25_unused_columns_and_class_labels_are_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"question": "q", "label": 1, "choices": ["cat", "dog"], "difficulty": "hard"}
    path = write_rows(folder, row)
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "--dry-run") == 0
    said = capsys.readouterr().err
    assert "unused columns: difficulty" in said and "label counts from 0" in said


def test_D25_a_table_without_answers_is_asked_and_not_scored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(folder, {"question": "q"}, {"question": "r", "answer": None})
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "-o", str(folder / "out")) == 3
    said = capsys.readouterr().err
    assert "warning: t.jsonl has no answers" in said


# The file that was named


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The rows in the format that the suffix names."""
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        write_parquet(path, rows)
    elif path.suffix in (".csv", ".tsv"):
        text = StringIO()
        cells = csv.writer(text, delimiter="\t" if path.suffix == ".tsv" else ",")
        cells.writerows([list(rows[0]), *[list(row.values()) for row in rows]])
        path.write_text(text.getvalue(), encoding="utf-8")
    else:
        content = {".gz": gzip.compress(lines), ".json": json.dumps(list(rows)).encode(), ".jsonl": lines}
        path.write_bytes(content[path.suffix])
    return path


NAMES = ("t.jsonl", "t.jsonl.gz", "t.json", "t.csv", "t.tsv", "t.parquet")


@pytest.fixture
def six_tables(tmp_path: Path) -> dict[str, int]:
    """Tables of one stem, each with a number of rows of its own."""
    counts = {name: number for number, name in enumerate(NAMES, 3)}
    for name, count in counts.items():
        write_table(tmp_path / name, [{"question": f"{name} {row}?", "answer": "x"} for row in range(count)])
    return counts


def test_D26_the_file_that_was_named_is_read_and_shown(
    tmp_path: Path, six_tables: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in six_tables.items():
        assert ends("run", "--task", f"file:{tmp_path / name}", "--model", "fake", "--dry-run") == 0
        printed = capsys.readouterr()
        assert f"note: {name}: {count} rows, 0 with images" in printed.err
        assert [name, "own", "data", str(count)] == printed.out.splitlines()[1].split()[:4]
        assert [sample.question for sample in samples(tmp_path / name)] == [f"{name} {row}?" for row in range(count)]


def test_a_path_without_file_is_a_table_where_no_task_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    rows = [{"question": "q", "answer": "x"}]
    for name in ("my data.jsonl", "a,b.csv", "\u8868.jsonl", "mathvista.json"):
        write_table(tmp_path / name, rows)
        assert [task.name for task in select([name])] == [f"file:{name}"]
        assert len(samples(tmp_path / name)) == 1
    assert [task.name for task in select(["my data.jsonl,mathvista", "mathvista.json"])] == [
        *("file:my data.jsonl", "mathvista", "file:mathvista.json")
    ]
    assert len(list(open_split(select(["~/my data.jsonl"])[0], Source(), "all"))) == 1
    with pytest.raises(UsageError, match="unknown task"):
        select(["nothing.jsonl"])
    assert ends("run", "--task", "my data.jsonl", "--model", "fake", "--dry-run") == 0
    assert "own data" in capsys.readouterr().out


@pytest.mark.parametrize("content", NAMES)
def test_D26_content_of_another_format_is_an_error(tmp_path: Path, content: str) -> None:
    rows = [{"question": f"{row}?", "answer": "x"} for row in range(2)]
    data = write_table(tmp_path / content, rows).read_bytes()
    for name in NAMES:
        if name == content:
            continue
        (tmp_path / "other").mkdir(exist_ok=True)
        path = tmp_path / "other" / name
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            samples(path)
        assert name in str(caught.value.where)
        assert "download" not in str(caught.value.fix)


@pytest.mark.parametrize("name", ["t", "t.txt", "t.xlsx", "t.jsonl.bak", "t.pkl"])
def test_D26_another_suffix_is_refused_with_those_that_are_read(tmp_path: Path, name: str) -> None:
    shutil.copy(FIELD / "tables" / "answer_list.jsonl", tmp_path / name)
    with pytest.raises(DataError) as caught:
        get_task(f"file:{tmp_path / name}")
    assert all(suffix in str(caught.value.why) for suffix in (".jsonl.gz", ".parquet", ".tsv"))


def test_D26_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("question,answer,answer\nq,x,y\n")
    with pytest.raises(DataError, match="two columns are named 'answer'"):
        samples(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_D26_two_cells_of_one_name_are_an_error(tmp_path: Path, name: str) -> None:
    line = '{"question": "q", "answer": "A", "answer": "B"}'
    (tmp_path / name).write_text(f"[{line}]" if name == "t.json" else line)
    with pytest.raises(DataError) as caught:
        samples(tmp_path / name)
    assert "two fields are named 'answer'" in str(caught.value.why)


def test_D27_no_sentence_about_bundled_splits_for_own_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path, {"question": "q", "answer": "x"}, name="my.jsonl")
    assert ends("run", "--task", f"file:{path}", "--dry-run") == 0
    printed = capsys.readouterr()
    assert "\nmy.jsonl  own data " in printed.out
    for arguments in (
        ("run", "--task", f"file:{path}", "--model", "fake", "-o", str(tmp_path)),
        ("check", "data", f"file:{path}"),
    ):
        ends(*arguments)
        more = capsys.readouterr()
        assert "left out" not in (said := printed.out + printed.err + more.out + more.err)
        assert "generated" not in said


@pytest.mark.parametrize("name", ["my data", "a,b", 'it\'s "so"', "k=v", "表 ü", "mathvista, mmmu"])
def test_D39_a_value_that_starts_with_file_is_one_path(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    for stem in (name, "second"):
        write_rows(tmp_path, {"question": "q", "answer": "x"}, name=f"{stem}.jsonl")
    options = ("--model", "fake", "--json", "--no-resume", "-o", str(tmp_path / "out"))
    assert ends("run", "--task", f"file:{name}.jsonl", "--task", "file:second.jsonl", *options) == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in results["rows"]] == [f"file:{name}.jsonl", "file:second.jsonl"]
    assert ends("run", "--config", f"{results['folder']}/config.yaml", "--json", "--no-resume") == 0
    assert [row["task"] for row in json.loads(capsys.readouterr().out)["rows"]] == [
        row["task"] for row in results["rows"]
    ]
    assert ends("score", results["folder"]) == 0


def test_D39_several_tables_in_one_value_say_to_repeat_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path, {"question": "q", "answer": "x"})
    assert ends("run", "--task", f"file:{path},file:{path}", "--model", "fake", "--dry-run") == 4
    assert "repeat --task" in capsys.readouterr().err


def test_D25_fields_are_repeated_by_the_stored_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path, {"text": "q", "target": "yes", "answer": "no"})
    fields = ("--fields", "question=text,answer=target")
    options = ("--model", "fake", "--json", "--no-resume", "-o", str(tmp_path / "out"))
    assert ends("run", "--task", f"file:{path}", *fields, *options) == 0
    folder = json.loads(capsys.readouterr().out)["folder"]
    assert ends("run", "--config", f"{folder}/config.yaml", "--json", "--no-resume") == 0
    first, again = (RunReader.open(Path(run)) for run in (folder, json.loads(capsys.readouterr().out)["folder"]))
    assert first.folder.manifest.config_fingerprint == again.folder.manifest.config_fingerprint
    assert ends("score", folder) == 0


# Paths among images


def odd_paths(folder: Path) -> dict[str, bool]:
    """{path inside the folder: whether it is an image that can be had}; made there."""
    image = png()
    for name in ("plain.png", "名前 ü.png", "a b,c=d.png", "-rf.png", "%00.png", "sub/deep/x.png", "target.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)
    readable = ["plain.png", "名前 ü.png", "a b,c=d.png", "-rf.png", "%00.png", "sub/deep/x.png", "./plain.png"]
    os.symlink("target.png", folder / "link.png")
    os.symlink("loop.png", folder / "loop.png")
    os.symlink("two.png", folder / "one.png")
    os.symlink("one.png", folder / "two.png")
    os.symlink("sub", folder / "link_to_folder")
    os.symlink("nowhere.png", folder / "dangling.png")
    os.mkfifo(folder / "pipe.png")
    os.symlink("pipe.png", folder / "link_to_pipe.png")
    (folder / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket.png"))
    if os.geteuid() == 0:
        with suppress(OSError):
            os.mknod(folder / "device.png", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    else:
        (folder / "locked.png").write_bytes(image)
        (folder / "locked.png").chmod(0)
    odd = [
        "loop.png",
        "loop.png/x.png",
        "one.png",
        "dangling.png",
        "pipe.png",
        "link_to_pipe.png",
        "folder.png",
        "socket.png",
    ]
    odd += [
        "device.png",
        "locked.png",
        "plain.png/x.png",
        "x" * 300 + ".png",
        "a/" * 300 + "x.png",
        "missing.png",
        "sub",
    ]
    odd += ["\ud800.png", "plain.png ", " ", "a\nb.png"]
    present = [*readable, "link.png", "link_to_folder/deep/x.png"]
    return dict.fromkeys(present, True) | {name: False for name in odd if name.strip() and name != "plain.png "}


def test_D38_odd_paths_cost_their_samples_and_are_counted_before_the_run(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = odd_paths(tmp_path)
    path = write_rows(
        tmp_path, *[{"id": str(n), "question": "q", "answer": "cat", "image": p} for n, p in enumerate(paths)]
    )
    odd = sum(not can for can in paths.values())
    warning = f"warning: t.jsonl: {odd} of {len(paths)} samples will fail: media_missing {odd}"
    assert ends("run", "--task", f"file:{path}", "--model", "fake", "--dry-run") == 0
    assert warning in capsys.readouterr().err
    started = time.monotonic()
    asked = ("run", "--task", f"file:{path}", "--model", "endpoint", "--base-url", stub.url, "--json")
    assert ends(*asked, "-o", str(tmp_path / "out")) == 3
    assert time.monotonic() - started < 60
    printed = capsys.readouterr()
    assert warning in printed.err and "Traceback" not in printed.err
    (row,) = json.loads(printed.out)["rows"]
    assert (row["n_planned"], row["n_ok"], row["failed"]) == (len(paths), len(paths) - odd, {"media_missing": odd})


def test_D38_nothing_waits_for_pipes_among_tables_and_archives(tmp_path: Path) -> None:
    for name in ("test.parquet", "images.zip", "a.png"):
        os.mkfifo(tmp_path / name)
    found = NamedPictures(tmp_path).find("a.png", name="x", where="row 1")
    assert media_digest(found) == "!media_missing"
    with pytest.raises(DataError, match="not found"):
        list(read_rows(Source(data_dir=tmp_path), "test", Tables(task="mmstar")))
    for medium in (
        ImageRef(name="x", archive="images.zip", member="a.png", root=str(tmp_path)),
        VideoRef(name="x", path="a.png", root=str(tmp_path)),
        PdfRef(name="x", path="a.png", root=str(tmp_path)),
    ):
        assert media_digest(medium) == "!media_missing"


def test_D38_check_data_names_what_a_run_would_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shutil.copy(FIELD / "tables" / "link_loop.jsonl", tmp_path)
    os.symlink("loop.png", tmp_path / "loop.png")
    assert ends("check", "data", f"file:{path}") == 4
    assert "media.missing" in capsys.readouterr().out


# `check data` and `run`


def verdicts(
    task: str, folder: Path, stub: Stub, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[bool, bool, bool]:
    """Whether `check data` finds nothing, `--dry-run` plans without a warning of failures, `run` asks every sample."""
    checked = ends("check", "data", task, *options) == 0
    run = ("run", "--task", task, "--model", "endpoint", "--base-url", stub.url, "--frames", "4", *options)
    capsys.readouterr()
    code = ends(*run, "--dry-run")
    planned = code == 0 and "will fail" not in capsys.readouterr().err
    code = ends(*run, "--json", "-o", str(folder / "out"))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err and code in (0, 3, 4), printed.err
    asked = code != 4 and all(row["n_ok"] == row["n_planned"] for row in json.loads(printed.out)["rows"])
    return checked, planned, asked


@pytest.mark.parametrize("name", sorted(path.stem for path in (FIELD / "tables").glob("*.jsonl")))
def test_D35_check_data_and_run_agree_on_own_tables(
    tmp_path: Path, stub: Stub, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FIELD / "tables", tmp_path / "tables")
    os.symlink("loop.png", tmp_path / "tables" / "loop.png")
    fine = name not in ("choices_number", "images_number", "unknown_media", "link_loop")
    task = f"file:{tmp_path / 'tables' / name}.jsonl"
    assert verdicts(task, tmp_path, stub, capsys) == (fine, fine, fine)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("file:{}/exif/t.jsonl", ()),
        ("file:{}/png/t.jsonl", ()),
        ("mmlongbench-doc", ("--data-dir", "{}/pdf_forms")),
        ("videomme", ("--data-dir", "{}/video_cut")),
        ("videomme-subs", ("--data-dir", "{}/subtitles")),
    ],
    ids=lambda value: str(value).replace("{}/", "")[:24],
)
def test_D35_check_data_and_run_agree_on_every_folder_of_the_field(
    tmp_path: Path, stub: Stub, shared: Path, task: str, options: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "field"
    shutil.copytree(shared / "field", folder)
    named = [option.format(folder) for option in options]
    checked, planned, asked = verdicts(task.format(folder), tmp_path, stub, capsys, *named)
    assert checked == planned == asked


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "missing.png"])
def test_D35_paths_of_published_data_are_found_by_check_and_by_the_plan(
    tmp_path: Path, stub: Stub, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"pid": "1", "question": "q", "question_type": "free_form", "answer_type": "integer", "answer": "1"}
    (tmp_path / "testmini.json").write_text(json.dumps([{**row, "image": path}]))
    options = ("--data-dir", str(tmp_path), "--split", "testmini")
    assert verdicts("mathvista", tmp_path, stub, capsys, *options) == (False, False, False)


@pytest.mark.parametrize(("most", "fine"), [(119, False), (120, True)])
def test_D35_D41_check_data_and_run_agree_on_the_largest_image(
    tmp_path: Path, stub: Stub, most: int, fine: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (12, 10), "red").save(tmp_path / "a.png")
    path = write_rows(tmp_path, {"id": "1", "question": "q", "answer": "cat", "image": "a.png"})
    options = ("--max-image-pixels", str(most))
    checked, _, asked = verdicts(f"file:{path}", tmp_path, stub, capsys, *options)
    assert checked == asked == fine


def invented(folder: Path) -> Path:
    """1,000 rows in MathVista's layout that its authors never wrote."""
    row = {"question": "q", "question_type": "free_form", "answer_type": "integer", "answer": "1"}
    facts = {"metadata": {"task": "figure question answering", "language": "english", "skills": ["none"]}}
    rows = [{**row, **facts, "pid": str(number), "image": "a.png"} for number in range(1000)]
    rows[7]["image"] = "missing.png"
    (folder / "testmini.json").write_text(json.dumps(rows))
    (folder / "a.png").write_bytes(png())
    return folder


def test_D34_the_last_line_counts_what_was_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("check", "data", "mathvista", "--data-dir", str(invented(tmp_path)), "--split", "testmini") == 4
    lines = capsys.readouterr().out.splitlines()
    bad = sum(line.startswith("  BAD ") for line in lines)
    assert bad > 9
    assert lines[-1] == f"{bad} problems"


def test_D34_other_data_than_the_published_have_a_warning_no_delta_and_no_rank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data-dir", str(invented(tmp_path)), "--split", "testmini", "--family", "instruct")
    run = ("run", "--task", "mathvista", "--model", "fake", *options, "--json", "-o", str(tmp_path / "out"))
    assert ends(*run) in (0, 3)
    printed = capsys.readouterr()
    warning = "the data are not the published testmini (question_type=multi_choice: 0, expected 540; "
    assert f"warning: mathvista: {warning}" in printed.err.partition("plan ")[0]
    assert "warning: mathvista: 1 of 1,000 samples will fail: media_missing 1" in printed.err
    results = json.loads(printed.out)
    assert results["rows"][0]["reference"] is None or results["rows"][0]["reference"]["delta"] is None
    reader = RunReader.open(Path(results["folder"]))
    assert str(reader.folder.manifest.data["mathvista"].other_data).startswith(warning)
    assert ends("report", results["folder"]) == 0
    assert warning in unescape((Path(results["folder"]) / "report" / "index.html").read_text())


def test_D34_a_part_of_the_published_data_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data-dir", str(invented(tmp_path)), "--split", "testmini", "--limit", "3")
    assert ends("run", "--task", "mathvista", "--model", "fake", *options, "--dry-run") == 0
    assert "not the published" not in capsys.readouterr().out


def test_D25_fields_may_be_a_mapping_in_python(tmp_path: Path) -> None:
    path = write_rows(tmp_path, {"text": "q", "target": "x", "answer": "y"})
    fields = {"question": "text", "answer": "target"}
    result = evaluate("fake", f"file:{path}", fields=fields, output_dir=tmp_path / "out")
    (entry,) = result.folder.plan()
    assert (entry.sample.question, entry.sample.gold) == ("q", ("x",))
