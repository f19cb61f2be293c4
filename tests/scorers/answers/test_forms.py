"""Which answers have the form that a prompt asks for."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.answers.forms import ANSWER_FORMS, AnswerForm, follows

COLORS = ("red", "blue", "green")
FOLLOWING: dict[AnswerForm, tuple[str, ...]] = {
    "letter": ("B", "b", "(B)", "B.", "**B**", "B. blue", "blue", " B\n"),
    "boxed": ("\\boxed{B}", "So it is $\\boxed{\\text{blue}}$.", "\\boxed{B}\nThe final answer is B.", "\\boxed{12}"),
    "answer_line": ("Answer: B", "I compare.\n\n**Answer:** B", "### Answer\n\nB", "答案：B", "Answer: \\boxed{B}"),
    "answer_is": ("The answer is B.", "So the final answer is: B", "Answer: B", "Die Antwort ist B."),
    "tag": ("<answer>B</answer>", "It is lit. <answer>blue</answer>"),
    "json": ('{"answer": "B"}', '```json\n{"answer": "blue"}\n```'),
    "point": (
        "(0.5, 0.3)",
        "x=0.5, y=0.3",
        "pyautogui.click(x=0.5, y=0.3)",
        "Click it: click(x=0.5, y=0.3)",
    ),
    "box": ("[0.1, 0.2, 0.3, 0.4]", "(0.1, 0.2), (0.3, 0.4)"),
    "list": ('["a", "b"]', "a, b", "- a\n- b"),
    "yesno": ("yes", "No.", "是"),
    "short": ("12", "3.5 cm", "a blue lamp", "B", "Yes."),
    "free": ("B", "anything", ""),
}
STRAYING: dict[AnswerForm, tuple[str, ...]] = {
    "letter": ("", "The answer is B.", "I look at it.\n\nB", "B or C", "\\boxed{}", "I cannot tell."),
    "boxed": ("B", "Answer: B", "\\boxed{}", "\\boxed{I cannot tell}", "Put it in \\boxed{LETTER}"),
    "answer_line": ("B", "The answer is B.", "\\boxed{B}", "Answer:", "Answer: I cannot tell."),
    "answer_is": ("B", "\\boxed{B}", "The answer is not B.", "If it were mirrored, the answer would be B."),
    "tag": ("B", "Answer: B", "<answer></answer>"),
    "json": ("B", "answer: B", '{"answer": ""}'),
    "point": ("", "the lamp", "It is at (0.5, 0.3) of it.", "[0.1, 0.2, 0.3, 0.4]"),
    "box": ("(0.5, 0.3)", "It is [0.1, 0.2, 0.3, 0.4] there."),
    "list": ("", "I cannot tell."),
    "yesno": ("maybe", "Yes, because the lamp is lit.", "The lamp is lit."),
    "short": ("", "I cannot tell.", "I look at it.\n\nblue", "The lamp on the table is blue.", "lamp " * 20),
    "free": (),
}


def rows(table: dict[AnswerForm, tuple[str, ...]]) -> list[tuple[AnswerForm, str]]:
    return [(form, answer) for form, answers in table.items() for answer in answers]


def test_every_form_is_tested() -> None:
    assert set(FOLLOWING) == set(STRAYING) == set(ANSWER_FORMS)


@pytest.mark.parametrize(("form", "answer"), rows(FOLLOWING))
def test_an_answer_in_the_form_follows(form: AnswerForm, answer: str) -> None:
    assert follows(answer, form, COLORS)


@pytest.mark.parametrize(("form", "answer"), rows(STRAYING))
def test_an_answer_in_another_form_does_not(form: AnswerForm, answer: str) -> None:
    assert not follows(answer, form, COLORS)


@pytest.mark.parametrize("form", ANSWER_FORMS)
@pytest.mark.parametrize("answer", ["", "B", "\\boxed{B}", "(0.5, 0.3)", "(A) " * 5_000, "1," * 10_000])
def test_any_number_of_options_will_do(form: AnswerForm, answer: str) -> None:
    for count in (0, 1, 27):
        assert follows(answer, form, ("x",) * count) in (True, False)


def test_options_are_not_needed_for_a_letter() -> None:
    assert follows("B", "letter") and follows("\\boxed{B}", "boxed")
