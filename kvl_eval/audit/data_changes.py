"""Which samples of a run's data set differ from what the plan holds, where the data can be reached without network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kvl_eval.decode import decode
from kvl_eval.errors import KvlEvalError
from kvl_eval.run.config import RunConfig, TaskConfig, from_json
from kvl_eval.run.data_digest import data_fingerprint, media_digest, sample_digest
from kvl_eval.run.selection import chosen_samples, in_shard
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import LineReader, encode_line
from kvl_eval.store.records import PlannedSample
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, MediaRef, Sample


@dataclass(frozen=True, slots=True)
class DataChanges:
    """What became of one task's data.

    Attributes:
        unreachable: why the data could not be read; None where it was.
        samples:     {sample id: what changed}.
        elsewhere:   the data's fingerprint differs, but no planned sample that the run folder can tell.
    """

    task: str
    unreachable: str | None = None
    samples: Mapping[str, str] = field(default_factory=dict)
    elsewhere: bool = False


def data_changes(run: RunReader) -> Iterator[DataChanges]:
    """One entry for each task of the run. Raises ConfigError where the manifest holds no configuration."""
    config = from_json(dict(run.folder.manifest.config))
    for task in config.tasks:
        offline = replace(task, source=replace(task.source, offline=True))
        try:
            yield _of_task(run.folder, run.task(task.task), offline, config)
        except KvlEvalError as error:
            yield DataChanges(task.task, unreachable=error.message)


def _of_task(folder: RunFolder, task: Task, config: TaskConfig, run: RunConfig) -> DataChanges:
    stored = {entry.sample_id: entry.sample.offset for entry in folder.plan(config.task)}
    digests: dict[str, bytes] = {}
    media: dict[str, list[str]] = {}
    changed: dict[str, str] = {}
    reader = LineReader(folder.path / "plan.jsonl")
    try:
        for sample in chosen_samples(task, config, run):
            digests[sample.id] = sample_digest(sample)
            if in_shard(sample.question_id, run.shard):
                media[sample.id] = [media_digest(ref) for ref in sample.media if not _is_drawn(ref)]
                texts = (
                    _text_changes(_planned(reader, stored[sample.id]), sample, measured=task.data.measured is not None)
                    if sample.id in stored
                    else "new in the data"
                )
                changed |= {sample.id: texts} if texts else {}
    finally:
        reader.close()
    changed |= {sample_id: "removed from the data" for sample_id in stored if sample_id not in media}
    if data_fingerprint(digests) == folder.manifest.data[config.task].fingerprint:
        return DataChanges(config.task, samples=changed)
    changed = {**_media_changes(folder, config.task, media), **changed}
    return DataChanges(config.task, samples=changed, elsewhere=not changed)


def _planned(reader: LineReader, offset: int) -> PlannedSample:
    return decode(PlannedSample, reader.at(offset))


def _text_changes(stored: PlannedSample, sample: Sample, *, measured: bool) -> str:
    """The names of what differs, columns of the row as `row.NAME`, but for those that only a model can measure."""
    texts = {
        "question": (stored.question, sample.question),
        "choices": (stored.choices, sample.choices),
        "gold": (stored.gold, sample.answers),
    }
    names = [name for name, (before, now) in texts.items() if _bytes(before) != _bytes(now)]
    columns = dict.fromkeys(sample.row if measured else (*stored.row, *sample.row))
    names += [f"row.{name}" for name in columns if _bytes(stored.row.get(name)) != _bytes(sample.row.get(name))]
    return ", ".join(names)


def _is_drawn(ref: MediaRef) -> bool:
    """Whether a picture is drawn by a rule, whose values are its digest: records name what came out."""
    return isinstance(ref, ImageRef) and ref.drawn is not None


def _bytes(value: object) -> bytes:
    return encode_line({"value": value})


def _media_changes(folder: RunFolder, task: str, media: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Samples whose records name other pictures than the data holds now."""
    changed: dict[str, str] = {}
    for record in folder.records(task):
        before = [picture.sha256 for picture in record.media if picture.kind == "image"]
        now = media.get(record.sample_id)
        if before and now is not None and len(before) == len(now) and before != now:
            changed[record.sample_id] = "media"
    return changed
