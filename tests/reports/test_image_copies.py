"""Copies of images: made once for all reports, small, and made again only where one is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from kvl_eval.reports.image_copies import ImageCache, ImageCopies, SampleMedia, is_whole, processes, side_of
from kvl_eval.reports.image_work import CopyJob, encoded, form_of, small_copies, small_image
from kvl_eval.store.journal import Disk
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.trajectories import store_screen
from kvl_eval.types import ImageRef, MediaInfo, MediaRef
from tests.records import make_media


def picture(number: int, size: tuple[int, int] = (900, 600), form: str = "JPEG") -> bytes:
    """A file of an image that no other number has."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.putpixel((0, 0), (number % 256, 0, 0))
    image.paste((number * 40 % 256, 90, 90), (10, 10, 200, 200))
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


FILES = [picture(number) for number in range(3)]
NAMES = [hashlib.sha256(data).hexdigest() for data in FILES]


def media(*numbers: int) -> tuple[MediaInfo, ...]:
    return tuple(make_media(sha256=NAMES[number], w=900, h=600) for number in numbers)


def samples(*groups: tuple[int, ...]) -> list[SampleMedia]:
    return [SampleMedia.of("t", f"{place}", [media(*numbers)]) for place, numbers in enumerate(groups)]


def copies_of(*numbers: int) -> dict[str, str]:
    return {NAMES[number]: f"{NAMES[number]}.jpg" for number in numbers}


class Refs:
    """The data set: where the images of samples are, and which samples were asked for."""

    def __init__(self, *groups: tuple[int, ...]) -> None:
        self.groups = groups
        self.asked: list[str] = []

    def __call__(self, task: str, sample_id: str) -> Sequence[MediaRef]:
        self.asked.append(sample_id)
        return [ImageRef(name=f"{number}.jpg", data=FILES[number]) for number in self.groups[int(sample_id)]]


def copies(folder: Path, refs: Refs | None, cache: Path, **changes: object) -> ImageCopies:
    (folder).mkdir(parents=True, exist_ok=True)
    return ImageCopies(OutputFolder(folder), ImageCache(cache), refs, workers=0, **changes)  # type: ignore[arg-type]


def test_the_first_report_makes_copies_and_later_ones_take_them(tmp_path: Path) -> None:
    groups = ((0,), (1, 2))
    first = copies(tmp_path / "a", Refs(*groups), tmp_path / "cache")
    assert first.make(samples(*groups)) == copies_of(0, 1, 2)
    assert first.made == 3
    refs = Refs(*groups)
    second = copies(tmp_path / "b", refs, tmp_path / "cache")
    assert second.make(samples(*groups)) == copies_of(0, 1, 2)
    assert (second.made, refs.asked) == (0, [])
    for name in NAMES:
        ours, theirs = ((tmp_path / out / "media" / f"{name}.jpg").read_bytes() for out in "ab")
        assert ours == theirs and is_whole(ours)


def test_an_image_of_several_samples_is_made_once(tmp_path: Path) -> None:
    refs = Refs((0,), (0,), (0, 1))
    report = copies(tmp_path / "out", refs, tmp_path / "cache")
    assert report.make(samples((0,), (0,), (0, 1))) == copies_of(0, 1)
    assert (report.made, refs.asked) == (2, ["0", "2"])


def test_a_build_that_was_stopped_is_completed_by_the_next(tmp_path: Path) -> None:
    class Stopped(Refs):
        def __call__(self, task: str, sample_id: str) -> Sequence[MediaRef]:
            if sample_id == "2":
                raise KeyboardInterrupt
            return super().__call__(task, sample_id)

    groups = ((0,), (1,), (2,))
    stopped = copies(tmp_path / "out", Stopped(*groups), tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        stopped.make(samples(*groups))
    again = copies(tmp_path / "out", Refs(*groups), tmp_path / "cache")
    assert again.make(samples(*groups)) == copies_of(0, 1, 2)
    assert stopped.made + again.made <= 3 + 2, "what was under way is made again, what was finished is not"
    assert not list((tmp_path / "out" / "media").glob(".*"))


def test_a_broken_copy_in_the_cache_is_made_again(tmp_path: Path) -> None:
    copies(tmp_path / "a", Refs((0,)), tmp_path / "cache").make(samples((0,)))
    path = ImageCache(tmp_path / "cache").path(NAMES[0], 640)
    path.write_bytes(path.read_bytes()[:100])
    again = copies(tmp_path / "b", Refs((0,)), tmp_path / "cache")
    assert again.make(samples((0,))) == copies_of(0) and again.made == 1


def test_a_copy_of_an_earlier_report_of_the_run_is_taken_where_the_data_set_is_gone(tmp_path: Path) -> None:
    copies(tmp_path / "run" / "report", Refs((0,)), tmp_path / "cache").make(samples((0,)))
    report = copies(tmp_path / "new", None, tmp_path / "empty", runs=(tmp_path / "run",))
    assert report.make(samples((0,), (1,))) == copies_of(0)
    full = copies(tmp_path / "full", None, tmp_path / "empty", runs=(tmp_path / "run",), size="full")
    assert full.make(samples((0,))) == {}, "a small copy does not stand for a full one"


def test_screens_of_agents_come_from_their_run(tmp_path: Path) -> None:
    store_screen(tmp_path / "run", Disk(), NAMES[1], FILES[1])
    board = Refs((0,))
    report = copies(tmp_path / "report", board, tmp_path / "cache", runs=(tmp_path / "run",))
    assert report.make(samples((0, 1))) == copies_of(0, 1) and board.asked == ["0"]


def test_images_that_a_report_no_longer_shows_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    copies(out, Refs((0,), (1,)), tmp_path / "cache").make(samples((0,), (1,)))
    (out / "media" / "mine.webp").write_bytes(b"mine")
    copies(out, Refs((0,)), tmp_path / "cache").make(samples((0,)))
    assert {path.name for path in (out / "media").iterdir()} == {f"{NAMES[0]}.jpg", "mine.webp"}


def test_a_broken_image_is_left_out_and_the_others_are_made(tmp_path: Path) -> None:
    job = CopyJob(
        refs=(ImageRef(name="bad", data=b"GIF89a broken"), ImageRef(name="good", data=FILES[0])),
        media=media(0),
        sides={NAMES[0]: 640},
    )
    assert [copy.name for copy in small_copies(job)] == [NAMES[0]]


@pytest.mark.parametrize(("kind", "small"), [("image", 640), ("page", 420), ("frame", 256)])
def test_sizes(kind: str, small: int) -> None:
    assert (side_of(kind, "small"), side_of(kind, "full")) == (small, 1600)


@pytest.mark.parametrize(("form", "side"), [("JPEG", 640), ("JPEG", 100), ("PNG", 640)])
def test_a_copy_has_the_longest_side_and_the_shape_of_its_image(form: str, side: int) -> None:
    data = picture(1, (1200, 800), form)
    copy = encoded(small_image(data, "p", side), side, form_of(data))
    image = Image.open(BytesIO(copy))
    assert image.format == {"JPEG": "JPEG", "PNG": "WEBP"}[form] and max(image.size) == side and is_whole(copy)
    assert not is_whole(copy[:-1])
    assert image.size[0] / image.size[1] == pytest.approx(1.5, rel=0.03)


def test_a_jpeg_is_decoded_no_larger_than_needed_and_upright() -> None:
    image = Image.open(BytesIO(picture(1, (1600, 1200))))
    exif = image.getexif()
    exif[0x0112] = 6
    file = BytesIO()
    image.save(file, "JPEG", exif=exif)
    small = small_image(file.getvalue(), "p", 380)
    assert small.size == (600, 800)


def test_a_copy_keeps_colors_and_leaves_out_comments_and_exif() -> None:
    image = Image.open(BytesIO(picture(1)))
    exif = image.getexif()
    exif[0x010E] = "where it was taken"
    file = BytesIO()
    image.save(file, "JPEG", exif=exif, comment=b"by whom", icc_profile=b"a profile")
    copy = Image.open(BytesIO(encoded(small_image(file.getvalue(), "p", 640), 640, "JPEG")))
    assert copy.info["icc_profile"] == b"a profile"
    assert not copy.getexif() and not copy.info.get("comment")


def test_processes_follow_the_work() -> None:
    assert processes(1) == 1
    assert 1 <= processes(10_000) <= 4
