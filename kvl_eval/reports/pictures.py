"""Pictures of a run's samples, read again from the data set the run used; nothing is ever downloaded for a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvl_eval.errors import DataError, KvlEvalError
from kvl_eval.reports.figures import plain
from kvl_eval.reports.runs import Run
from kvl_eval.types import ImageRef, Sample

if TYPE_CHECKING:
    from PIL.Image import Image


class DataSetPictures:
    """(task, sample id) -> {sha256 of the file: picture}, for samples asked for in about the data set's order.

    Attributes:
        notices: why pictures of a task cannot be shown, one text a task.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.notices: list[str] = []
        self._wanted: dict[str, set[str]] = {}
        self._left: dict[str, Iterator[Sample]] = {}
        self._ahead: dict[str, dict[str, Sample]] = {}
        for run in runs:
            for entry in run.folder.plan():
                self._wanted.setdefault(entry["task"], set()).add(entry["sample_id"])
            for task in (run.manifest.get("config") or {}).get("tasks", ()):
                self._left.setdefault(task["task"], self._samples(task))

    def __call__(self, task: str, sample_id: str) -> Mapping[str, Image]:
        """The sample's still pictures; an empty mapping where the data set or the sample cannot be reached."""
        ahead = self._ahead.setdefault(task, {})
        for sample in self._left.get(task, ()) if sample_id not in ahead else ():
            if sample.id in self._wanted[task]:
                ahead[sample.id] = sample
            if sample.id == sample_id:
                break
        found = ahead.pop(sample_id, None)
        return _pictures(found) if found is not None else {}

    def _samples(self, config: Mapping[str, Any]) -> Iterator[Sample]:
        """The samples of one task's data set, in order; where it cannot be read, none and a notice."""
        from kvl_eval.tasks import get_task, open_split

        try:
            yield from open_split(get_task(config["task"]), _source(config["source"]), config["split"])
        except KvlEvalError as error:
            self.notices.append(f"{plain(config['task'])}: pictures are not shown: {plain(error.message)}")


def _source(stored: Mapping[str, Any]) -> Any:
    """The stored source, restricted to what is on this machine. Raises DataError if it cannot be read."""
    from kvl_eval.sources import Source

    paths = {name: Path(stored[name]) for name in ("data_dir", "cache_dir") if stored.get(name)}
    try:
        return Source(**{**stored, **paths, "offline": True})
    except TypeError as error:
        raise DataError("run.config", "the stored data source cannot be read", why=str(error)) from error


def _pictures(sample: Sample) -> dict[str, Image]:
    from kvl_eval.media.images import open_image, read_bytes

    found: dict[str, Image] = {}
    for ref in sample.media:
        if isinstance(ref, ImageRef):
            data = read_bytes(ref)
            found[hashlib.sha256(data).hexdigest()] = open_image(data, ref.name)[0]
    return found
