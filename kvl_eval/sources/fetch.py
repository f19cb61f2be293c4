"""Bring the large files that stand beside a data set's tables: archives of videos, documents and subtitles, or these.

    patterns -> plan_fetch (sizes, nothing fetched) -> carry_out: each archive fetched, checked, unpacked, then removed

After an interruption the next call continues: a download at the byte where it stopped, an archive at the first file
that is not in its place. `.fetch` beside the unpacked files holds, for each archive, a journal of what is in its place,
whose last line says that all is; and at last `complete.json`, which `is_here` reads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kvl_eval.byte_bar import byte_bar
from kvl_eval.disk_space import require_space
from kvl_eval.errors import DataError, StorageError, UsageError
from kvl_eval.sources.archive_plan import (
    Archive,
    ArchivePart,
    FetchPlan,
    bytes_lacking,
    download_place,
    draft_of,
    plan_fetch,
)
from kvl_eval.sources.archives import STATE, opened, place
from kvl_eval.sources.base import Source
from kvl_eval.sources.hub import clear_errors
from kvl_eval.sources.media_files import media_home
from kvl_eval.sources.unpacked import complete, set_complete


def carry_out(plan: FetchPlan, *, keep: bool = False) -> None:
    """Fetch and unpack what is missing. `keep` leaves fetched archives where they are; those of a folder always stay.

    Raises: DataError `data.archive` for one that is not safe to unpack, `data.corrupt` where other bytes came than the
        hub announced, and those of `plan_fetch`; StorageError; UsageError, while another process does the same.
    """
    state = plan.home / STATE
    with _writing(state), _alone(state):
        for archive in plan.todo:
            if archive.log(plan.home).is_whole:  # by another task of the same data set
                continue
            paths = [part.path or _download(plan, part) for part in archive.parts]
            _unpack(archive, paths, plan.home)
            if plan.commit is not None and not keep:
                _remove(paths)
        set_complete(plan.home, plan.patterns, plan.commit)


def is_here(source: Source, patterns: Sequence[str]) -> bool:
    """Whether nothing need be fetched: all is unpacked, or the folder is the user's own. Sends no request."""
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
    plan = plan_fetch(source, patterns, task=task)
    if source.max_download is not None and plan.download > source.max_download:
        raise too_large(plan)
    carry_out(plan)


def too_large(plan: FetchPlan) -> DataError:
    """The error of a download that needs the user's word."""
    return DataError(
        "data.too_large",
        f"the videos and subtitles of {plan.task} are a download of {plan.download / 1e9:.1f} GB",
        where=f"hub data set {plan.source.repo}",
        why="downloads over 2 GB need --yes",
        fix=f"run `kvl-eval fetch {plan.task} --yes`, or use --data-dir with a local copy",
    )


# -- Fetching


def _download(plan: FetchPlan, part: ArchivePart) -> Path:
    """A part's file, its download continued where an earlier one stopped: the hub client itself would start over."""
    target = download_place(plan.home, part)
    if target.is_file():
        return target
    draft = draft_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if draft.is_file() and draft.stat().st_size > part.size:
        draft.unlink()
    require_space(plan.home, bytes_lacking(plan.home, part))
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
            f"{plan.task}: checksum mismatch in {part.file}: the download is damaged",
            where=f"hub data set {plan.source.repo}",
            why="its SHA-256 differs from the published one",
            fix="run the same command again to download the file again",
        )
    os.replace(draft, target)
    return target


def _fetch(plan: FetchPlan, part: ArchivePart, file: BinaryIO) -> None:
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


def _unpack(archive: Archive, paths: Sequence[Path], home: Path) -> None:
    log = archive.log(home)
    there, _ = log.placed()
    with opened(paths, archive.name if archive.is_loose else None) as content, log.writing(there) as lines:
        left = [entry for entry in content.entries if there.get(entry.name) != entry.size]
        require_space(home, sum(entry.size for entry in left))
        with byte_bar(f"unpack {archive.name}", content.size) as advance:
            advance(content.size - sum(entry.size for entry in left))
            for entry in left:
                place(content, entry, home)
                lines.file(entry.name, entry.size)
                advance(entry.size)
        lines.whole(len(content.entries))


@contextmanager
def _writing(state: Path) -> Iterator[None]:
    """What goes wrong with writing as one StorageError."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StorageError(
            "storage.write",
            f"cannot write {state.parent}",
            where=error.filename,
            why=error.strerror or str(error).splitlines()[0],
            fix="run the same command again to continue",
        ) from None


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One process at a time; the lock is gone with the process that holds it."""
    with (state / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "usage.busy", f"another process is downloading to {state.parent}", fix="wait for it or stop it"
            ) from None
        yield
