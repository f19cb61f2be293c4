"""Rows of golden files as predictions, prompts as the files write them, and what holds for every task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kvl_eval.scoring.predictions import ProtocolScores, score_predictions
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import MISSING, ImageRef, Message, Sample, ScoreView, Summary
from tests.scorers.growth import is_linear
from tests.tasks.tables import read_lines

DATA = Path(__file__).resolve().parent.parent / "data"


def hand_made(folder: str, name: str = "scoring_handmade.jsonl") -> list[dict[str, Any]]:
    """The rows of a vector file that was made for this project."""
    return read_lines(DATA / folder / name)


def scored(task: Task, rows: Sequence[dict[str, Any]], protocol: str, **fields: str) -> ProtocolScores:
    """Golden rows scored as raw text; `extraction="key"` gives a field of the row as extraction."""
    return _scored(task, rows, protocol, "raw", "response", fields)


def scored_split(task: Task, rows: Sequence[dict[str, Any]], protocol: str) -> ProtocolScores:
    """Rows with `response_raw` scored as a model would have written them, thought included."""
    return _scored(task, [row for row in rows if "response_raw" in row], protocol, "answer", "response_raw", {})


def _scored(
    task: Task, rows: Iterable[dict[str, Any]], protocol: str, view: ScoreView, key: str, fields: dict[str, str]
) -> ProtocolScores:
    lines = (
        (
            row["id"],
            {"id": row["id"], "row": row, "response": row.get(key, "")} | {k: row[v] for k, v in fields.items()},
        )
        for row in rows
    )
    return score_predictions(task, lines, protocol=protocol, view=view).first


def after_kimi_thought(text: str) -> str:
    """What follows a thought in Kimi-VL's markers, the only ones that the makers of the vectors split off."""
    before, closing, after = text.partition(THINK_CLOSE)
    return after.strip() if closing else "" if before.lstrip().startswith(THINK_OPEN) else before


def numbered(task: Task, row: dict[str, Any], pictures: int = 1) -> Sample:
    """The sample of a row with pictures whose only byte is their number."""
    cells = {f"image_{n}": {"bytes": bytes([n]), "path": None} for n in range(1, pictures + 1)}
    return task.sample({**row, **cells})


def shown(messages: list[Message]) -> list[dict[str, Any]]:
    """The parts of a user message as the vectors write them; pictures by their number."""
    (message,) = messages
    assert message.role == "user"
    return [{"text": one} if isinstance(one, str) else {"image": _number(one)} for one in message.parts]


def _number(part: Any) -> int:
    assert isinstance(part, ImageRef)
    assert part.data is not None
    return part.data[0]


def percent_of(summary: Summary) -> float:
    """The score in percent; fails where nothing was scored."""
    assert summary.score is not None
    return 100 * summary.score


def check_same_again(task: Task, samples: Iterable[Sample]) -> None:
    """A sample's row gives the same sample, and is JSON."""
    for one in samples:
        again = task.sample(json.loads(json.dumps(one.row)))
        assert (again.id, again.question, again.choices, again.answers, again.categories) == (
            *(one.id, one.question, one.choices, one.answers, one.categories),
        )
        assert (again.cluster, again.group) == (one.cluster, one.group)


def check_golden(
    task: Task, rows: Sequence[dict[str, Any]], protocol: str, extracted: str | None, correct: str
) -> None:
    """Verdicts, and where `extracted` is given what was read, are those of the vectors; thoughts make no difference."""
    assert rows
    for run in (scored(task, rows, protocol), scored_split(task, rows, protocol)):
        found = {row["id"]: row for row in run.rows}
        for row in rows:
            if row["id"] in found:
                assert found[row["id"]]["score"] == float(row["expected"][correct] or 0), row["id"]
                assert extracted is None or found[row["id"]]["extracted"] == row["expected"][extracted], row["id"]


def check_no_response_breaks(task: Task, row: dict[str, Any], response: str) -> None:
    """Whatever a model writes, each protocol gives a score in [0, 1] or says why there is none."""
    sample = task.sample(row)
    for protocol in task.protocols.values():
        score = protocol.score(sample, response, MISSING)
        assert score.value is None if score.verdict == "not_scored" else 0 <= (score.value or 0) <= 1


def check_linear(task: Task, row: dict[str, Any], unit: str) -> None:
    """No protocol takes time that grows faster than a reply of repeated `unit`."""
    sample = task.sample(row)
    for protocol in task.protocols.values():
        assert is_linear(partial(_score, protocol, sample), unit)


def _score(protocol: Protocol, sample: Sample, text: str) -> object:
    return protocol.score(sample, text, MISSING)
