"""One line of a predictions file: its sample, its answer, and what replaces the extraction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from kvl_eval.cells import without_numpy
from kvl_eval.errors import DataError
from kvl_eval.sources.unusable import own_id, own_ids, stand_in
from kvl_eval.tasks.base import Task
from kvl_eval.types import MISSING, Extraction, Sample

OTHER_NAMES = ("prediction", "output", "answer")  # for `response`, as other tools write
FindSample = Callable[[str], Sample | None]
"""id -> the sample of a line without `row`."""
PredictionLine = Mapping[str, object]


def sample_of(task: Task, line: PredictionLine, where: str, find: FindSample | None) -> Sample:
    """The sample of a line, or a stand-in for a row that cannot be used; `find` gives that of a line without `row`.

    Raises: DataError `data.field`, `data.unknown_id`.
    """
    row = line.get("row")
    if isinstance(row, Mapping):
        try:
            made = task.sample({name: without_numpy(value) for name, value in row.items()})
        except DataError as error:
            name = str(line.get("id") or own_id(row) or where)
            place = where if name == where else f"{where}, id {name[:80]}"
            fault = DataError(error.code, error.message, where=place, why=error.why, fix=error.fix)
            return stand_in(fault, name)
        _check_id(line, row, made, where)
        return made
    if row is not None or "id" not in line:
        raise DataError(
            "data.field",
            f"{task.name}: a line needs `row` (an object with the data set's columns) or `id`",
            where=where,
            why=f"found {', '.join(line) or 'nothing'}",
        )
    sample = find(str(line["id"])) if find else None
    if sample is None:
        raise DataError(
            "data.unknown_id",
            f"{task.name}: unknown id {str(line['id'])!r}",
            where=where,
            why="the line has no `row`, and the data set has no such id",
            fix="add `row`, or select the data set with --split, --data-dir or --data-repo",
        )
    return sample


def _check_id(line: PredictionLine, row: Mapping[str, object], sample: Sample, where: str) -> None:
    """Raises: DataError `data.field`, where a line's id is not its row's own."""
    own = own_ids(row)
    name = str(line.get("id", sample.id))
    if own and name not in {*own, sample.id, sample.question_id} and not sample.id.endswith(f"/{name}"):
        raise DataError(
            "data.field",
            f"`id` is {name[:80]!r}, but the row's id is {own[0][:80]!r}",
            where=where,
            why="the answer may belong to another sample",
            fix="use the row's id, or remove `id`",
        )


def response_of(line: PredictionLine, where: str) -> str:
    """A line's answer; the empty text where the line has an extraction alone. Raises: DataError `data.field`."""
    other = next((name for name in OTHER_NAMES if name in line), None)
    if other and not {"response", "extraction"} & set(line):
        why = f"the line has `{other}` instead"
        raise DataError(
            "data.field", "there is no `response`", where=where, why=why, fix=f"rename `{other}` to `response`"
        )
    response = line.get("response", "" if "extraction" in line else None)
    if not isinstance(response, str):
        raise DataError("data.field", "`response` must be text", where=where, why=f"found {str(response)[:60]!r}")
    return response


def extraction_of(line: PredictionLine) -> Extraction:
    """What replaces the protocol's own extraction: text, or null for an answer in which nothing was found."""
    return cast("Extraction", line["extraction"]) if "extraction" in line else MISSING
