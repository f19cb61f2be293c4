from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.media.images import read_bytes
from kvl_eval.scorers.multiple_choice import can_infer, lettered
from kvl_eval.scoring.predictions import score_predictions
from kvl_eval.sources import Source
from kvl_eval.tasks.mmmu import DOMAINS, SUBJECTS, TASK
from kvl_eval.types import MISSING, ImageRef, Message, Sample, Score
from tests.tasks.tables import base64_png, png, read_lines, write_json, write_parquet, write_pictures, write_tsv

ROW = {
    "id": "validation_Art_Theory_7",
    "question": "Compare <image 2> with <image 1>.",
    "options": "['<image 3>', 'the first, \"older\" one', '$6']",
    "answer": "C",
    "question_type": "multiple-choice",
    "img_type": "['Paintings', 'Sketches']",
    "topic_difficulty": "Hard",
    "subfield": "Theory",
}
OPEN = {
    "id": "validation_Math_15",
    "question": "How long is <image 1>?",
    "options": "[]",
    "answer": "['24/7', '3.429']",
    "question_type": "open",
    "img_type": "['Plots and Charts']",
    "topic_difficulty": "Easy",
    "subfield": "Calculus",
}
PROTOCOLS = ("official", "official-exact", "vlmevalkit", "lmms-eval", "reader")


def scored(row: dict[str, Any], answer: str, protocol: str = "official", extraction: Any = MISSING) -> Score:
    return TASK.protocols[protocol].score(TASK.sample(row), answer, extraction)


def run(rows: list[dict[str, Any]], protocol: str, extraction: str | None = None) -> Any:
    """Rows of a golden file scored as raw text."""
    lines = (
        (row["id"], {"id": row["id"], "row": row, "response": row.get("response", "")} | _given(row, extraction))
        for row in rows
    )
    return score_predictions(TASK, lines, protocol=protocol, view="raw").first


def _given(row: dict[str, Any], extraction: str | None) -> dict[str, Any]:
    return {} if extraction is None else {"extraction": row[extraction]}


# Golden rows


def check_golden(rows: list[dict[str, Any]]) -> None:
    assert rows
    for row, found in zip(rows, run(rows, "official").rows, strict=True):
        expected = row["expected"]
        assert found["extracted"] == expected["extracted"], row["id"]
        assert found["score"] == float(expected["correct"] or 0), row["id"]
        if expected["random_fallback"]:
            assert (found["verdict"], found["reason"]) == ("no_answer", "no_letter"), row["id"]


def test_hand_made_golden_rows(data: Path) -> None:
    check_golden(read_lines(data / "mmmu" / "scoring_handmade.jsonl"))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["scoring_handmade.jsonl", "scoring_gpt4o_standard_cot.jsonl.gz"])
def test_all_golden_rows(shared: Path, name: str) -> None:
    check_golden(read_lines(shared / "mmmu" / name))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("protocol", "key"),
    [("official", "deterministic_fallback_is_wrong"), ("official-exact", "official_script_seed_42")],
)
def test_whole_run_prints_the_official_figures(shared: Path, protocol: str, key: str) -> None:
    rows = read_lines(shared / "mmmu" / "whole_llava1.5_13b.jsonl.gz")
    expected = json.loads((shared / "mmmu" / "whole_llava1.5_13b_score.json").read_text())
    result = run(rows, protocol)
    figures = {"Overall": expected[key]["overall"]["acc"]}
    figures |= {f"Overall-{domain}": one["acc"] for domain, one in expected[key]["domains"].items()}
    figures |= {subject: one["acc"] for subject, one in expected[key]["subjects"].items()}
    assert {name: float(result.summary["official"][name]) for name in figures} == figures
    assert sum(row["score"] for row in result.rows) == expected[key]["overall"]["correct"]
    groups = result.summary["categories"]
    for field in ("domain", "subject"):
        counts = expected[key][f"{field}s"]
        assert {name: (one["n"], round(one["n"] * one["score"])) for name, one in groups[field].items()} == {
            name: (one["num"], one["correct"]) for name, one in counts.items()
        }
    if protocol == "official":
        assert result.summary["official"]["replies without a letter"] == str(expected["random_fallback_rows"])
        assert float(result.summary["official"]["expected right by guessing"]) == 0.5
    else:
        drawn = [row["id"] for row in result.rows if row["method"] == "random_guess" and row["score"] == 1]
        assert drawn == expected["official_seeded_correct_ids_among_fallback"]


@pytest.mark.shared
@pytest.mark.parametrize("protocol", ["official", "official-exact"])
def test_predictions_parsed_before_get_the_official_verdict(shared: Path, protocol: str) -> None:
    rows = read_lines(shared / "mmmu" / "evalonly_llava1.5_13b_total_val_output.jsonl.gz")
    found = run(rows, protocol, extraction="prediction")
    assert [row["score"] == 1 for row in found.rows] == [row["expected"]["correct"] for row in rows]
    assert float(found.summary["official"]["Overall"]) == 0.367


@pytest.mark.shared
def test_vlmevalkit_letters(shared: Path) -> None:
    for row in read_lines(shared / "mmmu" / "scoring_vlmevalkit_can_infer.jsonl.gz"):
        expected = row["expected"]["can_infer"]
        assert can_infer(row["response"], lettered(row["choices"])) == expected, row["id"]
        asked = {**row, "question_type": "multiple-choice", "answer": "A"}
        score = scored(asked, row["response"], "vlmevalkit")
        assert score.extracted == expected
        assert (score.verdict == "no_answer") == (expected is None)


# Protocols


def test_the_draws_of_the_script_follow_its_order_of_subjects() -> None:
    rows = [
        {**ROW, "id": f"validation_{subject}_{number}", "options": str(list("abcdefg"))}
        for subject in ("Sociology", "Accounting")
        for number in (1, 2)
    ]
    for row in rows:
        row["response"] = "" if row["id"].endswith("1") else "(B)"
    drawn = {row["id"]: row["extracted"] for row in run(rows, "official-exact").rows}
    # random.seed(42), then random.choice over seven letters, twice
    assert drawn == {
        "validation_Sociology_1": "A",
        "validation_Sociology_2": "B",
        "validation_Accounting_1": "F",
        "validation_Accounting_2": "B",
    }


def test_official_never_guesses() -> None:
    score = scored(ROW, r"Answer: $\boxed{C}$")
    assert (score.verdict, score.value, score.extracted) == ("no_answer", 0.0, None)


@pytest.mark.parametrize(
    ("answer", "extracted"),
    [
        (r"So (A), no. Answer: $\boxed{C}$", "C"),
        (r"\boxed{A} no, \boxed{\text{C}}", "C"),
        (r"\boxed{(C)}", "C"),
        (r"C \boxed{", "C"),
        ("C", "C"),
    ],
)
def test_the_reader_reads_the_last_box(answer: str, extracted: str) -> None:
    score = scored(ROW, answer, "reader")
    assert (score.verdict, score.extracted) == ("correct", extracted)


def test_the_reader_reads_open_answers_in_a_box() -> None:
    assert scored(OPEN, r"12, so $\boxed{3.43}$ m", "reader").extracted == 3.43


def test_a_list_written_as_text_on_the_hub_is_a_list_of_answers() -> None:
    assert TASK.sample(OPEN).answers == ("24/7", "3.429")
    assert scored(OPEN, "3.4290").verdict == "correct"
    assert TASK.sample({**OPEN, "answer": "[0, 1)"}).answers == ("[0, 1)",)


def test_in_the_layout_of_the_vectors_text_stays_text(data: Path) -> None:
    rows = {row["id"]: row for row in read_lines(data / "mmmu" / "scoring_handmade.jsonl")}
    sample = TASK.sample(rows["hm_P_open_misc_answers_list_str"])
    assert sample.answers == ("['60', '61']",)
    assert TASK.sample(sample.row) == sample


def test_vlmevalkit_turns_an_open_question_into_two_options() -> None:
    gold = {**OPEN, "answer": "12 cm"}
    assert scored(gold, "A", "vlmevalkit").verdict == "correct"
    assert scored(gold, "it is 12 cm", "vlmevalkit").extracted == "A"
    assert scored({**OPEN, "answer": "C"}, "C", "vlmevalkit").verdict != "correct"


def test_lmms_eval_finds_no_open_answer_right() -> None:
    score = scored(OPEN, "24/7", "lmms-eval")
    assert (score.verdict, score.value) == ("wrong", 0.0)
    assert "24/7" in score.extracted


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("row", [ROW, OPEN], ids=["choice", "open"])
def test_without_gold_nothing_is_scored(protocol: str, row: dict[str, Any]) -> None:
    for answer in ("?", None):
        assert scored({**row, "answer": answer}, "C", protocol).verdict == "not_scored"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_given_extraction_replaces_that_step(protocol: str) -> None:
    assert scored(ROW, "(A)", protocol, "C").verdict == "correct"
    assert scored(ROW, "(C)", protocol, None).value == 0
    if protocol in ("official", "official-exact", "reader"):
        assert scored(OPEN, "", protocol, "24/7").verdict == "correct"
        assert scored(OPEN, "24/7", protocol, None).value == 0
    if protocol in ("official", "official-exact"):
        assert scored(OPEN, "", protocol, [3.43, "x"]).extracted == [3.43, "x"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(response=st.one_of(st.text(max_size=60), st.sampled_from(["", " ", "(", r"\boxed{", "[" * 500, "nan", "1e999"])))
def test_no_response_breaks_a_protocol(protocol: str, response: str) -> None:
    for row in (ROW, OPEN):
        score = scored(row, response, protocol)
        assert score.value in (0.0, 1.0)


# Prompts


def numbered(row: dict[str, Any], pictures: int = 4) -> Sample:
    return TASK.sample({**row, **{f"image_{n}": {"bytes": bytes([n]), "path": None} for n in range(1, pictures + 1)}})


def shown(messages: list[Message]) -> list[dict[str, Any]]:
    """Parts as the vectors write them; pictures by their number, which is their only byte."""
    (message,) = messages
    assert message.role == "user"
    return [{"text": one} if isinstance(one, str) else {"image": _number(one)} for one in message.parts]


def _number(part: Any) -> int:
    assert isinstance(part, ImageRef)
    assert part.data is not None
    return part.data[0]


def prompt_cases() -> list[dict[str, Any]]:
    return read_lines(Path(__file__).resolve().parent.parent / "data" / "mmmu" / "prompt_cases.jsonl")


@pytest.mark.parametrize("case", prompt_cases(), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    tagged = "<image" in case["question"]
    one = numbered(case, 4 if tagged else 1)
    expected = case["expected"]
    assert shown(TASK.prompts["vlmevalkit"](one)) == expected["vlmevalkit_messages"]
    assert shown(TASK.prompts["vlmevalkit_kimi"](one)) == expected["vlmevalkit_kimi_messages"]
    assert shown(TASK.prompts["official_llava"](one)) == [{"image": 1}, {"text": expected["official_llava_prompt"]}]
    *pictures, text = shown(TASK.prompts["lmms_eval"](one))
    assert text == {"text": expected["lmms_eval_text"]}
    numbers = [picture["image"] for picture in pictures]
    assert numbers == sorted({n for n in range(1, 5) if f"<image {n}>" in case["question"] + case["options"]})


@pytest.mark.parametrize("case", prompt_cases(), ids=lambda case: case["id"])
def test_the_default_prompt_has_the_instruction_once_at_the_end(case: dict[str, Any]) -> None:
    parts = shown(TASK.prompts[TASK.default_prompt](numbered(case, 4 if "<image" in case["question"] else 1)))
    instruction = case["expected"]["vlmevalkit_kimi_messages"][-1]["text"].rpartition("\n")[2]
    every = case["expected"]["vlmevalkit_kimi_messages"]
    assert "".join(part.get("text", "") for part in parts).count(instruction) == 1
    assert [part if "image" in part else None for part in parts] == [
        part if "image" in part else None for part in every
    ]
    assert parts[-1] == every[-1]


def test_pictures_stand_where_their_tags_stand() -> None:
    parts = shown(TASK.prompts["kimi_cot"](numbered(ROW, 3)))
    assert [part.get("image") for part in parts] == [None, 2, None, 1, None, 3, None]
    assert parts[4] == {"text": ".\nOptions:\nA. "}


def test_a_tag_without_a_picture_is_a_missing_picture() -> None:
    parts = TASK.prompts["kimi_cot"](numbered(ROW, 2))[0].media
    assert [part.data is None for part in parts if isinstance(part, ImageRef)] == [False, False, True]


def test_a_hint_goes_first() -> None:
    row = {"index": 3, "question": "Q <image 1>?", "A": "x", "B": "y", "answer": "A", "hint": "look"}
    assert shown(TASK.prompts["vlmevalkit"](numbered(row, 1)))[0] == {"text": "Hint: look\nQuestion: Q "}


# Loading


def load(folder: Path, split: str = "validation") -> list[Sample]:
    return list(TASK.load(Source(data_dir=folder), split))


def columns(row: dict[str, Any], pictures: int) -> dict[str, Any]:
    cells = {f"image_{n}": {"bytes": png(n), "path": f"{n}.png"} if n <= pictures else None for n in range(1, 8)}
    return {**row, "explanation": "", **cells}


def pixels(sample: Sample) -> list[bytes]:
    return [read_bytes(one) for one in sample.media if isinstance(one, ImageRef)]


def check_samples(samples: list[Sample]) -> None:
    choice, other = samples
    assert choice.id == "validation_Art_Theory_7"
    assert choice.choices == ("<image 3>", 'the first, "older" one', "$6")
    assert choice.answers == ("C",)
    assert pixels(choice) == [png(1), png(2), png(3)]
    assert choice.categories == {
        "subject": ("Art_Theory",),
        "domain": ("Art and Design",),
        "question_type": ("multiple-choice",),
        "difficulty": ("Hard",),
        "image_type": ("Paintings", "Sketches"),
        "pictures": ("3",),
    }
    assert other.answers == ("24/7", "3.429")
    assert other.choices == ()
    assert other.cluster == choice.cluster, "the same first picture"
    for one in samples:
        again = TASK.sample(one.row)
        assert (again.id, again.choices, again.answers, again.categories, again.cluster) == (
            *(one.id, one.choices, one.answers, one.categories, one.cluster),
        )
        json.dumps(one.row)


def test_hub_layout_has_a_folder_for_each_subject(tmp_path: Path) -> None:
    write_parquet(tmp_path / "Math" / "validation-00000-of-00001.parquet", [columns(OPEN, 1)])
    write_parquet(tmp_path / "Art_Theory" / "validation-00000-of-00001.parquet", [columns(ROW, 3)])
    write_parquet(tmp_path / "Math" / "test-00000-of-00001.parquet", [columns({**OPEN, "answer": "?"}, 1)])
    check_samples(load(tmp_path))
    assert [one.answers for one in load(tmp_path, "test")] == [()]


def test_merged_copy(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", [columns(ROW, 3), columns(OPEN, 1)])
    check_samples(load(tmp_path))


@pytest.mark.parametrize("key", ["columns", "images"])
def test_json_with_pictures_in_a_folder(tmp_path: Path, key: str) -> None:
    paths = ["1.png", "images/2.png", "images/3.png"]
    write_pictures(tmp_path / "images", ["0.png", "1.png", "2.png", "3.png"])
    cells = {f"image_{n}": path for n, path in enumerate(paths, 1)} if key == "columns" else {"images": paths}
    open_cells = {"image_1": "1.png"} if key == "columns" else {"image": "1.png"}
    write_json(
        tmp_path / "validation.json",
        [{**ROW, "options": ["<image 3>", 'the first, "older" one', "$6"], **cells}, {**OPEN, **open_cells}],
    )
    check_samples(load(tmp_path))


def test_vlmevalkit_table(tmp_path: Path) -> None:
    several = str([base64_png(n, (40, 30)) for n in (1, 2, 3)])
    common = {"category": "Art Theory", "l2-category": "Art and Design", "hint": ""}
    rows = [
        {**common, "index": 1, "split": "dev", "question": "dev", "A": "x", "B": "y", "C": "", "answer": "A",
         "image": base64_png(9, (40, 30))},
        {**common, "index": 2, "split": "validation", "question": ROW["question"], "A": "<image 3>", "B": "b, \n c",
         "C": "$6", "answer": "C", "image": several},
        {**common, "index": 3, "split": "validation", "question": "<image 1> and?", "A": "", "B": "", "C": "",
         "answer": "42", "image": base64_png(5, (40, 30))},
        {**common, "index": 4, "split": "validation", "question": "<image 1> again?", "A": "x", "B": "y", "C": "",
         "answer": "B", "image": "3"},
    ]  # fmt: skip
    write_tsv(tmp_path / "MMMU_DEV_VAL.tsv", rows)
    several_pictures, other, shared = load(tmp_path)
    assert pixels(several_pictures) == [png(n, (40, 30)) for n in (1, 2, 3)]
    assert several_pictures.choices == ("<image 3>", "b, \n c", "$6")
    assert other.categories["question_type"] == ("open",)
    assert other.categories["subject"] == ("Art_Theory",)
    assert other.categories["domain"] == ("Art and Design",)
    assert pixels(shared) == pixels(other)
    assert shared.cluster == other.cluster
    assert [one.id for one in load(tmp_path, "dev")] == ["1"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"options": "__import__('os').system('true')"}, "data.field", id="code"),
        pytest.param({"options": "[" * 100_000}, "data.field", id="nesting"),
        pytest.param({"options": "['only one']"}, "data.field", id="one-option"),
        pytest.param({"id": None}, "data.field", id="no-id"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    write_json(tmp_path / "validation.json", [{**ROW, **change}])
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert caught.value.code == code
    assert "validation.json row 1" in str(caught.value.where)


def test_a_missing_picture_fails_only_where_it_is_opened(tmp_path: Path) -> None:
    write_json(tmp_path / "validation.json", [{**OPEN, "image_1": "nowhere.png"}, {**ROW, "image_2": None}])
    first, _ = load(tmp_path)
    assert isinstance(first.media[0], ImageRef)
    assert first.media[0].path == "nowhere.png"


def test_no_data_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert caught.value.code == "data.missing"
    assert "MMMU_DEV_VAL" in str(caught.value.why)


def test_subjects_and_counts() -> None:
    assert len(SUBJECTS) == 30
    assert len(DOMAINS) == 6
    assert SUBJECTS[:5] == ("Accounting", "Agriculture", "Architecture_and_Engineering", "Art", "Art_Theory")
    assert sum(n for label, n in TASK.data.count["validation"].items() if label.startswith("subject")) == 900
