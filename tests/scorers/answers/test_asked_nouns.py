"""Several numbers in one reply: the line of an equation, and the noun that the question asks for."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.answers import Wanted, read
from kvl_eval.scorers.answers.asked import asked_noun

PERIMETER = "What is the perimeter of the figure?"
REPLIES = [
    ("2 + 9 = 11, perimeter 22", PERIMETER, 22),
    ("2 + 9 = 11; perimeter 22 cm", PERIMETER, 22),
    ("2 + 9 = 11 perimeter 22", PERIMETER, 22),
    ("2+9=11 and the perimeter 22", PERIMETER, 22),
    ("2 + 9 = 11. Perimeter: 22", PERIMETER, 22),
    ("So 2 + 9 = 11, perimeter 22", PERIMETER, 22),
    ("Answer: 2 + 9 = 11, perimeter 22", PERIMETER, 22),
    ("2 + 9 = 11, perimeter 22", "", None),
    ("The answer is 2 + 9 = 11, perimeter 22", "", None),
    ("2 + 9 = 11, so perimeter 22", "", 22),
    ("2 + 9 = 11, 2 x 11 = 22", PERIMETER, 22),
    ("perimeter = 2(3+4) = 14", PERIMETER, 14),
    ("perimeter 2 * 11 = 22", PERIMETER, 22),
    ("5 m x 4 m = 20 m^2", "", 20),
    ("15 + 25 = 40, i.e. 40 apples", "", 40),
    ("5/2 = 2.5, see page 3", "", 2.5),
    ("radius 49, diameter 98", "What is the diameter of the circle?", 98),
    ("radius 49, diameter 98", "What's the radius?", 49),
    ("radius 49, diameter 98", "", None),
    ("radius 49, diameter 98", "What is the area?", None),
    ("dogs 5, cats 7", "How many dogs are there?", 5),
    ("dogs: 5, cats: 7", "How many small dogs can you see?", 5),
    ("area = 12, perimeter = 22", "What is the area?", 12),
    ("width 3, height 4 and area 12", "Find the area of the rectangle.", 12),
    ("perimeter 22, perimeter 23, area 5", PERIMETER, None),
    ("I'm not sure, radius 49, diameter 98", "What is the diameter?", None),
    ("Maybe radius 49, diameter 98", "What is the diameter?", None),
]


@pytest.mark.parametrize(("reply", "question", "expected"), REPLIES)
def test_the_number_that_is_asked_for_is_read(reply: str, question: str, expected: float | None) -> None:
    assert read(reply, Wanted(kind="float", question=question)).value == expected


def test_a_number_by_its_noun_is_of_the_last_rank() -> None:
    reading = read("radius 49, diameter 98", Wanted(kind="integer", question="What is the diameter?"))
    assert (reading.how, reading.span) == ("contained", (20, 22))


@pytest.mark.parametrize(
    ("question", "noun"),
    [
        ("What is the diameter of the circle?", "diameter"),
        ("How many red dogs are there in the picture?", "dogs"),
        ("Hint: give an integer.\nQuestion: Find the perimeter.", "perimeter"),
        ("What is the total number?", ""),
        ("What is the radius, and what is the area?", ""),
        ("Which one is larger?", ""),
        ("", ""),
    ],
)
def test_the_noun_of_a_question(question: str, noun: str) -> None:
    assert asked_noun(question) == noun
