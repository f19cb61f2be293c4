"""Score answers that come from anywhere, line by line: what `kvl-eval score --predictions` does."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from kvl_eval.errors import DataError, StorageError, unknown
from kvl_eval.scorers.aggregate import by_question
from kvl_eval.scorers.macro_mean import headline_interval
from kvl_eval.scoring.outputs import Item, Thinking, score_outputs
from kvl_eval.sources import Source
from kvl_eval.sources.local import parse_json_lines, read_json_lines
from kvl_eval.tasks import get_task, open_split
from kvl_eval.tasks.base import Task
from kvl_eval.types import MISSING, Extraction, Sample, Score, Scored

VERDICTS = ("correct", "partial", "wrong", "no_answer", "not_scored")
CHUNK = 256  # answers scored at once, so that long answers do not pile up

Lookup = Callable[[str], Sample | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One line: an answer, and the question it belongs to. `sample` carries no media."""

    id: str
    response: str
    sample: Sample
    extraction: Extraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample whose verdict under one protocol differs from that under the default one."""

    id: str
    default: str
    other: str
    default_extracted: Any
    other_extracted: Any
    reason: str


@dataclass(slots=True, kw_only=True)
class ProtocolScores:
    """What one protocol made of all predictions.

    Attributes:
        protocol: its name.
        label:    as views print it.
        rows:     one dict per prediction: id, extracted, score, verdict, method, reason, gold, detail.
        summary:  the `--json` object: task, protocol, thinking, n, n_scored, score (0 to 1), unit, ci95, official,
                  categories, verdicts.
        flips:    where its verdicts differ from the default protocol's; empty unless several were asked for.
    """

    protocol: str
    label: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    flips: list[Flip] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionScores:
    """The result of scoring a file: one entry per protocol, the default one first where all were asked for."""

    task: str
    thinking: Thinking
    protocols: tuple[ProtocolScores, ...]

    @property
    def first(self) -> ProtocolScores:
        """The protocol that was asked for, or the default one."""
        return self.protocols[0]

    @property
    def complete(self) -> bool:
        """Whether every prediction was scored under the first protocol."""
        return bool(self.first.rows) and self.first.summary["n"] == self.first.summary["n_scored"]

    def as_json(self) -> dict[str, Any]:
        """The `--json` object; with several protocols each one's under `protocols`, with its flips."""
        if len(self.protocols) == 1:
            return self.first.summary
        listed = [
            {
                **one.summary,
                "label": one.label,
                "differs": len(one.flips),
                "flips": [{name: getattr(flip, name) for name in Flip.__slots__} for flip in one.flips],
            }
            for one in self.protocols
        ]
        return {"task": self.task, "thinking": self.thinking, "protocols": listed}


def score(
    task: str | Task,
    rows: Iterable[Mapping[str, Any]],
    *,
    protocol: str | None = None,
    thinking: Thinking = "split",
) -> PredictionScores:
    """Score answers held in memory: each {"id", "response", "row": the data set's columns, "extraction": optional}.

    Raises: UsageError for an unknown task or protocol, DataError for a line that cannot be scored.
    """
    chosen = get_task(task) if isinstance(task, str) else task
    located = ((f"rows[{number}]", row) for number, row in enumerate(rows))
    return score_predictions(chosen, located, protocol=protocol, thinking=thinking)


def score_file(
    task: Task,
    predictions: Path | str,
    *,
    source: Source,
    split: str,
    protocol: str | None = None,
    thinking: Thinking = "split",
    out: Path | None = None,
) -> PredictionScores:
    """Score a JSON Lines file (`.gz` too, `-` for standard input), and write the scored lines to `out`.

    Each line is {"id", "response", "row": the data set's columns in any layout, "extraction": replaces that step}.
    A line without `row` is looked up by id in `split` of `source`. `protocol` None means the task's default, `all`
    each of them.

    Raises: DataError with file and line (`data.corrupt`, `data.field`, `data.duplicate`, `data.unknown_id`),
            UsageError for an unknown protocol, StorageError.
    """
    numbered = _located(str(predictions))
    result = score_predictions(
        task, numbered, lookup=lookup_in(task, source, split), protocol=protocol, thinking=thinking
    )
    if out is not None:
        write_rows(out, result)
    return result


def score_predictions(
    task: Task,
    lines: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    lookup: Lookup | None = None,
    protocol: str | None = None,
    thinking: Thinking = "split",
) -> PredictionScores:
    """Score (where it stands, line) pairs; see `score_file`. `lookup` finds the sample of a line without `row`."""
    names = _protocol_names(task, protocol)
    found = [ProtocolScores(protocol=name, label=task.protocols[name].label or name) for name in names]
    needs_run = any(task.protocols[name].score_run for name in names)
    predictions = read_predictions(task, lines, lookup)
    while chunk := list(islice(predictions, None if needs_run else CHUNK)):
        items: list[Item] = [(one.sample, one.response, one.extraction) for one in chunk]
        for one in found:
            scores = score_outputs(task, one.protocol, items, thinking=thinking)
            for prediction, score in zip(chunk, scores, strict=True):
                one.rows.append(_out_row(prediction, score))
                one.scored.append(Scored(sample=prediction.sample, score=score))
    for one in found:
        one.summary = summary(task, one.protocol, one.scored, thinking)
        one.flips = _flips(found[0], one)
    return PredictionScores(task=task.name, thinking=thinking, protocols=tuple(found))


def read_predictions(
    task: Task, lines: Iterable[tuple[str, Mapping[str, Any]]], lookup: Lookup | None
) -> Iterator[Prediction]:
    """The predictions of located lines. Raises: DataError naming the place."""
    places: dict[str, str] = {}
    for where, line in lines:
        sample = _sample_of(task, line, where, lookup)
        name = str(line.get("id", sample.id))
        if name in places:
            raise DataError(
                "data.duplicate", f"{task.name}: id {name!r} appears twice", where=where, why=f"first at {places[name]}"
            )
        places[name] = where
        yield Prediction(
            id=name,
            response=_response(line, where),
            sample=replace(sample, media=()),
            extraction=line.get("extraction", MISSING),
        )


def lookup_in(task: Task, source: Source, split: str) -> Lookup:
    """A function from id to sample that reads the split on its first call; pictures are let go."""
    index: dict[str, Sample] = {}

    def lookup(name: str) -> Sample | None:
        if not index:
            index.update((one.id, replace(one, media=())) for one in open_split(task, source, split))
        return index.get(name)

    return lookup


def summary(task: Task, protocol: str, scored: Sequence[Scored], thinking: Thinking) -> dict[str, Any]:
    """The `--json` object of one protocol: scores as fractions, `official` as the official script prints it."""
    known = [one for one in by_question(scored) if one.score.value is not None]
    clusters = [one.sample.cluster or f"\0{index}" for index, one in enumerate(known)]
    result = task.aggregate(scored, protocol)
    found = headline_interval(result, known, clusters)
    verdicts: Counter[str] = Counter(one.score.verdict for one in scored)
    return {
        "task": task.name,
        "protocol": protocol,
        "thinking": thinking,
        "n": len(scored),
        "n_scored": sum(one.score.value is not None for one in scored),
        "score": result.score,
        "unit": result.unit,
        "ci95": None if found is None else list(found[:2]),
        "official": dict(result.official),
        "categories": {
            field: {value: {"n": group.n, "score": group.score} for value, group in groups.items()}
            for field, groups in result.categories.items()
        },
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
    }


def write_rows(out: Path, result: PredictionScores) -> None:
    """Write the scored lines, those of several protocols one after the other. Raises: StorageError."""
    several = len(result.protocols) > 1
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".part")
        with _open_for_writing(partial, packed=out.suffix == ".gz") as file:
            for one in result.protocols:
                for row in one.rows:
                    line = {**row, "protocol": one.protocol} if several else row
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        partial.replace(out)
    except OSError as error:
        raise StorageError("storage.write", f"cannot write {out}", why=error.strerror or str(error)) from None


def _open_for_writing(path: Path, *, packed: bool) -> IO[str]:
    return gzip.open(path, "wt", encoding="utf-8") if packed else path.open("w", encoding="utf-8")


def _located(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of a predictions file, or of standard input for `-`."""
    if name == "-":
        numbered, name = parse_json_lines(sys.stdin.buffer, "<stdin>"), "<stdin>"
    else:
        numbered = read_json_lines(Path(name), name)
    yield from ((f"{name}:{number}", line) for number, line in numbered)


def _protocol_names(task: Task, protocol: str | None) -> list[str]:
    if protocol == "all":
        others = [name for name in task.protocols if name != task.default_protocol]
        return [task.default_protocol, *others]
    name = protocol or task.default_protocol
    if name not in task.protocols:
        raise unknown("protocol", name, [*task.protocols, "all"], f"kvl-eval describe {task.name}")
    return [name]


def _sample_of(task: Task, line: Mapping[str, Any], where: str, lookup: Lookup | None) -> Sample:
    row = line.get("row")
    if isinstance(row, Mapping):
        try:
            return task.sample(row)
        except DataError as error:
            raise DataError(
                error.code, error.message, where=where, why=error.why or error.where, fix=error.fix
            ) from None
    if row is not None or "id" not in line:
        raise DataError(
            "data.field",
            f"{task.name}: a line needs `row`, an object with the data set's columns, or an `id` to look it up by",
            where=where,
            why=f"found {', '.join(line) or 'nothing'}",
        )
    found = lookup(str(line["id"])) if lookup else None
    if found is None:
        raise DataError(
            "data.unknown_id",
            f"{task.name}: there is no question {str(line['id'])!r}",
            where=where,
            why="the line has no `row`, and the data set has no such id",
            fix="add `row`, or name the data set with --split, --data-dir or --data-repo",
        )
    return found


def _response(line: Mapping[str, Any], where: str) -> str:
    response = line.get("response", "" if "extraction" in line else None)
    if not isinstance(response, str):
        raise DataError("data.field", "`response` must be text", where=where, why=f"found {str(response)[:60]!r}")
    return response


def _out_row(prediction: Prediction, score: Score) -> dict[str, Any]:
    gold = prediction.sample.answers
    return {
        "id": prediction.id,
        "extracted": score.extracted,
        "score": score.value,
        "verdict": score.verdict,
        "method": score.method,
        "reason": score.reason,
        "gold": gold[0] if len(gold) == 1 else list(gold) or None,
        **({"detail": dict(score.detail)} if score.detail else {}),
    }


def _flips(default: ProtocolScores, other: ProtocolScores) -> list[Flip]:
    return [
        Flip(
            id=mine["id"],
            default=base["verdict"],
            other=mine["verdict"],
            default_extracted=base["extracted"],
            other_extracted=mine["extracted"],
            reason=f"{_why(base)} -> {_why(mine)}",
        )
        for base, mine in zip(default.rows, other.rows, strict=True)
        if base["verdict"] != mine["verdict"]
    ]


def _why(row: Mapping[str, Any]) -> str:
    """How a verdict came about, in a few words."""
    how = row["reason"] or row["method"] or "compared"
    return f"{row['verdict']} ({how}: {str(row['extracted'])[:40]})"
