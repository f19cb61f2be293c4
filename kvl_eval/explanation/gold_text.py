"""Doubtful gold answers, for the terminal and as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kvl_eval.decode import Json, encode
from kvl_eval.explanation.gold import GoldDoubt, GoldReport
from kvl_eval.explanation.sentences import printed
from kvl_eval.printable import one_line, printable, whole

MOST_SHOWN = 20  # doubts in the table


def as_lines(report: GoldReport) -> str:
    """One line per doubt: `id, gold, leading, votes, posterior, categories`."""
    return "".join(json.dumps(_line(doubt), ensure_ascii=False) + "\n" for doubt in report.doubts)


def as_text(report: GoldReport) -> str:
    """The table, the scores with and without the listed samples, and how to look at one."""
    return "\n".join(printable(line).rstrip() for line in _lines(report))


def _line(doubt: GoldDoubt) -> dict[str, Json]:
    names = ("id", "gold", "leading", "votes", "posterior", "categories")
    return {name: encode(getattr(doubt, name)) for name in names}


def _lines(report: GoldReport) -> Iterator[str]:
    asked = f"{report.n:,} questions that all runs answered"
    yield f"check gold  {report.task} / {report.split}   {report.protocol}   {asked}"
    yield ""
    if report.doubts:
        yield f"  {'sample':<28} {'gold':<20} {'leading':<20} {'votes':>7} {'posterior':>10}"
    for doubt in report.doubts[:MOST_SHOWN]:
        support = sum(answer.casefold() == doubt.leading.casefold() for answer in doubt.votes.values())
        gold, votes = _cell(" | ".join(doubt.gold), 20), f"{support}/{len(doubt.votes)}"
        yield (
            f"  {_cell(doubt.id, 28):<28} {gold:<20} {_cell(doubt.leading, 20):<20} {votes:>7} {doubt.posterior:>10.3f}"
        )
    if len(report.doubts) > MOST_SHOWN:
        yield f"  and {len(report.doubts) - MOST_SHOWN:,} more: add --json or --output-file"
    if report.doubts:
        yield ""
    yield f"  {'run':<44} {'score':>7} {'without':>8}   counts as"
    for run in report.runs:
        without = "-" if run.score_without is None else printed(run.score_without, report.unit)
        score = printed(run.score, report.unit)
        yield f"  {_cell(run.run, 44):<44} {score:>7} {without:>8}   {_cell(run.voter, 30)}"
    yield ""
    yield from (f"  {sentence}" for sentence in report.verdict)
    if report.doubts:
        yield f"  open   kvl-eval view {whole(report.runs[0].path)}   then search for {one_line(report.doubts[0].id)}"


def _cell(text: str, width: int) -> str:
    line = one_line(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"
