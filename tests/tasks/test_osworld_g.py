from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.scorers.grounding import WrongFormat, lmms_point
from kvl_eval.scorers.grounding_shape import as_pixels, inside_polygon, lmms_hit, official_hit
from kvl_eval.sources import Source
from kvl_eval.tasks.osworld_g import TASK, aguvis_point
from kvl_eval.types import MISSING
from tests.tasks.tables import base64_png, png, read_lines, write_json, write_parquet, write_pictures, write_tsv
from tests.tasks.vectors import (
    check_linear,
    check_no_response_breaks,
    check_same_again,
    hand_made,
    numbered,
    scored,
    scored_split,
    shown,
)

ROW = {
    "id": "0FOB4CLBT2-0",
    "instruction": "Close the top bar.",
    "box_type": "bbox",
    "box_coordinates": [910, 78, 44, 34],
    "image_size": [1920, 1080],
}
POLYGON = {**ROW, "box_type": "polygon", "box_coordinates": [0, 0, 100, 0, 100, 100, 0, 100]}
ABSENT = {**ROW, "box_type": "refusal", "box_coordinates": [-1, -1, -1, -1]}
FOLDER = Path(__file__).parents[1] / "data" / "osworld_g"


def vectors() -> list[dict[str, Any]]:
    return hand_made("osworld_g", "vectors.jsonl") + read_lines(FOLDER / "run_synthetic.jsonl.gz")


def test_geometry() -> None:
    for row in hand_made("osworld_g", "points.jsonl"):
        target = (row["box_type"], row["box_coordinates"], tuple(row["point_pixel"]))
        assert official_hit(*target) == row["expected"]["correct"], row["id"]
        assert lmms_hit(*target) == row["expected"]["lmms_eval_correct"], row["id"]


def test_points_that_harnesses_read() -> None:
    for row in vectors():
        size, expected = tuple(row["image_size"]), row["expected"]
        found = lmms_point(row["response"])
        assert (None if found is None else list(found)) == expected["extracted"], row["id"]
        if found is not None:
            assert list(as_pixels(*found, size)) == pytest.approx(expected["point_pixel"]), row["id"]
        assert as_list(aguvis_point, row["response"]) == expected["aguvis_parser"], row["id"]


def as_list(read: Any, text: str) -> list[float] | None:
    """The point on a picture of one pixel, which leaves shares as they are."""
    try:
        return list(read(text, (1, 1)))
    except WrongFormat:
        return None


def test_verdicts() -> None:
    rows = vectors()
    columns = {"lmms-eval": "lmms_eval_correct", "official-exact": "official_geometry_on_that_point"}
    for protocol, key in {**columns, "aguvis": "aguvis_parser_correct"}.items():
        for row, found in zip(rows, scored(TASK, rows, protocol).rows, strict=True):
            assert (found["score"] == 1) == bool(row["expected"][key]), (protocol, row["id"])


def test_the_whole_run() -> None:
    rows = read_lines(FOLDER / "run_synthetic.jsonl.gz")
    expected = json.loads((FOLDER / "run_synthetic_score.json").read_text())
    official = {name: float(text) for name, text in scored(TASK, rows, "lmms-eval").summary["official"].items()}
    assert official.pop("without refusals") == pytest.approx(expected["without_refusal"])
    assert official == pytest.approx(expected["lmms_eval"])
    assert sum(row["score"] for row in scored(TASK, rows, "aguvis").rows) == expected["aguvis_parser_correct"]
    counts = scored(TASK, rows, "official").summary["categories"]["box_type"]
    assert {kind: one["n"] for kind, one in counts.items()} == {"bbox": 470, "polygon": 40, "refusal": 54}


@pytest.mark.parametrize(
    ("row", "answer", "verdict"),
    [
        (ROW, "click(x=0.4854, y=0.088)", "correct"),
        (ROW, "[932, 95]", "correct"),
        (ROW, "[954, 112]", "correct"),
        (ROW, "[955, 112]", "wrong"),
        (ROW, "[-1, -1]", "wrong"),
        (ROW, "somewhere above", "no_answer"),
        (POLYGON, "(50, 50)", "correct"),
        (POLYGON, "x=0.5, y=0.5", "wrong"),
        (ABSENT, "[-1, -1]", "correct"),
        (ABSENT, "[-1, 0]", "wrong"),
        (ABSENT, "[0, 0]", "wrong"),
        (ABSENT, "There is no such bar.", "no_answer"),
    ],
)
def test_official(row: dict[str, Any], answer: str, verdict: str) -> None:
    assert TASK.protocols["official"].score(TASK.sample(row), answer, MISSING).verdict == verdict


@pytest.mark.parametrize(
    ("row", "answer", "verdict"),
    [
        (ABSENT, "There is no such bar.", "correct"),
        (ROW, "It does not exist.", "wrong"),
        (ABSENT, "Here it is.", "no_answer"),
        (ABSENT, "There is no bar at 17.", "correct"),
    ],
)
def test_words_of_absence_count_apart(row: dict[str, Any], answer: str, verdict: str) -> None:
    assert TASK.protocols["reader"].score(TASK.sample(row), answer, MISSING).verdict == verdict


def test_what_vlmevalkit_cannot_see() -> None:
    for row, answer in ((ROW, "x=0.4854, y=0.088"), (ABSENT, "x=-1, y=-1"), (POLYGON, "x=26, y=46")):
        assert TASK.protocols["vlmevalkit"].score(TASK.sample(row), answer, MISSING).value == 0
    assert TASK.protocols["vlmevalkit"].score(TASK.sample(ROW), "x=485, y=88", MISSING).value == 1


def test_a_thought_is_not_read() -> None:
    row = {**ROW, "response_raw": "◁think▷at [1, 2]◁/think▷[932, 95]"}
    assert scored_split(TASK, [row], "official").rows[0]["verdict"] == "correct"


def test_without_a_size_nothing_is_scored() -> None:
    bare = {key: value for key, value in ROW.items() if key != "image_size"}
    assert TASK.protocols["official"].score(TASK.sample(bare), "[932, 95]", MISSING).reason == "image_size_unknown"


NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=12)


@given(NUMBERS, st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True)))
def test_no_shape_breaks_the_geometry(corners: list[float], point: tuple[float, float]) -> None:
    assert inside_polygon(corners, point) in (True, False)
    assert inside_polygon([*corners, *corners[:2]], point) == inside_polygon(corners, point) or len(corners) % 2


@given(response=st.text(max_size=60))
@pytest.mark.parametrize("row", [ROW, POLYGON, ABSENT], ids=["bbox", "polygon", "refusal"])
def test_no_response_breaks_a_protocol(row: dict[str, Any], response: str) -> None:
    check_no_response_breaks(TASK, row, response)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["x=1, ", "not "])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ABSENT, unit)


@pytest.mark.parametrize("case", hand_made("osworld_g", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(TASK, {**ROW, "instruction": case["instruction"]})
    assert shown(TASK.prompts["refusal"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]
    assert shown(TASK.prompts["card"](one))[1]["text"].endswith(f"<instruction> {case['instruction']}")


def test_the_authors_folder(tmp_path: Path) -> None:
    rows = [
        {**ROW, "image_path": "a.png", "GUI_types": ["Text"]},
        {**ABSENT, "id": "0FOB4CLBT2-1", "image_path": "a.png"},
    ]
    write_json(tmp_path / "benchmark" / "OSWorld-G.json", rows)
    write_json(tmp_path / "benchmark" / "OSWorld-G_refined.json", [{**ROW, "instruction": "Click the X."}])
    write_json(
        tmp_path / "benchmark" / "classification_result.json",
        {
            "text_matching": [ROW["id"]],
            "layout_understanding": [ROW["id"], "0FOB4CLBT2-1"],
            "refusal": ["0FOB4CLBT2-1"],
        },
    )
    write_pictures(tmp_path / "benchmark" / "images", ["a.png"], (64, 48))
    first, second = found = list(TASK.load(Source(data_dir=tmp_path), "test"))
    assert first.categories == {"box_type": ("bbox",), "class": ("text_matching", "layout_understanding")}
    assert second.categories == {"box_type": ("refusal",), "class": ("layout_understanding",)}
    assert first.cluster == second.cluster == "a.png"
    check_same_again(TASK, found)
    (refined,) = TASK.load(Source(data_dir=tmp_path), "refined")
    assert refined.question == "Click the X."


def test_hub_copy_and_vlmevalkit_table(tmp_path: Path) -> None:
    row = {key: ROW[key] for key in ("instruction", "box_type", "box_coordinates", "image_size")}
    write_parquet(tmp_path / "hub" / "test-00000-of-00001.parquet", [{**row, "image": {"bytes": png(1), "path": None}}])
    (one,) = TASK.load(Source(data_dir=tmp_path / "hub"), "test")
    assert (one.id, one.row["image_size"]) == ("row-0", [1920, 1080])
    (tmp_path / "tsv").mkdir()
    cells = {"index": 5, "image": base64_png(1, (40, 30)), "question": "Close.", "box_type": "bbox"}
    write_tsv(tmp_path / "tsv" / "OSWorld_G.tsv", [{**cells, "box_coordinates": "[1, 2, 3, 4]"}])
    (two,) = TASK.load(Source(data_dir=tmp_path / "tsv"), "test")
    assert (two.id, two.row["image_size"], two.row["box_coordinates"]) == ("5", [40, 30], [1, 2, 3, 4])
    check_same_again(TASK, [one, two])


@pytest.mark.parametrize("change", [{"box_type": "circle"}, {"box_coordinates": [1, 2]}], ids=str)
def test_rows_that_cannot_be_used(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        TASK.sample({**ROW, **change})
