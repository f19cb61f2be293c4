from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.relative_accuracy import mean_relative_accuracy, scanned_number
from kvl_eval.scorers.spatial_bench import matched_number, matched_option
from kvl_eval.sources import Source
from kvl_eval.tasks.vsi_bench import NUMBERS, TASK
from kvl_eval.types import MISSING, Score, Scored
from tests.golden import rows
from tests.scorers.growth import is_linear
from tests.tasks.tables import write_parquet, write_tsv
from tests.tasks.vectors import check_linear, check_no_response_breaks, check_same_again, percent_of

ROW = {
    "id": 7,
    "dataset": "scannet",
    "scene_name": "scene0",
    "question_type": "object_counting",
    "question": "How many chair(s) are in this room?",
    "options": None,
    "ground_truth": "4",
}
CHOICE = {**ROW, "question_type": "route_planning", "options": ["A. Left", "B. Right"], "ground_truth": "B"}
ANSWERS = {"official": 255, "lmms-eval": 255, "vlmevalkit": 249}


@pytest.mark.parametrize("source", ANSWERS)
def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path, source: str) -> None:
    asked = [row for row in rows(data / "vsi_bench" / "answers.jsonl") if row["source"] == source]
    assert len(asked) == ANSWERS[source]
    for row in asked:
        gold = row["inputs"]["ground_truth"] or None  # an empty text is refused
        expected, sample = row["expected"], TASK.sample({**row["inputs"], "ground_truth": gold})
        score = TASK.protocols[source].score(sample, row["response"], MISSING)
        if "accuracy" in expected:
            assert score.value == expected["accuracy"], row["id"]
            assert (score.extracted or "") == (expected["extracted"] or ""), row["id"]
        elif not row["inputs"]["ground_truth"]:
            assert score.verdict == "not_scored"
        elif "error" in expected:
            assert float(row["inputs"]["ground_truth"]) == 0, "the script stops, here 0 alone is right"
            assert score.value == float(score.extracted == 0), row["id"]
        else:
            if float(row["inputs"]["ground_truth"]) > 0 or source == "vlmevalkit":
                assert score.value == pytest.approx(expected["mra"]), row["id"]
            if "parsed" in expected:
                assert score.extracted == expected["parsed"], row["id"]


def test_mean_relative_accuracy(data: Path) -> None:
    for row in rows(data / "vsi_bench" / "mra.jsonl"):
        given_ = row["inputs"]
        found = mean_relative_accuracy(float(given_["prediction"]), float(given_["target"]))
        assert found == row["expected"]["mra"], row["id"]
    assert [mean_relative_accuracy(x, -4) for x in (-4, 4, float("nan"))] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "number"),
    [("a hundred", 100), ("twenty-one", 21), ("1,200", 1), (".5", 5), ("two thousand and five", 2005), ("half", None)],
)
def test_numbers_in_words(text: str, number: float | None) -> None:
    assert scanned_number(text) == number


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "vsi_bench" / "aggregate.jsonl"):
        protocol, scored = row["source"], []
        for item in row["inputs"]["items"]:
            sample = TASK.sample(item)
            scored.append(
                Scored(sample=sample, score=TASK.protocols[protocol].score(sample, item["response"], MISSING))
            )
        summary = TASK.aggregate(scored, protocol)
        official = summary.official
        if "error" in row["expected"]:
            assert official["overall"] == "incomplete", row["id"]
        else:
            found = {name: float(official[name]) for name in row["expected"]}
            assert found == pytest.approx(row["expected"]), row["id"]
            unit = 0.01 if protocol == "lmms-eval" else 1
            assert unit * percent_of(summary) == pytest.approx(row["expected"]["overall"]), row["id"]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("<answer type=x> b, surely </answer>", "B"),
        ("<answer>none</answer> ... <answer>(c)</answer>", "C"),
        ("A or B? so C</think>", "C"),
        ("A\u200b", "A"),
        ("Option A: left\nOption B: right\nfinal answer: b", "B"),
        ("A is near\nor B it may be\n\n\n\n\n\n\n\nno", None),
        ("The man went on\nD it is", "D"),
        ("D**", "D"),
        ("D_x", "D"),
        ("AD_x, D", "D"),
    ],
)
def test_vlmevalkit_letters(reply: str, letter: str | None) -> None:
    assert matched_option(reply) == letter


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("<answer>3.5 m</answer> of 7", 3.5),
        ("<answer>x</answer> <answer >8</ answer>, 9", 8.0),
        ("<answer>3.5 m of 7", 7.0),
        ("<think>7 <think>8</think>none", 8.0),
        ("[1, oops]", None),
        ("[]", None),
        ("Nineteen\u200b", 19.0),
    ],
)
def test_vlmevalkit_numbers(reply: str, number: float | None) -> None:
    assert matched_number(reply) == number


@pytest.mark.parametrize(
    "unit",
    *[
        [
            "<answer ",
            "<answer>a",
            "<answer>1",
            "the answer ",
            "选择",
            "Answer is\t",
            "A  ",
            "B**",
            "9",
            "<think>",
            "option ",
            "[",
            "A\n",
        ]
    ],
)
def test_vlmevalkit_readers_take_linear_time(unit: str) -> None:
    assert is_linear(matched_option, unit)
    assert is_linear(matched_number, unit)


@pytest.mark.shared
def test_published_overalls(shared: Path) -> None:
    published = [row for row in rows(shared / "vsi_bench" / "aggregate.jsonl") if "-pub-" in row["id"]]
    assert len(published) == 2
    for row in published:
        given_, expected = row["inputs"], row["expected"]
        values = given_.get("task_scores") or {k: v / 100 for k, v in given_["type_scores"].items()}
        scored = [
            Scored(sample=TASK.sample({"question_type": name}), score=Score.of(value, "A"))
            for name, value in values.items()
        ]
        overall = TASK.aggregate(scored, "official").score
        wanted = expected.get("mean_of_8") or expected["mean_of_8_directions_merged"] / 100
        assert overall == pytest.approx(wanted)
        said = expected.get("overall") or expected["published_overall"] / 100
        assert (overall == pytest.approx(said, abs=5e-5)) is not row["id"].endswith("-pub-10"), "not what it says it is"


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    names = {"official": "official", "vlmevalkit": "vlmevalkit"}
    for row in rows(data / "vsi_bench" / "prompts.jsonl"):
        name = "official_number" if row.get("protocol") == "gpt4v" else names[row["source"]]
        (user,) = TASK.prompts[name](TASK.sample(row["inputs"]))
        assert user.parts == (row["expected"]["text"],), row["id"]


def test_hub_layout(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [{**ROW, "options": ["A. x"]}, {**CHOICE, "id": 8}])
    (tmp_path / "scannet").mkdir()
    (tmp_path / "scannet" / "scene0.mp4").write_bytes(b"x")
    first, second = TASK.load(Source(data_dir=tmp_path), "test")
    assert (first.id, first.media[0].path, first.cluster) == ("7", "scannet/scene0.mp4", "scene0")
    assert (second.choices, second.answers) == (("Left", "Right"), ("B",))
    assert (first.media[0].rule, first.media[0].frames) == ("linspace", 32)
    assert TASK.prompts["vlmevalkit"](first)[0].media[0].rule == "uniform_tail"
    check_same_again(TASK, [first, second])


def test_vlmevalkit_layout(tmp_path: Path) -> None:
    row = {"video": "scannet/scene0.mp4", "question_type": "route_planning", "question": "?", "answer": "A"}
    write_tsv(tmp_path / "VSI-Bench.tsv", [{**row, "index": 0, "candidates": "['A. Left', 'B. Right']"}])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert (sample.media[0].path, sample.choices, sample.answers) == ("scannet/scene0.mp4", ("Left", "Right"), ("A",))


@pytest.mark.parametrize(
    ("row", "reply", "value", "official"),
    [
        (ROW, "4", 1.0, 1.0),
        (ROW, "There are 2 tables. The answer is 4 chairs.", 1.0, 0.0),
        (ROW, r"2 or 3? \boxed{4}", 1.0, 0.1),
        (ROW, "none", 0.0, 0.0),
        (CHOICE, "The answer is (B).", 1.0, 0.0),
        (CHOICE, "b", 1.0, 1.0),
    ],
)
def test_the_default_reads_sentences(row: dict[str, object], reply: str, value: float, official: float) -> None:
    sample = TASK.sample(row)
    found = [TASK.protocols[name].score(sample, reply, MISSING).value for name in ("reader", "official")]
    assert found == pytest.approx([value, official])


def test_how_numbers_were_read_is_counted() -> None:
    sample = TASK.sample(ROW)
    scored = [
        Scored(sample=sample, score=TASK.protocols["reader"].score(sample, reply, MISSING))
        for reply in ("4", "about 4", "no")
    ]
    official = TASK.aggregate(scored, "reader").official
    assert [official[f"numbers read by {name}"] for name in ("whole", "none")] == ["2", "1"]
    assert official["tasks"].startswith("incomplete: 1 of 8")


@given(response=st.text(max_size=60), kind=st.sampled_from(NUMBERS))
def test_any_response_gets_a_verdict(response: str, kind: str) -> None:
    check_no_response_breaks(TASK, {**ROW, "question_type": kind}, response)
    check_no_response_breaks(TASK, CHOICE, response)


@pytest.mark.slow
def test_time_is_linear() -> None:
    check_linear(TASK, ROW, "twenty-one and ")
    check_linear(TASK, CHOICE, "The answer is (B) ")
