"""From a response to the short answer that MMLongBench-Doc compares: a judge's prompt and reply, or the reader.

The official scores need a model that shortens every response. The reader replaces it; it gets the type of
gold, which no judge sees.
Source: mayubo2333/MMLongBench-Doc eval/extract_answer.py and eval/prompt_for_answer_extraction.md @ d73f0dc (the
instruction and the examples below are this project's own, in the same form).
"""

from __future__ import annotations

from kvl_eval.scorers.answers import Kind, Value, Wanted
from kvl_eval.scorers.document_f1 import UNANSWERABLE

FAILED = "Failed to extract"  # what the authors record where the judge's reply has another form
_EXTRACTED = "Extracted answer:"
_FORMAT = "Answer format:"
_KINDS: dict[str, Kind] = {"Int": "integer", "Float": "float", "List": "list"}

_INSTRUCTION = (
    "You are given a question about a document and somebody's analysis of it. Take the short answer out of the "
    "analysis. It is one of: Integer, Float, String, List.\n"
    f'If the analysis says that the document does not hold what the question asks for, write "{UNANSWERABLE}". Write '
    '"Fail to answer" only if it says that the pages or pictures cannot be read.\n'
    "Be as brief as possible, and reply in exactly these two lines:\n"
    f"{_EXTRACTED} [answer]\n{_FORMAT} [answer format]"
)
_EXAMPLES = (
    (
        "Which three fees does the brochure list?",
        "On its third page the brochure lists an entrance fee, a guide fee and a deposit for the headset.",
        "['entrance fee', 'guide fee', 'headset deposit']",
        "List",
    ),
    (
        "How many interviews are quoted in chapter 2?",
        "Chapter 2 quotes from four interviews with farmers and two with millers, which makes six interviews.",
        "6",
        "Integer",
    ),
    (
        "What share of the budget went to maintenance in 1987?",
        "The report covers the years 1990 to 1995 only, so the share for 1987 is not to be found in it.",
        UNANSWERABLE,
        "String",
    ),
    (
        "What colour is the line of the second quarter?",
        "The page is too blurred for me to make out any line of the chart. A sharper picture would help.",
        "Fail to answer",
        "String",
    ),
)


def extraction_prompt(question: str, response: str) -> str:
    """What a judge is asked; its reply goes through `judged_answer`."""
    shown = [
        f"Question: {asked}\nAnalysis: {analysis}\n{_EXTRACTED} {answer}\n{_FORMAT} {form}"
        for asked, analysis, answer, form in _EXAMPLES
    ]
    return "\n\n---\n".join([_INSTRUCTION, *shown, f"Question: {question}\nAnalysis: {response}\n"])


def judged_answer(reply: str) -> str | None:
    """The answer in a judge's reply: what follows the first `Extracted answer:`, up to `Answer format:`, stripped.

    None where the first mark is not found before the second. Case counts, and bold marks stay, as in the authors' code.
    """
    _, mark, answer = reply.partition(_FORMAT)[0].partition(_EXTRACTED)
    return answer.partition(_EXTRACTED)[0].strip() if mark else None


def given_answer(extraction: str) -> str:
    """A given extraction: a judge's reply in its two lines, or the short answer itself."""
    if _EXTRACTED not in extraction:
        return extraction
    answer = judged_answer(extraction)
    return FAILED if answer is None else answer


def wanted(question: str, kind: str) -> Wanted:
    """What a question asks the reader for; `kind` is the type of gold (Int, Float, Str, List, None)."""
    return Wanted(kind=_KINDS.get(kind, "text"), unanswerable=True, question=question)


def written(value: Value) -> str:
    """A value as the authors' judge would have written it."""
    return str(list(value)) if isinstance(value, tuple) else str(value)
