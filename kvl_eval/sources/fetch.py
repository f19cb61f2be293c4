"""Bring the large files that stand beside a data set's tables: archives of videos, documents and subtitles, or these.

    patterns -> planned (sizes, nothing fetched) -> carry_out: each archive fetched, checked, unpacked, then removed

Whatever ends it half way, the next call goes on: a download at the byte where it stopped, an archive at the first file
that is not in its place. `.fetch` beside the unpacked files holds, for each archive, a journal of what is in its place,
whose last line says that all is; and at last `complete.json`, which `is_here` reads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby, product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from kvl_eval.errors import DataError, StorageError, UsageError
from kvl_eval.sources.archives import STATE, opened, place
from kvl_eval.sources.base import Source
from kvl_eval.sources.hub import clear_errors, is_offline
from kvl_eval.sources.media_files import media_home
from kvl_eval.sources.unpacked import Journal, complete, set_complete

PART = ".part."  # `videos.tar.part.aa` is the first part of videos.tar


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of the repository. `identity` is the hash the hub has of it; `path` is set where it lies in a folder."""

    file: str
    size: int
    identity: str
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive: one file, or the parts that give it when they are joined; or a loose file, which is its one entry."""

    name: str
    parts: tuple[Part, ...]

    @property
    def is_loose(self) -> bool:
        """Whether it is no archive."""
        return _is_loose(self.name)

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def identity(self) -> str:
        """Equal for equal content."""
        return ",".join(part.identity for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What would be brought where.

    Attributes:
        home:     the folder that files are unpacked into.
        commit:   of the repository; None where the archives lie in a folder.
        archives: all that belong to the data set.
        todo:     those of which a file is not in its place.
    """

    source: Source
    task: str
    patterns: tuple[str, ...]
    home: Path
    commit: str | None
    archives: tuple[Archive, ...]
    todo: tuple[Archive, ...]

    @property
    def download(self) -> int:
        """Bytes that are still to be fetched."""
        return sum(self.lacking(archive) for archive in self.todo)

    def lacking(self, archive: Archive) -> int:
        """Bytes of one archive that are still to be fetched."""
        return 0 if self.commit is None else sum(_lacking(self.home, part) for part in archive.parts)


def planned(source: Source, patterns: Sequence[str], *, task: str) -> Planned:
    """What a data set's archives are, and how much of them is missing; nothing is fetched.

    Args:
        patterns: names of archives, such as `videos_chunked_*.zip` or `videos.tar.part.*`; after a `|` what is brought
                  where there are none, such as loose files, `videos/*.mp4`.
    Raises: DataError `data.missing`, `data.gated`, `data.offline`, `data.unreachable`.
    """
    home = media_home(source)
    assert home is not None
    if source.data_dir is None and is_offline(source):
        raise DataError(
            "data.offline",
            f"{task}: its videos are not here",
            where=str(home),
            why="offline: nothing is fetched",
            fix=f"`kvl-eval fetch {task}` with a connection, or point --data-dir at a copy",
        )
    commit, files = _listed_folder(home) if source.data_dir is not None else _listed_hub(source, task)
    archives = _archives(files, patterns, source, task)
    todo = tuple(one for one in archives if not _journal(home, one).is_whole)
    return Planned(
        source=source,
        task=task,
        patterns=tuple(patterns),
        home=home,
        commit=commit,
        archives=archives,
        todo=todo,
    )


def carry_out(plan: Planned, *, keep: bool = False) -> None:
    """Fetch and unpack what is missing. `keep` leaves fetched archives where they are; those of a folder always stay.

    Raises: DataError `data.archive` for one that is not safe to unpack, `data.corrupt` where other bytes came than the
        hub announced, and those of `planned`; StorageError; UsageError, while another process does the same.
    """
    state = plan.home / STATE
    with _writing(state), _alone(state):
        for archive in plan.todo:
            if _journal(plan.home, archive).is_whole:  # by another task of the same data set
                continue
            paths = [part.path or _download(plan, part) for part in archive.parts]
            _unpack(archive, paths, plan.home)
            if plan.commit is not None and not keep:
                _remove(paths)
        set_complete(plan.home, plan.patterns, plan.commit)


def is_here(source: Source, patterns: Sequence[str]) -> bool:
    """Whether nothing need be fetched: all is unpacked, or the folder is the user's own. Asks nobody."""
    home = media_home(source)
    if not patterns or home is None or source.data_dir is not None:
        return True
    if home.is_dir() and not (home / STATE).is_dir() and any(home.iterdir()):
        return True
    return all(pattern in complete(home) for pattern in patterns)


def bring(source: Source, patterns: Sequence[str], *, task: str) -> None:
    """Before a run: fetch and unpack what is missing, if it is at most `source.max_download` bytes.

    Raises: DataError `data.too_large`, and those of `carry_out`.
    """
    if is_here(source, patterns):
        return
    plan = planned(source, patterns, task=task)
    if source.max_download is not None and plan.download > source.max_download:
        raise too_large(plan)
    carry_out(plan)


def too_large(plan: Planned) -> DataError:
    """The error of a download that needs the user's word."""
    return DataError(
        "data.too_large",
        f"{plan.task}: its videos and subtitles are a download of {plan.download / 1e9:.1f} GB",
        where=f"hub data set {plan.source.repo}",
        why="downloads above 2 GB need --yes",
        fix=f"`kvl-eval fetch {plan.task} --yes`, or point --data-dir at a copy",
    )


# -- What there is


def _listed_hub(source: Source, task: str) -> tuple[str, list[Part]]:
    from huggingface_hub import HfApi

    assert source.repo is not None
    with clear_errors(source, "the list of files", task):
        info = HfApi().dataset_info(source.repo, revision=source.revision, files_metadata=True)
    files = [
        Part(
            file=one.rfilename,
            size=one.size or 0,
            identity=(one.lfs.sha256 if one.lfs is not None else one.blob_id) or f"{info.sha}/{one.rfilename}",
        )
        for one in info.siblings or []
    ]
    return str(info.sha), files


def _listed_folder(home: Path) -> tuple[None, list[Part]]:
    found = []
    for path in sorted([*home.glob("*"), *home.glob("*/*")]):
        name = path.relative_to(home)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            facts = path.stat()
            found.append(
                Part(file=str(name), size=facts.st_size, identity=f"{facts.st_size}/{facts.st_mtime_ns}", path=path)
            )
    return None, found


def _archives(files: Sequence[Part], patterns: Sequence[str], source: Source, task: str) -> tuple[Archive, ...]:
    """The files that fit, parts of one archive together. Raises: DataError `data.missing`."""
    found = []
    for pattern in patterns:
        kinds = [one for one in pattern.split("|") if source.data_dir is None or not _is_loose(one)]
        fitting = next(filter(None, (_fitting(files, one) for one in kinds)), [])
        if not fitting:
            names = ", ".join(sorted(one.file for one in files)[:8]) or "nothing"
            place = str(source.data_dir or f"hub data set {source.repo}")
            wanted = " or ".join(kinds)
            raise DataError("data.missing", f"{task}: no {wanted} to unpack", where=place, why=f"it has {names}")
        for name, group in groupby(fitting, key=lambda one: one.file.partition(PART)[0]):
            parts = tuple(group)
            _check_parts(name, [one.file.partition(PART)[2] for one in parts], task)
            found.append(Archive(name=name, parts=parts))
    return tuple(found)


def _fitting(files: Sequence[Part], pattern: str) -> list[Part]:
    """Those whose name fits, or whose path where the pattern is one; `*` stands for slashes, too."""
    fits = [one for one in files if fnmatchcase(one.file if "/" in pattern else one.file.rsplit("/", 1)[-1], pattern)]
    return sorted(fits, key=lambda one: one.file)


def _is_loose(name: str) -> bool:
    return not name.partition(PART)[0].endswith((".zip", ".tar"))


def _check_parts(name: str, letters: Sequence[str], task: str) -> None:
    """Raise DataError where a part between the others is missing: they are called aa, ab, ... as `split` does."""
    expected = ["".join(pair) for pair in product(ascii_lowercase, repeat=2)][: len(letters)]
    if letters != [""] and all(len(one) == 2 for one in letters) and list(letters) != expected:
        gap = next(one for one in expected if one not in letters)
        raise DataError("data.missing", f"{task}: {name}{PART}{gap} is missing", why=f"found {len(letters)} parts")


def _lacking(home: Path, part: Part) -> int:
    """Bytes of a part that are not here yet."""
    target = _target(home, part)
    for path in (target, _draft(target)):
        if path.is_file():
            return max(0, part.size - path.stat().st_size)
    return part.size


# -- Fetching


def _target(home: Path, part: Part) -> Path:
    tag = hashlib.sha256(part.identity.encode()).hexdigest()[:12]
    return home / STATE / "archives" / tag / part.file.rsplit("/", 1)[-1]


def _draft(target: Path) -> Path:
    return target.with_name(f"{target.name}.incomplete")


def _download(plan: Planned, part: Part) -> Path:
    """A part's file, its download continued where an earlier one stopped: the hub client's own begins anew."""
    target = _target(plan.home, part)
    if target.is_file():
        return target
    draft = _draft(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if draft.is_file() and draft.stat().st_size > part.size:
        draft.unlink()
    _check_space(plan.home, _lacking(plan.home, part))
    with clear_errors(plan.source, part.file, plan.task), draft.open("ab") as file:
        try:
            _fetch(plan, part, file)
        except OSError as error:
            if type(error) is OSError and error.errno is None:  # the client counted other bytes than announced
                raise ConnectionError(str(error)) from None
            raise
    if len(part.identity) == 64 and _sha256(draft) != part.identity:
        draft.unlink()
        raise DataError(
            "data.corrupt",
            f"{plan.task}: {part.file} is not what the hub announced",
            where=f"hub data set {plan.source.repo}",
            why="its sha256 differs",
            fix="repeat the command: the file is fetched anew",
        )
    os.replace(draft, target)
    return target


def _fetch(plan: Planned, part: Part, file: Any) -> None:
    from urllib.parse import urlsplit

    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    assert plan.source.repo is not None
    url = hf_hub_url(plan.source.repo, part.file, repo_type="dataset", revision=plan.commit)
    place = get_hf_file_metadata(url, token=get_token()).location
    same_host = urlsplit(place).netloc == urlsplit(url).netloc  # elsewhere the token has no business
    http_get(
        place,
        file,
        resume_size=file.tell(),
        headers={**build_hf_headers(token=get_token() if same_host else False), "Accept-Encoding": "identity"},
        expected_size=part.size,
        displayed_filename=part.file,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


# -- Unpacking


def _journal(home: Path, archive: Archive) -> Journal:
    return Journal(home, archive.name, archive.identity)


def _unpack(archive: Archive, paths: Sequence[Path], home: Path) -> None:
    journal = _journal(home, archive)
    there, _ = journal.placed()
    with opened(paths, archive.name if archive.is_loose else None) as found, journal.writing(there) as note:
        left = [entry for entry in found.entries if there.get(entry.name) != entry.size]
        _check_space(home, sum(entry.size for entry in left))
        with _bar(f"unpack {archive.name}", found.size) as advance:
            advance(found.size - sum(entry.size for entry in left))
            for entry in left:
                place(found, entry, home)
                note({"name": entry.name, "size": entry.size})
                advance(entry.size)
        note({"files": len(found.entries)})


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar in bytes on a terminal, nothing elsewhere; gives the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(title, markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda size: bar.advance(task, size)


def _check_space(home: Path, needed: int) -> None:
    free = shutil.disk_usage(home).free
    if needed > free:
        raise StorageError(
            "storage.full",
            f"{home} has no room for {needed / 1e9:.1f} GB",
            why=f"{free / 1e9:.1f} GB are free",
            fix="make space, or name another place with --cache-dir; the command goes on where it stopped",
        )


@contextmanager
def _writing(state: Path) -> Iterator[None]:
    """What goes wrong with writing as one StorageError."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StorageError(
            "storage.write",
            f"{state.parent} cannot be written",
            where=error.filename,
            why=error.strerror or str(error).splitlines()[0],
            fix="the command goes on where it stopped",
        ) from None


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One process at a time; the lock is gone with the process that holds it."""
    with (state / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "usage.busy", f"another process fetches into {state.parent}", fix="wait for it, or stop it"
            ) from None
        yield
