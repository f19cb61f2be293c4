"""Tables for the terminal: the result of a run, and one task under several protocols."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvl_eval.decode import Json
from kvl_eval.flags import meaning
from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import is_default_protocol, setting_of
from kvl_eval.store.records import Key, ScoreLine
from kvl_eval.store.result_records import ResultRow, Results

HEADER = ("task", "budget", "n", "score", "95 % CI", "paper", "Δ", "no-answer", "failed", "protocol")


def final_table(results: Results) -> str:
    """The table a run ends with: one line per result, a task's default protocol first, then notes."""
    if not results.rows:
        return "no results"
    settings = list(dict.fromkeys(map(setting_of, results.rows)))
    ordered = sorted(results.rows, key=lambda row: (settings.index(setting_of(row)), not is_default_protocol(row)))
    table = numbers.columns([HEADER, *(result_cells(row, results.demo) for row in ordered)])
    return "\n".join([table, *notes(results)])


def result_cells(row: ResultRow, demo: bool) -> tuple[str, ...]:
    """One result as texts, under `HEADER`."""
    return (
        numbers.task_name(row),
        numbers.budget(row),
        numbers.counted(row),
        numbers.headline(row),
        numbers.interval(row),
        numbers.published_value(row, demo),
        numbers.delta(row),
        numbers.no_answer_share(row),
        f"{row.n_failed}",
        numbers.protocol_name(row),
    )


def notes(results: Results) -> list[str]:
    """Sentences under the table: demo mark, incomplete and partial results, why a comparison is missing."""
    lines = [numbers.DEMO] if results.demo else []
    pairs = ((numbers.task_name(row), text) for row in results.rows for text in row_notes(row, results.demo))
    return lines + grouped(pairs)


def grouped(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """(name, text) pairs as lines `name, name: text`, each text once, in order of first appearance."""
    names: dict[str, dict[str, None]] = {}
    for name, text in pairs:
        names.setdefault(text, {})[name] = None
    return [f"{', '.join(members)}: {text}" for text, members in names.items()]


def row_notes(row: ResultRow, demo: bool) -> list[str]:
    """What must be said about one result beside its score; of a demo model's not why nothing is compared with it."""
    lines = []
    if not row.complete:
        lines.append(_incomplete(row))
    if row.partial:
        lines.append(f"partial, {plain(row.partial)}; no rank")
    if row.blind:
        lines.append("every picture was grey: measures what can be answered without looking; no comparison")
    if row.answered_by:
        names = ", ".join(f"{plain(name)} ({count})" for name, count in row.answered_by.items())
        lines.append(f"the server says that another model than the one asked for answered: {names}")
    lines += [flag_text(row, flag) for flag in row.flags]
    reference = row.reference
    if reference is not None and reference.note and reference.delta is None and not demo:
        lines.append(f"no Δ: {plain(reference.note)}")
    return lines


def flag_text(row: ResultRow, flag: str) -> str:
    """`12 of 1,000 samples: image decoded to a single color`."""
    what = "samples" if row.repeats is None else "answers"
    return f"{row.flags[flag]:,} of {row.n_ok:,} {what}: {plain(meaning(flag))}"


def _incomplete(row: ResultRow) -> str:
    counts = [f"{row.n_failed} failed ({numbers.reasons(row.failed)})"] if row.n_failed else []
    counts += [f"{row.n_pending} pending"] if row.n_pending else []
    unscored = row.verdicts.get("not_scored", 0)
    counts += [f"{unscored} not scored"] if unscored else []
    low, high = row.bounds
    return (
        f"incomplete, {', '.join(counts) or 'not all planned samples were scored'} of {row.n_planned}; "
        f"between {numbers.percent(low)} and {numbers.percent(high)} if all of them were wrong or right"
    )


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

    An answer that one of them has not scored is no difference.
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


def protocol_table(views: Sequence[ProtocolView], most: int = 20) -> str:
    """Protocol, score and number of differing verdicts; then at most `most` flips of each protocol.

    The first view is the default that the others are compared with.
    """
    if not views:
        return "no results"
    header = ("task", "budget", "protocol", "n", "score", "95 % CI", "no-answer", "differs")
    lines = [numbers.columns([header, *(_protocol_cells(view, view is views[0]) for view in views)])]
    for view in views:
        lines += _flip_lines(view, most)
    return "\n".join(lines)


def _protocol_cells(view: ProtocolView, is_default: bool) -> tuple[str, ...]:
    row = view.row
    return (
        numbers.task_name(row),
        numbers.budget(row),
        numbers.protocol_name(row),
        numbers.counted(row),
        numbers.headline(row),
        numbers.interval(row),
        numbers.no_answer_share(row),
        "default" if is_default else view.differs,
    )


def _flip_lines(view: ProtocolView, most: int) -> list[str]:
    if not view.flips:
        return []
    header = ("sample", "verdict", "extracted")
    cells = [
        (_sample_name(flip), " → ".join(flip.verdicts), " → ".join(short(value) for value in flip.extracted))
        for flip in view.flips[:most]
    ]
    more = [f"... and {len(view.flips) - most} more"] if len(view.flips) > most else []
    return ["", f"{numbers.protocol_name(view.row)} against the default:", numbers.columns([header, *cells]), *more]


def _sample_name(flip: ProtocolFlip) -> str:
    return plain(flip.key.sample_id) + (f" (repeat {flip.key.repeat})" if flip.key.repeat else "")


def short(value: Json, width: int = 40) -> str:
    """What was extracted, as a few words: `nothing` for None, `""` for an empty text."""
    text = "nothing" if value is None else plain(value) or '""'
    return text if len(text) <= width else f"{text[: width - 1]}…"
