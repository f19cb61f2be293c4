"""What `doctor` finds, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from kvl_eval.doctor.document import DoctorCheck, DoctorReport
from kvl_eval.printable import one_line

WIDTH, COLUMN = 100, 24  # columns of a line, and where its text begins


def as_text(report: DoctorReport) -> str:
    """The report for a terminal: what is bad, warnings, what is in order, what was not checked, what to do."""
    head = (
        f"doctor  {report.task} / {report.split}   {report.model} at {report.place}   "
        f"{report.samples} samples, {report.requests} requests, {report.seconds:.0f} s"
    )
    lines = [one_line(head), ""]
    for grade in ("bad", "warning"):
        for check in report.checks:
            if check.grade == grade:
                lines += _wrapped(f"  {grade:<8} {check.name}", one_line(check.text))
    good = [check for check in report.checks if check.grade == "ok"]
    lines += _wrapped("  ok", "   ".join(one_line(check.text) for check in good))
    lines += _not_checked([check for check in report.checks if check.grade == "skipped"])
    lines += ["", *(f"  {sentence}" for sentence in report.verdict)]
    for number, fix in enumerate(report.fixes):
        lines.append(f"  {'' if number else 'fix':<4} {one_line(fix)}")
    return "\n".join(lines)


def _not_checked(checks: Sequence[DoctorCheck]) -> Iterator[str]:
    """One line for each reason."""
    reasons: dict[str, list[str]] = {}
    for check in checks:
        reasons.setdefault(check.text, []).append(check.name)
    for reason, names in reasons.items():
        yield from _wrapped("  not checked", f"{', '.join(names)}: {one_line(reason)}")


def _wrapped(head: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - COLUMN, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head:<{COLUMN}}{lines[0]}", *(" " * COLUMN + line for line in lines[1:])]
