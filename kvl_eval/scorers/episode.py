"""The result of an agent's episode: a value that an evaluator gave, how the episode ended, and its steps.

A record's answer holds it as text, so that scores can be computed again without a desktop: `1.0 DONE 12 steps`, and
where there were such, `1.0 DONE 12 steps, 2 unsupported, 1 unparsable`.
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

_ANSWER = re.compile(
    r"(?P<value>\d(?:\.\d+)?(?:e-\d+)?) (?P<end>[A-Z_]+) (?P<steps>\d+) steps"
    r"(?:, (?P<unsupported>\d+) unsupported)?(?:, (?P<unparsable>\d+) unparsable)?"
)
METHOD = "episode"
UNSUPPORTED, UNPARSABLE = "unsupported steps", "unparsable replies"


def episode_answer(value: float, ended_by: EndedBy, steps: int, unsupported: int = 0, unparsable: int = 0) -> str:
    """The text that stands for an episode's result: also its steps without effect and its unreadable replies."""
    text = f"{value} {ended_by.upper()} {steps} steps"
    text += f", {unsupported} unsupported" if unsupported else ""
    return text + (f", {unparsable} unparsable" if unparsable else "")


def episode_score(sample: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """The evaluator's value; how the episode ended and its steps go into the detail."""
    del sample
    text = answer if extraction is MISSING else str(extraction or "")
    match = _ANSWER.fullmatch(text.strip())
    if match is None or not 0 <= float(match["value"]) <= 1:
        return Score.no_answer("not_an_episode")
    counts = {name: int(match[name]) for name in ("steps", "unsupported", "unparsable") if match[name]}
    detail: dict[str, str | int] = {"ended_by": match["end"].lower(), **counts}
    return Score.of(float(match["value"]), text.strip(), METHOD, **detail)


def episode_summary(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean value, by category too; mean steps, how many episodes ended how, and shares of steps without effect."""
    del protocol
    summary = summarise(scored)
    details = [one.score.detail for one in scored if one.score.method == METHOD]
    if not details:
        return summary
    steps, unsupported, unparsable = (
        sum(int(str(detail.get(name, 0))) for detail in details) for name in ("steps", "unsupported", "unparsable")
    )
    ends = Counter(str(detail["ended_by"]) for detail in details)
    official = {"mean steps": f"{steps / len(details):.2f}"}
    official |= {f"ended by {end}": str(count) for end, count in sorted(ends.items())}
    shares = {UNSUPPORTED: (unsupported, steps), UNPARSABLE: (unparsable, steps + unparsable)}
    official |= {name: f"{part / max(1, whole):.1%}" for name, (part, whole) in shares.items()}
    return replace(summary, official=official, shares=shares)
