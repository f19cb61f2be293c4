"""The parts of a gap that stored answers explain: what each is worth, and what is left of the gap.

Exact parts come first and estimates after them, in the order of `ORDER`; each is computed on what those before it left,
and an answer counts in at most one estimated part. So parts and rest add up to the gap by construction.

    no_answer   P0 extracted nothing                 what P1 makes of these answers
    extraction  the other answers                    likewise
    judge       a judge decided in one of the two    likewise
    draws       P1's verdict is a random guess       likewise; beside it what guessing is expected to bring
    missing     failed or pending                    they would score like others of their stratum
    unclosed    the thought was never closed         they would be right as often as the longest finished replies
    truncated   the reply ended at a limit           likewise

Pure functions over columns of answers: the same answers in any order give the same parts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kvl_eval.decode import Json
from kvl_eval.explanation.units import AnswerUnit, merged_strata

EXACT = ("no_answer", "extraction", "judge", "draws")
ESTIMATED = ("missing", "unclosed", "truncated")
ORDER = ("no_answer", "extraction", "judge", "draws", "missing", "data", "unclosed", "truncated")
SMALLEST_TAIL = 30  # finished replies below which the rate of truncated ones is not estimated
ONE_SIDED = 1.645  # standard errors

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Ledger:
    """The columns of one run's answers, and the value of each part. Fractions.

    Attributes:
        units: the answers, sorted by sample and repeat.
        y0:    scores under P0; 0 where there is none. `y1` under P1.
        w:     weights in the score; they add up to 1.
        share: weights if every answer that can be scored were.
    """

    def __init__(self, units: Sequence[AnswerUnit]) -> None:
        """Raises: ValueError, if no answer is scored."""
        self.units = sorted(units, key=lambda unit: (unit.id, unit.repeat))
        self.scored = np.array([unit.is_scored for unit in self.units], dtype=bool)
        if not self.scored.any():
            raise ValueError("a ledger needs at least one scored answer")
        self.missing = np.array([unit.is_missing for unit in self.units], dtype=bool)
        self.y0 = np.array([unit.before for unit in self.units]) * self.scored
        self.y1 = np.array([unit.after for unit in self.units]) * self.scored
        self.w = np.array([unit.weight for unit in self.units]) * self.scored
        share = np.where(self.scored | self.missing, [unit.share for unit in self.units], 0.0)
        self.share: Floats = share / (math.fsum(share) or 1.0)

    # -- exact parts --------------------------------------------------------------------------------------------

    @cached_property
    def score(self) -> float:
        """The score under P0."""
        return math.fsum(self.w * self.y0)

    @cached_property
    def other_score(self) -> float:
        """The score under P1 of the same answers."""
        return math.fsum(self.w * self.y1)

    @cached_property
    def kinds(self) -> Mapping[str, Mask]:
        """{exact part: the answers it is about}; each scored answer is in one of them."""
        drawn = np.array([unit.drawn for unit in self.units], dtype=bool)
        judged = np.array([unit.judged for unit in self.units], dtype=bool)
        nothing = np.array([unit.v0 == "no_answer" for unit in self.units], dtype=bool)
        return {
            "no_answer": self.scored & ~drawn & nothing,
            "extraction": self.scored & ~drawn & ~nothing & ~judged,
            "judge": self.scored & ~drawn & ~nothing & judged,
            "draws": self.scored & drawn,
        }

    def change(self, name: str) -> Floats:
        """What each answer adds to an exact part."""
        return np.where(self.kinds[name], self.w * (self.y1 - self.y0), 0.0)

    def affected(self, name: str) -> Mask:
        """The answers that a part names: of `extraction` and `judge` those whose score changes."""
        if name in ("extraction", "judge"):
            changed: Mask = self.kinds[name] & (self.y0 != self.y1)
            return changed
        if name in EXACT:
            return self.kinds[name]
        return {"missing": self.missing, "unclosed": self.unclosed, "truncated": self.truncated}[name]

    # -- missing answers ----------------------------------------------------------------------------------------

    @cached_property
    def strata(self) -> Strata:
        """Planned and scored weight of each stratum, and its mean under P1."""
        return Strata.of(np.array(merged_strata(self.units)), self)

    @cached_property
    def full_w(self) -> Floats:
        """Weights of the scored answers that stand for the missing ones of their stratum, too."""
        return self.w if not self.missing.any() else self.strata.weights

    @cached_property
    def missing_value(self) -> float:
        """What the score under P1 would gain if missing answers scored like others of their stratum."""
        return math.fsum(self.full_w * self.y1) - self.other_score if self.missing.any() else 0.0

    @cached_property
    def missing_bounds(self) -> tuple[float, float]:
        """The same if all of them were wrong, and if all were right."""
        low = math.fsum(self.share * self.y1) - self.other_score
        return low, low + math.fsum(self.share[self.missing])

    # -- truncated replies --------------------------------------------------------------------------------------

    @cached_property
    def unclosed(self) -> Mask:
        """Answers whose thought was never closed, and that are not right under P1."""
        return np.array([unit.is_unclosed for unit in self.units], dtype=bool)

    @cached_property
    def truncated(self) -> Mask:
        """Answers that ended at a limit, outside a thought, and that are not right under P1."""
        return np.array([unit.is_truncated for unit in self.units], dtype=bool)

    @cached_property
    def looping(self) -> Mask:
        """Answers that end in a loop."""
        return np.array([unit.is_loop for unit in self.units], dtype=bool)

    @cached_property
    def finished(self) -> Mask:
        """Scored answers that ended on their own."""
        stopped = [unit.finish == "stop" and unit.closed is not False for unit in self.units]
        finished: Mask = self.scored & np.array(stopped, dtype=bool)
        return finished

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Of thought and answer."""
        return np.array([unit.tokens for unit in self.units], dtype=np.int64)

    @cached_property
    def tail(self) -> Mask:
        """The longest quarter of finished replies, at least 30, ties included; nothing where fewer finished."""
        n = int(self.finished.sum())
        if n < SMALLEST_TAIL:
            return np.zeros(len(self.units), dtype=bool)
        least = np.sort(self.tokens[self.finished])[-max(SMALLEST_TAIL, math.ceil(n / 4))]
        longest: Mask = self.finished & (self.tokens >= least)
        return longest

    @cached_property
    def falls(self) -> bool:
        """Whether `tail` is right less often than shorter finished replies, by more than chance (one-sided, 5 %)."""
        long, short = self.y1[self.tail], self.y1[self.finished & ~self.tail]
        if not len(long) or not len(short):
            return False
        error = math.sqrt(np.var(long) / len(long) + np.var(short) / len(short))
        return bool(np.mean(short) - np.mean(long) > ONE_SIDED * error)

    def is_ceiling(self, name: str) -> bool:
        """Whether an estimate of `unclosed` or `truncated` says no more than how large the part can be.

        So it is where accuracy falls with length, and too few finished replies are as long as these.
        """
        if name not in ("unclosed", "truncated") or not self.cut(name).any():
            return False
        length = np.median(self.tokens[self.cut(name)])
        return self.falls and int((self.finished & (self.tokens > length)).sum()) < SMALLEST_TAIL

    @cached_property
    def rate(self) -> float | None:
        """The share of `tail` that is right under P1; None without a tail."""
        return float(np.mean(self.y1[self.tail])) if self.tail.any() else None

    def cut(self, name: str) -> Mask:
        """The answers of `unclosed` or `truncated` that more tokens might have helped."""
        return self.affected(name) & ~self.looping

    def value(self, name: str) -> float:
        """What a part accounts for; 0 where it is about no answer, or nothing is known but bounds."""
        if name in EXACT:
            return math.fsum(self.change(name))
        if name == "missing":
            return self.missing_value
        return (self.rate or 0.0) * math.fsum(self.full_w[self.cut(name)])

    def bounds(self, name: str) -> tuple[float, float] | None:
        """What a part can be at the least and at the most; None where its value is known."""
        if name == "missing":
            return self.missing_bounds
        if name == "no_answer":
            return 0.0, math.fsum(self.w[self.affected(name)])
        if name in ("unclosed", "truncated"):
            return 0.0, math.fsum(self.full_w[self.affected(name)])
        return None

    # -- counts -------------------------------------------------------------------------------------------------

    def detail(self, name: str) -> dict[str, Json]:
        """Counts and rates that say how a part is known."""
        answers = [unit for unit, is_in in zip(self.units, self.affected(name), strict=True) if is_in]
        if name == "missing":
            reasons = Counter(unit.reason or "unknown" for unit in answers if unit.status == "failed")
            pending = sum(unit.status == "pending" for unit in answers)
            return {"failed": dict(sorted(reasons.items())), "pending": pending, "strata": self.strata.n}
        if name in ("unclosed", "truncated"):
            loops = sum(unit.is_loop for unit in answers)
            ceiling: dict[str, Json] = {"ceiling": True} if self.is_ceiling(name) else {}
            return {"rate": self.rate, "tail": int(self.tail.sum()), "loops": loops, **ceiling}
        if name == "draws":
            return self._luck(answers)
        better = sum(unit.after > unit.before for unit in answers)
        if name == "no_answer":
            extracted = sum(unit.v1 not in ("no_answer", None) for unit in answers)
            return {"extracted": extracted, "right": better}
        return {"better": better, "worse": sum(unit.after < unit.before for unit in answers)}

    def _luck(self, answers: Sequence[AnswerUnit]) -> dict[str, Json]:
        """What drawn answers brought, and what guessing is expected to bring, with its standard deviation."""
        guesses = [(unit.weight, 1 / unit.options) for unit in answers if unit.options]
        expected = math.fsum(weight * chance for weight, chance in guesses)
        variance = math.fsum(weight**2 * chance * (1 - chance) for weight, chance in guesses)
        right = sum(unit.after >= 1 for unit in answers)
        return {"right": right, "expected": expected, "deviation": math.sqrt(variance)}

    def overlap(self) -> dict[str, int]:
        """{`truncated+no_answer`: answers that fit two parts}, where there are any."""
        counts = {
            f"{estimated}+{exact}": int((self.affected(estimated) & self.affected(exact)).sum())
            for estimated in ("unclosed", "truncated")
            for exact in EXACT
        }
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class Strata:
    """Answers by stratum, for what missing ones would score.

    Attributes:
        n:       strata that count.
        number:  of each answer's stratum.
        weights: of scored answers, if those of a stratum stand for its missing ones.
        means:   for each answer, the mean of its stratum under P1.
    """

    n: int
    number: NDArray[np.int64]
    weights: Floats
    means: Floats

    @staticmethod
    def of(number: NDArray[np.int64], ledger: Ledger) -> Strata:
        """The strata of a ledger's answers; those without a scored answer get the mean of all."""
        size = int(number.max()) + 1
        planned = np.bincount(number, weights=ledger.share, minlength=size)
        scored = np.bincount(number, weights=ledger.scored, minlength=size)
        total = np.bincount(number, weights=ledger.y1, minlength=size)
        planned[scored == 0] = 0.0
        planned = planned / (planned.sum() or 1.0)
        per_answer = np.divide(planned, scored, out=np.zeros(size), where=scored > 0)
        means = np.divide(total, scored, out=np.full(size, ledger.other_score), where=scored > 0)
        weights = np.where(ledger.scored, per_answer[number], 0.0)
        return Strata(int((scored > 0).sum()), number, weights, means[number])
