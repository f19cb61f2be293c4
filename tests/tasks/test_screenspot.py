from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.media.images import read_bytes
from kvl_eval.scorers.grounding_figures import pro_metrics
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.screenspot import SCREENSPOT, SCREENSPOT_PRO, SCREENSPOT_V2
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, ScoreView
from tests.refusals import refused
from tests.tasks.tables import (
    base64_png,
    png,
    read_lines,
    write_json,
    write_parquet,
    write_pictures,
    write_tsv,
    write_zip,
)

TASKS = (SCREENSPOT, SCREENSPOT_V2, SCREENSPOT_PRO)
SCREEN = (100, 50)
TARGET = {
    "img_filename": "pc_1.png",
    "bbox": [40, 10, 20, 10],
    "instruction": "close",
    "data_type": "icon",
    "data_source": "windows",
}
WITH_SIZE = {**TARGET, "img_size": list(SCREEN)}
PRO_TARGET = {
    "id": "vscode_macos_0",
    "img_filename": "vscode_mac/screenshot_1.png",
    "bbox": [40, 10, 60, 20],
    "img_size": [100, 50],
    "instruction": "run",
    "instruction_cn": "运行",
    "application": "vscode",
    "platform": "macos",
    "group": "Dev",
    "ui_type": "text",
}
CORRECTNESS = {"correct": "correct", "wrong": "wrong", "no_answer": "wrong_format"}


def scored(
    task: Task, row: dict[str, Any], output: str, protocol: str = "official", extraction: Any = MISSING
) -> Score:
    (score,) = score_outputs(task, protocol, [Item(task.sample(row), Answer.of(output), extraction)])
    return score


# --- golden rows -------------------------------------------------------------------------------------------------


def by_authors(task: Task, row: dict[str, Any], protocol: str) -> Score:
    """The score of a reply whose thought, if it stands in Kimi's markers, is off: what the published parsers saw."""
    output = row["response"]
    _, closing, _ = output.partition(THINK_CLOSE)
    is_kimi = closing or output.lstrip().startswith(THINK_OPEN)
    answer = Answer.of(output) if is_kimi else Answer("", output, None, output)
    (score,) = score_outputs(task, protocol, [Item(task.sample(row), answer, MISSING)])
    return score


def check_golden(task: Task, rows: list[dict[str, Any]]) -> None:
    parsers = {"vlmevalkit": "vlmevalkit", "lmms-eval": "lmms_eval", "official": "screenspot_pro_kimivl"}
    if task is not SCREENSPOT_PRO:
        parsers["official-exact"] = "seeclick"
    assert rows
    for row in rows:
        score = by_authors(task, row, "official")
        assert (score.value, score.extracted) == (row["expected"]["score"], row["expected"]["extracted"]), row["id"]
        for protocol, parser in parsers.items():
            expected = row["expected"]["parsers"].get(parser)
            if expected is not None:
                got = by_authors(task, row, protocol).value
                assert got == (expected["correctness"] == "correct"), (row["id"], protocol)
        if row["expected"]["all_parsers_agree"] and not in_thousandths(row["response"]):
            value = by_authors(task, row, "reader").value
            assert value == READ_OTHERWISE.get(row["id"], row["expected"]["score"]), row["id"]


READ_OTHERWISE = {  # where the published parsers agree, and answers.md reads another point or none
    "ssp-p-adv-062": 0,  # two different points
    "ssp-p-adv-076": 1,  # start_box is in thousandths
    "ssp-p-adv-090": 1,  # two corners are a box
    "ssp-p-adv-106": 0,  # `max=` is no x
}


def in_thousandths(response: str) -> bool:
    """Tags that mean thousandths: the published parsers agree on them only in that all of them miss."""
    return any(tag in response for tag in ("<point>5", "<point>[[5", "<box>", "<|box_start|>"))


def test_hand_made_golden_rows(data: Path) -> None:
    check_golden(SCREENSPOT_PRO, read_lines(data / "screenspot" / "pro_vectors.jsonl"))
    check_golden(SCREENSPOT, read_lines(data / "screenspot" / "xywh_vectors.jsonl"))
    check_golden(SCREENSPOT_V2, read_lines(data / "screenspot" / "xywh_vectors.jsonl"))


@pytest.mark.shared
@pytest.mark.parametrize(("file", "task"), [("pro_vectors", SCREENSPOT_PRO), ("xywh_vectors", SCREENSPOT)])
def test_all_golden_rows(shared: Path, file: str, task: Task) -> None:
    check_golden(task, read_lines(shared / "screenspot" / f"{file}.jsonl"))


@pytest.mark.shared
def test_points_without_text(shared: Path) -> None:
    for row in read_lines(shared / "screenspot" / "pro_points.jsonl"):
        score = scored(SCREENSPOT_PRO, row, "", extraction=normalised(row))
        assert score.value == row["expected"]["score"]
        assert CORRECTNESS[score.verdict] == row["expected"]["correctness"]


def normalised(row: dict[str, Any]) -> Extraction:
    """The point of a published run as an extraction."""
    if row["point_pixel"] is None:
        return None
    return json.dumps([value / side for value, side in zip(row["point_pixel"], row["img_size"], strict=True)])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("run", "differing"), [("run_pro_aguvis", 0), ("run_pro_qwen25vl", 0), ("run_pro_omniparser_v2_gpt4o", 5)]
)
def test_published_runs_give_the_official_metrics(shared: Path, run: str, differing: int) -> None:
    rows = read_lines(shared / "screenspot" / f"{run}.jsonl.gz")
    expected = json.loads((shared / "screenspot" / f"{run}.summary.json").read_text())["official_metrics"]
    samples = [SCREENSPOT_PRO.sample(row) for row in rows]
    assert len({sample.id for sample in samples}) == 1581
    scores = score_outputs(
        SCREENSPOT_PRO,
        "official",
        [Item(one, Answer.of(""), normalised(row)) for one, row in zip(samples, rows, strict=True)],
    )
    assert sum(CORRECTNESS[score.verdict] != row["correctness"] for score, row in zip(scores, rows, strict=True)) == (
        differing
    )
    if differing:  # points were stored rounded to pixels, so the stored verdicts count
        verdicts = {theirs: ours for ours, theirs in CORRECTNESS.items()}
        scores = [
            Score(value=float(row["correctness"] == "correct"), verdict=verdicts[row["correctness"]])  # type: ignore[arg-type]
            for row in rows
        ]
    results = [Scored(sample=one, score=score) for one, score in zip(samples, scores, strict=True)]
    assert pro_metrics(results) == expected
    summary = SCREENSPOT_PRO.aggregate(results, "official")
    assert summary.score == expected["overall"]["action_acc"]
    assert summary.official["overall/action_acc"] == str(expected["overall"]["action_acc"])
    for group, metrics in expected["leaderboard_simple_style"].items():
        assert summary.categories["group"][group.removeprefix("group:")].score == metrics["action_acc"]
        assert summary.official[f"leaderboard_simple_style/{group}/text_acc"] == str(metrics["text_acc"])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("protocol", "parser"),
    [
        ("official", "kimivl_parser"),
        ("vlmevalkit", "vlmevalkit_parser"),
        ("official-exact", "seeclick_parser"),
    ],
)
def test_whole_synthetic_run(shared: Path, protocol: str, parser: str) -> None:
    rows = read_lines(shared / "screenspot" / "run_screenspot_synthetic.jsonl.gz")
    whole = json.loads((shared / "screenspot" / "run_screenspot_synthetic.summary.json").read_text())
    expected = whole[parser]
    samples = [SCREENSPOT.sample(row) for row in rows]
    items = [Item(one, Answer.of(row["response"])) for one, row in zip(samples, rows, strict=True)]
    scores = score_outputs(SCREENSPOT, protocol, items)
    results = [Scored(sample=one, score=score) for one, score in zip(samples, scores, strict=True)]
    summary = SCREENSPOT.aggregate(results, protocol)
    assert summary.score == pytest.approx(expected["micro"], abs=1e-12)
    cells = {label.replace(" ", "_"): cell for label, cell in summary.categories["cell"].items()}
    assert {label: cell.n for label, cell in cells.items()} == expected["counts"]
    assert {label: cell.score for label, cell in cells.items()} == pytest.approx(expected["six"])
    kinds = summary.categories["type"]
    assert kinds["text"].score == pytest.approx(expected["text_micro"])
    assert kinds["icon"].score == pytest.approx(expected["icon_micro"])
    figures = SCREENSPOT.aggregate(results, "vlmevalkit").official
    assert float(figures["Text_Accuracy"]) == pytest.approx(expected["vlmevalkit_style_text_accuracy"])
    assert float(figures["Icon_Accuracy"]) == pytest.approx(expected["vlmevalkit_style_icon_accuracy"])
    if protocol != "vlmevalkit":
        assert float(summary.official["Average of cells"]) == pytest.approx(expected["macro_of_six"])
    if protocol == "official-exact":
        for platform, (text, icon) in whole["seeclick_tasks_result_[text,icon]"].items():
            assert float(summary.official[f"{platform} Text Acc"]) == pytest.approx(text)
            assert float(summary.official[f"{platform} Icon Acc"]) == pytest.approx(icon)


# --- scores ------------------------------------------------------------------------------------------------------


def test_records_keep_point_and_box_in_original_pixels() -> None:
    score = scored(SCREENSPOT, WITH_SIZE, "click(x=0.5, y=0.25)")
    assert score.extracted == [0.5, 0.25]
    assert score.detail == {"box": [40, 10, 60, 20], "point": [50.0, 12.5], "image_size": [100, 50]}
    boxed = scored(SCREENSPOT_PRO, PRO_TARGET, "<box>(400,200),(600,400)</box>", "reader")
    assert (boxed.verdict, boxed.extracted, boxed.method) == ("correct", [0.5, 0.30000000000000004], "statement")
    assert boxed.detail["found_box"] == [40.0, 10.0, 60.0, 20.0]
    missed = scored(SCREENSPOT, WITH_SIZE, "no idea")
    assert (missed.verdict, missed.reason, missed.detail["box"]) == ("no_answer", "wrong_format", [40, 10, 60, 20])


def test_pixels_of_a_picture_resized_on_the_way_in() -> None:
    row = {**WITH_SIZE, "sent_size": [50, 25]}
    score = scored(SCREENSPOT, row, "click(25, 7)", "reader")
    assert (score.verdict, score.extracted, score.detail["point"]) == (
        "correct",
        [0.5, 0.28],
        [50.0, 14.000000000000002],
    )
    assert scored(SCREENSPOT, WITH_SIZE, "click(25, 7)", "reader").verdict == "wrong"


def test_a_point_off_the_picture_misses_even_a_box_that_leaves_it() -> None:
    row = {**WITH_SIZE, "bbox": [90, 10, 20, 10]}
    assert scored(SCREENSPOT, row, "x=1.0, y=0.3", "reader").verdict == "correct"
    beyond = scored(SCREENSPOT, row, "(105%, 30%)", "reader")
    assert (beyond.verdict, beyond.reason) == ("wrong", "outside_image")


def test_bare_numbers_as_thousandths_are_a_protocol_of_their_own() -> None:
    assert scored(SCREENSPOT, WITH_SIZE, "[500, 300]", "reader-0-1000").verdict == "correct"
    assert scored(SCREENSPOT, WITH_SIZE, "[500, 300]", "reader").reason == "outside_image"


@pytest.mark.parametrize(
    ("output", "official", "broad"),
    [
        pytest.param("◁think▷x=0.1, y=0.1◁/think▷x=0.5, y=0.25", "correct", "correct", id="closed"),
        pytest.param("hm◁/think▷x=0.5, y=0.25", "no_answer", "correct", id="opening-marker-missing"),
        pytest.param("◁think▷x=0.5, y=0.25", "no_answer", "no_answer", id="never-closed"),
        pytest.param("◁think▷a◁/think▷x=0.5, y=0.25◁/think▷x=0.1, y=0.1", "correct", "no_answer", id="closed-twice"),
    ],
)
def test_thoughts(output: str, official: str, broad: str) -> None:
    item = Item(SCREENSPOT.sample(WITH_SIZE), Answer.of(output))
    views: tuple[ScoreView, ...] = ("answer", "raw")
    for view in views:
        (score,) = score_outputs(SCREENSPOT, "official", [item], view)
        assert score.verdict == official
    (score,) = score_outputs(SCREENSPOT, "reader", [item])
    assert score.verdict == broad


@pytest.mark.parametrize(
    ("extraction", "verdict"),
    [("[0.5, 0.25]", "correct"), ("0.9 0.9", "wrong"), (None, "no_answer"), ("", "no_answer")],
)
def test_a_given_extraction_replaces_reading(extraction: str | None, verdict: str) -> None:
    assert scored(SCREENSPOT, WITH_SIZE, "x=0.1, y=0.1", extraction=extraction).verdict == verdict


def test_vlmevalkit_takes_a_pixel_off_the_box_except_in_pro() -> None:
    edge = "pyautogui.click(x=0.595, y=0.25)"
    assert scored(SCREENSPOT_V2, WITH_SIZE, edge).verdict == "correct"
    assert scored(SCREENSPOT_V2, WITH_SIZE, edge, "vlmevalkit").verdict == "wrong"
    assert scored(SCREENSPOT_PRO, PRO_TARGET, edge, "vlmevalkit").verdict == "correct"


def test_vlmevalkit_forgives_minus_one_and_refuses_a_box_beyond_the_picture() -> None:
    inside = "x=0.0, y=0.25"
    assert scored(SCREENSPOT, {**WITH_SIZE, "bbox": [-1, 10, 20, 10]}, inside, "vlmevalkit").verdict == "correct"
    beyond = scored(SCREENSPOT, {**WITH_SIZE, "bbox": [90, 10, 20, 10]}, inside, "vlmevalkit")
    assert (beyond.verdict, beyond.reason) == ("not_scored", "box_beyond_image")


def test_a_box_in_pixels_needs_the_pictures_size() -> None:
    score = scored(SCREENSPOT, TARGET, "x=0.5, y=0.25")
    assert (score.verdict, score.reason) == ("not_scored", "image_size_unknown")
    unit = {**TARGET, "bbox": [0.4, 0.2, 0.6, 0.4]}
    assert scored(SCREENSPOT, unit, "x=0.5, y=0.25").verdict == "correct"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@given(st.text(max_size=60))
def test_any_response_gets_a_score_that_json_can_hold(task: Task, response: str) -> None:
    row = PRO_TARGET if task is SCREENSPOT_PRO else WITH_SIZE
    for protocol in task.protocols:
        score = scored(task, row, response, protocol)
        assert score.value in (0, 1)
        json.dumps([score.extracted, dict(score.detail)], allow_nan=False)


def test_numbers_json_has_none_for_are_text() -> None:
    score = scored(SCREENSPOT, WITH_SIZE, f"x={'9' * 400}, y=1", "vlmevalkit")
    assert (score.verdict, score.extracted[0]) == ("wrong", "inf")
    assert scored(SCREENSPOT, WITH_SIZE, f"x={'9' * 400}, y=1", "reader").verdict == "no_answer"


def test_figures_of_a_few_answers() -> None:
    rows = [{**WITH_SIZE, "platform": platform} for platform in ("web", "web", "mobile")]
    outputs = ["x=0.5, y=0.25", "x=0.1, y=0.1", "nothing"]
    results = [
        Scored(sample=SCREENSPOT.sample(row), score=scored(SCREENSPOT, row, output))
        for row, output in zip(rows, outputs, strict=True)
    ]
    official = SCREENSPOT.aggregate(results, "official").official
    assert official["web Icon Acc"] == "0.5"
    assert official["web Text Acc"] == "0"
    assert official["mobile Wrong format num"] == "1"
    assert official["Average of targets"] == str(1 / 3)
    assert SCREENSPOT.aggregate(results, "lmms-eval").official["screenspot_action_acc"] == str(1 / 3)
    assert SCREENSPOT.aggregate([], "official").score is None


# --- data --------------------------------------------------------------------------------------------------------


def test_hub_layout_with_boxes_from_zero_to_one(tmp_path: Path) -> None:
    row = {
        "file_name": "mobile_1.png",
        "bbox": [0.4, 0.2, 0.6, 0.4],
        "instruction": "open",
        "data_type": "text",
        "data_source": "ios",
        "image": {"bytes": png(5, SCREEN), "path": None},
    }
    web = {**row, "data_source": "shop", "file_name": "web_1.png"}
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [row, web, row])
    samples = list(SCREENSPOT_V2.load(Source(data_dir=tmp_path), "test"))
    assert [one.id for one in samples] == ["mobile/0", "web/0", "mobile/1"]
    assert samples[0].row["img_size"] == [100, 50]
    assert json.loads(samples[0].answers[0]) == pytest.approx([40, 10, 60, 20])
    assert samples[0].cluster == samples[2].cluster == "mobile_1.png"
    assert samples[1].categories == {
        "platform": ("web",),
        "type": ("text",),
        "cell": ("web text",),
        "source": ("shop",),
    }
    check_picture(samples[0], png(5, SCREEN))
    check_again(SCREENSPOT_V2, samples[1])


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(
    ("task", "files", "folder"),
    [
        (SCREENSPOT, "screenspot_{}.json", "screenspot_imgs"),
        (SCREENSPOT_V2, "screenspot_{}_v2.json", "screenspotv2_image"),
    ],
    ids=["original", "v2"],
)
def test_authors_layout(tmp_path: Path, task: Task, files: str, folder: str, packed: bool) -> None:
    for platform in ("mobile", "desktop", "web"):
        write_json(tmp_path / files.format(platform), [TARGET, {**TARGET, "img_filename": f"{platform}.png"}])
    names = ["pc_1.png", "mobile.png", "desktop.png", "web.png"]
    if packed:
        write_zip(tmp_path / f"{folder}.zip", [f"{folder}/{name}" for name in names], SCREEN)
    else:
        write_pictures(tmp_path / folder, names, SCREEN)
    samples = list(task.load(Source(data_dir=tmp_path), "test"))
    assert [one.id for one in samples] == [
        f"{platform}/{row}" for platform in ("desktop", "mobile", "web") for row in (0, 1)
    ]
    assert {tuple(one.row["img_size"]) for one in samples} == {SCREEN}
    assert json.loads(samples[0].answers[0]) == [40, 10, 60, 20]
    check_picture(samples[3], png(1, SCREEN))
    check_again(task, samples[3])
    (score,) = score_outputs(task, "official", [Item(samples[0], Answer.of("x=0.5, y=0.3"))])
    assert score.verdict == "correct"


def test_the_two_editions_do_not_read_each_others_files(tmp_path: Path) -> None:
    write_json(tmp_path / "screenspot_web_v2.json", [TARGET])
    with refused(DataError, "data.missing"):
        list(SCREENSPOT.load(Source(data_dir=tmp_path), "test"))


def test_pro_layout(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations" / "vscode_macos.json", [PRO_TARGET])
    write_json(tmp_path / "annotations" / "excel_macos.json", [{**PRO_TARGET, "id": "excel_macos_0"}])
    write_pictures(tmp_path / "images", ["vscode_mac/screenshot_1.png"], SCREEN)
    first, second = SCREENSPOT_PRO.load(Source(data_dir=tmp_path), "test")
    assert (first.id, second.id) == ("excel_macos_0", "vscode_macos_0")
    assert second.categories == {
        "type": ("text",),
        "group": ("Dev",),
        "application": ("vscode",),
        "platform": ("macos",),
        "cell": ("Dev text",),
    }
    assert json.loads(second.answers[0]) == PRO_TARGET["bbox"]
    check_picture(second, png(0, SCREEN))
    check_again(SCREENSPOT_PRO, second)


@pytest.mark.parametrize(
    ("task", "file", "kind", "identity"),
    [
        (SCREENSPOT, "ScreenSpot_Mobile.tsv", "data_type", "mobile/0"),
        (SCREENSPOT_V2, "ScreenSpot_v2_Web.tsv", "data_type", "web/0"),
        (SCREENSPOT_PRO, "ScreenSpot_Pro_CAD.tsv", "ui_type", "s/1.png"),
    ],
    ids=["original", "v2", "pro"],
)
def test_vlmevalkit_layout(tmp_path: Path, task: Task, file: str, kind: str, identity: str) -> None:
    row = {"index": 0, "image": base64_png(2, SCREEN), "image_path": "s/1.png", "question": "open", kind: "icon"}
    write_tsv(tmp_path / file, [{**row, "bbox": "[40, 10, 20, 12]"}])
    (sample,) = task.load(Source(data_dir=tmp_path), "test")
    assert (sample.id, sample.question, sample.categories["type"]) == (identity, "open", ("icon",))
    assert json.loads(sample.answers[0]) == ([40, 10, 20, 12] if task is SCREENSPOT_PRO else [40, 10, 60, 22])
    assert sample.row["img_size"] == [100, 50]
    assert sample.categories.get("group") == (("CAD",) if task is SCREENSPOT_PRO else None)
    check_picture(sample, png(2, SCREEN))
    check_again(task, sample)


def test_a_screenshot_that_is_missing_stops_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "screenspot_web.json", [TARGET])
    (sample,) = SCREENSPOT.load(Source(data_dir=tmp_path), "test")
    assert "img_size" not in sample.row
    assert sample.media


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": None},
        {"bbox": [1, 2, 3]},
        {"bbox": "nothing"},
        {"bbox": {"x": 1}},
        {"instruction": None},
        {"img_size": ["a", "b"]},
    ],
)
def test_a_row_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        SCREENSPOT.sample({**WITH_SIZE, **change})


def test_missing_columns_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "screenspot_web.json", [{"instruction": "open"}])
    with refused(DataError, "data.field", "bbox"):
        list(SCREENSPOT.load(Source(data_dir=tmp_path), "test"))


# --- prompts -----------------------------------------------------------------------------------------------------


def test_each_prompt_puts_media_and_words_in_its_order() -> None:
    sample = SCREENSPOT.sample({**WITH_SIZE, "instruction": 'say "{}"', "image": {"bytes": png(), "path": None}})
    assert SCREENSPOT.default_prompt == "card"
    card = "Please observe the screenshot, please locate the following elements with action and point.<instruction> "
    assert SCREENSPOT.prompts["card"](sample) == [Message.user(*sample.media, f'{card}say "{{}}"')]
    system, user = SCREENSPOT.prompts["screenspot-pro"](sample)
    assert system.role == "system"
    assert str(system.parts[0]).startswith(
        "You are a GUI agent. You are given a task and a screenshot of a computer screen."
    )
    assert str(system.parts[0]).endswith("by converting the normalized coordinates to actual pixel positions.")
    assert "\n\n## Action:\nProvide clear, concise, and actionable instructions.\n\n## Code:\n" in str(system.parts[0])
    assert user.parts == (*sample.media, '## Task Instruction:\nsay "{}"')
    vlm_system, vlm_user = SCREENSPOT.prompts["vlmevalkit"](sample)
    assert str(vlm_system.parts[0]).endswith("`pyautogui.click(x=?, y=?), x and y is necessary`")
    assert str(vlm_user.parts[1]).startswith(
        "Please complete the following tasks by clicking using `pyautogui.click`:\nsay"
    )
    for name in ("issue-22", "seeclick", "lmms-eval"):
        (message,) = SCREENSPOT.prompts[name](sample)
        assert 'say "{}"' in str(message.parts[1])
    assert "[x, y] in normalized coordinates within [0, 1]" in str(SCREENSPOT.prompts["lmms-eval"](sample)[0].parts[1])


def check_picture(sample: Sample, data: bytes) -> None:
    (ref,) = sample.media
    assert isinstance(ref, ImageRef)
    assert read_bytes(ref) == data


def check_again(task: Task, sample: Sample) -> None:
    """A stored row gives the same sample without its picture."""
    again = task.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
