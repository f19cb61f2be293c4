"""Fair timing of variants in one process, and rows of `docs/performance.md`."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEADER = "| what | against | ours | theirs | ratio (spread) | goal | met |\n| --- | --- | --- | --- | --- | --- | --- |"

SLOW = 2.0  # CPU seconds of a call above which no call is spent on warming up


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim: `ratio` is a plain number, `spread` its smallest and largest value over the rounds.

    The goal speaks of `ratio`, or of `figure` (with its unit) where it is no ratio.
    """

    what: str
    against: str
    ours: str
    theirs: str
    ratio: float | None = None
    figure: float | None = None
    unit: str = ""
    spread: tuple[float, float] | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        """The bound as text; empty for a figure without one."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}{self.unit}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}{self.unit}"

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None without one."""
        value = self.ratio if self.figure is None else self.figure
        if value is None or self.at_least is not None:
            return None if value is None or self.at_least is None else value >= self.at_least
        return None if self.at_most is None else value <= self.at_most

    def markdown(self) -> str:
        """One line of a table under `HEADER`."""
        spread = "" if self.spread is None else f" ({_short(self.spread[0])} to {_short(self.spread[1])})"
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        ratio = "" if self.ratio is None else _short(self.ratio) + spread
        cells = (self.what, self.against, self.ours, self.theirs, ratio, self.goal, met)
        return "| " + " | ".join(cells) + " |"

    def json(self) -> str:
        """One JSON object."""
        return json.dumps({**asdict(self), "goal": self.goal, "met": self.met}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Times:
    """CPU seconds of one call, one value a round."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def text(self) -> str:
        """The median with its unit."""
        return seconds(self.median)

    def times(self, ours: Times) -> tuple[float, tuple[float, float]]:
        """How many times as long this took as `ours`: the ratio of the medians, and the spread of the rounds'."""
        each = [theirs / mine for theirs, mine in zip(self.rounds, ours.rounds, strict=True)]
        return self.median / ours.median, (min(each), max(each))


def alternate(
    variants: Mapping[str, Callable[[], Any]], rounds: int = 5, enough: float = 0.03, same: float | None = None
) -> dict[str, Times]:
    """CPU seconds of one call of each variant; variants take turns, and a round repeats short calls to `enough` s.

    Each variant is called once before, which warms caches; where that took more than `SLOW`, it is the first round.
    `same` demands that all results are equal within it.
    Raises: AssertionError, where they are not.
    """
    first, results = {}, []
    for name, call in variants.items():
        begin = time.process_time()
        results.append(call())
        first[name] = time.process_time() - begin
    if same is not None:
        from torch.testing import assert_close

        for result in results[1:]:
            assert_close(result, results[0], atol=same, rtol=same)
    del results
    if max(first.values()) > SLOW:
        found = {name: [spent] for name, spent in first.items()}
    else:
        found = {name: [] for name in variants}
    calls = {name: _enough(call, enough) for name, call in variants.items()} if not any(found.values()) else {}
    while min(map(len, found.values())) < rounds:
        for name, call in variants.items():
            found[name].append(_spent(call, calls.get(name, 1)))
    return {name: Times(tuple(values)) for name, values in found.items()}


def speedup(what: str, against: str, ours: Times, theirs: Times, *, at_least: float | None = None) -> Row:
    """A row that says how many times as fast ours is."""
    ratio, spread = theirs.times(ours)
    return Row(
        what=what,
        against=against,
        ours=ours.text(),
        theirs=theirs.text(),
        ratio=ratio,
        spread=spread,
        at_least=at_least,
    )


def seconds(value: float) -> str:
    """Seconds, milliseconds or microseconds with three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1 or unit == "µs":
            return f"{value * factor:.3g} {unit}"
    raise AssertionError("unreachable")


def main(description: str | None, measure: Callable[[bool], Sequence[Row]]) -> None:
    """The command line of a script: `--tiny` measures next to nothing, `--json` prints JSON Lines."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that results are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    options = parser.parse_args()
    show(measure(options.tiny), as_json=options.json)


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print rows."""
    if not as_json:
        print(HEADER)
    for row in rows:
        print(row.json() if as_json else row.markdown())


def _enough(call: Callable[[], object], enough: float) -> int:
    """How often to call so that a round takes `enough` seconds."""
    return max(1, int(enough / max(_spent(call, 1), 1e-6)))


def _spent(call: Callable[[], object], times: int) -> float:
    begin = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begin) / times


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.3g}"
