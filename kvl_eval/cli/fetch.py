"""`kvl-eval fetch`: bring data sets and checkpoints, sizes first; nothing is run and no weights are loaded."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from kvl_eval.backends import MODELS, ModelEntry, resolve_model
from kvl_eval.cli.check import FAULTY
from kvl_eval.cli.run import LARGE
from kvl_eval.cli.task_data import task_and_source
from kvl_eval.cli.terminal import echo
from kvl_eval.decode import encode
from kvl_eval.errors import DataError, UsageError
from kvl_eval.printable import json_line, size_text
from kvl_eval.sources import Reporter, Source
from kvl_eval.sources.archive_plan import FetchPlan, plan_fetch
from kvl_eval.sources.fetch import carry_out
from kvl_eval.sources.media_files import cache_home
from kvl_eval.sources.named_files import NamedFile, bring_named
from kvl_eval.tasks import open_split, select
from kvl_eval.tasks.base import Task
from kvl_eval.types import PdfRef, Sample, VideoRef

SHOWN = 5  # missing files that are named


@dataclass(frozen=True, slots=True)
class FetchedTask:
    """A split that was brought, where its archives were unpacked, and the files its rows name that are not there."""

    task: str
    split: str
    samples: int
    folder: str | None
    missing: list[str]


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """A checkpoint that was brought, and its folder; None for a model without files."""

    model: str
    folder: str | None


def fetch_verb(
    names: Sequence[str], data: Mapping[str, object], *, revision: str | None, yes: bool, keep: bool, as_json: bool
) -> int:
    """Bring what the named tasks and models need. Exit 4 where files are missing afterwards.

    `data` are the options that say where data comes from; `keep` leaves archives where they are.
    """
    tasks, models = _named(names)
    if not data["data_dir"] and (data["offline"] or _hub_is_offline()):
        raise DataError(
            "data.offline",
            "cannot download: offline mode is on",
            why="--offline or HF_HUB_OFFLINE is set",
            fix="remove --offline or unset HF_HUB_OFFLINE",
        )
    consent = _Consent(yes)
    sources = [(task, *task_and_source(task.name, data)[1:]) for task in tasks]
    plans = {
        task.name: plan_fetch(source, task.data.archives, task=task.name)
        for task, source, split in sources
        if task.data.archives and split != "mini"
    }
    _show(plans, consent)
    for task in tasks:
        echo(f"{task.name}: license: {task.licence}", err=True)
    brought = [_task(task, source, split, plans.get(task.name), consent, keep) for task, source, split in sources]
    checkpoints = [_model(entry, revision, consent) for entry in models]
    if as_json:
        echo(json_line(encode([*brought, *checkpoints])))
    return FAULTY if any(entry.missing for entry in brought) else 0


class _Consent:
    """Asks before a download above 2 GB, unless `--yes` was given."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed

    def to(self, size: int, what: str) -> None:
        """Return if the download may begin. Raises: DataError `data.too_large`."""
        if size <= LARGE or self._allowed:
            return
        if sys.stdin.isatty() and click.confirm(f"download {size_text(size)}?", err=True):
            self._allowed = True
            return
        raise DataError(
            "data.too_large",
            f"{what}: a download of {size_text(size)}",
            why="downloads over 2 GB need confirmation",
            fix="add --yes",
        )


def _named(names: Sequence[str]) -> tuple[list[Task], list[ModelEntry]]:
    tasks: dict[str, Task] = {}
    models = []
    for name in [part for text in names for part in text.split(",") if part.strip()]:
        if name in MODELS or "/" in name:
            models.append(resolve_model(name))
        else:
            tasks |= {task.name: task for task in select([name])}
    if not tasks and not models:
        raise UsageError("usage.fetch", "nothing to fetch", fix="name tasks or models; see `kvl-eval list tasks`")
    return list(tasks.values()), models


def _hub_is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _show(plans: Mapping[str, FetchPlan], consent: _Consent) -> None:
    """Say what is to come and how much it is; two tasks may share archives."""
    lacking: dict[tuple[Path, str], int] = {}
    for name, plan in plans.items():
        echo(
            f"{name}: {len(plan.archives)} archives of {size_text(sum(one.size for one in plan.archives))}, "
            f"{len(plan.todo)} to unpack, {size_text(plan.download)} to download, into {plan.home}",
            err=True,
        )
        lacking |= {(plan.home, one.name): plan.lacking(one) for one in plan.todo}
    consent.to(sum(lacking.values()), ", ".join(plans))


def _task(task: Task, source: Source, split: str, plan: FetchPlan | None, consent: _Consent, keep: bool) -> FetchedTask:
    """Archives, then tables; and whether every file that a row names is there."""

    def announce(files: int, size: int) -> None:
        if files:
            echo(f"{task.name}: {files} {'file' if files == 1 else 'files'} to download, {size_text(size)}", err=True)
            consent.to(size, task.name)

    if plan is not None:
        carry_out(plan, keep=keep)
    samples = 0
    media: dict[str, bool] = {}
    own: list[NamedFile] = []
    for sample in open_split(task, source, split, Reporter(download=announce)):
        samples += 1
        media |= _files(sample)
        own += [] if task.data.own_files is None else task.data.own_files(sample)
    home = None if plan is None else plan.home
    if own:
        home = cache_home(source.cache_dir)
        absent = bring_named(
            replace(source, repo=task.repos[0]), own, home, task=task.name, reporter=Reporter(download=announce)
        )
        media |= {file.path: file.path not in absent for file in own}
    missing = sorted(name for name, there in media.items() if not there)
    echo(f"{task.name}: {samples} samples" + (f", {len(media)} files" if media else "") + _gaps(missing), err=True)
    return FetchedTask(task.name, split, samples, None if home is None else str(home), missing)


def _files(sample: Sample) -> dict[str, bool]:
    """{file: whether it is there} of the videos, documents and subtitles of a sample that have a path."""
    refs = [ref for ref in sample.media if isinstance(ref, VideoRef | PdfRef)]
    lines = [ref.subtitles for ref in refs if isinstance(ref, VideoRef) and ref.subtitles is not None]
    named = [(ref.root, ref.path) for ref in (*refs, *lines) if ref.path is not None and ref.root is not None]
    return {path: Path(root, path).is_file() for root, path in named}


def _gaps(missing: Sequence[str]) -> str:
    if not missing:
        return ", all present"
    return f"; {len(missing)} files are missing: {', '.join(missing[:SHOWN])}" + (
        " ..." if len(missing) > SHOWN else ""
    )


def _model(entry: ModelEntry, revision: str | None, consent: _Consent) -> FetchedModel:
    from kvl_eval.model.hub import checkpoint_folder

    def announce(files: int, size: int) -> None:
        echo(f"{entry.name}: {files} files, {size_text(size)} to download from {entry.location}", err=True)
        consent.to(size, entry.name)

    if entry.kind == "fake":
        return FetchedModel(entry.name, None)
    folder = checkpoint_folder(entry.location, revision, announce=announce)
    echo(f"{entry.name}: in {folder}", err=True)
    return FetchedModel(entry.name, str(folder))
