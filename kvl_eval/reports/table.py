"""Tables for the terminal: the result of a run, and one task under several protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvl_eval.reports import figures
from kvl_eval.reports.figures import Row, plain

HEADER = ("task", "budget", "n", "score", "95 % CI", "paper", "Δ", "no-answer", "failed", "protocol")


def final_table(results: Mapping[str, Any]) -> str:
    """The table a run ends with: one line a result, then what a reader must know about it."""
    rows = figures.with_demo(results)["rows"]
    if not rows:
        return "no results"
    table = figures.columns([HEADER, *(_cells(row) for row in rows)])
    return "\n".join([table, *notes(results)])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        figures.task_name(row),
        figures.budget(row),
        figures.counted(row),
        figures.headline(row),
        figures.interval(row),
        figures.published_value(row),
        figures.delta(row),
        figures.share(row.get("verdicts", {}).get("no_answer", 0), row.get("n_scored", 0)),
        f"{row.get('n_failed', 0)}",
        figures.protocol_name(row),
    )


def notes(results: Mapping[str, Any]) -> list[str]:
    """Sentences under the table: demo mark, incomplete and partial results, why a comparison is missing."""
    lines = [figures.DEMO] if results.get("demo") else []
    rows = figures.with_demo(results)["rows"]
    return lines + grouped((figures.task_name(row), text) for row in rows for text in row_notes(row))


def grouped(said: Iterable[tuple[str, str]]) -> list[str]:
    """(name, text) pairs as lines `name, name: text`, each text once, in order of first appearance."""
    names: dict[str, dict[str, None]] = {}
    for name, text in said:
        names.setdefault(text, {})[name] = None
    return [f"{', '.join(found)}: {text}" for text, found in names.items()]


def row_notes(row: Row) -> list[str]:
    """What must be said about one result beside its score."""
    lines = []
    if not row.get("complete", True):
        lines.append(_incomplete(row))
    if row.get("partial"):
        lines.append(f"partial, {plain(row['partial'])}; no rank")
    if row.get("blind"):
        lines.append("every picture was grey: measures what can be answered without looking; no comparison")
    if row.get("answered_by"):
        names = ", ".join(f"{plain(name)} ({count})" for name, count in row["answered_by"].items())
        lines.append(f"the server says that another model than the one asked for answered: {names}")
    reference = row.get("reference")
    note = reference.get("note") if reference else None
    if reference and note and not row.get("demo") and figures.reference_mark(reference) == "?":
        lines.append(f"no Δ: {plain(note)}")
    return lines


def _incomplete(row: Row) -> str:
    counts = [f"{row['n_failed']} failed ({figures.reasons(row.get('failed', {}))})"] if row.get("n_failed") else []
    counts += [f"{row['n_pending']} pending"] if row.get("n_pending") else []
    unscored = row.get("verdicts", {}).get("not_scored", 0)
    counts += [f"{unscored} not scored"] if unscored else []
    low, high = row.get("bounds") or (0.0, 1.0)
    return (
        f"incomplete, {', '.join(counts) or 'not all planned samples were scored'} of {row.get('n_planned', 0)}; "
        f"between {figures.percent(low)} and {figures.percent(high)} if all of them were wrong or right"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An answer that two protocols judge differently: verdicts, scores and what each of them read."""

    sample_id: str
    repeat: int
    budget: int | None
    verdicts: tuple[str, str]
    scores: tuple[float | None, float | None]
    extracted: tuple[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolView:
    """One protocol's result on stored answers, and where it departs from the default protocol."""

    row: Row
    flips: tuple[Flip, ...]


def find_flips(default: Iterable[Row], other: Iterable[Row]) -> tuple[Flip, ...]:
    """Answers whose verdict or score differs between two scorings of one run (lines of `scores/`), in order."""
    first = {_key(line): line for line in default}
    found = []
    for line in other:
        base = first.get(_key(line))
        if base is not None and (base["verdict"], base["score"]) != (line["verdict"], line["score"]):
            found.append(
                Flip(
                    sample_id=line["sample_id"],
                    repeat=line.get("repeat", 0),
                    budget=line.get("budget"),
                    verdicts=(base["verdict"], line["verdict"]),
                    scores=(base["score"], line["score"]),
                    extracted=(base.get("extracted"), line.get("extracted")),
                )
            )
    return tuple(found)


def _key(line: Row) -> tuple[Any, ...]:
    return line["sample_id"], line.get("repeat", 0), line.get("budget"), line.get("policy")


def protocol_table(views: Sequence[ProtocolView], shown: int = 20) -> str:
    """Protocol, score and number of differing verdicts; then at most `shown` flips of each protocol.

    The first view is the default that the others are compared with.
    """
    if not views:
        return "no results"
    header = ("task", "budget", "protocol", "n", "score", "95 % CI", "no-answer", "differs")
    lines = [figures.columns([header, *(_protocol_cells(view, view is views[0]) for view in views)])]
    for view in views:
        lines += _flip_lines(view, shown)
    return "\n".join(lines)


def _protocol_cells(view: ProtocolView, is_default: bool) -> tuple[str, ...]:
    row = view.row
    return (
        figures.task_name(row),
        figures.budget(row),
        figures.protocol_name(row),
        figures.counted(row),
        figures.headline(row),
        figures.interval(row),
        figures.share(row.get("verdicts", {}).get("no_answer", 0), row.get("n_scored", 0)),
        "default" if is_default else f"{len(view.flips)}",
    )


def _flip_lines(view: ProtocolView, shown: int) -> list[str]:
    if not view.flips:
        return []
    header = ("sample", "verdict", "extracted")
    cells = [
        (_sample_name(flip), " → ".join(flip.verdicts), " → ".join(short(value) for value in flip.extracted))
        for flip in view.flips[:shown]
    ]
    more = [f"... and {len(view.flips) - shown} more"] if len(view.flips) > shown else []
    return ["", f"{figures.protocol_name(view.row)} against the default:", figures.columns([header, *cells]), *more]


def _sample_name(flip: Flip) -> str:
    return plain(flip.sample_id) + (f" (repeat {flip.repeat})" if flip.repeat else "")


def short(value: Any, width: int = 40) -> str:
    """What was extracted, as a few words: `nothing` for None, `""` for an empty text."""
    text = "nothing" if value is None else plain(value) or '""'
    return text if len(text) <= width else f"{text[: width - 1]}…"
