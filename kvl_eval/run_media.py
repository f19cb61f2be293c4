"""The pictures of a stored run, found again through its data set: for reports. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.config import RunConfig, TaskConfig, from_json
from kvl_eval.errors import KvlEvalError
from kvl_eval.plan import chosen_samples, prompt_messages
from kvl_eval.results import RunFolder
from kvl_eval.tasks import get_task
from kvl_eval.types import ImageRef

if TYPE_CHECKING:
    from PIL.Image import Image

Pictures = Callable[[str, str], "Sequence[Image] | None"]


def run_media(paths: Sequence[Path]) -> Pictures:
    """(task, sample id) -> pictures in the order of the prompt, from the first of the runs whose data can be reached.

    A data set is read on the first call for its task: the bundled split, a local folder, or the hub's cache.
    """
    configs = [from_json(folder.manifest["config"]) for folder in map(RunFolder.open, paths) if _has_config(folder)]
    index: dict[str, dict[str, tuple[ImageRef, ...]]] = {}

    def pictures(task: str, sample_id: str) -> Sequence[Image] | None:
        from kvl_eval.media import open_image, read_bytes

        if task not in index:
            index[task] = _refs(task, configs)
        refs = index[task].get(sample_id)
        return None if refs is None else [open_image(read_bytes(ref), ref.name)[0] for ref in refs]

    return pictures


def _has_config(folder: RunFolder) -> bool:
    return folder.problem is None and "config" in folder.manifest


def _refs(name: str, configs: Sequence[RunConfig]) -> dict[str, tuple[ImageRef, ...]]:
    for run in configs:
        for config in run.tasks:
            if config.task == name:
                try:
                    return _read(run, replace(config, source=replace(config.source, offline=True)))
                except KvlEvalError:  # this run's data is gone; another run may still have it
                    continue
    return {}


def _read(run: RunConfig, config: TaskConfig) -> dict[str, tuple[ImageRef, ...]]:
    task = get_task(config.task)
    found = {}
    for sample in chosen_samples(task, config, run):
        parts = [part for message in prompt_messages(task, config, run, sample) for part in message.parts]
        found[sample.id] = tuple(part for part in parts if isinstance(part, ImageRef))
    return found
