"""Replies of the kinds that published runs hold, each with what a person reads in it; written by hand for this test."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.answers import NOT_ANSWERABLE, Value, Wanted, read

KITES = Wanted(
    kind="letter",
    options=("the red kite", "the green kite", "the blue kite"),
    question="Look at the sky. Which kite flies highest above the beach?",
)
CIRCLES = Wanted(
    kind="letter", options=("Circle A", "Circle B", "Circle C"), question="Which circle marks the same corner?"
)
ANGLES = Wanted(kind="letter", options=("20°", "35°", "55°", "70°"))
BINARY = Wanted(kind="letter", options=("yes", "no"), question="Is the lamp left of the bed?")
CATS = Wanted(kind="integer", question="How many cats sit on the two sofas?")
WEIGHTS = Wanted(kind="integer", question="How many people lifted at least 60 pounds?")
YEAR = Wanted(kind="integer", question="In which year was the share of solar power highest?")
WEEK = Wanted(kind="integer", question="In which week did the plant grow fastest?")

COMPARED: list[tuple[Wanted, str, Value | None]] = [
    (KITES, "The green kite flies highest above the beach, whereas the red kite is close to the sand.", "B"),
    (KITES, "The blue kite flies highest above the beach. It is long. The red kite, on the other hand, is low.", "C"),
    (KITES, "While the red kite is large, the green kite flies highest above the beach.", "B"),
    (KITES, "The red kite flies higher above the beach than the blue kite.", "A"),
    (KITES, "It is windy. Two kites are near the sea. In contrast, the green kite is low.", None),
    (KITES, "It is windy. Two kites are near. The green kite does not fly high.", None),
    (KITES, "The red kite is not the one that flies highest above the beach.", None),
    (KITES, "To tell whether the red kite flies highest above the beach, we need the length of its string.", None),
    (KITES, "Either the red kite or the blue kite flies highest above the beach.", None),
    (KITES, "The red kite flies highest above the beach. The blue kite flies highest above the beach.", None),
    (KITES, "The green kite does not show its string, but the blue kite flies highest above the beach.", "C"),
    (CIRCLES, "The same corner is marked by the circle labeled B.", "B"),
    (CIRCLES, 'The matching one is "C" in the second picture.', "C"),
    (CIRCLES, "Circle B marks the same corner. Circle A is drawn on a door compared to Circle C.", "B"),
    (CIRCLES, "The corner is near the roof. A door is there. So Circle A is not the one.", None),
    (CIRCLES, "The result: neither (A) nor (B).", None),
    (CIRCLES, "My assessment is (C), although I cannot be certain.", "C"),
    (CIRCLES, "It is hard to say. If I had to choose, I would lean towards (B).", "B"),
    (CIRCLES, "It is hard to say. I would lean towards (A) or (B).", None),
    (CIRCLES, "The answer is: (A) Circle A (B) Circle B (C) Circle C", None),
    (CIRCLES, "The answer is:\n(A) Circle A - wrong\n(B) Circle B - wrong", None),
    (BINARY, "There is no lamp in this picture.", None),
    (BINARY, "I looked twice and would say no.", "B"),
    (ANGLES, "The angle is 90° - 35°, as the two add up to a right angle.", None),
    (ANGLES, "So the angle is 75°. That is not one of the options.", None),
    (ANGLES, "所以角是55°，但是正确结果不在选项中。", None),
]  # fmt: skip
RUN_ON: list[tuple[Wanted, str, Value | None]] = [
    (KITES, "The answer is B.\n\nQuestion: What is the color of the sea?\nAnswer: A", "B"),
    (KITES, "B\n\nHuman: And which is the lowest?\nAssistant: C", "B"),
    (CATS, "The answer is 3.\n\nQ: How many dogs are there?\nThe answer is 5.", 3),
    (CATS, "Question: How many cats sit on the two sofas?\nAnswer: 4", 4),
    (CATS, "I look.\n\nQuestion: How many cats sit on the two sofas?\nAnswer: 4", 4),
    (CATS, "There are 3 on the left.\n\nProblem: add the right one.\nAnswer: 4", 4),
    (Wanted(kind="text"), "Paris\n\nQuestion: What is the capital of Spain?\nAnswer: Madrid", "Paris"),
]
PROGRAMS: list[tuple[Wanted, str, Value | None]] = [
    (CATS, "left = 5\nright = 3\n\ncats = left - right\nprint(cats)", None),
    (CATS, "def count(sofas):\n    n = 0\n    for s in sofas:\n        n += 1\n    return n\n\nprint(count([]))", None),
    (CATS, "cats = 4\nprint(cats)", 4),
    (CATS, "import math\n\nprint(6)", 6),
    (CATS, "cats = 4\ncats = 5\nprint(cats)", None),
    (CATS, "```python\na = 5\nb = 2\nprint(a + b)\n```\nThe answer is 7.", 7),
    (BINARY, 'lamp = 3\nbed = 9\nif lamp < bed:\n    print("yes")\nelse:\n    print("no")', None),
    (BINARY, 'def is_left(a, b):\n    if a < b:\n        return "yes"\n    return "no"\n\nprint(is_left(3, 9))', None),
    (BINARY, 'import sys\nprint("no")', "B"),
    (CATS, "Cats on the left: 2\nCats on the right: 2\nThere are 4 cats.", 4),
]  # fmt: skip
NUMBERS: list[tuple[Wanted, str, Value | None]] = [
    (CATS, "- On the left there are 2\n- So there were 2 cats\n- On the right are 3\n\nThe number of cats is 5.", 5),
    (CATS, "- left = 2\n- right = 3\n- 2 + 3 = 5\n\nTherefore, the number of cats is 5.", 5),
    (CATS, "- weight = 20 kg\n- height = 3 m\n\nTherefore, the ratio is 6.7.", 6.7),
    (CATS, "Left: 12 / 2 = 6\nRight: 6 - 2 = 4\nSince an integer is asked for, the final value is 4.", 4),
    (CATS, "Cats at first: 10\nRemaining cats: 10 - 2 = 8\nFinal number of cats: 7", 7),
    (CATS, "The mode is: 28", 28),
    (CATS, "There are 2 cats on the left sofa and 3 kittens on the right one.", None),
    (CATS, "The two sofas hold 21 of them.", 21),
    (CATS, "The two sofas are old.", None),
    (CATS, "There are between 40 and 50 cats.", None),
    (CATS, "One sofa holds about 40 to 50 cats.", None),
    (CATS, "The label shows the number 405 in red.", 405),
    (CATS, "If you add them, you get 7 cats.", 7),
    (CATS, "She paid $4 for one and $5 for the other, for a grand total of $9.", 9),
    (CATS, "Here's how I got the answer:\n\n1. I looked at the left sofa.\n2. I looked at the right sofa.", None),
    (CATS, "The area is 4.5π.", None),
    (CATS, "The ratio is 1:4.", None),
    (CATS, "The clock shows 10:45.", None),
    (YEAR, "In 2014 the share of solar power was 38%.", 2014),
    (YEAR, "The highest share of solar power, 38%, was in 2014.", 2014),
    (YEAR, "It rose from 2012 to 2014.", None),
    (WEEK, "The plant grew fastest in the 4th week.", 4),
    (WEEK, "It grew by 12 cm in week 3, the most of all.", 3),
    (WEEK, "During the second week it grew by 12 cm.", 2),
    (WEIGHTS, "All the people lifted at least 60 pounds.", None),
    (WEIGHTS, "5 people lifted at least 60 pounds.", 5),
    (CATS, "For example, with 2 and 3 the sum is 5. Without the picture a definite number cannot be given.", None),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "reply", "value"), [*COMPARED, *RUN_ON, *PROGRAMS, *NUMBERS])
def test_the_reader_reads_what_a_person_reads(wanted: Wanted, reply: str, value: Value | None) -> None:
    reading = read(reply, wanted)
    assert reading.value == value, reading
    if reading.span is not None:
        assert reply[slice(*reading.span)].strip()


SCREEN = Wanted(kind="point", size=(1600, 900), unanswerable=True)
YESNO = Wanted(kind="yesno")

PLACES: list[tuple[str, Value | None]] = [
    ("X = 800 px, Y = 450 px", (0.5, 0.5)),
    ("It lies 800 pixels from the left and 450 pixels from the top.", (0.5, 0.5)),
    ("It lies 50% from the top edge and 25% from the left edge.", (0.25, 0.5)),
    ("Action: click(point='<point>800 450</point>')", (0.5, 0.5)),
    ("[]", NOT_ANSWERABLE),
    ("```json\n[]\n```", NOT_ANSWERABLE),
    ('{"point_2d": null}', NOT_ANSWERABLE),
    ("pyautogui.fail()", NOT_ANSWERABLE),
    ("FAIL", NOT_ANSWERABLE),
    ('{"name": "computer_use", "arguments": {"action": "terminate", "status": "failure"}}', NOT_ANSWERABLE),
    ("画面上没有该按钮。", NOT_ANSWERABLE),
    ("pyautogui.wait()", None),
]  # fmt: skip
POLARITIES: list[tuple[str, Value | None]] = [
    ("Definitely not.", "no"),
    ("Not at all.", "no"),
    ("Not at all clear.", None),
    ("Certainly not sure.", None),
    ("I would say no.", "no"),
    ("Unfortunately, no.", "no"),
    ("Hmm, yes.", "yes"),
    ("After a closer look: no.", "no"),
    ("Không.", "no"),
    ("ใช่", "yes"),
]


@pytest.mark.parametrize(
    ("wanted", "reply", "value"), [*((SCREEN, *row) for row in PLACES), *((YESNO, *row) for row in POLARITIES)]
)
def test_a_place_or_a_polarity_is_read_as_models_write_it(wanted: Wanted, reply: str, value: Value | None) -> None:
    assert read(reply, wanted).value == value


def test_a_table_of_one_column_is_a_list() -> None:
    assert read("| tin |\n| zinc |\n| iron |", Wanted(kind="list")).value == ("tin", "zinc", "iron")
