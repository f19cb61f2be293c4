"""What tasks that ask for a point promise of their default protocol: full marks for the right place in any writing."""

from __future__ import annotations

from functools import cache

import pytest

from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks import TASKS, open_split
from kvl_eval.types import Sample, Score
from tests.scorers.answers.test_thoughts import PAIRS

POINTERS = ("screenspot", "screenspot-v2", "screenspot-pro", "osworld-g")
ROWS = 8
# X and Y are pixels, x and y fractions of width and height, M and N thousandths, P and Q hundredths.
WRITINGS = {
    "fractions": "({x}, {y})",
    "pixels": "({X}, {Y})",
    "list": "[{x}, {y}]",
    "bare": "{x}, {y}",
    "click": "pyautogui.click(x={x}, y={y})",
    "click in pixels": "pyautogui.click({X}, {Y})",
    "action": "Action: click({x}, {y})",
    "code": "```python\npyautogui.click(x={x}, y={y})\n```",
    "keys": '{{"x": {x}, "y": {y}}}',
    "point_2d": '{{"point_2d": [{M}, {N}], "label": "it"}}',
    "fenced": '```json\n[{{"point_2d": [{M}, {N}]}}]\n```',
    "points of Molmo": '<point x="{P}" y="{Q}" alt="it">it</point>',
    "box tokens": "<|box_start|>({M},{N})<|box_end|>",
    "point of UI-TARS": "Action: click(point='<point>{X} {Y}</point>')",
    "computer use": '{{"name": "computer_use", "arguments": {{"action": "left_click", "coordinate": [{X}, {Y}]}}}}',
    "sentence": "The icon is at ({x}, {y}).",
    "answer line": "I see it.\n\nAnswer: ({x}, {y})",
    "boxed": "\\boxed{{({x}, {y})}}",
    "bold": "**({x}, {y})**",
    "dollars": "$({x}, {y})$",
    "note": "({x}, {y})\n\nThe icon is at the top.",
    "special token": "({x}, {y})<|im_end|>",
    "line ends": "It is here.\r\n\r\n({x}, {y})\r\n",
    "full width": "（{x}，{y}）",
    "percent": "x: {P}%, y: {Q}%",
}
REFUSALS = (
    "I cannot find it.",
    "I don't know.",
    "I am unable to see the screen.",
    "Sorry, I can't help with that.",
    "There is no such icon.",
    "The image did not load.",
    "无法确定。",
)


@cache
def bundled(task: str) -> tuple[Sample, ...]:
    return tuple(open_split(TASKS[task], Source(), "mini"))


def has_target(sample: Sample) -> bool:
    return "-1" not in sample.answers[0]


def few(task: str) -> list[Sample]:
    """Some samples with a target that is not at the middle of its picture."""
    return [sample for sample in bundled(task) if has_target(sample) and box_type(sample) == "bbox"][:ROWS]


def box_type(sample: Sample) -> str:
    return str(sample.row.get("box_type", "bbox"))


def size(sample: Sample) -> tuple[int, int]:
    width, height = sample.row.get("image_size") or sample.row["img_size"]  # type: ignore[misc]
    return int(width), int(height)


def middle(sample: Sample) -> tuple[float, float]:
    """The middle of gold's box, as fractions; OSWorld-G writes corner and size."""
    left, top, third, fourth = (float(part) for part in sample.answers[0].strip("[]").split(","))
    width, height = size(sample)
    if "box_type" in sample.row:
        return (left + third / 2) / width, (top + fourth / 2) / height
    return (left + third) / 2 / width, (top + fourth) / 2 / height


def elsewhere(sample: Sample) -> tuple[float, float]:
    """A place outside gold's box."""
    x, y = middle(sample)
    return (x + 0.5) % 1 or 0.01, (y + 0.5) % 1 or 0.01


def written(writing: str, place: tuple[float, float], sample: Sample) -> str:
    """A place in a writing."""
    (x, y), (width, height) = place, size(sample)
    fractions, hundredths = (f"{x:.4f}", f"{y:.4f}"), (f"{100 * x:.1f}", f"{100 * y:.1f}")
    values = (*fractions, *hundredths, round(x * width), round(y * height), round(1000 * x), round(1000 * y))
    return writing.format(**dict(zip("xyPQXYMN", values, strict=True)))


def scores(task: str, replies: list[tuple[Sample, str]]) -> list[Score]:
    items = [Item(sample, Answer.of(reply)) for sample, reply in replies]
    return score_outputs(TASKS[task], TASKS[task].default_protocol, items)


each_task = pytest.mark.parametrize("task", POINTERS)


@each_task
def test_a_place_is_read_in_every_writing(task: str) -> None:
    wearers = [(sample, name) for sample in few(task) for name in WRITINGS]
    assert wearers
    for place, expected in ((middle, (1.0, "correct")), (elsewhere, (0.0, "wrong"))):
        replies = [(sample, written(WRITINGS[name], place(sample), sample)) for sample, name in wearers]
        misread = [
            (name, sample.answers, size(sample), reply, score.extracted, score.reason)
            for (sample, name), (_, reply), score in zip(wearers, replies, scores(task, replies), strict=True)
            if (score.value, score.verdict) != expected
        ]
        assert misread == []


@each_task
def test_a_refusal_points_nowhere(task: str) -> None:
    """Of a screen that lacks what is asked for, a refusal is the right answer."""
    samples = [*few(task), *[sample for sample in bundled(task) if not has_target(sample)]]
    replies = [(sample, text) for sample in samples for text in REFUSALS]
    misread = [
        (sample.answers, reply, score.value, score.verdict)
        for (sample, reply), score in zip(replies, scores(task, replies), strict=True)
        if score.value != (0 if has_target(sample) else 1) or (has_target(sample) and score.verdict == "correct")
    ]
    assert misread == []


@each_task
@pytest.mark.parametrize("join", ["{} or {}", "{}\n{}", "Either {} or {}.", "I see two: {} and {}."])
def test_two_places_are_none(task: str, join: str) -> None:
    replies = [
        (sample, join.format(*(written("({x}, {y})", place(sample), sample) for place in (middle, elsewhere))))
        for sample in few(task)
    ]
    assert {score.value for score in scores(task, replies)} == {0}


@each_task
def test_a_thought_points_nowhere(task: str) -> None:
    sample = few(task)[0]
    right, wrong = (written("({x}, {y})", place(sample), sample) for place in (middle, elsewhere))
    replies = []
    for opening, closing in PAIRS.values():
        replies += [(sample, f"{opening}At {wrong}?{closing}{right}"), (sample, f"{opening}At {right}")]
    assert [score.value for score in scores(task, replies)] == [1, 0] * len(PAIRS)
