"""Pictures on disk: what comes back, what happens to broken, concurrent and too many entries."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kvl_eval.errors import ConfigError
from kvl_eval.media.cache import CachedPicture, MediaCache, PictureFacts
from tests.processes import running


class Source:
    """Makes noise pictures and counts how many were asked of it."""

    def __init__(self, count: int = 3, seed: int = 0, size: tuple[int, int] = (40, 30)) -> None:
        self.count, self.seed, self.size, self.made = count, seed, size, 0

    def __iter__(self) -> Iterator[CachedPicture]:
        noise = np.random.default_rng(self.seed)
        for number in range(self.count):
            self.made += 1
            pixels = noise.integers(0, 256, (self.size[1], self.size[0], 3), dtype=np.uint8)
            yield Image.fromarray(pixels), PictureFacts(number, number / 7)


def contents(found: Iterator[CachedPicture]) -> list[tuple[bytes, object]]:
    return [(image.tobytes(), facts) for image, facts in found]


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def test_the_second_reading_makes_nothing_and_gives_the_same(tmp_path: Path) -> None:
    cache, source, again = MediaCache(tmp_path), Source(), Source()
    first = contents(cache.pictures({"file": "a", "frames": [1, 2, 3]}, source))
    second = contents(cache.pictures({"frames": [1, 2, 3], "file": "a"}, again))
    assert first == second
    assert (source.made, again.made, len(first)) == (3, 0, 3)


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    cache, other = MediaCache(tmp_path), Source(seed=1)
    list(cache.pictures({"file": "a"}, Source()))
    assert contents(cache.pictures({"file": "b"}, other)) == contents(iter(Source(seed=1)))
    assert other.made == 3


def test_entries_are_plain_zip_files_of_pictures(tmp_path: Path) -> None:
    list(MediaCache(tmp_path).pictures({"file": "a"}, Source()))
    (path,) = entries(tmp_path)
    with zipfile.ZipFile(path) as stored:
        assert stored.namelist() == ["00000.png", "00001.png", "00002.png", "facts.json"]
        assert {info.compress_type for info in stored.infolist()} == {zipfile.ZIP_STORED}


def test_what_is_not_read_to_its_end_is_not_kept(tmp_path: Path) -> None:
    stream = MediaCache(tmp_path).pictures({"file": "a"}, Source())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert entries(tmp_path) == []


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[CachedPicture]:
        yield from Source(1)
        raise LookupError("decoder")

    with pytest.raises(LookupError):
        list(MediaCache(tmp_path).pictures({"file": "a"}, failing()))
    assert entries(tmp_path) == []


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("cut", [True, False])
def test_a_broken_entry_is_made_anew(tmp_path: Path, place: float, cut: bool) -> None:
    cache, source = MediaCache(tmp_path), Source()
    first = contents(cache.pictures({"file": "a"}, Source()))
    (path,) = entries(tmp_path)
    data = bytearray(path.read_bytes())
    index = int(place * len(data))
    data[index] ^= 0xFF
    path.write_bytes(data[:index] if cut else data)
    assert contents(cache.pictures({"file": "a"}, source)) == first
    assert contents(cache.pictures({"file": "a"}, Source(seed=9))) == first


def test_the_folder_keeps_its_limit_and_the_entries_used_last(tmp_path: Path) -> None:
    size = sum(len(image.tobytes()) for image, _ in Source())
    cache = MediaCache(tmp_path, limit=size * 5)
    for number in range(12):
        list(cache.pictures({"file": number}, Source(seed=number)))
        kept = Source()
        list(cache.pictures({"file": 0}, kept))
        assert kept.made == 0, number
        assert sum(path.stat().st_size for path in entries(tmp_path)) <= cache.limit
        time.sleep(0.01)
    oldest, newest = Source(), Source()
    list(cache.pictures({"file": 11}, newest))
    list(cache.pictures({"file": 1}, oldest))
    assert (newest.made, oldest.made) == (0, 3)


def test_half_written_files_of_dead_runs_are_removed(tmp_path: Path) -> None:
    old, fresh = tmp_path / "ab" / "x.part", tmp_path / "ab" / "y.part"
    old.parent.mkdir()
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    list(MediaCache(tmp_path).pictures({"file": "a"}, Source()))
    assert (old.exists(), fresh.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    assert len(list(MediaCache(blocked).pictures({"file": "a"}, Source()))) == 3


def test_an_entry_evicted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    cache = MediaCache(tmp_path)
    first = contents(cache.pictures({"file": "a"}, Source()))
    stream = cache.pictures({"file": "a"}, Source(seed=5))
    found = [next(stream)]
    (path,) = entries(tmp_path)
    path.unlink()
    assert contents(iter([*found, *stream])) == first


WRITER = """
import sys
from pathlib import Path
from tests.media.test_cache import Source, contents
from kvl_eval.media.cache import MediaCache
cache = MediaCache(Path(sys.argv[1]), limit=40_000)
for turn in range(15):
    for file in range(6):
        expected = contents(iter(Source(seed=file)))
        assert contents(cache.pictures({"file": file}, Source(seed=file))) == expected
print("ok")
"""


def test_concurrent_runs_share_a_folder(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with ExitStack() as stack:
        writers = [stack.enter_context(running(command, cwd=root, env=environment, **pipes)) for _ in range(3)]
        for writer in writers:
            output, errors = writer.communicate(timeout=120)
            assert (writer.returncode, output) == (0, "ok\n"), errors
    assert not list(tmp_path.glob("??/*.part"))
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 40_000


def test_a_cache_without_room_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        MediaCache(tmp_path, limit=0)
