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
from kvl_eval.tasks.mathvision import TASK
from kvl_eval.types import MISSING, ImageRef, Sample, Score
from tests.tasks.tables import base64_png, png, read_lines, write_parquet, write_pictures, write_tsv

CHOICE = {
    "id": "7",
    "question": "Which number is missing?\n<image1>",
    "options": ["1", "12", r"$\frac{1}{2}$", "x=3", "5"],
    "image": "images/7.jpg",
    "answer": "C",
    "solution": None,
    "level": 2,
    "subject": "algebra",
}
FREE = {**CHOICE, "id": "8", "options": [], "image": "images/8.jpg", "answer": "11 ", "level": 5, "subject": "topology"}
PROTOCOLS = ("official", "official-exact", "vlmevalkit", "lmms-eval")
RUNS = ("Gemini-Pro-CoT", "InternLM-XComposer2-VL", "LLaVA-v1.5-7B", "Qwen-VL-Max", "Random-Chance")


def scored(row: dict[str, Any], answer: str, protocol: str = "official", extraction: Any = MISSING) -> Score:
    return TASK.protocols[protocol].score(TASK.sample(row), answer, extraction)


def run(rows: list[dict[str, Any]], protocol: str) -> Any:
    """Rows of a golden file scored as raw text."""
    lines = ((row["id"], {"id": row["id"], "row": row, "response": row["response"]}) for row in rows)
    return score_predictions(TASK, lines, protocol=protocol, view="raw").first


# Golden rows


def check_golden(rows: list[dict[str, Any]]) -> None:
    assert rows
    for protocol in ("official", "official-exact", "lmms-eval"):
        for row, found in zip(rows, run(rows, protocol).rows, strict=True):
            expected = row["expected"]
            assert found["extracted"] == expected["extracted"], row["id"]
            assert found["score"] == float(expected["correct"]), row["id"]
            detail = scored(row, row["response"], protocol).detail
            assert detail.get("matched_by") == expected.get("matched_by"), row["id"]


def test_hand_made_golden_rows(data: Path) -> None:
    check_golden(read_lines(data / "mathvision" / "scoring_handmade.jsonl"))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["scoring_handmade.jsonl", "scoring_real.jsonl.gz"])
def test_all_golden_rows(shared: Path, name: str) -> None:
    check_golden(read_lines(shared / "mathvision" / name))


@pytest.fixture(scope="module")
def meta(shared: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_lines(shared / "mathvision" / "test_meta.jsonl.gz")}


@pytest.mark.shared
@pytest.mark.parametrize("name", RUNS)
def test_whole_run_prints_the_official_figures(shared: Path, meta: dict[str, dict[str, Any]], name: str) -> None:
    rows = [{**meta[row["id"]], **row} for row in read_lines(shared / "mathvision" / f"whole_{name}.jsonl.gz")]
    printed = json.loads((shared / "mathvision" / f"whole_{name}_score.json").read_text())
    result = run(rows, "official")
    for row, found in zip(rows, result.rows, strict=True):
        assert (found["extracted"], found["score"] == 1) == (row["expected"]["extracted"], row["expected"]["correct"])
    assert list(result.summary["official"].items()) == list(printed["official_rerun"].items())
    small = run([row for row in rows if meta[row["id"]]["testmini"]], "official")
    assert small.summary["official"] == printed["testmini_subset_of_this_file"]


@pytest.mark.shared
def test_counts_are_those_of_the_data_set(meta: dict[str, dict[str, Any]]) -> None:
    for split, rows in (("test", [*meta.values()]), ("testmini", [row for row in meta.values() if row["testmini"]])):
        samples = [TASK.sample(row) for row in rows]
        assert len(samples) == TASK.splits[split].rows
        assert all(sample.answers for sample in samples)
        for label, expected in TASK.data.count[split].items():
            field, _, value = label.partition("=")
            assert sum(sample.categories[field] == (value,) for sample in samples) == expected, label


@pytest.mark.shared
def test_vlmevalkit_letters(shared: Path) -> None:
    for row in read_lines(shared / "mathvision" / "scoring_vlmevalkit_can_infer.jsonl.gz"):
        expected = row["expected"]["can_infer"]
        assert can_infer(row["response"], lettered(row["choices"])) == expected, row["id"]
        score = scored({**row, "answer": "A"}, row["response"], "vlmevalkit")
        assert score.extracted == expected
        assert score.verdict == ("no_answer" if expected is None else "correct" if expected == "A" else "wrong")


# Protocols


@pytest.mark.parametrize(
    ("answer", "verdict", "matched_by"),
    [
        (r"\boxed{C}", "correct", "gold"),
        ("It is 0.5.", "correct", "option_value_numeric"),
        (r"\boxed{\frac{1}{2}}", "correct", "option_value_numeric"),
        (r"\boxed{A}", "wrong", None),
        (r"\boxed{ }", "no_answer", None),
        ("", "no_answer", None),
    ],
)
def test_letter_and_value_both_count(answer: str, verdict: str, matched_by: str | None) -> None:
    score = scored(CHOICE, answer)
    assert (score.verdict, score.detail.get("matched_by")) == (verdict, matched_by)


def test_the_script_itself_calls_nothing_wrong() -> None:
    assert scored(CHOICE, "", "official-exact").verdict == "wrong"
    assert scored(CHOICE, "", "official-exact").extracted == ""


def test_vlmevalkit_counts_letters_only_and_keeps_more_decimals() -> None:
    assert scored(CHOICE, r"\boxed{0.5}", "official").verdict == "correct"
    assert scored(CHOICE, r"\boxed{0.5}", "vlmevalkit").extracted == "E", "the only option text contained in 0.5"
    assert scored(CHOICE, "none of them", "vlmevalkit").verdict == "no_answer"
    assert scored(CHOICE, "Answer: C", "vlmevalkit").verdict == "correct"
    third = {**FREE, "answer": r"\frac{1}{3}"}
    assert scored(third, "0.33", "official").verdict == "correct"
    assert scored(third, "0.33", "vlmevalkit").verdict == "wrong"
    assert scored(third, " 1/3", "vlmevalkit").verdict == "correct"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_gold_nothing_is_scored(protocol: str) -> None:
    for row in (FREE, CHOICE):
        assert scored({**row, "answer": None}, "C", protocol).verdict == "not_scored"
    with pytest.raises(DataError, match="not an option"):
        scored({**CHOICE, "answer": "F"}, "C", protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_given_extraction_replaces_that_step(protocol: str) -> None:
    assert scored(CHOICE, r"\boxed{A}", protocol, "C").verdict == "correct"
    assert scored(FREE, "", protocol, "11").verdict == "correct"
    assert scored(FREE, "11", protocol, None).value == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(
    response=st.one_of(st.text(max_size=60), st.sampled_from(["", " ", r"\boxed{", "10**10**10", "(" * 500, "9^{9^9}"]))
)
def test_no_response_breaks_a_protocol(protocol: str, response: str) -> None:
    for row in (CHOICE, FREE):
        assert scored(row, response, protocol).value in (0.0, 1.0)


def test_figures_are_rounded_as_the_script_rounds() -> None:
    rows = [{**FREE, "id": str(n), "response": "11" if n < 437 else "no"} for n in range(3040)]
    assert run(rows, "official").summary["official"] == dict.fromkeys(
        ["-all", "-level5", "-level5_topology", "topology", "topology_level5"], "437/3040=14.37%"
    )


def test_vlmevalkit_reports_by_subject() -> None:
    rows = [{**FREE, "response": "11"}, {**CHOICE, "response": "A"}]
    assert run(rows, "vlmevalkit").summary["official"] == {
        "Overall": "1/2=50.0%",
        "algebra": "0/1=0.0%",
        "topology": "1/1=100.0%",
    }


# Prompts


def prompt_cases() -> list[dict[str, Any]]:
    return read_lines(Path(__file__).resolve().parent.parent / "data" / "mathvision" / "prompt_cases.jsonl")


@pytest.mark.parametrize("case", prompt_cases(), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    sample = TASK.sample({**case, "decoded_image": {"bytes": png(), "path": "1.png"}})
    for name, text in case["expected"].items():
        (message,) = TASK.prompts[name](sample)
        assert message.role == "user"
        assert message.parts == (*sample.media, text), name


def test_the_default_is_the_authors_prompt_for_an_open_model() -> None:
    assert TASK.default_prompt == "official_qwen_vl"


# Loading


def load(folder: Path, split: str = "test") -> list[Sample]:
    return list(TASK.load(Source(data_dir=folder), split))


def check_samples(samples: list[Sample], clusters: list[str | None]) -> None:
    choice, free = samples
    assert (choice.id, choice.answers, choice.choices) == ("7", ("C",), tuple(CHOICE["options"]))  # type: ignore[arg-type]
    assert choice.categories == {"question_type": ("multi_choice",), "level": ("2",), "subject": ("algebra",)}
    assert (free.id, free.answers, free.choices) == ("8", ("11 ",), ())
    assert [read_bytes(one) for sample in samples for one in sample.media if isinstance(one, ImageRef)] == [
        png(0),
        png(1),
    ]
    assert [sample.cluster for sample in samples] == clusters
    for one in samples:
        again = TASK.sample(json.loads(json.dumps(one.row)))
        assert (again.id, again.choices, again.answers, again.categories, again.cluster) == (
            *(one.id, one.choices, one.answers, one.categories, one.cluster),
        )


def test_hub_layout(tmp_path: Path) -> None:
    pictures = [{"bytes": png(n), "path": f"{n}.png"} for n in range(2)]
    rows = [{**row, "decoded_image": one} for row, one in zip((CHOICE, FREE), pictures, strict=True)]
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows)
    write_parquet(tmp_path / "data" / "testmini-00000-of-00001.parquet", rows[1:])
    check_samples(load(tmp_path), ["images/7.jpg", "images/8.jpg"])
    assert [one.id for one in load(tmp_path, "testmini")] == ["8"]


def test_json_lines_with_pictures_beside_them(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ["7.jpg", "8.jpg"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (CHOICE, FREE)))
    check_samples(load(tmp_path), ["images/7.jpg", "images/8.jpg"])


@pytest.mark.parametrize(("split", "name"), [("test", "MathVision.tsv"), ("testmini", "MathVision_MINI.tsv")])
def test_vlmevalkit_table(tmp_path: Path, split: str, name: str) -> None:
    rows = [
        {
            "index": row["id"],
            "question": row["question"],
            "choices": str(row["options"]),
            "answer": row["answer"],
            "category": row["subject"],
            "image": base64_png(n, (40, 30)),
        }
        for n, row in enumerate((CHOICE, FREE))
    ]
    write_tsv(tmp_path / name, rows)
    choice, free = load(tmp_path, split)
    assert choice.choices == tuple(CHOICE["options"])  # type: ignore[arg-type]
    assert (free.choices, free.answers, free.categories["subject"]) == ((), ("11 ",), ("topology",))
    assert [read_bytes(one) for one in choice.media if isinstance(one, ImageRef)] == [png(0, (40, 30))]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"options": "__import__('os').system('true')"}, "not a list", id="code"),
        pytest.param({"id": None}, "no id and no index", id="no-id"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({**FREE, **change}))
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert caught.value.code == "data.field"
    assert why in caught.value.message


def test_no_data_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert caught.value.code == "data.missing"
    assert "MathVision" in str(caught.value.why)
