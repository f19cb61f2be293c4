"""How many samples are needed, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from kvl_eval.explanation.plan_size import PlanSize, SizeEstimate
from kvl_eval.explanation.sentences import signed, unsigned
from kvl_eval.printable import printable

SOURCES = {"runs": "measured", "repeats": "from repeats", "option": "expected", "assumed": "assumed"}


def as_text(document: PlanSize) -> str:
    """The whole answer."""
    return "\n".join(printable(line).rstrip() for line in _lines(document))


def _lines(document: PlanSize) -> Iterator[str]:
    asked = f"±{unsigned(document.precision, document.unit)}" if document.precision is not None else ""
    if document.detect is not None:
        size, often = unsigned(document.detect, document.unit), f"{100 * document.power:.0f} % of the time"
        asked = f"a difference of {size}, shown {often}"
    split = f" / {document.split}" if document.split else ""
    yield f"plan-size  {document.task}{split}   {asked}"
    yield ""
    yield f"  {'basis':<50}{'of this kind':>14}{'of these':>12}{'at best':>10}"
    for estimate in document.estimates:
        yield f"  {_basis(estimate, document):<50}{_sizes(estimate, document)}"
    yield ""
    yield from (f"  {sentence}" for sentence in document.verdict)
    if document.file is not None:
        yield f"  {document.n_listed:,} ids in {document.file}"
        yield f"  next   kvl-eval run {document.task} --split {document.split} --sample-ids {document.file}"


def _basis(estimate: SizeEstimate, document: PlanSize) -> str:
    basis = estimate.basis
    effect = f", clusters x{basis.design_effect:.2f}" if basis.design_effect > 1 else ""
    if basis.kind == "score":
        return f"one score, {SOURCES[basis.source]}{effect}"
    expected = f", difference {signed(basis.difference, document.unit)}" if basis.difference else ""
    return f"two runs, {100 * basis.variance:.1f} % changed ({SOURCES[basis.source]}){expected}{effect}"


def _sizes(estimate: SizeEstimate, document: PlanSize) -> str:
    these = "unknown" if estimate.n_of_these is None else f"{estimate.n_of_these:,}"
    sign = "±" if document.detect is None else ""
    best = "unknown" if estimate.best is None else f"{sign}{unsigned(estimate.best, document.unit)}"
    return f"{estimate.n_of_kind:>14,}{these:>12}{best:>10}"
