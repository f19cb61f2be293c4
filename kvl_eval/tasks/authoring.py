"""What an own task file needs to read its rows and media; `kvl_eval` exports it all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kvl_eval.cells import without_numpy
from kvl_eval.sources.cells import image_ref
from kvl_eval.sources.own_file import table_rows
from kvl_eval.types import ImageRef, PdfRef, VideoRef


def read_rows(path: str | Path) -> Iterator[dict[str, object]]:
    """The rows of a .jsonl, .jsonl.gz, .json, .csv, .tsv or .parquet file, in order.

    Raises: DataError for a file that is missing, has another suffix or cannot be read.
    """
    for row in table_rows(Path(path)):
        yield {name: without_numpy(value) for name, value in row.values.items()}


def read_jsonl(path: str | Path) -> Iterator[dict[str, object]]:
    """The rows of a .jsonl or .jsonl.gz file, in order. Raises: DataError, as `read_rows`."""
    return read_rows(path)


def image(source: object, *, root: str | Path | None = None) -> ImageRef:
    """An image that is opened when it is asked about: bytes, a path below `root`, base64, a data URI or {"bytes"}.

    Without `root` a path may be absolute; a relative one is below the current folder.
    """
    if isinstance(source, str | Path) and not str(source).startswith("data:"):
        name, path, root = _place(source, root)
        return image_ref(path, name=name, root=Path(root), where="")
    return image_ref(source, name="image", root=None if root is None else Path(root), where="")


def video(
    path: str | Path,
    *,
    root: str | Path | None = None,
    frames: int | None = None,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
) -> VideoRef:
    """A video file; `frames` and `fps` say how many frames, `start` and `end` (seconds) which part.

    Without them a run decides, by `--frames` and `--fps`. `root` is as for `image`.
    """
    name, path, root = _place(path, root)
    return VideoRef(name=name, path=path, root=root, frames=frames, fps=fps, start=start, end=end)


def pdf(path: str | Path, *, root: str | Path | None = None, dpi: int = 144, max_pages: int | None = None) -> PdfRef:
    """A PDF document, asked about page by page; `root` is as for `image`."""
    name, path, root = _place(path, root)
    return PdfRef(name=name, path=path, root=root, dpi=dpi, max_pages=max_pages)


def _place(path: str | Path, root: str | Path | None) -> tuple[str, str, str]:
    """(name, path below the folder, folder); of a path without a folder, its own one."""
    if root is None:
        root, path = Path(path).absolute().parent, Path(path).name
    return Path(path).name, str(path), str(root)
