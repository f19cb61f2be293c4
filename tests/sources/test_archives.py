"""Archives from strangers: what is unpacked, what is refused, and that nothing lies outside the folder afterwards."""

from __future__ import annotations

import io
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvl_eval.errors import DataError, StorageError
from kvl_eval.sources import archives
from kvl_eval.sources.archives import opened, place
from tests.refusals import refused

Make = Callable[[Path], Path]


def unpack(parts: Sequence[Path], home: Path) -> list[str]:
    with opened(parts) as found:
        for entry in found.entries:
            place(found, entry, home)
        return [entry.name for entry in found.entries]


def files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Make:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.zip", "w", method) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return folder / "a.zip"

    return make


def tarred(*entries: tuple[str | tarfile.TarInfo, bytes], style: int = tarfile.PAX_FORMAT) -> Make:
    def make(folder: Path) -> Path:
        with tarfile.open(folder / "a.tar", "w", format=style) as archive:
            for name, content in entries:
                info = tarfile.TarInfo(name) if isinstance(name, str) else name
                info.size = info.size or len(content)
                archive.addfile(info, io.BytesIO(content))
        return folder / "a.tar"

    return make


def linked(kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo("x")
    info.type, info.linkname = kind, target
    return info


def as_symlink(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


CONTENT = {"videos/a.mp4": b"one", "videos/b/c.mp4": b"two" * 1000, "d.srt": b""}


@pytest.mark.parametrize("make", [zipped(*CONTENT.items()), zipped(*CONTENT.items(), method=zipfile.ZIP_DEFLATED)])
def test_a_zip_archive(tmp_path: Path, make: Make) -> None:
    unpack([make(tmp_path)], tmp_path / "home")
    assert files(tmp_path / "home") == CONTENT


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./", "long" * 30 + "/"])
def test_a_tar_archive(tmp_path: Path, style: int, prefix: str) -> None:
    wanted = {prefix.removeprefix("./") + name: content for name, content in CONTENT.items()}
    make = tarred(*((prefix + name, content) for name, content in CONTENT.items()), style=style)
    unpack([make(tmp_path)], tmp_path / "home")
    assert files(tmp_path / "home") == wanted


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 3000])
def test_a_tar_archive_in_parts_cut_anywhere(tmp_path: Path, cut: int) -> None:
    data = tarred(*CONTENT.items())(tmp_path).read_bytes()
    parts = []
    for number, start in enumerate(range(0, len(data), cut)):
        parts.append(tmp_path / f"a.tar.part.{number:05d}")
        parts[-1].write_bytes(data[start : start + cut])
    unpack(parts, tmp_path / "home")
    assert files(tmp_path / "home") == CONTENT


def test_folders_modes_and_owners_of_the_archive_are_not_taken_over(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x/run.sh")
    info.mode, info.uid, info.mtime = 0o6777, 0, 1
    folder = tarfile.TarInfo("x")
    folder.type, folder.mode = tarfile.DIRTYPE, 0
    unpack([tarred((folder, b""), (info, b"#!"))(tmp_path)], tmp_path / "home")
    facts = (tmp_path / "home" / "x" / "run.sh").stat()
    assert facts.st_mode & 0o7111 == 0
    assert facts.st_mtime > 1000


HOSTILE = {
    "zip-up": (zipped(("../x", b"1")), "points outside the folder"),
    "zip-up-inside": (zipped(("a/../../x", b"1")), "points outside the folder"),
    "zip-absolute": (zipped(("/tmp/x", b"1")), "absolute"),
    "zip-drive": (zipped(("C:/x", b"1")), "absolute"),
    "zip-backslash": (zipped(("a\\..\\x", b"1")), "backslash"),
    "zip-symlink": (zipped((as_symlink("x"), b"/etc/passwd")), "symbolic link"),
    "zip-link-then-file": (zipped((as_symlink("x"), b"/tmp"), ("x/y", b"1")), "symbolic link"),
    "zip-twice": (zipped(("x", b"1"), ("./x", b"2")), "appears twice"),
    "zip-file-and-folder": (zipped(("x", b"1"), ("x/y", b"2")), "is also a file"),
    "zip-bomb": (zipped(("x", bytes(3 << 20)), method=zipfile.ZIP_DEFLATED), "would be unpacked to"),
    "zip-state": (zipped((".fetch/complete.json", b"{}")), "is reserved"),
    "zip-long": (zipped(("x" * 300, b"1")), "too long"),
    "zip-method": (zipped(("x", b"1" * 99), method=zipfile.ZIP_LZMA), "the unsupported compression method"),
    "tar-up": (tarred(("../x", b"1")), "points outside the folder"),
    "tar-absolute": (tarred(("/tmp/x", b"1")), "absolute"),
    "tar-backslash": (tarred(("a\\x", b"1")), "backslash"),
    "tar-newline": (tarred(("a\nx", b"1")), "control character"),
    "tar-no-text": (tarred(("a\udcff", b"1"), style=tarfile.GNU_FORMAT), "not text"),
    "tar-symlink": (tarred((linked(tarfile.SYMTYPE), b"")), "symbolic link"),
    "tar-symlink-inside": (tarred((linked(tarfile.SYMTYPE, "y"), b""), ("y", b"1")), "symbolic link"),
    "tar-hard-link": (tarred((linked(tarfile.LNKTYPE), b"")), "hard link"),
    "tar-device": (tarred((linked(tarfile.CHRTYPE), b"")), "special file"),
    "tar-pipe": (tarred((linked(tarfile.FIFOTYPE), b"")), "special file"),
    "tar-twice": (tarred(("x", b"1"), ("y", b""), ("x", b"2")), "appears twice"),
}


@pytest.mark.parametrize(("make", "why"), HOSTILE.values(), ids=HOSTILE)
def test_D13_hostile_archives_are_refused_before_anything_is_written(tmp_path: Path, make: Make, why: str) -> None:
    (tmp_path / "home").mkdir()
    path = make(tmp_path)
    before = files(tmp_path)
    with pytest.raises(DataError) as caught:
        unpack([path], tmp_path / "home")
    assert caught.value.code == "data.archive"
    assert why in str(caught.value.why)
    assert path.name in caught.value.message
    assert files(tmp_path) == before


def test_D13_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    path = zipped(("aXb.mp4", b"1"))(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"aXb.mp4", b"a\0b.mp4"))
    with pytest.raises(DataError) as caught:
        unpack([path], tmp_path / "home")
    assert "control character" in str(caught.value.why)


def test_D13_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(("x", b"1" * 99))(tmp_path)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        unpack([path], tmp_path / "home")
    assert caught.value.why == "encrypted"


def test_D13_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 9)
    many = [(f"{number}", b"") for number in range(10)]
    for make in (zipped(*many), tarred(*many)):
        with pytest.raises(DataError) as caught:
            unpack([make(tmp_path)], tmp_path / "home")
        assert "more than 9 entries" in str(caught.value.why)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("wide", [False, True], ids=["zip", "zip64"])
def test_D13_a_list_of_a_million_entries_is_refused_unread(tmp_path: Path, wide: bool) -> None:
    """Only the end of the file is there: reading the list itself would say that it is damaged."""
    path = tmp_path / "a.zip"
    short = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    if wide:
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10**6, 10**6, 46 * 10**6, 0)
        path.write_bytes(record + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + short)
    else:
        path.write_bytes(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 2**31, 0, 0))
    with pytest.raises(DataError) as caught:
        unpack([path], tmp_path / "home")
    assert ("more than 100000 entries" if wide else "its list of entries takes") in str(caught.value.why)


def test_D13_headers_of_a_tar_archive_that_claim_memory_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2**40
        path = tmp_path / "a.tar"
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
        with pytest.raises(DataError) as caught:
            unpack([path], tmp_path / "home")
        assert "bytes" in str(caught.value.why)


def test_a_negative_size_ends_nothing_in_a_loop(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = b"\xff" * 10 + b"\xfe\x00"
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(data) + bytes(4096))
    with pytest.raises(DataError):
        unpack([path], tmp_path / "home")


@pytest.mark.parametrize("make", [zipped(*CONTENT.items()), tarred(*CONTENT.items())], ids=["zip", "tar"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_archive_is_refused_or_whole(tmp_path: Path, make: Make, share: float) -> None:
    """Cut between two entries, too: where a tar archive lacks its end, the rest is not taken for all."""
    path = make(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    home = tmp_path / f"{share}"
    try:
        unpack([path], home)
    except DataError as error:
        assert error.code == "data.archive"
    else:
        assert files(home) == CONTENT


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=8))
@pytest.mark.parametrize("make", [zipped(*CONTENT.items()), tarred(*CONTENT.items())], ids=["zip", "tar"])
def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path, make: Make, where: list[tuple[float, int]]) -> None:
    path = make(tmp_path)
    data = bytearray(path.read_bytes())
    for share, change in where:
        data[int(share * len(data))] ^= change
    path.write_bytes(data)
    home = tmp_path / "inner" / "home"
    try:
        unpack([path], home)
    except DataError as error:
        assert error.code == "data.archive"
    assert {one.name for one in tmp_path.iterdir()} <= {path.name, "inner"}
    assert not list((tmp_path / "inner").glob("[!h]*"))


def test_an_entry_said_to_lie_outside_of_the_file_is_damage(tmp_path: Path) -> None:
    """The directory's place is moved by one byte, so all entries are; the first one begins before the file."""
    path = zipped(*CONTENT.items())(tmp_path)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with refused(DataError, "data.archive"):
        unpack([path], tmp_path / "home")


def test_damaged_bytes_leave_no_file(tmp_path: Path) -> None:
    path = zipped(("x", b"intact" * 100))(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"intact", b"touche", 1))
    with pytest.raises(DataError) as caught:
        unpack([path], tmp_path / "home")
    assert "'x'" in str(caught.value.where)
    assert files(tmp_path / "home") == {}


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"keep")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "x").symlink_to(tmp_path / "outside")
    unpack([zipped(("x", b"new"))(tmp_path)], tmp_path / "home")
    assert (tmp_path / "outside").read_bytes() == b"keep"
    assert (tmp_path / "home" / "x").read_bytes() == b"new"


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "home" / "x").mkdir(parents=True)
    with pytest.raises(DataError):
        unpack([zipped(("x", b"new"))(tmp_path)], tmp_path / "home")


def test_a_file_too_large_for_the_disk_is_a_storage_error(tmp_path: Path) -> None:
    path = zipped(("x", b"1" * 100_000))(tmp_path)
    with opened([path]) as found, pytest.raises(StorageError) as caught:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            place(found, found.entries[0], tmp_path / "home")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.code, caught.value.exit_code) == ("storage.full", 6)
    assert files(tmp_path / "home") == {}


def test_a_loose_file_is_its_own_entry(tmp_path: Path) -> None:
    (tmp_path / "download").write_bytes(b"frames")
    with opened([tmp_path / "download"], "videos/Art/1.mp4") as found:
        assert (found.size, [entry.name for entry in found.entries]) == (6, ["videos/Art/1.mp4"])
        place(found, found.entries[0], tmp_path / "home")
    assert (tmp_path / "home" / "videos" / "Art" / "1.mp4").read_bytes() == b"frames"
    with pytest.raises(DataError), opened([tmp_path / "download"], "../1.mp4"):
        pass
