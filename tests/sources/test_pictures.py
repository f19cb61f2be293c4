"""Pictures that a table names: folders, archives, other rows."""

from pathlib import Path

import pytest

from kvl_eval.errors import MediaError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Row
from kvl_eval.sources.pictures import NamedPictures, picture_key, shared_cells
from kvl_eval.types import ImageRef
from tests.tasks.tables import png, write_pictures, write_zip


@pytest.mark.parametrize("home", ["", "images", "set/images", "set"])
def test_a_folder_is_found_wherever_it_lies(tmp_path: Path, home: str) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    write_pictures(tmp_path / home, ["web/a.png"])
    ref = NamedPictures(tmp_path, ("images",)).find("web/a.png", name="p", where="row 1")
    assert read_bytes(ref) == png(0)


@pytest.mark.parametrize("member", ["a.png", "screens/a.png", "x/screens/a.png"])
def test_an_archive_is_read_without_unpacking(tmp_path: Path, member: str) -> None:
    write_zip(tmp_path / "set" / "screens.zip", [member])
    ref = NamedPictures(tmp_path).find("a.png", name="p", where="row 1")
    assert read_bytes(ref) == png(0)
    assert [path.name for path in tmp_path.rglob("*.png")] == []


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "x/../../a.png", "missing.png"])
def test_a_name_that_leads_outside_or_nowhere_fails_when_opened(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write_pictures(tmp_path, ["a.png"])
    ref = NamedPictures(root, ("images",)).find(name, name="p", where="row 1")
    with pytest.raises(MediaError):
        read_bytes(ref)


def test_a_broken_archive_leaves_its_pictures_missing(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK no more")
    ref = NamedPictures(tmp_path).find("a.png", name="p", where="row 1")
    with pytest.raises(MediaError):
        read_bytes(ref)


def test_without_a_folder_nothing_is_found() -> None:
    with pytest.raises(MediaError):
        read_bytes(NamedPictures(None, ("images",)).find("a.png", name="p", where="row 1"))


def test_cells_that_name_another_row_get_its_picture() -> None:
    long = "A" * 100
    rows = [Row({"index": 3, "image": long}, "1"), Row({"index": "4", "image": "3"}, "2"), Row({"image": "9"}, "3")]
    assert [row.values["image"] for row in shared_cells(iter(rows))] == [long, long, "9"]


def test_equal_pictures_have_equal_keys() -> None:
    first, same, other = (ImageRef(name=name, data=png(shade)) for name, shade in (("a", 1), ("b", 1), ("c", 2)))
    assert picture_key(first) == picture_key(same) != picture_key(other)
    assert picture_key(ImageRef(name="d", path="d.png")) is None
