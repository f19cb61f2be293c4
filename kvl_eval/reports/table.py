"""Tables for the terminal: the result of a run, and one task under several protocols."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from kvl_eval.decode import Json
from kvl_eval.printable import cut_middle
from kvl_eval.reports import numbers
from kvl_eval.reports.columns import Column, cells, filled
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import Setting, is_default_protocol, setting_of
from kvl_eval.store.records import Key, ScoreLine
from kvl_eval.store.result_records import ResultRow, Results

LEGEND = "≈ no difference shown (95% interval of the difference contains 0), ▲ above, ▼ below"
DROPPED = ("ci95", "no_answer")  # columns that a narrow terminal lacks, in this order
NAMED_FLIPS = 5  # samples of a protocol that its line names
SHORTEST = 12  # cells that a cut name keeps


def final_table(results: Results, width: int | None = None) -> str:
    """The table a run ends with: one line per result, further protocols of a task indented under its default one.

    With `width`, columns are dropped and names are cut until the lines fit, as far as they can.
    """
    if not results.rows:
        return "no results"
    settings = list(dict.fromkeys(map(setting_of, results.rows)))
    ordered = sorted(results.rows, key=lambda row: (settings.index(setting_of(row)), not is_default_protocol(row)))
    columns = filled("terminal", ordered)
    lines = _lines(columns, ordered)
    for key in DROPPED:
        if width is not None and _width(lines) > width:
            columns = [column for column in columns if column.key != key]
            lines = _lines(columns, ordered)
    if width is not None and _width(lines) > width:
        room = _width([line[:1] for line in lines]) - (_width(lines) - width)
        lines = [[cut_middle(line[0], max(SHORTEST, room)), *line[1:]] for line in lines]
    text = numbers.columns(lines, [column.numeric for column in columns])
    return f"{text}\n{LEGEND}" if any(column.key == "delta" for column in columns) else text


def _lines(columns: Sequence[Column], rows: Sequence[ResultRow]) -> list[list[str]]:
    """The head, and the cells of each result."""
    shown: set[Setting] = set()
    lines = [[column.title for column in columns]]
    for row in rows:
        name, *others = cells(columns, row)
        lines.append([f"  {name}" if setting_of(row) in shown else name, *others])
        shown.add(setting_of(row))
    return lines


def _width(lines: Sequence[Sequence[str]]) -> int:
    """Cells of the longest line of a table."""
    return max(map(cell_len, numbers.columns(lines).splitlines()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFlip:
    """An answer that two protocols judge differently: verdicts, scores and what each of them read."""

    key: Key
    verdicts: tuple[str, str]
    scores: tuple[float | None, float | None]
    extracted: tuple[Json, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolView:
    """One protocol's result on stored answers, and where it departs from the default protocol."""

    row: ResultRow
    flips: tuple[ProtocolFlip, ...]
    unjudged: int = 0  # answers that wait for a judge

    @property
    def differs(self) -> str:
        """How many answers it judges otherwise than the default protocol, and how many wait for a judge."""
        if self.unjudged and not self.row.n_scored:
            return "needs a judge"
        return f"{len(self.flips)}" + (f", {self.unjudged} need a judge" if self.unjudged else "")


def find_flips(default: Iterable[ScoreLine], other: Iterable[ScoreLine]) -> tuple[ProtocolFlip, ...]:
    """Answers whose verdict or score differs between two scorings of one run (lines of `scores/`), in order.

    An answer that one of them has not scored does not count as a difference.
    """
    first = {line.key: line for line in default}
    pairs = [(first[line.key], line) for line in other if line.key in first]
    return tuple(
        ProtocolFlip(
            key=line.key,
            verdicts=(base.verdict, line.verdict),
            scores=(base.score, line.score),
            extracted=(base.extracted, line.extracted),
        )
        for base, line in pairs
        if "not_scored" not in (base.verdict, line.verdict) and (base.verdict, base.score) != (line.verdict, line.score)
    )


def protocol_table(views: Sequence[ProtocolView], most: int = 0) -> str:
    """Protocol, score and number of differing verdicts, then the first flips of each protocol.

    The first view is the default that the others are compared with. Protocols that wait for a judge are one line each.
    With `most`, that many flips of each protocol are rows with what was extracted.
    """
    if not views:
        return "no results"
    scored = [view for view in views if view is views[0] or not view.unjudged]
    header = ("task", "budget", "protocol", "n", "score", "95% CI", "no answer", "differs")
    rows = [header, *(_protocol_cells(view, view is views[0]) for view in scored)]
    is_used = [any(row[column] for row in rows[1:]) for column in range(len(header))]
    lines = [numbers.columns([[cell for cell, used in zip(row, is_used, strict=True) if used] for row in rows])]
    lines += [
        f"{numbers.protocol_name(view.row)}  needs a judge for {view.unjudged:,} of {view.row.n_planned:,} samples"
        for view in views
        if view.unjudged
    ]
    for view in scored:
        lines += _flip_rows(view, most) if most else _flip_line(view)
    return "\n".join(lines)


def _protocol_cells(view: ProtocolView, is_default: bool) -> tuple[str, ...]:
    row = view.row
    return (
        numbers.task_name(row),
        "" if row.budget is None else numbers.budget(row),
        f"{numbers.protocol_name(row)} (default)" if is_default else numbers.protocol_name(row),
        numbers.counted(row),
        numbers.headline(row),
        numbers.interval(row),
        numbers.no_answer_share(row) if row.verdicts.get("no_answer") else "",
        "" if is_default else f"{len(view.flips)}",
    )


def _flip_line(view: ProtocolView) -> list[str]:
    """The first flips of a protocol as one line: sample and verdicts."""
    if not view.flips:
        return []
    named = [f"{_sample_name(flip)} ({_verdicts(flip)})" for flip in view.flips[:NAMED_FLIPS]]
    more = "" if len(view.flips) <= NAMED_FLIPS else f", and {len(view.flips) - NAMED_FLIPS:,} more"
    return [
        f"{numbers.protocol_name(view.row)} differs: {', '.join(named)}{more}; --flips N shows N with their answers"
    ]


def _flip_rows(view: ProtocolView, most: int) -> list[str]:
    if not view.flips:
        return []
    header = ("sample", "verdict", "extracted")
    cells = [
        (_sample_name(flip), _verdicts(flip), " → ".join(short(value) for value in flip.extracted))
        for flip in view.flips[:most]
    ]
    more = [f"... and {len(view.flips) - most:,} more"] if len(view.flips) > most else []
    return ["", f"{numbers.protocol_name(view.row)} against the default:", numbers.columns([header, *cells]), *more]


def _verdicts(flip: ProtocolFlip) -> str:
    return " → ".join(verdict.replace("_", " ") for verdict in flip.verdicts)


def _sample_name(flip: ProtocolFlip) -> str:
    return plain(flip.key.sample_id) + (f" (repeat {flip.key.repeat})" if flip.key.repeat else "")


def short(value: Json, width: int = 40) -> str:
    """What was extracted, as a few words: `nothing` for None, `""` for an empty text."""
    text = "nothing" if value is None else plain(value) or '""'
    return text if len(text) <= width else f"{text[: width - 1]}…"
