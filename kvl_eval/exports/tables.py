"""One row for each planned answer, as CSV or parquet: `pandas.read_csv`, `pandas.read_parquet`.

Both hold the same columns. Lists are lists in parquet and JSON in CSV. In CSV a text that a spreadsheet would take for
a formula starts with an apostrophe, which the data does not hold; parquet holds every text as it is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.exports.answers import ExportedAnswer, TaskAnswers, clean, parts
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 500  # rows of a parquet row group
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # first characters that make a spreadsheet calculate

TEXT, WHOLE, NUMBER, TRUTH, TEXTS = "text", "whole", "number", "truth", "texts"
COLUMNS = {
    "run_id": TEXT,
    "model": TEXT,
    "demo": TRUTH,
    "task": TEXT,
    "split": TEXT,
    "sample_id": TEXT,
    "repeat": WHOLE,
    "budget": WHOLE,
    "policy": TEXT,
    "protocol": TEXT,
    "status": TEXT,
    "failure": TEXT,
    "question": TEXT,
    "choices": TEXTS,
    "gold": TEXTS,
    "categories": TEXT,
    "cluster": TEXT,
    "prompt": TEXT,
    "thinking": TEXT,
    "answer": TEXT,
    "raw_output": TEXT,
    "finish_reason": TEXT,
    "think_closed": TRUTH,
    "budget_forced": TRUTH,
    "extracted": TEXT,
    "score": NUMBER,
    "verdict": TEXT,
    "reason": TEXT,
    "method": TEXT,
    "detail": TEXT,
    "judge": TEXT,
    "judge_reply": TEXT,
    "tokens_prompt": WHOLE,
    "tokens_image": WHOLE,
    "tokens_thinking": WHOLE,
    "tokens_answer": WHOLE,
    "seconds": NUMBER,
    "seed": WHOLE,
    "ended_at": TEXT,
}

TableCell = str | int | float | list[str] | None
Cells = dict[str, TableCell]  # by column


def rows(folder: RunFolder, protocol: str | None = None) -> Iterator[Cells]:
    """One row for each planned answer, task by task, with all of `COLUMNS`; what is not known is None."""
    manifest = folder.manifest
    run: Cells = {"run_id": folder.run_id, "model": manifest.model.name, "demo": manifest.demo}
    for part in parts(folder, protocol):
        for answer in part.answers():
            cells = {**dict.fromkeys(COLUMNS), **run, **_planned(part, answer), **_answered(answer), **_scored(answer)}
            yield {name: clean(cell) for name, cell in cells.items()}


def _planned(part: TaskAnswers, answer: ExportedAnswer) -> Cells:
    entry, sample = answer.entry, answer.entry.sample
    return {
        "task": entry.task,
        "split": entry.split,
        "sample_id": entry.sample_id,
        "repeat": entry.repeat,
        "budget": entry.budget,
        "policy": entry.policy,
        "cluster": sample.cluster,
        "protocol": part.scorer,
        "status": answer.status,
        "question": clean(sample.question),
        "choices": _texts(sample.choices),
        "gold": _texts(sample.gold),
        "categories": _json(sample.categories),
    }


def _answered(answer: ExportedAnswer) -> Cells:
    record = answer.record
    if record is None:
        return {}
    return {
        "thinking": clean(record.thinking),
        "answer": clean(record.answer),
        "raw_output": clean(record.raw_output),
        "finish_reason": record.finish_reason,
        "think_closed": record.think_closed,
        "budget_forced": record.budget_forced,
        "seed": record.seed,
        "ended_at": clean(record.ended_at),
        "failure": record.reason,
        "prompt": clean(record.prompt_text),
        "tokens_prompt": record.tokens.prompt,
        "tokens_image": record.tokens.image,
        "tokens_thinking": record.tokens.thinking,
        "tokens_answer": record.tokens.answer,
        "seconds": record.time.get("total"),
    }


def _scored(answer: ExportedAnswer) -> Cells:
    score = answer.score
    if score is None:
        return {}
    extracted, judge = score.extracted, score.judge
    return {
        "extracted": clean(extracted) if isinstance(extracted, str | None) else _json(extracted),
        "score": score.score,
        "verdict": score.verdict,
        "reason": clean(score.reason),
        "method": score.extract_method,
        "detail": _json(score.detail),
        "judge": None if judge is None else judge.judge,
        "judge_reply": None if judge is None else clean(judge.reply),
    }


def _texts(values: Sequence[str]) -> list[str]:
    return [str(clean(value)) for value in values]


def _json(value: object) -> str:
    return json.dumps(clean(value), ensure_ascii=False)


# -- CSV --------------------------------------------------------------------------------------------------------


def write_csv(folder: RunFolder, out: OutputFolder, protocol: str | None = None) -> Path:
    """Write `samples.csv` into `out`: UTF-8, commas, a header line. Raises: UsageError, DataError, StorageError."""
    return out.write(_csv_lines(rows(folder, protocol)), "samples.csv")


def _csv_lines(table: Iterator[Cells]) -> Iterator[bytes]:
    yield csv_line(list(COLUMNS))
    for row in table:
        yield csv_line([row[name] for name in COLUMNS])


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

    schema = _schema()
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


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {
        TEXT: pa.string(),
        WHOLE: pa.int64(),
        NUMBER: pa.float64(),
        TRUTH: pa.bool_(),
        TEXTS: pa.list_(pa.string()),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
