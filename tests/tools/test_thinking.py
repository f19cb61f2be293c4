"""Problems of many steps and the replies that think about them."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from kvl_eval.tasks import get_task
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN, split_thought
from kvl_eval.types import MISSING, ImageRef
from tools.draw_mini import ORDINARY, SPLITS, rows
from tools.nano import mathvision, mathvista, mmmu
from tools.nano.corpus import corpus
from tools.nano.encoding import IGNORED, encode
from tools.nano.mini import mini_digests
from tools.nano.mixture import Example, Turn, example
from tools.nano.network import PREPROCESSOR
from tools.nano.plan import THINKING as PHASES
from tools.nano.png import digest
from tools.nano.thinking import THINKING, THOUGHT, cut_short, for_mathvision, for_mmmu
from tools.nano.thinking_problems import WORKED
from tools.nano.tokenizer import build
from tools.train_nano import Plan, _batches

levels = st.floats(0, 1)
seeds = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def tokenizer() -> KimiTokenizer:
    return build(corpus(300))


def sum_of(cells: list[str], question: str) -> int:
    return sum(int(cell[1]) for cell in cells)


def above(cells: list[str], question: str) -> int:
    limit = int(question.rstrip("?").split()[-1])
    return sum(int(cell[1]) > limit for cell in cells)


def distance(cells: list[str], question: str) -> int:
    after = {cell[0]: cell[2] for cell in cells}
    _, place, _, goal, _ = question.split('"')
    number = 0
    while place != goal:
        place, number = after[place], number + 1
    return number


def collected(cells: list[str], question: str) -> int:
    after = {cell[0]: (cell[2], int(cell[3])) for cell in cells}
    _, place, rest = question.split('"')
    result = 0
    for _ in range(int(rest.split()[2])):
        place, digit = after[place]
        result += digit
    return result


SOLVERS: dict[str, Callable[[list[str], str], int]] = {
    "total": sum_of,
    "count": above,
    "path": distance,
    "walk": collected,
}


@pytest.mark.parametrize("kind", WORKED)
@given(seed=seeds, level=levels)
@settings(deadline=None)
def test_the_answer_follows_from_what_is_written(kind: str, seed: int, level: float) -> None:
    worked = WORKED[kind](random.Random(seed), level)
    problem = worked.problem
    assert str(SOLVERS[kind](problem.reading.split(", "), problem.question)) == problem.answer
    assert worked.steps[-1].split()[-1] == problem.answer


@pytest.mark.parametrize("kind", WORKED)
def test_steps_grow_with_the_level(kind: str) -> None:
    def length(level: float) -> int:
        return len(WORKED[kind](random.Random(1), level).steps)

    lengths = [length(level / 10) for level in range(11)]
    assert lengths == sorted(lengths) and lengths[0] <= 12 and lengths[-1] >= 23


@pytest.mark.parametrize("kind", WORKED)
def test_cells_fill_whole_visual_tokens(kind: str) -> None:
    for seed in range(20):
        (image,) = WORKED[kind](random.Random(seed), 1.0).problem.images
        assert image.width % 28 == image.height % 28 == 0 and max(image.size) <= 224


@given(seed=seeds, level=levels, kind=st.sampled_from(sorted(THOUGHT)))
@settings(deadline=None)
def test_replies_think_and_end_in_an_answer(seed: int, level: float, kind: str) -> None:
    drawn = example(f"test/{seed}", {kind: 1.0}, level, sources=THINKING)
    (turn,) = drawn.turns
    split = split_thought(turn.reply)
    assert turn.reply.startswith(THINK_OPEN) and split.closed and split.answer
    assert turn.reply.count(THINK_CLOSE) == 1


def boxed(answer: str) -> str:
    return answer.rpartition("{")[2].split("}")[0]


def test_letters_are_found_by_going_through_the_options() -> None:
    found = 0
    for seed in range(60):
        drawn = example(f"test/{seed}", {"total": 1.0}, 1.0, sources=THINKING)
        split = split_thought(drawn.turns[0].reply)
        if "boxed" not in split.answer or not boxed(split.answer).isalpha():
            continue
        *steps, last = split.thinking.splitlines()
        letter, value = last.split()
        assert letter == boxed(split.answer)
        worked = [step for step in steps if step[1].isdigit()]
        assert worked[-1].split()[-1] == value
        found += 1
    assert found > 5


def test_thoughts_are_of_all_lengths(tokenizer: KimiTokenizer) -> None:
    lengths = []
    for n in range(200):
        drawn = example(f"test/{n}", {kind: 1.0 for kind in WORKED}, 1.0, sources=THINKING)
        lengths.append(len(tokenizer.encode(drawn.turns[0].reply)))
    assert min(lengths) < 40 and max(lengths) > 300
    assert max(lengths) < 500  # fits the most tokens of a run without a budget


def test_a_thought_cut_short_is_answered_and_its_marker_not_learned(tokenizer: KimiTokenizer) -> None:
    turn = Turn(("How much?",), f"{THINK_OPEN}A7 7\nB5 12\nC9 21{THINK_CLOSE}21", cut=0.5)
    ids, learned = cut_short(turn.reply, 0.5, tokenizer)
    assert len(ids) == len(learned)
    text = tokenizer.decode(ids)
    split = split_thought(text)
    assert split.closed and split.answer == "21" and "A7 7\nB5 12\nC9 21".startswith(split.thinking)
    assert 0 < len(split.thinking) < 17
    dropped = tokenizer.decode([one for one, kept in zip(ids, learned, strict=True) if not kept])
    assert dropped == THINK_CLOSE
    encoded = encode(Example("", (turn,)), tokenizer, PREPROCESSOR)
    said = [one for one in encoded.labels if one != IGNORED]
    assert tokenizer.decode(said) == f"{THINK_OPEN}{split.thinking}21<|im_end|>"
    whole = encode(Example("", (replace(turn, cut=None),)), tokenizer, PREPROCESSOR)
    assert tokenizer.decode([one for one in whole.labels if one != IGNORED]) == f"{turn.reply}<|im_end|>"


@given(part=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_any_part_can_be_cut(tokenizer: KimiTokenizer, part: float) -> None:
    reply = f"{THINK_OPEN}7 8{THINK_CLOSE}8"
    ids, learned = cut_short(reply, part, tokenizer)
    assert len(ids) == len(learned) and tokenizer.decode(ids).startswith(THINK_OPEN)
    assert tokenizer.decode(ids).endswith(f"{THINK_CLOSE}8")


@pytest.mark.parametrize("task", ORDINARY)
def test_rows_of_many_steps_stand_behind_the_ordinary_ones(task: str) -> None:
    drawn = rows(task)
    extra = drawn[ORDINARY[task] :]
    assert len(extra) == SPLITS[task].rows - ORDINARY[task] > 0
    starts = ("What is the sum of all", "How many digits are above", "Walk from", "Begin at")
    many = [row for row in drawn if str(row["question"]).removeprefix("<image 1> ").startswith(starts)]
    assert [row["question"] for row in many] == [row["question"] for row in extra]


def test_few_rows_of_mathvista_need_many_steps() -> None:
    assert (SPLITS["mathvista"].rows - ORDINARY["mathvista"]) / SPLITS["mathvista"].rows <= 0.12


def prompt_of(task: str, row: dict[str, object]) -> list[str]:
    found = get_task(task)
    sample = found.sample(row)
    (message,) = found.prompts[found.default_prompt](replace(sample, media=sample.media or (ImageRef(name="picture"),)))
    return ["<picture>" if not isinstance(part, str) else part for part in message.parts]


@pytest.mark.parametrize("kind", WORKED)
@pytest.mark.parametrize("seed", range(4))
def test_training_asks_as_a_run_asks_and_the_reply_is_right(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    worked = WORKED[kind](rng, 0.5)
    contest, question = for_mathvision(rng, worked), for_mmmu(rng, worked)
    made = {
        "mathvista": (mathvista.row(worked.problem, 1), ["<picture>", mathvista.query(worked.problem)]),
        "mathvision": (mathvision.row(contest, 1), ["<picture>", mathvision.prompt(contest)]),
        "mmmu": (
            mmmu.row(question, 1),
            ["<picture>" if not isinstance(part, str) else part for part in mmmu.prompt(question)],
        ),
    }
    answers = {
        "mathvista": worked.problem.answer,
        "mathvision": f"\\boxed{{{mathvision.row(contest, 1)['answer']}}}",
        "mmmu": f"Answer: $\\boxed{{{mmmu.letter(question)}}}$",
    }
    for task, (row, prompt) in made.items():
        assert prompt_of(task, row) == prompt
        found = get_task(task)
        sample = found.sample({name: value for name, value in row.items() if name != "decoded_image"})
        protocol = found.protocols[found.default_protocol]
        assert protocol.score(sample, answers[task], MISSING).verdict == "correct"


def test_training_never_shows_a_mini_picture_of_many_steps() -> None:
    forbidden = mini_digests()
    for n in range(400):
        drawn = example(f"train/{n}", PHASES[0][1], 0.2, forbidden=forbidden, sources=THINKING)
        assert not {digest(image) for image in drawn.images} & forbidden


def test_batches_hold_few_long_rows(tokenizer: KimiTokenizer) -> None:
    pool = [
        encode(example(f"test/{n}", {"walk": 1.0}, 1.0, sources=THINKING), tokenizer, PREPROCESSOR) for n in range(40)
    ]
    pool.sort(key=lambda row: len(row.ids))
    batches = _batches(pool, Plan(batch=8, tokens=1500))
    assert [row for batch in batches for row in batch] == pool
    assert all(len(batch) <= 8 for batch in batches)
    assert all(len(batch) == 1 or len(batch) * len(batch[-1].ids) <= 1500 for batch in batches)
    assert len(_batches(pool, Plan(batch=8))) == 5
