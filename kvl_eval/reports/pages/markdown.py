"""The report as one short Markdown file, for a pull request: at most 150 lines, whatever the number of runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kvl_eval.reports import numbers
from kvl_eval.reports.columns import board_columns, quantity
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages.board import EMPTY, Board, OurScore, PublishedLine
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.front import report_date
from kvl_eval.reports.pages.outcomes import SIGNS, outcome_counts, words_of
from kvl_eval.reports.pages.provenance import command_text
from kvl_eval.reports.pages.score_book import SeriesResult
from kvl_eval.reports.pages.sweeps import Sweep, budget_of, published_curve
from kvl_eval.reports.pages.task_results import task_results
from kvl_eval.reports.pages.warning_table import warning_table
from kvl_eval.verdicts import Sentence, Sign, verdict_sentences

MODELS = 20  # of ours in the table of scores
TASKS = 24  # rows of one table
SWEEPS = 5  # models and tasks in the table of budgets
COMMANDS = 8
OTHERS = 2  # published systems of other families
VERDICTS: dict[Sign, str] = {"up": "better", "down": "worse", "same": "undecided"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~$<>&#!])")


def markdown_page(context: Context, pages: bool = True) -> str:
    """The whole file; `pages` says whether the report's pages are beside it, for links."""
    parts = [
        f"# {escape(context.title)}",
        "\n".join(_sentences(context)),
        *_warnings(context, pages),
        *_scores(context.board, pages),
        *_pair(context),
        *_budgets(context.sweeps),
        *_outcomes(context),
        *_commands(context, pages),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: object) -> str:
    """`text` on one line with nothing left that Markdown or HTML would act upon."""
    return _SPECIAL.sub(r"\\\1", plain(" ".join(str(text).split())))


def code_span(text: object) -> str:
    """Foreign text as code on one line; it may stand in a cell of a table."""
    line = plain(" ".join(str(text).split())).replace("|", "\\|") or " "
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table of cells that are escaped already; those after the first `text_columns` are aligned right."""
    rule = ["---" if number < text_columns else "---:" for number in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rule, *rows))


def _sentences(context: Context) -> Iterator[str]:
    date = report_date(context)
    if date:
        yield f"*{date}.{' Demo model.' if context.demo else ''}*\n"
    for sentence in verdict_sentences(context.evidence):
        yield f"- {_sentence(sentence)}"


def _sentence(sentence: Sentence) -> str:
    """A sentence whose names are bold code."""
    names = sorted(filter(None, sentence.bold), key=len, reverse=True)
    if not names:
        return escape(sentence.text)
    parts = re.split("(" + "|".join(map(re.escape, names)) + ")", sentence.text)
    return "".join(f"**{code_span(part)}**" if part in names else _words(part) for part in parts)


def _words(text: str) -> str:
    """Part of a sentence, its blanks at both ends kept."""
    lead, trail = " " * text.startswith(" "), " " * (text.endswith(" ") and len(text) > 1)
    return f"{lead}{escape(text)}{trail}"


def _warnings(context: Context, pages: bool) -> Iterator[str]:
    warnings = warning_table(context.series)
    if warnings.count:
        link = " [Details](index.html#warnings)" if pages else ""
        yield f"> {warnings.title}: {escape(warnings.summary.replace(' · ', ', '))}.{link}"


def _scores(board: Board, pages: bool) -> Iterator[str]:
    if not board.columns:
        return
    extra = board_columns("markdown", [line.results for line in board.ours])
    heads = ["model", *(escape(column.label) for column in board.columns)]
    heads += [f"{column.title} {column.unit}".strip() for column in extra]
    rows = [
        [
            f"**{code_span(line.series.name)}**",
            *map(_our_cell, line.cells),
            *(quantity(column.number(line.results)) for column in extra),
        ]
        for line in board.ours[:MODELS]
    ]
    rows += [
        [escape(line.label), *(EMPTY if cell is None else cell.text for cell in line.cells), *[EMPTY] * len(extra)]
        for line in _published_lines(board)
    ]
    yield "## Scores"
    yield table(heads, rows)
    sources = " ([sources](published.html))" if pages else ""
    notes = ["Bold: best of these runs. ±: half of the 95 % interval. Plain rows: published results" + sources + "."]
    points = [escape(column.label) for column in board.columns if column.points]
    notes += [f"{', '.join(points)}: points of 1,000."] if points else []
    left = len(board.ours) - MODELS
    notes += [f"{left} more models are on the pages."] if left > 0 else []
    yield " ".join(notes)


def _our_cell(cell: OurScore | None) -> str:
    if cell is None:
        return EMPTY
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text} ±{cell.half}" if cell.half else text


def _published_lines(board: Board) -> list[PublishedLine]:
    """The subject's family, and two more."""
    others = [line for line in board.published if not line.family]
    return [*(line for line in board.published if line.family), *others[:OTHERS]]


def _pair(context: Context) -> Iterator[str]:
    pair = context.evidence.pair
    if pair is None or not pair.gaps:
        return
    rows = [
        [
            escape(gap.task),
            f"{gap.n:,}",
            gap.printed,
            gap.interval,
            VERDICTS[sign] if sign == "same" else f"**{VERDICTS[sign]}**",
        ]
        for gap, sign in zip(pair.gaps[:TASKS], pair.decided, strict=False)
    ]
    yield f"## {code_span(pair.b)} against {code_span(pair.a)}"
    yield table(["task", "n", "difference", "95 % interval", "verdict"], rows)
    yield "Intervals are uncorrected; verdicts use Holm’s correction over these tasks."


def _budgets(sweeps: Sequence[Sweep]) -> Iterator[str]:
    if not sweeps:
        return
    budgets = sorted({budget_of(row) for sweep in sweeps for row in sweep.rows})
    rows = []
    for sweep in sweeps[:SWEEPS]:
        own = {budget_of(row): numbers.headline(row) for row in sweep.rows}
        rows.append([f"{escape(sweep.label)}, {code_span(sweep.series.name)}", *(own.get(b, EMPTY) for b in budgets)])
        published = {budget: score.printed for budget, score in published_curve(sweep.rows[0])}
        if published:
            rows.append([f"{escape(sweep.label)}, published", *(published.get(b, EMPTY) for b in budgets)])
    yield "## Thinking budgets"
    yield table(["task", *map(numbers.budget_label, budgets)], rows)


def _outcomes(context: Context) -> Iterator[str]:
    """A row for each task, and in it for each model how many replies are in each class."""
    models = context.series[:MODELS]
    rows = []
    for task in list(dict.fromkeys(row.task for model in context.series for row in model.run.rows))[:TASKS]:
        results = task_results(context, task)
        texts = {named.result.series.key: _counts(context, named.result) for named in results}
        rows.append([escape(results[0].row.title or task), *(texts.get(model.key, EMPTY) for model in models)])
    yield "## Replies"
    yield table(["task", *(code_span(model.name) for model in models)], rows)
    yield ", ".join(f"{sign} {words_of(outcome)}" for outcome, sign in SIGNS.items()) + "."


def _counts(context: Context, result: SeriesResult) -> str:
    counts = outcome_counts(context.book.replies(result))
    return " ".join(f"{n:,} {SIGNS[outcome]}" for outcome, n in counts.items() if n) or EMPTY


def _commands(context: Context, pages: bool) -> Iterator[str]:
    yield "## Repeat"
    commands = [" ".join(command_text(model).split()) for model in context.series[:COMMANDS]]
    ticks = "`" * max(3, 1 + max((len(run) for text in commands for run in re.findall("`+", text)), default=0))
    yield "\n".join((f"{ticks}sh", *commands, ticks))
    left = len(context.series) - COMMANDS
    more = f"{left} more commands, data" if left > 0 else "Data"
    if pages:
        yield f"{more}, prompts and hashes: [provenance](provenance.html)."
