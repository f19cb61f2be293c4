"""A verification as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kvl_eval.audit.verification import EXIT_CODES, AuditFinding, Verification

SHOWN = 20  # findings of one kind


def as_text(proof: Verification) -> str:
    """What held, then the findings, worst first, at most 20 of a kind, and the verdict."""
    lines = [f"ok          {text}" for text in proof.proven]
    for severity in EXIT_CODES:
        lines += _kinds(finding for finding in proof.findings if finding.severity == severity)
    counts = ", ".join(f"{number} {name}" for name, number in proof.counts.items())
    return "\n".join([*lines, f"{proof.verdict:<11} {proof.path}{f': {counts}' if counts else ''}"])


def _kinds(findings: Iterable[AuditFinding]) -> Iterator[str]:
    numbers: Counter[str] = Counter()
    for finding in findings:
        numbers[finding.code] += 1
        if numbers[finding.code] <= SHOWN:
            yield f"{finding.severity:<11} {finding.code}  {finding.where}: {finding.what}"
    for code, number in numbers.items():
        if number > SHOWN:
            yield f"{'':<11} {code}  and {number - SHOWN} more"
