"""How answers to an own table can be scored besides by the reader: pure functions of sample and answer.

Each compares with every accepted answer and gives the best. Where a question has options, gold is a letter: the letter,
`(B)` and the option's text count alike. A given extraction takes the place of what is taken from the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kvl_eval.scorers.anls import anls
from kvl_eval.scorers.contains import contains
from kvl_eval.scorers.mathvision import Extracted, extract, matched_by
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.reader_protocol import ScoreFunction
from kvl_eval.types import MISSING, Extraction, Sample, Score

TOLERANCE = 0.05  # of `relaxed`, a share of gold
CORRECT, INCORRECT = "correct", "incorrect"
_CUE = re.compile(r"answer(?:\s+is\b|\s*:)\s*:?", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]{0,30}(?:\.\d{0,30})?|\.\d{1,30})(?:e[-+]?\d{1,3})?", re.IGNORECASE)


def final_answer(answer: str) -> str:
    """What stands after the last `answer is` or `answer:`; the whole answer where neither does."""
    places = [match.end() for match in _CUE.finditer(answer)]
    return answer[places[-1] :].strip() if places else answer.strip()


def _plain(text: str) -> str:
    """A text as texts are compared: without case, runs of blanks and a final full stop."""
    return " ".join(text.split()).removesuffix(".").strip().casefold()


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(_plain(text))
    return None if found is None else float(found[0].replace(",", ""))


def _golds(sample: Sample, *, letters: bool = True) -> list[str]:
    """The accepted answers as texts; of a question with options the options' texts, with `letters` letters too."""
    options = lettered(sample.choices)
    if not options:
        return list(sample.answers)
    golds = [options.get(gold, gold) for gold in sample.answers]
    return [*golds, *(form for gold in sample.answers for form in (gold, f"({gold})"))] if letters else golds


def _comparing(value_of: Callable[[str, Sample], tuple[float, str]], method: str) -> ScoreFunction:
    """A protocol's `score` from (what is compared, sample) -> (value, text that was compared)."""

    def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
        if not sample.answers:
            return Score.not_scored("no_gold")
        text = answer if extraction is MISSING else str(extraction or "")
        if not text.strip():
            return Score.no_answer("empty")
        value, said = value_of(text, sample)
        return Score.of(value, said, method if extraction is MISSING else "given")

    return score


def _exact(answer: str, sample: Sample) -> tuple[float, str]:
    said = final_answer(answer)
    number = _number(said)
    golds = _golds(sample)
    same = any(_plain(said) == _plain(gold) for gold in golds)
    return float(same or (number is not None and any(_number(gold) == number for gold in golds))), said


def _contains(answer: str, sample: Sample) -> tuple[float, str]:
    match = contains(answer, _golds(sample, letters=False), formula=False)
    return float(match is not None), answer.strip() if match is None else match


def _anls(answer: str, sample: Sample) -> tuple[float, str]:
    said = final_answer(answer)
    return anls(said, _golds(sample)), said


def _relaxed(answer: str, sample: Sample) -> tuple[float, str]:
    said = final_answer(answer)
    return float(any(relaxed_equal(said, gold) for gold in _golds(sample))), said


def relaxed_equal(prediction: str, gold: str) -> bool:
    """Whether two numbers differ by at most 5% of gold; other texts must be equal, case and a final full stop aside.

    `40%` is the number 0.4. Source: lmms-eval lmms_eval/tasks/chartqa/utils.py @ 75571cf (ChartQA's measure).
    """
    said, wanted = _share(prediction), _share(gold)
    if said is None or not wanted:
        return _plain(prediction) == _plain(gold) or (said is not None and said == wanted)
    return abs(said - wanted) <= TOLERANCE * abs(wanted)


def _share(text: str) -> float | None:
    plain = _plain(text)
    number = _number(plain.removesuffix("%"))
    return number if number is None or not plain.endswith("%") else number / 100


def score_math(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """What MATH-V's authors extract, equal to gold by their rules (`kvl_eval.scorers.mathvision`)."""
    if not sample.answers:
        return Score.not_scored("no_gold")
    found = extract(answer) if extraction is MISSING else Extracted(str(extraction or ""), "given")
    if not found.text.strip():
        return Score.no_answer("empty")
    matches = (matched_by(found.text, gold, sample.choices) for gold in sample.answers)
    return Score.of(any(match is not None for match in matches), found.text, found.method)


def score_judged(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """A judge's `correct` or `incorrect`; not scored without one."""
    if not sample.answers:
        return Score.not_scored("no_gold")
    if extraction in (CORRECT, INCORRECT):
        return Score.of(extraction == CORRECT, extraction, "judge")
    return Score.not_scored("judge_missing" if extraction is MISSING else "judge_error")


score_exact = _comparing(_exact, "exact")
score_contains = _comparing(_contains, "contains")
score_anls = _comparing(_anls, "anls")
score_relaxed = _comparing(_relaxed, "relaxed")
