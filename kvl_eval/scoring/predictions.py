"""Score answers that come from anywhere, line by line: what `kvl-eval score --predictions` does."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, NotRequired, TypedDict, cast

from kvl_eval.decode import Json, encode, encode_object
from kvl_eval.errors import DataError, StorageError, unknown
from kvl_eval.printable import without_surrogates
from kvl_eval.scorers.aggregate import by_question
from kvl_eval.scorers.macro_mean import headline_interval
from kvl_eval.scoring.loop import Scoring
from kvl_eval.scoring.osworld_results import result_lines
from kvl_eval.scoring.outputs import Item
from kvl_eval.scoring.prediction_lines import FindSample, PredictionLine, extraction_of, response_of, sample_of
from kvl_eval.sources import STRICT, Reporter, Source
from kvl_eval.sources.local import parse_json_lines, read_json_lines
from kvl_eval.sources.unusable import fault_of, fault_text
from kvl_eval.store.answers import Answer
from kvl_eval.tasks import get_task, open_split
from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample, Score, Scored, ScoreView, StoredView, Unit, stored_view

VERDICTS = ("correct", "partial", "wrong", "no_answer", "not_scored")
KEEPING = Reporter(keeps_bad_rows=True)
CHUNK = 256  # answers scored under one protocol after the other, so that long answers do not pile up


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One line: an answer, and the question it belongs to, without media."""

    id: str
    item: Item
    attempt: None = None  # all lines are one pass over the questions


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """A sample whose verdict under one protocol differs from that under the default one."""

    id: str
    default: str
    other: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScoredPrediction:
    """What a protocol made of a prediction."""

    id: str
    scored: Scored

    def as_json(self) -> dict[str, Json]:
        """The line that `--out` writes."""
        score, gold = self.scored.score, self.scored.sample.answers
        return {
            "id": self.id,
            "extracted": cast("Json", score.extracted),
            "score": score.value,
            "verdict": score.verdict,
            "method": score.method,
            "reason": score.reason,
            "gold": gold[0] if len(gold) == 1 else list(gold) or None,
            **({"detail": cast("Json", dict(score.detail))} if score.detail else {}),
        }


class PredictionGroup(TypedDict):
    """The answers that share one value of a category."""

    n: int
    score: float


class PredictionSummary(TypedDict):
    """What one protocol made of a file, as `--json` prints it; `score` is a fraction."""

    task: str
    protocol: str
    thinking: StoredView
    n: int
    n_scored: int
    score: float | None
    unit: Unit
    ci95: list[float] | None
    official: dict[str, str]
    categories: dict[str, dict[str, PredictionGroup]]
    verdicts: dict[str, int]
    refused: NotRequired[list[str]]  # lines whose rows cannot be used; absent where every line was


class ComparedSummary(PredictionSummary):
    """What one of several protocols made of a file, and where its verdicts differ from the default protocol's."""

    label: str
    differs: int
    flips: list[VerdictChange]


class ProtocolSummaries(TypedDict):
    """What several protocols made of a file, as `--json` prints it."""

    task: str
    thinking: StoredView
    protocols: list[ComparedSummary]
    refused: NotRequired[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolScores:
    """What one protocol made of all predictions.

    Attributes:
        protocol: its name.
        label:    as views print it.
        scores:   one for each prediction.
        summary:  the `--json` object.
        flips:    where its verdicts differ from the default protocol's; empty unless several were asked for.
    """

    protocol: str
    label: str
    scores: Sequence[ScoredPrediction] = field(repr=False)
    summary: PredictionSummary
    flips: Sequence[VerdictChange]

    @property
    def rows(self) -> list[dict[str, Json]]:
        """One JSON object for each prediction: id, extracted, score, verdict, method, reason, gold, detail."""
        return [score.as_json() for score in self.scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionScores:
    """The result of scoring a file: one entry per protocol, the default one first where all were asked for.

    `refused` are the lines left out because their rows cannot be used.
    """

    task: str
    view: ScoreView
    protocols: tuple[ProtocolScores, ...]
    refused: tuple[DataError, ...] = ()

    @property
    def first(self) -> ProtocolScores:
        """The protocol that was asked for, or the default one."""
        return self.protocols[0]

    @property
    def complete(self) -> bool:
        """Whether every prediction was scored under the first protocol."""
        return (
            bool(self.first.scores) and not self.refused and self.first.summary["n"] == self.first.summary["n_scored"]
        )

    def as_json(self) -> dict[str, Json]:
        """The `--json` object; with several protocols each one's under `protocols`, with its flips."""
        refused: dict[str, Json] = {}
        if self.refused:
            refused = {"refused": [fault_text(fault) for fault in self.refused]}
        if len(self.protocols) == 1:
            return encode_object(self.first.summary) | refused
        protocols: list[Json] = [
            {
                **encode_object(scores.summary),
                "label": scores.label,
                "differs": len(scores.flips),
                "flips": encode(scores.flips),
            }
            for scores in self.protocols
        ]
        return {"task": self.task, "thinking": stored_view(self.view), "protocols": protocols, **refused}


def score(
    task: str | Task,
    rows: Iterable[PredictionLine],
    *,
    protocol: str | None = None,
    score_view: ScoreView = "answer",
) -> PredictionScores:
    """Score answers held in memory: each {"id", "response", "row": the data set's columns, "extraction": optional}.

    Raises: UsageError for an unknown task or protocol, DataError for a line that cannot be scored.
    """
    task = get_task(task) if isinstance(task, str) else task
    located = ((f"rows[{number}]", row) for number, row in enumerate(rows))
    return score_predictions(task, located, protocol=protocol, view=score_view)


def score_file(
    task: Task,
    predictions: Path | str,
    *,
    source: Source,
    split: str,
    protocol: str | None = None,
    view: ScoreView = "answer",
) -> PredictionScores:
    """Score a JSON Lines file (`.gz` too, `-` for standard input); `write_rows` writes the scored lines.

    Each line is {"id", "response", "row": the data set's columns in any layout, "extraction": replaces that step}.
    A line without `row` is looked up by id in `split` of `source`. A folder is one of OSWorld's results, whose values
    are taken as given; episodes without one are among `refused`. `protocol` None means the task's default, `all`
    each of them.

    Raises: DataError with file and line (`data.corrupt`, `data.field`, `data.duplicate`, `data.unknown_id`),
            UsageError for an unknown protocol.
    """
    refused: list[DataError] = []
    lines = _located(str(predictions))
    if task.episode is not None and Path(predictions).is_dir():
        lines = result_lines(Path(predictions), refused.append)
    find = sample_finder(task, source, split)
    scores = score_predictions(task, lines, find=find, protocol=protocol, view=view, bad_row=refused.append)
    return replace(scores, refused=tuple(refused))


def score_predictions(
    task: Task,
    lines: Iterable[tuple[str, PredictionLine]],
    *,
    find: FindSample | None = None,
    protocol: str | None = None,
    view: ScoreView = "answer",
    bad_row: Callable[[DataError], None] = STRICT.bad_row,
) -> PredictionScores:
    """Score (where it stands, line) pairs; see `score_file`. `find` gives the sample of a line without `row`.

    `bad_row` hears of a row that cannot be used, whose line is then left out; it raises unless told otherwise.
    """
    names = _protocol_names(task, protocol)
    scores: dict[str, list[ScoredPrediction]] = {name: [] for name in names}
    needs_run = any(task.protocols[name].score_run for name in names)
    predictions = read_predictions(task, lines, find, bad_row)
    while chunk := list(islice(predictions, None if needs_run else CHUNK)):
        for name in names:
            for prediction, answer in Scoring(task, name, view).scores(chunk):
                if answer is not None:
                    scored = Scored(sample=prediction.item.sample, score=answer.score)
                    scores[name].append(ScoredPrediction(prediction.id, scored))
    protocols = (
        ProtocolScores(
            protocol=name,
            label=task.protocols[name].label or name,
            scores=scores[name],
            summary=summary(task, name, [score.scored for score in scores[name]], view),
            flips=_flips(scores[names[0]], scores[name]),
        )
        for name in names
    )
    return PredictionScores(task=task.name, view=view, protocols=tuple(protocols))


def read_predictions(
    task: Task,
    lines: Iterable[tuple[str, PredictionLine]],
    find: FindSample | None,
    bad_row: Callable[[DataError], None] = STRICT.bad_row,
) -> Iterator[Prediction]:
    """The predictions of located lines, but those whose row `bad_row` hears of. Raises: DataError naming the place."""
    places: dict[str, str] = {}
    for where, line in lines:
        sample = sample_of(task, line, where, find)
        if fault := fault_of(sample):
            bad_row(fault)
            continue
        name = str(line.get("id", sample.id))
        if name in places:
            raise DataError(
                "data.duplicate",
                f"{task.name}: id {name!r} appears twice",
                where=where,
                why=f"first at {places[name]}",
                fix="remove one of the two lines",
            )
        places[name] = where
        yield Prediction(
            id=name,
            item=Item(replace(sample, media=()), Answer.of(response_of(line, where)), extraction_of(line)),
        )


def sample_finder(task: Task, source: Source, split: str) -> FindSample:
    """A function from id to sample that reads the split on its first call; pictures are let go."""
    index: dict[str, Sample] = {}

    def find(name: str) -> Sample | None:
        if not index:
            index.update((sample.id, replace(sample, media=())) for sample in open_split(task, source, split, KEEPING))
        return index.get(name)

    return find


def summary(task: Task, protocol: str, scored: Sequence[Scored], view: ScoreView) -> PredictionSummary:
    """The `--json` object of one protocol: scores as fractions, `official` as the official script prints it."""
    known = [answer for answer in by_question(scored) if answer.score.value is not None]
    clusters = [answer.sample.cluster or f"\0{index}" for index, answer in enumerate(known)]
    result = task.aggregate(scored, protocol)
    interval = headline_interval(result, known, clusters)
    verdicts: Counter[str] = Counter(answer.score.verdict for answer in scored)
    return {
        "task": task.name,
        "protocol": protocol,
        "thinking": stored_view(view),
        "n": len(scored),
        "n_scored": sum(answer.score.value is not None for answer in scored),
        "score": result.score,
        "unit": result.unit,
        "ci95": None if interval is None else list(interval[:2]),
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
            for scores in result.protocols:
                for score in scores.scores:
                    line = {**score.as_json(), "protocol": scores.protocol} if several else score.as_json()
                    file.write(json.dumps(without_surrogates(line), ensure_ascii=False) + "\n")
        partial.replace(out)
    except OSError as error:
        why, fix = error.strerror or str(error), "use another --out"
        raise StorageError("storage.write", f"cannot write {out}", why=why, fix=fix) from None


def _open_for_writing(path: Path, *, packed: bool) -> IO[str]:
    return gzip.open(path, "wt", encoding="utf-8") if packed else path.open("w", encoding="utf-8")


def _located(name: str) -> Iterator[tuple[str, PredictionLine]]:
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
    known = task.protocol_named(name)
    if known is None:
        raise unknown("protocol", name, [*task.protocols, "all"], f"kvl-eval describe {task.name}")
    return [known]


def _flips(default: Sequence[ScoredPrediction], other: Sequence[ScoredPrediction]) -> list[VerdictChange]:
    return [
        VerdictChange(
            id=after.id,
            default=before.scored.score.verdict,
            other=after.scored.score.verdict,
            reason=f"{_why(before.scored.score)} -> {_why(after.scored.score)}",
        )
        for before, after in zip(default, other, strict=True)
        if before.scored.score.verdict != after.scored.score.verdict
    ]


def _why(score: Score) -> str:
    """How a verdict came about, in a few words."""
    how = score.reason or score.method or "compared"
    return f"{score.verdict} ({how}: {str(score.extracted)[:40]})"
