"""OSWorld's own result folders, read: the steps of each episode and the value that its evaluator gave.

Values cannot be computed again from a folder, since evaluators read a live desktop; they are taken as given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.decode import Json, read_json
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.scorers.episode import EndedBy, episode_answer
from kvl_eval.scoring.prediction_lines import PredictionLine

TRAJECTORY, RESULT = "traj.jsonl", "result.txt"
MOST_BYTES = 256 * 2**20  # of a trajectory
MOST_RESULT = 100  # bytes of a value
ENDS: dict[str, EndedBy] = {name: name for name in ("done", "fail", "max_steps", "unparsable", "time_limit")}


@dataclass(frozen=True, slots=True, kw_only=True)
class OsworldStep:
    """One line of `traj.jsonl`: number of the step, code or DONE, FAIL, WAIT, what the model said, its screen."""

    number: int
    action: str
    response: Json
    screenshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OsworldResult:
    """One episode.

    Attributes:
        domain:   its folder's folder.
        id:       of the task, the name of its folder.
        steps:    in order.
        ended_by: as far as the folder says.
        value:    from 0 to 1; None where there is no `result.txt`, because the episode failed.
    """

    domain: str
    id: str
    steps: tuple[OsworldStep, ...]
    ended_by: EndedBy
    value: float | None


def read_results(folder: Path) -> Iterator[OsworldResult]:
    """The episodes below a folder, by name. Raises: DataError for a file that is damaged, or a value that is none."""
    for place in sorted({path.parent for name in (TRAJECTORY, RESULT) for path in folder.glob(f"**/{name}")}):
        steps, ended_by = _steps(place / TRAJECTORY)
        yield OsworldResult(
            domain=place.parent.name, id=place.name, steps=steps, ended_by=ended_by, value=_value(place / RESULT)
        )


def result_lines(folder: Path, lacking: Callable[[DataError], None]) -> Iterator[tuple[str, PredictionLine]]:
    """(place, prediction) of every episode with a value; `lacking` hears of those without one. Raises: DataError."""
    count = 0
    for result in read_results(folder):
        count += 1
        where = f"{folder.name}/{result.domain}/{result.id}"
        if result.value is None:
            lacking(DataError("data.missing", f"there is no {RESULT}: the episode failed", where=where))
            continue
        answer = episode_answer(result.value, result.ended_by, len({step.number for step in result.steps}))
        yield where, {"id": f"{result.domain}/{result.id}", "response": answer}
    if not count:
        raise DataError(
            "data.empty",
            f"there is no episode below {folder}",
            why=f"no folder in it has {TRAJECTORY} or {RESULT}",
            fix="name a result folder of OSWorld, or what `kvl-eval export --format osworld` wrote",
        )


def _steps(path: Path) -> tuple[tuple[OsworldStep, ...], EndedBy]:
    """The steps of a trajectory, without lines of errors, and what ended it."""
    lines = [] if not path.is_file() else _content(path, MOST_BYTES).splitlines()
    steps: list[OsworldStep] = []
    ended_by: EndedBy = "max_steps"
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = read_json(text)
        except DecodeError as error:
            raise _damaged(path, number, error.message) from None
        if not isinstance(line, dict):
            raise _damaged(path, number, "expected an object")
        step_number = line.get("step_num")
        if "Error" in line and step_number is None:
            continue
        if not isinstance(step_number, int) or isinstance(step_number, bool):
            raise _damaged(path, number, "step_num: expected a whole number")
        action = line.get("action")
        shown = line.get("screenshot_file")
        steps.append(
            OsworldStep(
                number=step_number,
                action=action if isinstance(action, str) else str(action),
                response=line.get("response"),
                screenshot=shown if isinstance(shown, str) else "",
            )
        )
        info = line.get("info")
        named = info.get("ended_by") if isinstance(info, dict) else None
        ended_by = ENDS.get(str(named)) or ({"DONE": "done", "FAIL": "fail"}.get(steps[-1].action) or "max_steps")  # type: ignore[assignment]
    return tuple(steps), ended_by


def _value(path: Path) -> float | None:
    """The value in `result.txt`; the official script would run any other text, here it is an error."""
    if not path.is_file():
        return None
    text = _content(path, MOST_RESULT).decode(errors="replace").strip()
    try:
        value = float({"True": "1", "False": "0"}.get(text, text))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise _damaged(path, 1, f"{text[:40]!r} is not a number from 0 to 1")
    return value


def _content(path: Path, most: int) -> bytes:
    """A file of bounded size, and not a link. Raises: DataError."""
    try:
        if path.is_symlink() or path.stat().st_size > most:
            raise _damaged(path, 1, f"expected a file of at most {most:,} bytes that is not a link")
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, 1, error.strerror or str(error)) from None


def _damaged(path: Path, number: int, why: str) -> DataError:
    return DataError(
        "data.corrupt",
        "a result of OSWorld cannot be read",
        where=f"{path} line {number}",
        why=why,
        fix="remove the folder of this episode, or copy it again",
    )
