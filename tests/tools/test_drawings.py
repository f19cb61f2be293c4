"""Drawings and the mini splits: deterministic, in the exact schemas, disjoint from what training draws."""

import hashlib
import io
import random
from ast import literal_eval
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from PIL import Image

from kvl_eval.tasks import TASKS, get_task
from kvl_eval.types import MISSING, ImageRef
from tools.draw_mini import SPLITS, rows
from tools.nano import infovqa, mathvision, mathvista, mmmu, ocrbench, screenspot
from tools.nano.mini import MINI, mini_digests
from tools.nano.mixture import SOURCES, example
from tools.nano.plan import WIDE
from tools.nano.png import digest
from tools.nano.problems import PROBLEMS


def table(task: str) -> list[dict[str, object]]:
    return pq.read_table(MINI / task / SPLITS[task].file).to_pylist()


def without_pictures(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if not (isinstance(value, dict) and "bytes" in value)}


def pictures(row: dict[str, object]) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(value["bytes"]))
        for value in row.values()
        if isinstance(value, dict) and value.get("bytes")
    ]


@pytest.mark.parametrize("task", SPLITS)
def test_shipped_split_is_what_the_script_draws(task: str) -> None:
    shipped, drawn = table(task), rows(task)
    assert [without_pictures(row) for row in shipped] == [without_pictures(row) for row in drawn]
    for one, other in zip(shipped, drawn, strict=True):
        assert [digest(picture) for picture in pictures(one)] == [digest(picture) for picture in pictures(other)]


@pytest.mark.parametrize("task", SPLITS)
def test_split_has_exactly_the_columns_of_the_hub(task: str) -> None:
    split, shipped = SPLITS[task], table(task)
    assert list(shipped[0]) == list(split.columns)
    assert len(shipped) == split.rows
    assert split.rows >= 24 or TASKS[task].episode is not None  # episodes count by steps, as test_every_task does
    identifier = next((name for name in ("pid", "questionId", "id", "file_name") if name in shipped[0]), None)
    if identifier:
        assert len({(row[identifier], row.get("track")) for row in shipped}) == len(shipped)


def test_image_columns_are_hub_images() -> None:
    import datasets

    features = datasets.Features.from_arrow_schema(pq.read_schema(MINI / "mathvista" / "testmini.parquet"))
    assert isinstance(features["decoded_image"], datasets.Image)
    assert features["precision"] == datasets.Value("float64")
    assert features["metadata"]["skills"] == datasets.List(datasets.Value("string"))


def test_mathvista_rows_are_consistent() -> None:
    shipped = table("mathvista")
    assert len(shipped) >= 60
    kinds = {(row["question_type"], row["answer_type"]) for row in shipped}
    assert {("multi_choice", "text"), ("free_form", "integer"), ("free_form", "float")} <= kinds
    for row in shipped:
        choices = row["choices"]
        assert (row["question_type"] == "multi_choice") == bool(choices)
        assert row["question"] in row["query"]
        if choices:
            assert row["answer"] in choices and len(set(choices)) == len(choices) >= 4
            assert row["query"].endswith(f"({chr(64 + len(choices))}) {choices[-1]}")
        if row["answer_type"] == "float":
            assert row["answer"] == str(round(float(row["answer"]), int(row["precision"])))
        (picture,) = pictures(row)
        assert picture.size == (row["metadata"]["img_width"], row["metadata"]["img_height"])


def test_blind_guessing_pays_little_on_mathvista() -> None:
    """The commonest answer of free-form rows is rare, and letters are spread."""
    shipped = table("mathvista")
    free = [row["answer"] for row in shipped if not row["choices"]]
    letters = [row["choices"].index(row["answer"]) for row in shipped if row["choices"]]
    assert max(map(free.count, free)) <= 0.12 * len(shipped)
    assert len(set(letters)) == 4


def test_mmmu_tags_have_pictures() -> None:
    for row in table("mmmu"):
        options = literal_eval(row["options"])
        text = row["question"] + " ".join(options)
        assert sum(f"<image {number}>" in text for number in range(1, 8)) == len(pictures(row)) >= 1
        assert (row["question_type"] == "multiple-choice") == bool(options)


def test_screen_targets_lie_inside_their_screens() -> None:
    for task in ("screenspot", "screenspot-v2"):
        for row in table(task):
            left, top, right, bottom = row["bbox"]
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    for row in table("screenspot-pro"):
        left, top, right, bottom = row["bbox"]
        width, height = row["img_size"]
        assert 0 <= left < right <= width and 0 <= top < bottom <= height


@pytest.mark.parametrize("kind", PROBLEMS)
def test_same_seed_draws_the_same_bytes(kind: str) -> None:
    def bytes_of(seed: str) -> str:
        problem = PROBLEMS[kind](random.Random(seed), 0.7)
        return hashlib.sha256(problem.images[0].tobytes() + repr(problem.answer).encode()).hexdigest()

    assert bytes_of("one") == bytes_of("one")
    assert len({bytes_of(f"seed {n}") for n in range(20)}) > 10


def test_training_never_shows_a_mini_picture() -> None:
    """Training refuses the digests of the mini splits; without that, simple pictures would coincide now and then."""
    forbidden = mini_digests()
    assert len(forbidden) > 300
    for n in range(1500):
        drawn = example(f"train/{n}", WIDE, 0.3, 0.3, forbidden)
        assert not {digest(image) for image in drawn.images} & forbidden


def test_a_forbidden_picture_is_drawn_again() -> None:
    first = example("train/3", {"mathvista": 1.0}, 0.5)
    again = example("train/3", {"mathvista": 1.0}, 0.5, forbidden={digest(first.images[0])})
    assert digest(again.images[0]) != digest(first.images[0])


def test_every_source_draws_and_answers() -> None:
    for source in SOURCES:
        for n in range(30):
            drawn = example(f"test/{n}", {source: 1.0}, 1.0, 0.5)
            assert all(turn.reply for turn in drawn.turns)
            assert all(max(image.size) <= 196 for image in drawn.images)


def test_clicks_point_into_their_box() -> None:
    for n in range(50):
        screen = screenspot.draw(random.Random(n), 1.0)
        for element in screen.elements:
            said = screenspot.reply(screen, element)
            x, y = (float(part.split("=")[1]) for part in said.partition("(")[2].rstrip(")").split(", "))
            left, top, right, bottom = element.box
            assert left <= x * screen.image.width <= right and top <= y * screen.image.height <= bottom


def test_replies_end_in_the_answer_and_the_official_rule_reads_it() -> None:
    official = get_task("mathvista").protocols["official"]
    for n in range(100):
        problem = mathvista.draw(random.Random(n), 0.5)
        row = mathvista.row(problem, n)
        assert mathvista.reply(problem).endswith(problem.answer)
        sample = get_task("mathvista").sample({key: value for key, value in row.items() if key != "decoded_image"})
        assert official.score(sample, mathvista.reply(problem), MISSING).verdict == "correct", mathvista.reply(problem)


def texts(parts: tuple[object, ...]) -> list[str]:
    return ["<picture>" if not isinstance(part, str) else part for part in parts]


def prompt_of(task: str, row: dict[str, object]) -> list[str]:
    """The default prompt that a run sends for a row."""
    found = get_task(task)
    sample = found.sample(row)
    (message,) = found.prompts[found.default_prompt](replace(sample, media=sample.media or (ImageRef(name="picture"),)))
    return texts(message.parts)


@pytest.mark.parametrize("number", range(12))
def test_training_asks_as_a_run_asks(number: int) -> None:
    rng = random.Random(number)
    problem = mathvista.draw(rng, 0.5)
    assert prompt_of("mathvista", mathvista.row(problem, 1)) == ["<picture>", mathvista.query(problem)]
    card = infovqa.draw(rng, 0.5)
    assert prompt_of("infovqa", infovqa.row(card, 1)) == ["<picture>", infovqa.prompt(card)]
    reading = ocrbench.draw(rng, 0.5)
    assert prompt_of("ocrbench", ocrbench.row(reading, 1)) == ["<picture>", reading.question]
    screen = screenspot.draw(rng, 0.5)
    assert prompt_of("screenspot-v2", screenspot.row(screen, 1, rng)) == ["<picture>", screenspot.prompt(screen.target)]
    screen = screenspot.draw_pro(rng, 0.5)
    row = screenspot.pro_row(screen, 1, rng)
    assert prompt_of("screenspot-pro", row) == ["<picture>", screenspot.prompt(screen.target)]
    contest = mathvision.draw(rng, 0.5)
    assert prompt_of("mathvision", mathvision.row(contest, 1)) == ["<picture>", mathvision.prompt(contest)]
    question = mmmu.draw(rng, 0.5)
    assert prompt_of("mmmu", mmmu.row(question, 1)) == texts(mmmu.prompt(question))
