"""The nights of a run: finished run folders, oldest first, with their scores and what changed between them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.audit.compare import TaskComparison, compare
from kvl_eval.decode import Count, DecodeError, Json, decode, encode, read_json
from kvl_eval.errors import DataError, UsageError
from kvl_eval.paired import ChangedSample, PairedScores
from kvl_eval.printable import one_line
from kvl_eval.scoring.rescore import current_results
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_list import list_runs
from kvl_eval.types import Interval, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class NightScore:
    """One task of a night; scores and shares are fractions.

    Attributes:
        tokens_per_second: that the model wrote; null where no record says.
    """

    score: float | None
    ci95: Interval | None
    unit: Unit
    n: Count
    n_planned: Count
    n_failed: Count
    truncated_share: float
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One finished run.

    Attributes:
        run:     its id, `path` its folder.
        created: local time with offset.
        changes: what is other than the night before: model, data, prompt, kvl-eval.
        scores:  {task, with its budget where it has several: score}.
    """

    run: str
    path: str
    created: str
    changes: tuple[str, ...]
    scores: Mapping[str, NightScore]


@dataclass(frozen=True, slots=True)
class NightPair:
    """A task of two nights: how the later one differs, and the samples it lost and gained."""

    scores: PairedScores
    lost: Sequence[ChangedSample]
    gained: Sequence[ChangedSample]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """`state.json`: differences from the pin that were computed already. Derived; it may be deleted.

    Attributes:
        schema:      1.
        differences: {pin and night: {task: difference}}.
    """

    schema: int = 1
    differences: Mapping[str, Mapping[str, float]]


SECONDS = len("20261130-235959")  # of a run's name; runs of one second are told apart by when they ended


def read_nights(folder: Path, most: int) -> list[Night]:
    """The last `most` finished runs in a folder, oldest first. Raises: as `current_results`."""
    paths = [Path(entry.path) for entry in list_runs(folder) if entry.status == "finished"]
    paths.sort(key=lambda path: (path.name[:SECONDS], (path / "results.json").stat().st_mtime_ns))
    nights: list[Night] = []
    before: Manifest | None = None
    for path in paths[-most:]:
        reader = RunReader.open(path)
        manifest = reader.folder.manifest
        nights.append(
            Night(
                run=reader.folder.run_id,
                path=str(path),
                created=manifest.created or "",
                changes=() if before is None else tuple(changes(before, manifest)),
                scores=_scores(reader),
            )
        )
        before = manifest
    return nights


def changes(before: Manifest, after: Manifest) -> list[str]:
    """What differs between two nights, in words."""
    found = []
    if encode(before.model) != encode(after.model):
        found.append("model")
    if any(
        before.data[name].fingerprint != data.fingerprint for name, data in after.data.items() if name in before.data
    ):
        found.append("data")
    prompts = after.prompt.items()
    if any(before.prompt[name].template_sha256 != it.template_sha256 for name, it in prompts if name in before.prompt):
        found.append("prompt")
    if (before.code.version, before.code.files_sha256) != (after.code.version, after.code.files_sha256):
        old, new = (one_line(code.version or "unknown") for code in (before.code, after.code))
        found.append("kvl-eval" if old == new else f"kvl-eval {old} to {new}")
    return found


def pair_nights(old: str, new: str) -> dict[str, NightPair]:
    """{task: how `new` differs from `old`} on the tasks that both have; () for the same run."""
    if Path(old).resolve() == Path(new).resolve():
        return {}
    try:
        comparison = compare(RunReader.open(old), RunReader.open(new))
    except UsageError:
        return {}
    return {
        _label(pair): NightPair(pair.pairs.scores, pair.pairs.lost, pair.pairs.gained)
        for pair in comparison.comparisons
        if pair.pairs.scores is not None
    }


def pin_differences(pin: str, nights: Sequence[Night], state: DriftState) -> tuple[dict[str, list[float]], DriftState]:
    """({task: differences from the pin, oldest night first}, a state with these and no others)."""
    used: dict[str, Mapping[str, float]] = {}
    series: dict[str, list[float]] = {}
    for night in nights:
        key = f"{pin} {night.path}"
        of_night = state.differences.get(key)
        if of_night is None:
            of_night = {task: pair.scores.difference.mean for task, pair in pair_nights(pin, night.path).items()}
        used[key] = of_night
        for task, difference in of_night.items():
            series.setdefault(task, []).append(difference)
    return series, DriftState(differences=used)


def read_state(path: Path) -> DriftState:
    """The state in a file; an empty one where it cannot be read."""
    try:
        return decode(DriftState, read_json(path.read_bytes()))
    except (OSError, DecodeError):
        return DriftState(differences={})


def state_text(state: DriftState) -> str:
    """The state as JSON."""
    return json.dumps(encode(state), sort_keys=True, indent=1) + "\n"


def _label(pair: TaskComparison) -> str:
    return pair.task if pair.b.budget is None else f"{pair.task}@{pair.b.budget}"


def _scores(reader: RunReader) -> dict[str, NightScore]:
    stored: Json = reader.folder.manifest.config.get("protocol")
    scores = {}
    for row in current_results(reader).rows:
        try:
            default = reader.task(row.task).default_protocol
        except (UsageError, DataError):
            default = row.protocol
        named = stored if isinstance(stored, str) and stored != "all" else default
        if row.protocol == named and row.policy != "approximate" and row.thinking == "split":
            scores[row.task if row.budget is None else f"{row.task}@{row.budget}"] = _night_score(row)
    return scores


def _night_score(row: ResultRow) -> NightScore:
    written = sum(row.tokens[name].mean for name in ("thinking", "answer") if name in row.tokens) * row.n_ok
    return NightScore(
        score=row.score,
        ci95=row.ci95,
        unit="points" if row.unit == "points" else "percent",
        n=row.n_scored,
        n_planned=row.n_planned,
        n_failed=row.n_failed,
        truncated_share=row.truncated_share,
        tokens_per_second=written / row.seconds if row.seconds else None,
    )
