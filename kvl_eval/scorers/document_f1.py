"""MMLongBench-Doc's comparison of one short answer with gold, by type of answer, and its F1.

Every function takes time linear in the prediction: what the authors' script searches with a backtracking pattern is a
scan here, and a list is read as a literal instead of being evaluated.
Source: mayubo2333/MMLongBench-Doc eval/eval_score.py @ d73f0dc; variants: open-compass/VLMEvalKit
vlmeval/dataset/mmlongbenchdoc.py @ e8e78f0, EvolvingLMMs-Lab/lmms-eval lmms_eval/tasks/mmlongbench_doc @ 75571cf.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from kvl_eval.scorers.aggregate import plain_sum

UNANSWERABLE = "Not answerable"
MAX_LITERAL = 100_000  # characters of a list written as text
THRESHOLD = 0.5  # a similarity up to it, itself included, counts as none
_NUMBERS = re.compile(r"\b\d+(?:-\d+|\s\d+)?\b|\b\d{4}[-\s]\d{2}(?:[-\s]\d{2})?\b")
_MAIL = re.compile(r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}")
_FIRST_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)")


def document_score(gold: str, prediction: str, kind: str) -> float:
    """The authors' score of a short answer in [0, 1].

    Args:
        gold:       the right answer as the data set writes it.
        prediction: the answer that was extracted from a response.
        kind:       Int, Float, Str, None; anything else is compared as a list.
    Raises: ValueError, where the authors' code raises, which counts as 0: a gold number that is none, a list that
            cannot be read, two empty lists.
    """
    if kind == "Int":
        return float(_same_int(gold, prediction))
    if kind == "Float":
        return float(_same_float(gold, prediction))
    if kind in ("Str", "None"):
        return text_score(gold, prediction)
    return list_score(gold, prediction)


def vlmevalkit_score(gold: str, prediction: str, kind: str) -> float:
    """VLMEvalKit's score: unanswerable questions are compared as lists, all else as the authors do."""
    return document_score(gold, prediction, "List" if kind == "None" else kind)


def text_score(gold: str, prediction: str) -> float:
    """Equality of cleaned texts where gold is of a kind that must be exact, else their similarity."""
    gold, prediction = clean(gold), clean(prediction)
    return float(gold == prediction) if is_exact(gold) else similarity(gold, prediction)


def list_score(gold: str, prediction: str) -> float:
    """Lists of equal length, cleaned and sorted as texts: equality, or the least similar pair. Raises: ValueError."""
    left, right = (sorted(clean(item) for item in _items(text)) for text in (gold, prediction))
    if len(left) != len(right):
        return 0.0
    if not left:
        raise ValueError("two empty lists")
    if _is_number(left[0]) or is_exact(left[0]):
        return float("-".join(left) == "-".join(right))
    return min(similarity(one, other) for one, other in zip(left, right, strict=True))


def clean(value: Any) -> str:
    """Lower case without parentheses and their content, a quote at each end, leading dollar, trailing percent signs."""
    text = _without_parentheses(str(value).lower().strip()).strip()
    text = text[1:] if text[:1] in ("'", '"') else text
    text = text[:-1] if text[-1:] in ("'", '"') else text
    return text.strip().lstrip("$").strip().rstrip("%").strip()


def is_exact(text: str, code_files: tuple[str, ...] = (".py", "ipynb")) -> bool:
    """Whether a cleaned text must be met exactly: address, code file, page, number or two, time, date, e-mail."""
    return (
        "https://" in text
        or text.endswith(code_files)
        or text.startswith("page")
        or "a.m." in text
        or "p.m." in text
        or _NUMBERS.fullmatch(text) is not None
        or _MAIL.fullmatch(text) is not None
    )


def similarity(gold: str, prediction: str) -> float:
    """1 minus edits over the longer text in upper case; 0 unless it is above one half; 1 for two empty texts."""
    from rapidfuzz.distance import Levenshtein

    longest = max(len(gold.upper()), len(prediction.upper()))
    value = 1.0 - (Levenshtein.distance(gold, prediction) / longest if longest else 0.0)
    return value if value > THRESHOLD else 0.0


def same_number(gold: Any, prediction: Any, *, percentages: bool = True, close: bool = True) -> bool:
    """Whether two numbers agree after rounding or, with `close`, within 1 %; with `percentages` up to a factor of 100.

    Raises: ValueError, if `gold` is not a number; any other prediction agrees with nothing.
    """
    wanted = float(str(gold).strip().rstrip("%").strip())
    try:
        given = float(str(prediction).strip().rstrip("%").strip())
    except ValueError:
        return False
    return any(
        (close and math.isclose(one, given, rel_tol=0.01)) or _same_rounded(one, given)
        for one in ((wanted / 100, wanted, wanted * 100) if percentages else (wanted,))
    )


def _same_rounded(gold: float, given: float) -> bool:
    digits = max(min(_decimals(given), _decimals(gold)), 2)
    return round(given, digits) == round(gold, digits)


def _decimals(number: float) -> int:
    _, point, decimals = str(number).partition(".")
    return len(decimals) if point else 3


def _same_int(gold: str, prediction: str) -> bool:
    try:
        return int(gold) == int(float(prediction))
    except (ValueError, OverflowError):
        return gold == ""  # the script then compares gold with an empty text


def _same_float(gold: str, prediction: str) -> bool:
    try:
        wanted: Any = float(clean(gold))
    except ValueError:
        wanted = gold  # the script tries once more, and raises
    try:
        given: Any = float(clean(prediction))
    except ValueError:
        given = ""
    return same_number(wanted, given if isinstance(wanted, float) else "")


def _items(text: str) -> list[Any]:
    """The items of a list written as a Python literal; any other text is one item. Raises: ValueError."""
    value = _literal(text) if text.startswith("[") else text
    return value if isinstance(value, list) else [value]


def _literal(text: str) -> Any:
    if len(text) > MAX_LITERAL:
        raise ValueError(f"a list of {len(text)} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd backslashes
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a list: {type(error).__name__}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _without_parentheses(text: str) -> str:
    """`text` without each `(...)` up to the next `)`, and without the blanks before it."""
    kept, position = [], 0
    while (start := text.find("(", position)) >= 0 and (end := text.find(")", start)) >= 0:
        kept.append(text[position:start].rstrip())
        position = end + 1
    return "".join([*kept, text[position:]])


# lmms-eval's scorer, which asks no model to extract an answer first


def lmms_eval_score(gold: str, prediction: str, kind: str) -> float:
    """lmms-eval's score: for numbers the first one found anywhere, without thousands separators."""
    name = {"integer": "int", "string": "str"}.get(kind.strip().lower(), kind.strip().lower())
    if name in ("int", "float"):
        left, right = _first_number(gold), _first_number(prediction)
        if left is None or right is None:
            return 0.0
        return float(int(left) == int(right) if name == "int" else same_number(left, right))
    if name == "list":
        return _lmms_eval_list(gold, prediction)
    if name == "none":
        return float(lmms_eval_clean(prediction) == UNANSWERABLE.lower())
    left_text, right_text = lmms_eval_clean(gold), lmms_eval_clean(prediction)
    return float(left_text == right_text) if _lmms_exact(left_text) else _lmms_similarity(left_text, right_text)


def lmms_eval_clean(value: Any) -> str:
    """`clean`, then without a unit at the end (miles, mile, million), blanks made single."""
    text = clean(value or "")
    for unit in (" miles", " mile", " million"):
        text = text.removesuffix(unit).strip()
    return " ".join(text.split())


def _lmms_eval_list(gold: str, prediction: str) -> float:
    left, right = (sorted(lmms_eval_clean(item) for item in _lmms_items(text)) for text in (gold, prediction))
    if len(left) != len(right):
        return 0.0
    if not left:
        return 1.0
    if _first_number(left[0]) is not None or _lmms_exact(left[0]):
        return float(left == right)
    return min(_lmms_similarity(one, other) for one, other in zip(left, right, strict=True))


def _lmms_items(text: str) -> list[str]:
    try:
        value = _literal(text)
    except ValueError:
        value = text
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _lmms_exact(text: str) -> bool:
    return "http://" in text or is_exact(text, (".py", ".ipynb"))


def _lmms_similarity(gold: str, prediction: str) -> float:
    if not gold or not prediction:
        return float(gold == prediction)
    return similarity(gold, prediction)


def _first_number(text: str) -> float | None:
    match = _FIRST_NUMBER.search(text.replace(",", ""))
    return None if match is None else float(match[0])


# Over a whole run


class AnswerClaim(NamedTuple):
    """What F1 needs of one question: its score, and whether gold and answer claim that there is an answer."""

    score: float
    gold_answers: bool
    answers: bool


def f1(pairs: Sequence[AnswerClaim], *, over_answered: bool = False) -> float | None:
    """The harmonic mean of recall (over answerable questions) and precision (over questions that were answered).

    The authors sum scores of answerable questions in both; with `over_answered` precision sums those of answered
    ones, as VLMEvalKit and lmms-eval do. None where it is not defined.
    """
    answerable = [pair.score for pair in pairs if pair.gold_answers]
    answered = [pair.score for pair in pairs if pair.answers]
    if not answerable or not answered:
        return None
    recall = plain_sum(answerable) / len(answerable)
    precision = plain_sum(answered if over_answered else answerable) / len(answered)
    return 2 * recall * precision / (recall + precision) if recall + precision > 0 else None
