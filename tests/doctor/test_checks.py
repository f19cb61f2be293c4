"""The checks of `doctor` on replies made here: rules of image tokens, ladders of digits, the draw of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from kvl_eval.backends.base import Limits
from kvl_eval.doctor import drawings
from kvl_eval.doctor.document import DoctorCheck, DoctorReport, skipped, verdict_of
from kvl_eval.doctor.draw import drawn_samples
from kvl_eval.doctor.drawings import CANVASES, HEIGHTS, STRINGS, ladder
from kvl_eval.doctor.sight import SIDES, legible_check, sights, tokens_check
from kvl_eval.doctor.text import as_text
from kvl_eval.run.config import resolve
from kvl_eval.tasks import get_task
from kvl_eval.types import Completion, TokenCounts

Rule = Callable[[int, int], int]
TEXT = 9  # tokens of the question


def whole(width: int, height: int) -> int:
    return -(-width * height // 784)


def shrinking(width: int, height: int) -> int:
    """The rule of a model that shrinks images itself."""
    return min(1_024, whole(width, height))


def replies(cost: Rule) -> dict[str, Completion]:
    """Replies of a server that counts so."""
    made = {f"side {side}": Completion(tokens=TokenCounts(prompt=TEXT + cost(side, side))) for side in SIDES}
    return made | {"no image": Completion(tokens=TokenCounts(prompt=TEXT))}


@pytest.mark.parametrize(
    ("cost", "rule", "grade"),
    [
        (whole, whole, "ok"),
        (shrinking, shrinking, "ok"),
        (lambda w, h: whole(w, h) + 2, whole, "ok"),  # marks around the image
        (lambda w, h: round(1.015 * whole(w, h)), whole, "warning"),
        (lambda w, h: round(1.1 * whole(w, h)), whole, "bad"),
        (shrinking, whole, "bad"),
        (whole, shrinking, "bad"),
        (whole, None, "ok"),
        (shrinking, None, "bad"),
        (lambda w, h: min(2_000, whole(w, h)), None, "warning"),
        (lambda w, h: 576, None, "warning"),
        (lambda w, h: 10**6 // w, None, "bad"),
        (lambda w, h: 0, None, "skipped"),
    ],
)
def test_token_counts_are_judged_by_the_rule_of_the_model(cost: Rule, rule: Rule | None, grade: str) -> None:
    assert tokens_check(replies(cost), Limits(image_tokens=rule)).grade == grade


def test_the_size_that_a_server_shrinks_to_is_named() -> None:
    check = tokens_check(replies(shrinking), Limits(image_tokens=whole))
    assert check.text == (
        "a 1,792 px image costs 1,024 tokens, the model's rule says 4,096: the server shrinks to about 896 px"
    )


def reading(least: dict[int, int]) -> dict[str, Completion]:
    """Replies of a model that reads digits of these heights and more."""
    made = {}
    for side in CANVASES:
        for turn in range(STRINGS):
            strings = zip(HEIGHTS, ladder(side, turn).strings, strict=True)
            text = "\n".join(string for height, string in strings if height >= least[side])
            made[f"ladder {side} {turn}"] = Completion(answer=text)
    return made


OK, BAD = DoctorCheck(name="tokens", grade="ok", text=""), DoctorCheck(name="tokens", grade="bad", text="")


@pytest.mark.parametrize(
    ("heights", "rule", "tokens", "grade"),
    [
        ((8, 8, 10), None, OK, "ok"),
        ((8, 8, 18), None, BAD, "bad"),
        ((8, 8, 18), None, OK, "warning"),
        ((8, 8, 18), shrinking, OK, "ok"),
        ((8, 8, 18), whole, BAD, "bad"),
        ((8, 18, 99), None, BAD, "bad"),
        ((99, 99, 99), None, OK, "skipped"),
    ],
)
def test_the_smallest_digits_show_shrinking(
    heights: tuple[int, ...], rule: Rule | None, tokens: DoctorCheck, grade: str
) -> None:
    found = reading(dict(zip(CANVASES, heights, strict=True)))
    assert legible_check(found, Limits(image_tokens=rule), tokens).grade == grade


def test_drawings_are_always_the_same_and_no_string_stands_twice() -> None:
    strings = [text for side in CANVASES for turn in range(STRINGS) for text in ladder(side, turn).strings]
    assert len(set(strings)) == len(strings) == len(CANVASES) * STRINGS * len(HEIGHTS)
    assert all(len(text) == 5 and text.isdigit() for text in strings)
    images = [*(sight.image for sight in sights()), *(drawings.ladder_image(side, 0) for side in CANVASES)]
    assert sum(map(len, images)) < 200_000
    assert ladder(448, 1).image() == ladder(448, 1).image()


def test_a_digit_has_its_height() -> None:
    for height in HEIGHTS:
        image = Image.open(BytesIO(drawings.number("11111", height))).convert("L")
        rows = [row for row in range(image.height) if image.crop((0, row, image.width, row + 1)).getextrema()[0] < 128]
        assert abs(len(rows) - height) <= 1


def test_samples_are_drawn_by_the_shares_of_every_category() -> None:
    task = get_task("mathvista")
    config = resolve("fake", "fake", [task], {"split": "mini"}).tasks[0]
    few, all_of_them = drawn_samples(task, config, 30), drawn_samples(task, config, 1_000)
    assert (len(few.samples), len(all_of_them.samples), few.rows) == (30, 90, 90)
    assert few == drawn_samples(task, config, 30)
    for field in ("question_type", "answer_type"):
        whole_split, part = (
            Counter(sample.categories.get(field) for sample in drawn.samples) for drawn in (all_of_them, few)
        )
        for label, size in whole_split.items():
            assert abs(part[label] - size / 3) <= 2, (field, label)


def test_what_is_bad_comes_first_and_lines_are_short() -> None:
    checks = (
        DoctorCheck(name="reach", grade="ok", text="2 of 2 samples answered"),
        DoctorCheck(name="seed", grade="warning", text="the seed is ignored"),
        DoctorCheck(name="sees", grade="bad", text="image not seen " * 12, fix="another server"),
        skipped("stop", "no reply"),
    )
    report = DoctorReport(
        **{"task": "mmmu", "split": "mini", "prompt": "plain", "protocol": "reader", "model": "m", "place": "cpu"},
        **{"samples": 2, "requests": 9, "seconds": 1.0, "exit_code": 4},  # type: ignore[arg-type]
        checks=checks,
        verdict=verdict_of(checks),
        fixes=("another server",),
    )
    lines = as_text(report).splitlines()
    assert [line.split()[0] for line in lines[2:] if line and line[2] != " "] == [
        "bad",
        "warning",
        "ok",
        "not",
        "Not",
        "fix",
    ]
    assert max(map(len, lines)) <= 100
    assert report.verdict == ("Not fit to run: 1 thing would cost points or samples.",)
    assert verdict_of(checks[:2]) == ("Fit to run, with 1 warning.",)
    assert verdict_of(checks[:1]) == ("Fit to run: nothing was found.",)
