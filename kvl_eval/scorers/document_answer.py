r"""From a response to the short answer that MMLongBench-Doc compares: a judge's prompt and reply, and a rule.

The official scores need a model that shortens every response. The rule stands in for it: an answer that the response
sets apart (`Extracted answer:`, `\boxed{}`, `Answer:`), else a refusal, else what the type of gold asks for. It looks
at the type of gold, which no judge sees. Every scan is linear in the response.
Source: mayubo2333/MMLongBench-Doc eval/extract_answer.py and eval/prompt_for_answer_extraction.md @ d73f0dc (the
instruction and the examples below are this project's own, in the same form).
"""

from __future__ import annotations

import re

from kvl_eval.scorers.answer_text import last_boxed, last_list, last_number, plain
from kvl_eval.scorers.document_f1 import UNANSWERABLE

FAILED = "Failed to extract"  # what the authors record where the judge's reply has another form
SHORT = 12  # words of a text that is taken whole
_EXTRACTED = "Extracted answer:"
_FORMAT = "Answer format:"
_ANSWER_LINE = re.compile(r"^[ \t*#>]*(?:(?:final|short|extracted) )?answer\*{0,2}\s?[:：]\**(.*)$", re.I | re.M)
_REFUSAL = re.compile(
    r"\bnot answerable\b|\bunanswerable\b|\bcannot be (?:determined|answered)\b|\bnot possible to determine\b"
    r"|\bnot (?:mentioned|provided|specified|given) (?:in|by) (?:the|this|these) \w+"
    r"|\bno (?:relevant |such )?information\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+(.+)$", re.MULTILINE)
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^“”\n]+)”")

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


def rule_answer(response: str, kind: str) -> str:
    """The short answer that the rule finds in a response; `kind` is the type of gold (Int, Float, Str, List, None)."""
    stated = _stated(response)
    marked = response if stated is None else stated
    text = plain(marked)
    if _REFUSAL.search(text):
        return UNANSWERABLE
    if kind in ("Int", "Float"):
        return last_number(_last_sentence(text)) or last_number(text) or text
    return _as_list(text) if kind == "List" else _span(marked, text)


def _stated(response: str) -> str | None:
    """What the response itself marks as its answer: a line, or a box."""
    _, mark, after = response.rpartition(_EXTRACTED)
    if mark:
        return after.partition(_FORMAT)[0]
    boxed = last_boxed(response)
    if boxed is not None:
        return boxed
    lines = [line.strip() for line in _ANSWER_LINE.findall(response)]
    return next((line for line in reversed(lines) if line), None)


def _last_sentence(text: str) -> str:
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    return sentences[-1] if sentences else text


def _as_list(text: str) -> str:
    """A list as text: the one in brackets, else bullets, else what commas separate; one item stays as it is."""
    bracketed = text if text.startswith("[") and text.endswith("]") else last_list(text)
    if bracketed is not None:
        return bracketed if set(bracketed) & set("'\"") else str(_separated(bracketed[1:-1]))
    items = _cleaned(_BULLET.findall(text)) or _separated(text.rpartition(":")[2])
    return str(items) if len(items) > 1 else text


def _separated(text: str) -> list[str]:
    return _cleaned(re.split(r",(?!\d{3}\b)|;", text))


def _cleaned(items: list[str]) -> list[str]:
    bare = (item.strip().removeprefix("and ").strip(" .\t") for item in items)
    return [item for item in bare if item]


def _span(marked: str, text: str) -> str:
    """A short text whole, without its full stop; of a long one the last bold or quoted span, or all of it."""
    if len(text.split(maxsplit=SHORT)) > SHORT:
        spans = _BOLD.findall(marked) or [one or other for one, other in _QUOTED.findall(text)]
        return str(spans[-1]).strip() if spans else text
    bare = text.removesuffix(".")
    return text if "." in bare else bare
