"""The warnings of a report on one line with counts, and as a table: one row for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvl_eval.flags import FLAGS, meaning
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.warnings import CODES, ResultWarning, WarningCode, in_order, warnings_of

WHERE = 4  # places that one row names

KINDS: dict[WarningCode, tuple[str, str]] = {
    "data": ("other data", "rows or hashes differ from the published split, or between these runs"),
    "demo": ("demo model", "the scores show the software, and say nothing about a model"),
    "blind": ("blind", "images were replaced with gray ones; kept out of the table"),
    "versions": ("other versions", "code or packages differ within a run or between runs, or were not committed"),
    "unfinished": ("not finished", "samples are pending; scores are preliminary"),
    "failed": ("failed samples", "samples without a reply; the score lies within the bounds of the task page"),
    "not_scored": ("not scored", "a judge or gold answers are missing"),
    "no_answer": ("no answer found", "counted as wrong; many of them make a score a lower bound"),
    "format": ("form not read", "replies follow the form asked for and still have no extracted answer"),
    "truncated": ("truncated replies", "replies ended at their token limit, most of them without an answer"),
    "media": ("changed images", "what the model saw is not what the data set holds"),
    "server": ("server", "the server left out settings or put text into other fields"),
    "no_thought": ("no thoughts", "a thinking budget was set, and no reply contains a thought"),
    "partial": ("partial", "kept out of the table, without a rank"),
    "split": ("other split", "the published results are of another split or data version"),
    "protocol": ("other protocol", "scored with another protocol or other settings than the default"),
    "device": ("other device", "parts of a run were answered on different devices"),
}
"""{code: (its kind in words, what it means)}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningRow:
    """One kind of warnings.

    Attributes:
        where: models and tasks, with what is said of each.
        link:  the samples behind it; empty where there are none.
    """

    code: WarningCode
    kind: str
    count: int
    where: str
    means: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningTable:
    """All warnings of a report, most harmful first."""

    count: int
    rows: tuple[WarningRow, ...]

    @property
    def summary(self) -> str:
        """`2 partial · 1 other split`."""
        return " · ".join(f"{row.count} {row.kind}" for row in self.rows)

    @property
    def title(self) -> str:
        """`6 warnings`."""
        return f"{self.count} warning{'' if self.count == 1 else 's'}"


def warning_table(series: Sequence[Series]) -> WarningTable:
    """The warnings of these models, named by the models and not by their runs."""
    warnings = named_warnings(series)
    rows = [
        row
        for code in CODES
        if (members := [warning for warning in warnings if warning.code == code])
        for row in _rows(code, members)
    ]
    return WarningTable(count=len(warnings), rows=tuple(rows))


def named_warnings(series: Sequence[Series]) -> list[ResultWarning]:
    """Every warning once, `run` being the name of its model."""
    runs = [model.run for model in series]
    if len(series) == 1:
        return warnings_of(runs)
    names = {model.run.model: model.name for model in series} | {model.run.run_id: model.name for model in series}
    return in_order(replace(warning, run=names.get(warning.run, warning.run)) for warning in warnings_of(runs))


def _rows(code: WarningCode, warnings: Sequence[ResultWarning]) -> list[WarningRow]:
    """One row of a kind; of changed images one for each flag, as each has its own samples."""
    if code != "media":
        return [_row(code, KINDS[code], warnings, "")]
    flags: dict[str, list[ResultWarning]] = {}
    for warning in warnings:
        flag = next((flag for flag in FLAGS if warning.text.endswith(meaning(flag))), "")
        flags.setdefault(flag, []).append(warning)
    kind, means = KINDS[code]
    return [
        _row(
            code,
            (kind, meaning(flag) if flag else means),
            members,
            filtered_address(flag=meaning(flag)) if flag else "",
        )
        for flag, members in flags.items()
    ]


def _row(code: WarningCode, words: tuple[str, str], warnings: Sequence[ResultWarning], link: str) -> WarningRow:
    """The row of these warnings; those that say nothing else than their kind are named by model and task alone."""
    places: dict[str, list[str]] = {}
    for warning in warnings:
        text = f"{warning.name} {warning.detail}".strip() if warning.detail else str(warning)
        places.setdefault(warning.run, []).append(text)
    named = [f"{run}: {', '.join(texts)}" if run else ", ".join(texts) for run, texts in places.items()]
    more = [f"and {len(named) - WHERE} more models"] if len(named) > WHERE else []
    kind, means = words
    where = "; ".join([*named[:WHERE], *more])
    return WarningRow(code=code, kind=kind, count=len(warnings), where=where, means=means, link=link)
