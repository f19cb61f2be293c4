from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.scorers.answers import read
from kvl_eval.scorers.document_answer import FAILED, extraction_prompt, given_answer, judged_answer, wanted, written
from tests.golden import rows


def test_judged_answers(data: Path) -> None:
    for row in rows(data / "mmlongbench_doc" / "extraction_parse.jsonl"):
        expected = row["expected"]
        found = judged_answer(row["extraction"])
        assert found == expected["extracted"], row["id"]
        assert (FAILED if found is None else found) == expected["pred_recorded"], row["id"]


@pytest.mark.parametrize(
    ("extraction", "answer"),
    [
        ("Extracted answer: 10\nAnswer format: Integer", "10"),
        ("10", "10"),
        ("Answer format: Integer\nExtracted answer: 10", FAILED),
        ("", ""),
    ],
)
def test_a_given_extraction_is_a_reply_or_the_answer_itself(extraction: str, answer: str) -> None:
    assert given_answer(extraction) == answer


def short_answer(response: str, kind: str) -> str | None:
    value = read(response, wanted("", kind), split=False).value
    return None if value is None else written(value)


@pytest.mark.parametrize(
    ("response", "kind", "answer"),
    [
        ("It says so.\nExtracted answer: 7\nAnswer format: Integer", "Int", "7"),
        (r"So \boxed{12} of them.", "Int", "12"),
        ("Look at red.\nAnswer: green\nAnswer:  \n", "Str", "green"),
        ("Look at red.\nAnswer: green\nAnswer: blue\n", "Str", None),
        ("Look at red.\nAnswer: green\n\nAnswer: blue\n", "Str", "blue"),
        ("Page 4 shows it.\n**Answer:** 1,204 houses", "Int", "1204"),
        ("Answer: first\n\nFinal answer: second one.", "Str", "second one"),
        ("Pages 3 to 5 show 12 charts, so 8 are bar charts.", "Int", "8"),
        ("There are 3 of them. That is all.", "Int", "3"),
        ("about $4,257.50 in total", "Float", "4257.5"),
        ("eight", "Int", "8"),
        ("The document does not say; it cannot be determined.", "Int", "Not answerable"),
        ("The age is not mentioned in the report.", "Str", "Not answerable"),
        ("There is no information about Peru.", "None", "Not answerable"),
        ("Not answerable", "Float", "Not answerable"),
        ("They are ['red', 'blue'].", "List", "['red', 'blue']"),
        ("[red, blue]", "List", "['red', 'blue']"),
        ("- red\n- blue\n* 1,200 greens", "List", "['red', 'blue', '1,200 greens']"),
        ("The colours are: red, blue, and green.", "List", "['red', 'blue', 'green']"),
        ("red", "List", "['red']"),
        ("Eiffel Tower.", "Str", "Eiffel Tower"),
        ("**Eiffel Tower**", "Str", "Eiffel Tower"),
        ("U.S.", "Str", "U.S."),
        (
            "The cover page of the brochure shows a large picture of the **Eiffel Tower** at night.",
            "Str",
            "Eiffel Tower",
        ),
        ('Near the bottom of page two this kind of search is called "beam search".', "Str", "beam search"),
    ],
)
def test_the_reader_shortens_a_response(response: str, kind: str, answer: str | None) -> None:
    assert short_answer(response, kind) == answer


def test_a_long_text_without_a_marked_span_stays_whole() -> None:
    text = "On the cover page of the brochure stands the tower that people see from the river and from the bridge"
    assert short_answer(text, "Str") == text


def test_prompt_holds_question_response_and_the_form_of_the_reply() -> None:
    prompt = extraction_prompt("How many?", "Six, I think.")
    assert prompt.endswith("Question: How many?\nAnalysis: Six, I think.\n")
    assert prompt.count("Extracted answer:") == prompt.count("Answer format:") == 5
