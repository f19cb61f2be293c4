"""The parts of a gap as a table shows them: value, interval, bounds and how each is known."""

from __future__ import annotations

from kvl_eval.explanation.ledger import ESTIMATED, EXACT, ORDER, Ledger
from kvl_eval.explanation.resampling import Replicates
from kvl_eval.explanation.units import Basis, GapPart

ASSUMPTIONS = {
    "missing": "failed and pending samples would score like answered ones of their category",
    "unclosed": "replies with an open thought would be right as often as the longest quarter of finished ones",
    "truncated": "truncated replies would be right as often as the longest quarter of finished ones",
}
CEILING = "at most: long replies are right less often, and these would have been longer still"
UNKNOWN_RATE = "fewer than 30 replies finished: only bounds are known"


def parts_of(ledger: Ledger, draws: Replicates) -> tuple[GapPart, ...]:
    """Every part that is about at least one answer, in order."""
    known = (*EXACT, *ESTIMATED)
    return tuple(part_of(ledger, draws, name) for name in ORDER if name in known and ledger.affected(name).any())


def part_of(ledger: Ledger, draws: Replicates, name: str) -> GapPart:
    """One part, whether or not any answer is in it."""
    bounds = ledger.bounds(name)
    basis = basis_of(ledger, name)
    interval = bounds if basis == "bounds" and bounds is not None else draws.interval(name, ledger)
    return GapPart(
        name=name,
        basis=basis,
        n=int(ledger.affected(name).sum()),
        value=ledger.value(name),
        ci95=interval,
        bounds=bounds,
        detail=ledger.detail(name),
        assumption=_assumption(ledger, name, basis),
        samples=samples_of(ledger, name),
    )


def _assumption(ledger: Ledger, name: str, basis: Basis) -> str:
    if basis == "bounds":
        return UNKNOWN_RATE
    return CEILING if ledger.is_ceiling(name) else ASSUMPTIONS.get(name, "")


def basis_of(ledger: Ledger, name: str) -> Basis:
    """How a part is known."""
    if name in EXACT:
        return "exact"
    return "bounds" if name != "missing" and ledger.rate is None else "estimate"


def samples_of(ledger: Ledger, name: str) -> tuple[str, ...]:
    """Ids of the samples of a part, each once."""
    ids = (unit.id for unit, is_in in zip(ledger.units, ledger.affected(name), strict=True) if is_in)
    return tuple(dict.fromkeys(ids))
