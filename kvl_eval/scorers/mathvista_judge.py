"""The prompt that asks a judge to extract MathVista's short answer from a response.

The official script shows its judge five worked examples before the question; the examples here are this project's
own, in the same form (instruction, five examples, question, response, `Extracted answer: `), so scores of a judge are
comparable with published ones only as far as judges are.
"""

from __future__ import annotations

_INSTRUCTION = (
    "Each example below holds a question with a hint, a model's response, and the answer that the response gives in "
    "the form the hint asks for. Write the extracted answer of the last one, and nothing else."
)
_EXAMPLES = (
    (
        "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at "
        "the end.\nQuestion: How many boats lie in the harbour?",
        "Along the left pier I see four boats, and three more near the crane, so seven boats lie in the harbour.",
        "7",
    ),
    (
        "Hint: Please answer the question requiring a floating-point number with one decimal place and provide the "
        "final value, e.g., 1.2, 1.3, 1.4, at the end.\nQuestion: What share of the rainfall came in May? (Unit: %)",
        "May brought 36 mm of the 160 mm of the year. 36 / 160 = 0.225, which is 22.5 percent.",
        "22.5",
    ),
    (
        "Hint: Please answer the question requiring a floating-point number with two decimal places and provide the "
        "final value, e.g., 1.23, 1.34, 1.45, at the end.\nQuestion: What does one pencil cost? (Unit: $)",
        "The price tag shows five pencils for $3.75, but I cannot tell whether tax is included.",
        "0.75",
    ),
    (
        "Hint: Please answer the question requiring a Python list as an answer and provide the final list, e.g., "
        "[1, 2, 3], [1.2, 1.3, 1.4], at the end.\nQuestion: In which two years did the curve cross the dashed line?",
        "The curve rises above the dashed line in 1998 and falls below it again in 2003.",
        "[1998, 2003]",
    ),
    (
        "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\n"
        "Question: Which animal would suffer first if the pond dried up?\nChoices:\n(A) the fox\n(B) the frog\n"
        "(C) the owl",
        "The arrows show that only frogs depend on the pond directly. They would be hit first.",
        "B",
    ),
)


def extraction_prompt(query: str, response: str) -> str:
    """The whole prompt; the judge's reply, stripped, is the extraction."""
    shown = [
        f"{question}\n\nModel response: {answer}\n\nExtracted answer: {extracted}"
        for question, answer, extracted in _EXAMPLES
    ]
    return "\n\n".join([_INSTRUCTION, *shown, query, f"Model response: {response}", "Extracted answer: "])
