from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import ConfigError, DataError
from kvl_eval.media.drawn import draw
from kvl_eval.media.images import header_size, read_bytes
from kvl_eval.model.kimi_vl.tokenizer import PATTERN, read_ranks
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.needle import is_exact, is_recalled, numbers
from kvl_eval.sources import Source
from kvl_eval.tasks.haystack import (
    BINS,
    Design,
    bin_of,
    grid,
    haystack,
    most_sentences,
    needle,
    target_of,
)
from kvl_eval.tasks.niah import BIN, PROMPT, QUESTION, TEXT, VIDEO, aggregate, text_task
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import DrawnFrame, ImageRef, Sample, Score, Scored
from tests.refusals import refused
from tests.tasks.tables import read_lines, write_parquet
from tests.tasks.vectors import (
    check_linear,
    check_no_response_breaks,
    check_same_again,
    hand_made,
    scored,
    scored_split,
)

TASKS = (TEXT, VIDEO)
SEED = 20250410


def words(text: str) -> int:
    return len(text.split())


def golden(name: str) -> list[dict[str, Any]]:
    return hand_made("niah", f"{name}.jsonl")


# -- the design, byte for byte


@pytest.mark.parametrize("split", ["full", "quick"])
def test_the_grid(split: str) -> None:
    rows = [row["expected"] for row in golden("grid") if row["id"].startswith("niah-quick") == (split == "quick")]
    found = list(grid(split, Design()))
    assert len(rows) == len(found) == {"full": 308, "quick": 35}[split]
    shown = [
        {"bin": list(next(b for b in BINS if b[0] < length <= b[1])), "length": length, "depth": depth}
        | {"target": target_of(length)}
        for length, depth, _ in found
    ]
    assert shown == rows
    assert {bin_of(length) for length, _, _ in found} == {f"({low},{high}]" for low, high in BINS}


def check_haystack(row: dict[str, Any], count: Any) -> None:
    inputs = row["inputs"]
    codes = needle(inputs["case"], inputs["seed"], inputs["distractors"])
    text_of = partial(haystack, depth=inputs["depth"], codes=codes, seed=inputs["seed"], rep=inputs["rep"])
    sentences, tokens = most_sentences(count, inputs["target"], text_of)
    text = text_of(sentences)
    prompt = PROMPT.format(haystack=text) + QUESTION.format(key=codes[0][0])
    assert row["expected"] == {
        "sentences": sentences,
        "position": inputs["depth"] * sentences // 100,
        "key": codes[0][0],
        "value": codes[0][1],
        "distractors": [list(code) for code in codes[1:]],
        "count": tokens,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "first_80": text[:80],
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(),
    }


@pytest.mark.parametrize("row", golden("text_haystack"), ids=lambda row: row["id"])
def test_the_text_haystack_in_words(row: dict[str, Any]) -> None:
    check_haystack(row, words)


@pytest.mark.shared
def test_the_text_haystack_in_tokens_of_the_shipped_vocabulary(shared: Path) -> None:
    ranks = read_ranks(shared / "tokenizer" / "tiktoken.model")
    # The vectors count a text whole; `KimiTokenizer` cuts texts above 400,000 characters, as the published one does.
    plain = tiktoken.Encoding("kimi", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    rows = [r for r in read_lines(shared / "niah" / "text_haystack.jsonl") if r["inputs"]["counter"] == "kimi-tokens"]
    assert len(rows) == 24
    for row in rows:
        check_haystack(row, lambda text: len(plain.encode_ordinary(text)))


@pytest.mark.parametrize("row", golden("video_frames"), ids=lambda row: row["id"])
def test_the_frames_of_the_video_haystack(row: dict[str, Any]) -> None:
    inputs, expected = row["inputs"], row["expected"]
    design = Design(width=inputs["width"], height=inputs["height"])
    frames = max(1, inputs["target"] // design.frame_tokens)
    ((key, value),) = needle(inputs["case"], inputs["seed"])
    found = {name: expected[name] for name in ("tokens_per_frame", "frames", "position", "key", "value")}
    assert found == {
        "tokens_per_frame": design.frame_tokens,
        "frames": frames,
        "position": inputs["depth"] * (frames - 1) // 100,
        "key": key,
        "value": value,
    }
    one = VIDEO.sample(
        {
            **{name: inputs[name] for name in ("case", "target", "depth", "rep", "seed", "width", "height")},
            "length": int(inputs["case"].split("/")[1]),
            "frames": frames,
            "needle_frame": found["position"],
        }
    )
    assert one.question == expected["question"]
    for number, sha256 in expected["frame_sha256"].items():
        ref = one.media[int(number)]
        assert isinstance(ref, ImageRef) and ref.drawn is not None
        assert hashlib.sha256(draw(ref.drawn).tobytes()).hexdigest() == sha256


def test_a_drawn_frame_is_a_picture_like_any_other() -> None:
    frame = DrawnFrame(seed=1, rep=0, index=3, width=140, height=132, banner=("SECRET CODE", "THISTLE", "1234567"))
    ref = ImageRef(name="a frame", drawn=frame)
    assert header_size(ref) == (140, 132)
    assert read_bytes(ref) == b"P6\n140 132\n255\n" + draw(frame).tobytes()
    plain = draw(DrawnFrame(seed=1, rep=0, index=3, width=140, height=132))
    assert (draw(frame) != plain).any() and (draw(frame)[:36] == plain[:36]).all()


# -- scores


def test_every_golden_reply() -> None:
    for row in golden("score"):
        inputs, found = row["inputs"], numbers(row["response"])
        assert row["expected"] == {
            "recall": int(is_recalled(found, inputs["value"], inputs["distractor_values"])),
            "exact": int(is_exact(row["response"], inputs["value"])),
            "numbers": found,
        }, row["id"]


@pytest.mark.parametrize(("protocol", "column"), [("official", "recall"), ("exact", "exact")])
def test_golden_replies_as_predictions(protocol: str, column: str) -> None:
    rows = golden("score")
    for task in TASKS:
        found = {row["id"]: row for row in scored(task, rows, protocol).rows}
        assert [found[row["id"]]["score"] for row in rows] == [row["expected"][column] for row in rows]
        read = [found[row["id"]]["extracted"] or [] for row in rows]
        assert read == [row["expected"]["numbers"] for row in rows]


def test_a_thought_is_no_answer() -> None:
    row = {"id": "x", "key": "EMBER", "value": "1234567", "response_raw": "◁think▷1234567◁/think▷none"}
    (found,) = scored_split(TEXT, [row], "official").rows
    assert (found["verdict"], found["score"]) == ("no_answer", 0.0)


@given(st.text("0123456789,_' .\n◁think▷/x", max_size=80), st.integers(1_000_000, 9_999_999))
def test_no_reply_breaks_it(reply: str, value: int) -> None:
    check_no_response_breaks(TEXT, {"id": "x", "key": "EMBER", "value": str(value)}, reply)
    told = f"{reply} x {value} x"
    assert is_recalled(numbers(told), str(value)) == (THINK_OPEN not in told or THINK_CLOSE in reply)
    assert not is_exact(reply, str(value)) or is_recalled(numbers(reply), str(value))


@pytest.mark.parametrize("unit", ["1,", "123 456", "1 ", "7", "*`", "◁think▷"])
def test_time_grows_linearly(unit: str) -> None:
    check_linear(TEXT, {"id": "x", "key": "EMBER", "value": "1234567"}, unit)


@pytest.mark.parametrize("row", golden("aggregate"), ids=lambda row: row["id"])
def test_recall_of_each_bin(row: dict[str, Any]) -> None:
    items = row["inputs"]["items"]
    bins = summarise([scored_cell(one["length"], one["depth"], one["recall"]) for one in items]).categories[BIN]
    for expected in row["expected"]:
        low, high = expected["bin"]
        found = bins.get(f"({low},{high}]")
        if found is None:
            assert (expected["runs"], expected["recall"]) == (0, None)
        else:
            assert (found.n, round(found.n * found.score)) == (expected["runs"], expected["hits"])
            assert 100 * found.score == pytest.approx(expected["recall"])


def test_figures_name_the_design_and_the_mean_over_bins() -> None:
    cells = [scored_cell(2048, 0, 1), scored_cell(2048, 50, 1), scored_cell(4096, 0, 0)]
    summary = aggregate(cells, "official")
    assert summary.score == pytest.approx(2 / 3)
    assert summary.official == {
        "design": "kvl-niah 1, seed 20250410, 0 distractors",
        "recall (0,2048]": "100.0 (2 of 2)",
        "recall (2048,4096]": "0.0 (0 of 1)",
        "mean over bins": "50.0",
    }
    assert {name: one.n for name, one in summary.categories["depth"].items()} == {"0": 2, "50": 1}


def scored_cell(length: int, depth: int, value: float) -> Scored:
    row = {"case": f"text/{length}/{depth}/0", "length": length, "depth": depth, "rep": 0, "seed": SEED}
    return Scored(sample=TEXT.sample({**row, "target": length, "distractors": 0}), score=Score.of(value, ["1"]))


@pytest.mark.shared
def test_grids_that_others_published(shared: Path) -> None:
    rows = [row for row in read_lines(shared / "niah" / "aggregate.jsonl") if "cells" in row["inputs"]]
    assert len(rows) == 4
    for row in rows:
        cells = [
            Scored(
                sample=Sample(id=str(n), question="", row={}, categories={"length": (f"{length:g}",)}),
                score=Score.of(value, None),
            )
            for n, (length, _, value) in enumerate(row["inputs"]["cells"])
        ]
        summary = summarise(cells)
        assert summary.score == pytest.approx(row["expected"]["mean_of_cells"], abs=1e-12)
        means = {name: one.score for name, one in summary.categories["length"].items()}
        assert means == pytest.approx(row["expected"]["by_length"], abs=1e-12)


# -- samples and prompts


def test_samples_without_a_model_have_no_length_and_no_prompt() -> None:
    one = next(iter(TEXT.load(Source(), "quick")))
    assert "sentences" not in one.row and one.answers
    with refused(DataError, "data.unmeasured"):
        TEXT.prompts["plain"](one)


def test_lengths_are_those_of_the_models_tokenizer() -> None:
    task = text_task(words)
    samples = list(task.load(Source(version="max-length=4096"), "full"))
    assert len(samples) == 88
    for one in samples:
        (message,) = task.prompts["plain"](one)
        (text,) = message.parts
        assert isinstance(text, str)
        inside = text.partition("<text>\n")[2].partition("\n</text>")[0]
        assert words(inside) == one.row["tokens"] <= one.row["target"] < one.row["tokens"] + 17
        place = inside.index(f"is {one.answers[0]}.") / len(inside)
        assert place == pytest.approx(one.row["depth"] / 100, abs=0.03)
    check_same_again(task, samples)


def test_haystacks_are_counted_once_however_often_the_data_is_read() -> None:
    calls = []

    def count(text: str) -> int:
        calls.append(len(text))
        return words(text)

    task = text_task(count)
    first = list(task.load(Source(version="max-length=8192"), "quick"))
    once = len(calls)
    assert list(task.load(Source(version="max-length=8192"), "quick")) == first
    assert len(calls) == once <= 8 * len(first)


@given(st.integers(20, 3000), st.integers(1, 400), st.integers(1, 30))
def test_the_number_of_sentences_is_the_largest_that_fits(target: int, guess: int, each: int) -> None:
    def count(text: str) -> int:
        return 3 + each * len(text)

    found, tokens = most_sentences(count, target, lambda n: "s" * n, guess)
    assert tokens == count("s" * found) and count("s" * (found + 1)) > target
    assert tokens <= target or found == 0


def test_the_video_prompt_has_all_frames_and_one_banner() -> None:
    samples = list(VIDEO.load(Source(version="max-length=2048,width=448,height=448"), "full"))
    assert {len(one.media) for one in samples} == {1, 3, 5, 7}
    for one in samples:
        (message,) = VIDEO.prompts["plain"](one)
        assert message.parts[:-1] == one.media and message.parts[-1] == one.question
        banners = [
            ref.drawn.banner for ref in one.media if isinstance(ref, ImageRef) and ref.drawn and ref.drawn.banner
        ]
        assert [banner[-1] for banner in banners] == list(one.answers)
    check_same_again(VIDEO, samples)


def test_runs_of_a_cell_differ_in_haystack_and_needle() -> None:
    samples = list(text_task(words).load(Source(version="reps=2,max-length=2048,distractors=2"), "quick"))
    assert [one.id for one in samples[:2]] == ["text/2048/0/0", "text/2048/0/1"]
    assert len({TEXT.prompts["plain"](one)[0].parts for one in samples}) == len(samples) == 10


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_cells_of_ones_own(task: Any, form: str, tmp_path: Path) -> None:
    rows = [{"length": 300, "depth": 37, "rep": 4}, {"length": 70_000, "depth": 100, "rep": 0}]
    if form == "parquet":
        write_parquet(tmp_path / "cells.parquet", rows)
    else:
        (tmp_path / "cells.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kind = task.name.removeprefix("niah-")
    assert [one.id for one in task.load(Source(data_dir=tmp_path), "full")] == [
        f"{kind}/300/37/4",
        f"{kind}/70000/100/0",
    ]


@pytest.mark.parametrize(
    ("cell", "said"),
    [({"length": "x", "depth": 0, "rep": 0}, "length is .x."), ({"length": 200_000, "depth": 0, "rep": 0}, "no cell")],
)
def test_a_bad_cell_is_an_error_that_names_its_row(cell: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").write_text(json.dumps(cell))
    with pytest.raises(DataError, match=said) as found:
        list(TEXT.load(Source(data_dir=tmp_path), "full"))
    assert "cells.jsonl" in (found.value.where or "")


@pytest.mark.parametrize("version", ["length=4", "max-length", "reps=0", "width=10", "distractors=24", "seed=-1"])
def test_a_version_that_describes_no_haystack(version: str) -> None:
    with refused(ConfigError, "config.data_version"):
        list(TEXT.load(Source(version=version), "full"))


def test_rows_that_are_neither_ours_nor_a_needle() -> None:
    for row in ({"case": "text/1/2"}, {"id": "x"}, {"case": "text/9/0/0", "length": 10**6, "depth": 0, "seed": 1}):
        with pytest.raises(DataError):
            TEXT.sample(row)
