"""One row per planned answer, as CSV, parquet or a data frame: the same columns with the same types.

`COLUMNS` come first, then one column per category of the run's tasks. In CSV, lists are JSON, and a text that a
spreadsheet would take for a formula starts with an apostrophe, which the data does not contain.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.exports.answers import ExportedAnswer, clean, parts
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BATCH = 500  # rows of a parquet row group
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # first characters that make a spreadsheet calculate
SEVERAL = "; "  # between the labels of one category

# Types as pandas calls them: all but the counts that are always known can be missing.
TEXT, COUNT, KNOWN_COUNT, NUMBER, TRUTH, TEXTS = "string", "Int64", "int64", "float64", "boolean", "object"
COLUMNS = {
    "sample_id": TEXT,
    "repeat": KNOWN_COUNT,
    "budget": COUNT,
    "status": TEXT,
    "reason": TEXT,
    "question": TEXT,
    "choices": TEXTS,
    "gold": TEXTS,
    "prompt": TEXT,
    "thinking": TEXT,
    "answer": TEXT,
    "raw_output": TEXT,
    "extracted": TEXT,
    "verdict": TEXT,
    "score": NUMBER,
    "correct": TRUTH,
    "finish_reason": TEXT,
    "think_closed": TRUTH,
    "prompt_tokens": COUNT,
    "image_tokens": COUNT,
    "thinking_tokens": COUNT,
    "answer_tokens": COUNT,
    "seconds": NUMBER,
    "task": TEXT,
    "split": TEXT,
    "policy": TEXT,
    "protocol": TEXT,
    "method": TEXT,
    "detail": TEXT,
    "judge": TEXT,
    "judge_reply": TEXT,
    "cluster": TEXT,
    "budget_forced": TRUTH,
    "seed": COUNT,
    "ended_at": TEXT,
    "run_id": TEXT,
    "model": TEXT,
    "demo": TRUTH,
    "trajectory": TEXT,
}

TableCell = str | int | float | list[str] | None
Cells = dict[str, TableCell]  # by column


def columns_of(folder: RunFolder, tasks: Iterable[str]) -> dict[str, str]:
    """{column: type as pandas calls it}: `COLUMNS`, then the categories of these tasks in order of appearance.

    A category with the name of one of `COLUMNS` is called `category_NAME`.
    """
    names = {name: None for task in tasks for entry in folder.plan(task) for name in entry.sample.categories}
    return {**COLUMNS, **dict.fromkeys(map(_category_column, names), TEXT)}


def rows(folder: RunFolder, protocol: str | None = None) -> Iterator[Cells]:
    """The cells of every planned answer, task by task; what is not known is missing or None."""
    for part in parts(folder, protocol):
        for answer in part.answers():
            yield sample_cells(folder, part.scorer, answer)


def sample_cells(folder: RunFolder, scorer: str, answer: ExportedAnswer) -> Cells:
    """One planned answer of a run, scored under `scorer` (as `scores/` calls it)."""
    manifest = folder.manifest
    run: Cells = {"run_id": folder.run_id, "model": manifest.model.name, "demo": manifest.demo, "protocol": scorer}
    cells = {**run, **_planned(answer), **_answered(answer), **_scored(answer)}
    record, score = answer.record, answer.score
    cells["reason"] = record.reason if record is not None and record.reason else None if score is None else score.reason
    return {name: clean(cell) for name, cell in cells.items()}


def _planned(answer: ExportedAnswer) -> Cells:
    entry, sample = answer.entry, answer.entry.sample
    labels = {_category_column(name): SEVERAL.join(values) for name, values in sample.categories.items() if values}
    return {
        **labels,
        "task": entry.task,
        "split": entry.split,
        "sample_id": entry.sample_id,
        "repeat": entry.repeat,
        "budget": entry.budget,
        "policy": entry.policy,
        "cluster": sample.cluster,
        "status": answer.status,
        "question": sample.question,
        "choices": list(sample.choices),
        "gold": list(sample.gold),
    }


def _category_column(name: str) -> str:
    label = str(clean(name))
    return f"category_{label}" if label in COLUMNS else label


def _answered(answer: ExportedAnswer) -> Cells:
    record = answer.record
    if record is None:
        return {}
    texts = {"thinking": record.thinking, "answer": record.answer, "raw_output": record.raw_output}
    is_ok = record.status == "ok"
    return {
        **{name: text if is_ok else text or None for name, text in texts.items()},
        "finish_reason": record.finish_reason,
        "think_closed": record.think_closed,
        "budget_forced": record.budget_forced,
        "seed": record.seed,
        "ended_at": record.ended_at,
        "prompt": record.prompt_text,
        "prompt_tokens": record.tokens.prompt,
        "image_tokens": record.tokens.image,
        "thinking_tokens": record.tokens.thinking,
        "answer_tokens": record.tokens.answer,
        "seconds": record.time.get("total"),
        "trajectory": record.extra.trajectory,
    }


def _scored(answer: ExportedAnswer) -> Cells:
    score = answer.score
    if score is None:
        return {}
    extracted, judge = score.extracted, score.judge
    return {
        "extracted": extracted if isinstance(extracted, str | None) else _json(extracted),
        "score": score.score,
        "correct": None if score.verdict == "not_scored" else score.verdict == "correct",
        "verdict": score.verdict,
        "method": score.extract_method,
        "detail": _json(score.detail),
        "judge": None if judge is None else judge.judge,
        "judge_reply": None if judge is None else judge.reply,
    }


def _json(value: object) -> str:
    return json.dumps(clean(value), ensure_ascii=False)


def frame(table: Iterable[Cells], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a data frame with these columns and types."""
    import pandas as pd

    cells = list(table)
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in cells], dtype=dtype) for name, dtype in columns.items()}
    )


# -- CSV --------------------------------------------------------------------------------------------------------


def write_csv(folder: RunFolder, out: OutputFolder, protocol: str | None = None) -> Path:
    """Write `samples.csv` into `out`: UTF-8, commas, a header line. Raises: UsageError, DataError, StorageError."""
    return out.write(_csv_lines(rows(folder, protocol), list(_columns(folder, protocol))), "samples.csv")


def _csv_lines(table: Iterator[Cells], columns: Sequence[str]) -> Iterator[bytes]:
    yield csv_line(columns)
    for row in table:
        yield csv_line([row.get(name) for name in columns])


def _columns(folder: RunFolder, protocol: str | None) -> dict[str, str]:
    return columns_of(folder, dict.fromkeys(part.task for part in parts(folder, protocol)))


def csv_line(cells: Sequence[object]) -> bytes:
    """One line of a CSV file in which no text acts as a formula; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_cell(cell) for cell in cells])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, list | Mapping):
        value = _json(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


# -- parquet ----------------------------------------------------------------------------------------------------


def write_parquet(folder: RunFolder, out: OutputFolder, protocol: str | None = None) -> Path:
    """Write `samples.parquet` into `out`, a row group at a time. Raises: UsageError, DataError, StorageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(_columns(folder, protocol))
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        batch: list[Cells] = []
        for row in rows(folder, protocol):
            batch.append(row)
            if len(batch) == BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return out.write([buffer.getvalue()], "samples.parquet")


def _schema(columns: Mapping[str, str]) -> pa.Schema:
    """Types of the columns, with the note by which pandas reads them back as the types of `frame`."""
    import pyarrow as pa

    kinds = {
        TEXT: pa.string(),
        COUNT: pa.int64(),
        KNOWN_COUNT: pa.int64(),
        NUMBER: pa.float64(),
        TRUTH: pa.bool_(),
        TEXTS: pa.list_(pa.string()),
    }
    note = pa.Schema.from_pandas(frame((), columns), preserve_index=False).metadata
    return pa.schema([(name, kinds[dtype]) for name, dtype in columns.items()], metadata=note)
