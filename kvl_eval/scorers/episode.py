"""The result of an agent's episode: a value that an evaluator gave, how the episode ended, and its steps.

A record's answer holds it as text, `1.0 DONE 12 steps`, so that scores can be computed again without a desktop.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kvl_eval.scorers.aggregate import summarise
from kvl_eval.types import MISSING, Extraction, Sample, Score, Scored, Summary

EndedBy = Literal["done", "fail", "max_steps", "unparsable", "time_limit", "desktop_died", "setup_failed"]

_ANSWER = re.compile(r"(?P<value>\d(?:\.\d+)?(?:e-\d+)?) (?P<end>[A-Z_]+) (?P<steps>\d+) steps")
METHOD = "episode"


def episode_answer(value: float, ended_by: EndedBy, steps: int) -> str:
    """The text that stands for an episode's result."""
    return f"{value} {ended_by.upper()} {steps} steps"


def episode_score(sample: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """The evaluator's value; how the episode ended and its steps go into the detail."""
    del sample
    text = answer if extraction is MISSING else str(extraction or "")
    match = _ANSWER.fullmatch(text.strip())
    if match is None or not 0 <= float(match["value"]) <= 1:
        return Score.no_answer("not_an_episode")
    detail = {"ended_by": match["end"].lower(), "steps": int(match["steps"])}
    return Score.of(float(match["value"]), text.strip(), METHOD, **detail)


def episode_summary(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean value, by category too; mean steps and how many episodes ended how."""
    del protocol
    summary = summarise(scored)
    details = [one.score.detail for one in scored if one.score.method == METHOD]
    if not details:
        return summary
    steps = [int(str(detail["steps"])) for detail in details]
    ends = Counter(str(detail["ended_by"]) for detail in details)
    official = {"mean steps": f"{sum(steps) / len(steps):.2f}"}
    official |= {f"ended by {end}": str(count) for end, count in sorted(ends.items())}
    return replace(summary, official=official)
