"""Rows that cannot be used: how they are named, and the sample that stands for one among those that can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.types import Sample

ID_COLUMNS = ("id", "pid", "questionId", "question_id", "q_uid", "video_idx", "idx", "index")
COLUMN = "unusable_row"  # of a stand-in: what is wrong with its row
NAMED = 5  # rows that one message names


def own_ids(values: Mapping[str, object]) -> list[str]:
    """What a row calls itself, by each of the columns for ids."""
    names = (Row(values).identity(column) for column in ID_COLUMNS)
    return [name for name in names if name is not None]


def own_id(values: Mapping[str, object]) -> str | None:
    """The first of `own_ids`."""
    return next(iter(own_ids(values)), None)


def row_place(where: str, row: Row) -> str:
    """Where a row stands, its id too: `testmini.parquet row 12, id 34`."""
    name = own_id(row.values)
    return where if name is None or name in where else f"{where}, id {name[:80]}"


def stand_in(fault: DataError, name: str) -> Sample:
    """A sample for an unusable row: its prompt raises the error."""
    text = {"code": fault.code, "message": fault.message, "where": fault.where, "why": fault.why}
    return Sample(id=name, question="", row={COLUMN: text})


def fault_of(sample: Sample) -> DataError | None:
    """What is wrong with the row that a stand-in stands for; None for any other sample."""
    text = sample.row.get(COLUMN)
    if not isinstance(text, Mapping):
        return None
    parts = Row(text)
    return DataError(
        parts.text("code"),
        parts.text("message"),
        where=parts.optional_text("where"),
        why=parts.optional_text("why"),
    )


def fault_text(fault: DataError) -> str:
    """A fault in one line: where, what and why."""
    return ": ".join(part for part in (fault.where, fault.message, fault.why) if part)


def refuse(task: str, faults: Sequence[DataError], *, is_own: bool = False) -> None:
    """Raises: DataError naming up to five of the rows and how many there are, unless there are none.

    `is_own` says that the rows are of a table of the user's own, which is run whole or not at all.
    """
    if not faults:
        return
    fix = f"run `kvl-eval check data {task}` to list them all"
    fix = fix if is_own else f"{fix}, or use --allow-partial-data to skip them"
    first = faults[0]
    if len(faults) == 1:
        raise DataError(first.code, first.message, where=first.where, why=first.why, fix=first.fix or fix)
    more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    raise DataError(
        first.code,
        f"{task}: {len(faults)} rows are unusable",
        why="; ".join(map(fault_text, faults[:NAMED])) + more,
        fix=f"{first.fix}; {fix}" if is_own and first.fix else fix,
    )
