"""What large files stand beside a data set's tables, where they go, and how much of them is still to be fetched.

Files of a repository or folder that fit the task's patterns become archives; nothing is fetched here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby, product
from pathlib import Path
from string import ascii_lowercase

from kvl_eval.errors import DataError
from kvl_eval.sources.archives import STATE
from kvl_eval.sources.base import Source
from kvl_eval.sources.hub import clear_errors, is_offline
from kvl_eval.sources.media_files import media_home
from kvl_eval.sources.unpacked import UnpackLog

PART = ".part."  # `videos.tar.part.aa` is the first part of videos.tar


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePart:
    """A file of the repository. `identity` is the hash the hub has of it; `path` is set where it lies in a folder."""

    file: str
    size: int
    identity: str
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive: one file, or the parts that give it when they are joined; or a loose file, which is its one entry."""

    name: str
    parts: tuple[ArchivePart, ...]

    @property
    def is_loose(self) -> bool:
        """Whether it is not an archive."""
        return _is_loose(self.name)

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def identity(self) -> str:
        """Equal for equal content."""
        return ",".join(part.identity for part in self.parts)

    def log(self, home: Path) -> UnpackLog:
        """What of it is in its place below `home`."""
        return UnpackLog(home, self.name, self.identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
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
        return 0 if self.commit is None else sum(bytes_lacking(self.home, part) for part in archive.parts)


def plan_fetch(source: Source, patterns: Sequence[str], *, task: str) -> FetchPlan:
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
            f"the videos of {task} are not downloaded",
            where=str(home),
            why="offline mode is on",
            fix=f"run `kvl-eval fetch {task}` with a connection, or use --data-dir with a local copy",
        )
    commit, files = _listed_folder(home) if source.data_dir is not None else _listed_hub(source, task)
    archives = _archives(files, patterns, source, task)
    todo = tuple(archive for archive in archives if not archive.log(home).is_whole)
    return FetchPlan(
        source=source,
        task=task,
        patterns=tuple(patterns),
        home=home,
        commit=commit,
        archives=archives,
        todo=todo,
    )


def _listed_hub(source: Source, task: str) -> tuple[str, list[ArchivePart]]:
    from huggingface_hub import HfApi

    assert source.repo is not None
    with clear_errors(source, "the list of files", task):
        info = HfApi().dataset_info(source.repo, revision=source.revision, files_metadata=True)
    files = [
        ArchivePart(
            file=one.rfilename,
            size=one.size or 0,
            identity=(one.lfs.sha256 if one.lfs is not None else one.blob_id) or f"{info.sha}/{one.rfilename}",
        )
        for one in info.siblings or []
    ]
    return str(info.sha), files


def _listed_folder(home: Path) -> tuple[None, list[ArchivePart]]:
    found = []
    for path in sorted([*home.glob("*"), *home.glob("*/*")]):
        name = path.relative_to(home)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            facts = path.stat()
            found.append(
                ArchivePart(
                    file=str(name), size=facts.st_size, identity=f"{facts.st_size}/{facts.st_mtime_ns}", path=path
                )
            )
    return None, found


def _archives(files: Sequence[ArchivePart], patterns: Sequence[str], source: Source, task: str) -> tuple[Archive, ...]:
    """The files that fit, parts of one archive together. Raises: DataError `data.missing`."""
    found = []
    for pattern in patterns:
        kinds = [one for one in pattern.split("|") if source.data_dir is None or not _is_loose(one)]
        fitting = next(filter(None, (_fitting(files, one) for one in kinds)), [])
        if not fitting:
            names = ", ".join(sorted(one.file for one in files)[:8]) or "nothing"
            place = str(source.data_dir or f"hub data set {source.repo}")
            wanted = " or ".join(kinds)
            raise DataError(
                "data.missing", f"{task}: there is no {wanted} to unpack", where=place, why=f"it contains {names}"
            )
        for name, group in groupby(fitting, key=lambda one: one.file.partition(PART)[0]):
            parts = tuple(group)
            _check_parts(name, [one.file.partition(PART)[2] for one in parts], task)
            found.append(Archive(name=name, parts=parts))
    return tuple(found)


def _fitting(files: Sequence[ArchivePart], pattern: str) -> list[ArchivePart]:
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


def bytes_lacking(home: Path, part: ArchivePart) -> int:
    """Bytes of a part that are not here yet."""
    target = download_place(home, part)
    for path in (target, draft_of(target)):
        if path.is_file():
            return max(0, part.size - path.stat().st_size)
    return part.size


def download_place(home: Path, part: ArchivePart) -> Path:
    """Where a fetched part lies until its archive is unpacked."""
    tag = hashlib.sha256(part.identity.encode()).hexdigest()[:12]
    return home / STATE / "archives" / tag / part.file.rsplit("/", 1)[-1]


def draft_of(target: Path) -> Path:
    """Where a part lies while it is fetched."""
    return target.with_name(f"{target.name}.incomplete")
