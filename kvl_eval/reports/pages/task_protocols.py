"""The same replies under other protocols: a row for each protocol, a column for each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.reports import numbers
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.pages.task_results import NamedResult
from kvl_eval.reports.protocol_views import protocol_views
from kvl_eval.reports.runs import scores_of, task_of
from kvl_eval.reports.table import ProtocolView


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolCell:
    """What one protocol made of one model's replies.

    Attributes:
        score: as printed; empty where it could not be applied.
        why:   what it needs, where it could not be applied to all replies.
        flips: verdicts that differ from the default protocol's; `link` leads to them.
    """

    score: str
    why: str = ""
    flips: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolLine:
    """One protocol; `chip` is a word beside its name, such as `default`, `summary` says what it does."""

    name: str
    chip: str
    summary: str
    cells: tuple[ProtocolCell, ...]


def protocol_lines(results: Sequence[NamedResult]) -> list[ProtocolLine]:
    """Every protocol that some result has, and those of the task that need a judge; the default one comes first."""
    views = [protocol_views(named.result.series.run, named.row) for named in results]
    by_name = [{numbers.protocol_name(view.row): view for view in group} for group in views]
    names = list(dict.fromkeys(name for group in by_name for name in group))
    summaries = _summaries(results[0])
    default = numbers.protocol_name(results[0].row)
    waiting = [name for name in _need_judge(results[0]) if name not in names]
    lines = [
        ProtocolLine(
            name=name,
            chip="default" if name == default else "",
            summary=summaries.get(name, ""),
            cells=tuple(
                _cell(named, group.get(name), name == default) for named, group in zip(results, by_name, strict=True)
            ),
        )
        for name in names
    ]
    missing = ProtocolCell(score="", why="needs a judge")
    return lines + [
        ProtocolLine(name=name, chip="needs a judge", summary=summaries.get(name, ""), cells=(missing,) * len(results))
        for name in waiting
    ]


def _summaries(named: NamedResult) -> dict[str, str]:
    """{what views call a protocol of the task: what it does}."""
    task = task_of(named.row)
    protocols = {} if task is None else task.protocols
    return {
        numbers.plain(label): protocol.line(name)
        for name, protocol in protocols.items()
        for label in (name, protocol.label, protocol.judged)
        if label
    }


def _need_judge(named: NamedResult) -> list[str]:
    """Protocols of the task that score nothing without a judge."""
    task = task_of(named.row)
    protocols = {} if task is None else task.protocols
    return [numbers.plain(protocol.judged or name) for name, protocol in protocols.items() if protocol.needs_judge]


def _cell(named: NamedResult, view: ProtocolView | None, is_default: bool) -> ProtocolCell:
    if view is None:
        return ProtocolCell(score="", why="not scored so")
    if view.row.score is None:
        return ProtocolCell(score="", why="needs a judge" if view.unjudged else "nothing scored")
    row = view.row
    budget = "" if row.budget is None else numbers.budget(row)
    run = named.result.series.number
    link = filtered_address(task=row.task, run=run, budget=budget, protocol=scores_of(row))
    return ProtocolCell(
        score=numbers.headline(view.row),
        why=f"{view.unjudged:,} need a judge" if view.unjudged else "",
        flips=0 if is_default else len(view.flips),
        link=link if view.flips else "",
    )
