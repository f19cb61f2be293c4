"""What an audit finds in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kvl_eval.decode import Json, encode
from kvl_eval.store.records import Key

Severity = Literal["damaged", "incomplete", "trace", "note"]
EXIT_CODES: Mapping[Severity, int] = {"damaged": 4, "incomplete": 3, "trace": 0, "note": 0}
STATES = ("ok", "failed", "pending")


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that is not as it should be: a stable code, file and line, and what is wrong."""

    severity: Severity
    code: str
    where: str
    what: str


@dataclass(slots=True)
class Verification:
    """What was found.

    Attributes:
        counts: answers `planned`, `ok`, `failed`, `pending`.
        proven: what was checked and held, as short texts.
    """

    path: Path
    strict: bool = False
    findings: list[AuditFinding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    proven: list[str] = field(default_factory=list)

    def add(self, severity: Severity, code: str, where: object, what: str) -> None:
        """Note one thing; under `strict` a trace is damage."""
        level: Severity = "damaged" if severity == "trace" and self.strict else severity
        self.findings.append(AuditFinding(level, code, str(where), what))

    def has(self, severity: Severity) -> bool:
        """Whether anything that severe was found."""
        return any(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 complete, 3 incomplete, 4 damaged."""
        return max((EXIT_CODES[finding.severity] for finding in self.findings), default=0)

    @property
    def verdict(self) -> str:
        """`complete`, `incomplete` or `damaged`."""
        return {0: "complete", 3: "incomplete", 4: "damaged"}[self.exit_code]

    def as_json(self) -> dict[str, Json]:
        """Everything found, as JSON values."""
        return {
            "run": str(self.path),
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "counts": encode(self.counts),
            "proven": list[Json](self.proven),
            "findings": [encode(finding) for finding in self.findings],
        }


def key_text(key: Key) -> str:
    """A key as text: the sample, and repeat and budget where there are several."""
    budget = "" if key.budget is None else f" budget {key.budget}"
    return f"{key.sample_id}{f' repeat {key.repeat}' if key.repeat else ''}{budget}"
