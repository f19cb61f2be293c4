"""The files that scoring derives from a run: reading `scores/` and `results.json`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from kvl_eval.decode import DEFAULT_LIMITS, Json, decode, read_json
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.store.journal import StoredLine, read_lines
from kvl_eval.store.names import file_name
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import Results
from kvl_eval.store.run_files import read_run_file

Line = TypeVar("Line")


def score_lines(run: Path, task: str, scorer: str) -> Iterator[ScoreLine]:
    """A task's scores in plan order, of the newest version; none where it was not scored so.

    Raises: DataError `run.scores`, naming file and line, for one that cannot be read.
    """
    return read_scores(run, task, scorer, partial(decode, ScoreLine))


def read_scores(run: Path, task: str, scorer: str, read: Callable[[dict[str, Json]], Line]) -> Iterator[Line]:
    """What `read` makes of the fields of each of these lines; it raises DecodeError for what cannot be.

    Raises: as `score_lines`.
    """
    path = newest_scores(run, task, scorer)
    if path is None:
        return
    for line in read_lines(path):
        if line.fields is None:
            raise _damaged_scores(run, path, line, line.damage)
        try:
            yield read(line.fields)
        except DecodeError as error:
            raise _damaged_scores(run, path, line, error.message) from error


def newest_scores(run: Path, task: str, scorer: str) -> Path | None:
    """The score file of the highest version of kvl-eval; file times mean nothing, as copies do not keep them."""
    folder = run / "scores"
    pattern = re.compile(re.escape(f"{file_name(task)}@{file_name(scorer)}-") + r"(\d[^@-]*)\.jsonl")
    matches = [pattern.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    newest = max((match for match in matches if match), key=lambda match: _version_order(match[1]), default=None)
    return None if newest is None else folder / newest[0]


def scores_version(path: Path) -> str:
    """Of which version of kvl-eval a score file is."""
    return path.stem.rpartition("-")[2]


def _version_order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """`0.10.0` comes after `0.9.1`, `0.2.0` after `0.2.0rc1`."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = release[0] if release else ""
    return tuple(map(int, numbers.split(".") if numbers else ())), numbers == version, version


def _damaged_scores(run: Path, path: Path, line: StoredLine, why: str) -> DataError:
    return DataError(
        "run.scores",
        f"{path.name} is damaged",
        where=f"{path} line {line.number}",
        why=why,
        fix=f"`kvl-eval score {run}` rebuilds it",
    )


def read_results(run: Path) -> Results:
    """results.json. Raises DataError `run.results` if it is missing or damaged."""
    path = run / "results.json"
    try:
        return decode(Results, read_json(read_run_file(path, DEFAULT_LIMITS.size)))
    except (DecodeError, OSError) as error:
        why = error.message if isinstance(error, DecodeError) else str(error)
        fix = f"`kvl-eval score {run}` writes it"
        raise DataError("run.results", f"cannot read {path}", why=why, fix=fix) from error
