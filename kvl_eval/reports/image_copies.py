"""The images of a report: small copies from the cache folder, else made in worker processes, each once.

The first report that shows an image makes its copy and leaves it in the cache folder, by hash and size; every later one
copies it. A build that was stopped leaves what it made; the next one makes the rest.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kvl_eval.errors import KvlEvalError
from kvl_eval.reports.image_work import JPEG_START, CopyJob, SmallCopy, small_copies
from kvl_eval.reports.pace import Pace
from kvl_eval.reports.thumbnails import SIDE, SIDES, picture_name, spread
from kvl_eval.store.journal import storing
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.trajectories import screen_path
from kvl_eval.types import ImageRef, MediaInfo, MediaRef

if TYPE_CHECKING:
    from kvl_eval.media.pool import MediaPool

log = logging.getLogger(__name__)

CopySize = Literal["small", "full"]
FULL_SIDE = 1600  # pixels
RECIPE = 2  # how copies are made; a change makes all stored ones unknown
SECONDS = 20.0  # for the images of one sample
PROCESSES = 4
IMAGES_OF_PROCESS = 64  # for which starting one more pays
AHEAD = 4  # jobs that wait for each process
OURS = re.compile(r"[0-9a-f]{64}(-\d+)?\.(webp|jpg)")

ENDINGS = (".jpg", ".webp")

CopyFiles = dict[str, str]
"""{name of a copy: its file in `media/`}."""
RefsOf = Callable[[str, str], Sequence[MediaRef]]
"""(task, sample id) -> where its media are; asked once a sample, in about the data set's order."""


def side_of(kind: str, size: CopySize) -> int:
    """The longest side of a copy in pixels: of an image, a page, a frame."""
    return FULL_SIDE if size == "full" else SIDES.get(kind, SIDE)


@dataclass(frozen=True, slots=True)
class ImageCache:
    """Copies by name and size in a folder. Its failures are logged and end no report."""

    folder: Path

    def path(self, name: str, side: int) -> Path:
        """Where the copy of that size is stored."""
        return self.folder / name[:2] / f"{name}-{side}-{RECIPE}"

    def read(self, name: str, side: int) -> bytes | None:
        """The stored copy; None where it is missing or broken."""
        try:
            data = self.path(name, side).read_bytes()
        except OSError:
            return None
        return data if is_whole(data) else None

    def keep(self, name: str, side: int, data: bytes) -> None:
        """Store a copy for later reports."""
        path = self.path(name, side)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, data)
        except OSError as error:
            log.debug("a copy of an image is not kept: %s", error)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMedia:
    """A sample and the images of its records that are shown."""

    task: str
    sample_id: str
    media: tuple[MediaInfo, ...]

    @staticmethod
    def of(task: str, sample_id: str, records: Iterable[Sequence[MediaInfo]]) -> SampleMedia:
        """What is shown of what several records say of one sample's media."""
        by_name = {name: medium for media in records for medium in spread(media) if (name := picture_name(medium))}
        return SampleMedia(task=task, sample_id=sample_id, media=tuple(by_name.values()))


@dataclass(slots=True)
class ImageCopies:
    """`media/` of a report.

    Attributes:
        out:     the report's folder.
        cache:   where copies of other reports are.
        refs_of: where images are; None where none is to be made.
        size:    of the copies.
        runs:    run folders: their `media/` has the screens of agents, `report/media/` copies of an earlier report.
        workers: processes that make copies; 0 makes them in this one, None means as many as pay.
        made:    how many copies were encoded.
    """

    out: OutputFolder
    cache: ImageCache
    refs_of: RefsOf | None = None
    size: CopySize = "small"
    runs: tuple[Path, ...] = ()
    workers: int | None = None
    made: int = 0
    _have: CopyFiles = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    def make(self, samples: Sequence[SampleMedia]) -> CopyFiles:
        """Put copies into `media/` and return which are there; copies of other images are removed.

        Raises: StorageError.
        """
        with storing(self.out.path("media")):
            self.out.path("media").mkdir(parents=True, exist_ok=True)
        pace = Pace(len(samples), sum(len(sample.media) for sample in samples))
        workers = processes(len(samples)) if self.workers is None else self.workers
        waiting: deque[tuple[Future[list[SmallCopy]], CopyJob]] = deque()
        pool: MediaPool[CopyJob, list[SmallCopy]] | None = None
        try:
            for sample in samples:
                job = self._job(sample)
                if job is None:
                    pace.step(len(sample.media))
                    continue
                pool = pool or copying_pool(workers)
                waiting.append((pool.submit(job), job))
                while len(waiting) >= AHEAD * max(1, workers):
                    self._take(*waiting.popleft(), pace)
            while waiting:
                self._take(*waiting.popleft(), pace)
        finally:
            if pool is not None:
                pool.close()
        self._remove_others()
        return self._have

    def _job(self, sample: SampleMedia) -> CopyJob | None:
        """What is to be made of a sample; None where everything is there, or nothing can be reached."""
        named = {name: medium for medium in sample.media if (name := picture_name(medium)) is not None}
        sides = {name: side_of(medium.kind, self.size) for name, medium in named.items() if name not in self._asked}
        self._asked |= set(sides)
        missing = {name: side for name, side in sides.items() if not self._copied(name, side)}
        refs: tuple[MediaRef, ...] = tuple(self._screens(missing))
        if len(refs) < len(missing) and self.refs_of is not None:
            refs += tuple(self.refs_of(sample.task, sample.sample_id))
        if not refs:
            return None
        return CopyJob(refs=refs, media=tuple(named[name] for name in missing), sides=missing)

    def _screens(self, names: Iterable[str]) -> Iterator[ImageRef]:
        """Those of the images that runs keep themselves."""
        for name in names:
            paths = (screen_path(run, name) for run in self.runs)
            path = next((path for path in paths if path is not None and path.is_file()), None)
            if path is not None:
                yield stored_image(path)

    def _copied(self, name: str, side: int) -> bool:
        """Whether `media/` has the copy now: from the cache folder, or as an earlier report left it."""
        data = self.cache.read(name, side)
        if data is None and self.size == "small":
            data = self._left(name, side)
        if data is None:
            return False
        self._write(name, data)
        return True

    def _left(self, name: str, side: int) -> bytes | None:
        """A copy that an earlier report left in one of its folders."""
        for folder in (self.out.path("media"), *(run / "report" / "media" for run in self.runs)):
            for ending in ENDINGS:
                try:
                    data = (folder / f"{name}{ending}").read_bytes()
                except OSError:
                    continue
                if is_whole(data) and _longest_side(data) <= side:
                    return data
        return None

    def _take(self, future: Future[list[SmallCopy]], job: CopyJob, pace: Pace) -> None:
        try:
            copies = future.result()
        except KvlEvalError:  # too slow, or its process died: the page shows a box with the hash
            copies = []
        for copy in copies:
            self.cache.keep(copy.name, job.sides[copy.name], copy.data)
            self._write(copy.name, copy.data)
            self.made += 1
        pace.step(len(job.media))

    def _write(self, name: str, data: bytes) -> None:
        self._have[name] = put_copy(self.out, name, data)

    def _remove_others(self) -> None:
        """Remove what an earlier report into the same folder showed and this one does not."""
        for path in self.out.path("media").iterdir():
            if OURS.fullmatch(path.name) and self._have.get(path.stem) != path.name:
                path.unlink(missing_ok=True)


def put_copy(out: OutputFolder, name: str, data: bytes) -> str:
    """Put a copy into `media/`, and return what the file is called there. Raises: StorageError."""
    path = out.path("media", f"{name}{'.jpg' if data.startswith(JPEG_START) else '.webp'}")
    with storing(path):
        if not path.is_file() or path.read_bytes() != data:
            put(path, data)
    return path.name


def stored_image(path: Path) -> ImageRef:
    """An image by its file."""
    return ImageRef(name=path.name, path=path.name, root=str(path.parent))


def processes(samples: int) -> int:
    """How many worker processes pay for so many samples."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(PROCESSES, cores, -(-samples // IMAGES_OF_PROCESS)))


def put(path: Path, content: bytes) -> None:
    """Put a file in place at once; what can be made again is not waited for until it is on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_whole(data: bytes) -> bool:
    """Whether bytes are a JPEG file with its end, or a WebP file of the length that its header says."""
    if data.startswith(JPEG_START):
        return data.endswith(b"\xff\xd9")
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") + 8 == len(data)


def _longest_side(data: bytes) -> int:
    from io import BytesIO

    from PIL import Image

    try:
        return max(Image.open(BytesIO(data), formats=("JPEG", "WEBP")).size)
    except (OSError, ValueError, SyntaxError):
        return FULL_SIDE + 1


def copying_pool(workers: int) -> MediaPool[CopyJob, list[SmallCopy]]:
    """Processes that make copies; close it."""
    from kvl_eval.media.pool import MediaPool

    return MediaPool(small_copies, workers=workers, timeout=SECONDS)
