"""`--compress`: every gzip reader sees the whole; damage costs one member; a kill at any moment loses nothing."""

from __future__ import annotations

import gzip
import json
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.audit.verify import verify
from kvl_eval.decode import encode_object
from kvl_eval.run.runner import resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import Disk, encode_line
from kvl_eval.store.packed import MEMBER, member_at, members, pack
from kvl_eval.store.records import Record
from kvl_eval.store.run_folder import RunFolder
from tests.records import make_manifest, make_record
from tests.tiny_task import make_fake, run_tiny, tiny

RECORDS = [make_record(str(number), answer=f"{number} " + "so " * 7_000) for number in range(60)]


class Killed(Exception):
    """Stands for the end of the process."""


class DiesBeforeRemoval(Disk):
    def remove(self, path: Path) -> None:
        raise Killed


class DiesBeforeRename(Disk):
    armed = False

    def replace(self, path: Path, chunks: object) -> None:
        if self.armed:
            raise Killed
        super().replace(path, chunks)  # type: ignore[arg-type]


def filled(path: Path, records: list[Record] = RECORDS, disk: Disk | None = None) -> RunFolder:
    folder = RunFolder.create(path, "run", make_manifest("t"), [], disk)
    append(folder, records)
    return folder


def append(folder: RunFolder, records: list[Record]) -> None:
    journal = folder.journal("t")
    for record in records:
        journal.append(encode_object(record))
    journal.close()


def packed(folder: RunFolder) -> Path:
    return folder.samples_path("t").with_name("t.jsonl.gz")


@given(st.lists(st.binary(max_size=9).map(lambda data: data.replace(b"\n", b"") + b"\n"), max_size=20))
def test_what_is_packed_is_read_by_gzip_and_by_us(lines: list[bytes]) -> None:
    data = b"".join(pack(lines))
    assert gzip.decompress(data) == b"".join(lines)


def test_members_are_cut_at_line_ends_and_found_by_their_place(tmp_path: Path) -> None:
    lines = [b"%06d " % number + b"x" * 50_000 + b"\n" for number in range(20)] + [b"y" * (2 * MEMBER) + b"\n"]
    path = tmp_path / "lines.gz"
    path.write_bytes(b"".join(pack(lines)))
    found = list(members(path))
    assert b"".join(member.text for member in found) == b"".join(lines)
    assert all(member.text.endswith(b"\n") for member in found)
    assert [len(member.text) <= MEMBER for member in found] == [True] * (len(found) - 1) + [False]
    assert [member_at(path, member.offset).text for member in found] == [member.text for member in found]
    assert subprocess.run(["zcat", path], capture_output=True, check=True).stdout == b"".join(lines)


def test_records_are_the_same_before_and_after(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    plain = folder.samples_path("t").read_bytes()
    folder.compress()
    assert gzip.decompress(packed(folder).read_bytes()) == plain
    assert not folder.samples_path("t").exists()
    assert packed(folder).stat().st_size < 0.15 * len(plain)
    opened = RunFolder.open(folder.path)
    assert list(opened.records("t")) == RECORDS
    assert opened.notices == []


def test_small_files_stay_plain(tmp_path: Path) -> None:
    folder = filled(tmp_path, RECORDS[:3])
    folder.compress()
    assert not packed(folder).exists()
    assert list(folder.records("t")) == RECORDS[:3]


def test_a_later_record_in_the_plain_file_counts_and_is_packed_behind_the_others(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    folder.compress()
    again = [make_record("7", answer="another"), make_record("9", status="failed", reason="oom", finish_reason="error")]
    append(folder, again)
    for packs in (1, 2):
        records = {record.sample_id: record for record in folder.records("t")}
        assert (records["7"].answer, records["9"].status, len(records)) == ("another", "failed", 60)
        index = folder.index("t")
        assert (index.duplicates, list(index.failed.values()), index.damage) == (2, ["oom"], [])
        if packs == 1:
            folder.compress(least=0)
            assert not folder.samples_path("t").exists()


def test_a_kill_between_rename_and_removal_leaves_no_duplicates(tmp_path: Path) -> None:
    folder = filled(tmp_path, disk=DiesBeforeRemoval())
    with pytest.raises(Killed):
        folder.compress()
    opened = RunFolder.open(folder.path)
    assert packed(opened).exists() and opened.samples_path("t").exists()
    assert list(opened.records("t")) == RECORDS
    assert opened.index("t").duplicates == 0 and opened.notices == []
    opened.compress()
    assert gzip.decompress(packed(opened).read_bytes()).count(b"\n") == len(RECORDS)
    assert list(opened.records("t")) == RECORDS


def test_a_kill_before_the_rename_leaves_the_plain_file(tmp_path: Path) -> None:
    disk = DiesBeforeRename()
    folder = filled(tmp_path, disk=disk)
    disk.armed = True
    with pytest.raises(Killed):
        folder.compress()
    assert not packed(folder).exists()
    assert list(RunFolder.open(folder.path).records("t")) == RECORDS


def test_R2_a_damaged_member_costs_its_records_and_is_named(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    folder.compress()
    path = packed(folder)
    found = list(members(path))
    assert len(found) >= 3
    data = bytearray(path.read_bytes())
    data[found[1].offset + 40] ^= 8
    path.write_bytes(data)
    lost = found[1].text.count(b"\n")
    index = folder.index("t")
    assert len(index.offsets) == 60 - lost
    assert index.damage == [f"{path} member 2: its checksum does not match"]
    assert [record for record in RECORDS if record.key in index] == list(folder.records("t"))
    append(folder, [record for record in RECORDS if record.key not in index])
    folder.compress(least=0)
    assert folder.samples_path("t").exists(), "a damaged file stays as it is"
    assert len(list(folder.records("t"))) == 60


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    lines = [encode_line({"schema": 1, "n": number, "text": "so " * number}) for number in range(3)]
    path = tmp_path / "lines.gz"
    data = b"".join(pack(lines))
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert any(member.damage for member in members(path)), place


@pytest.mark.parametrize("cut", [1, 8, 20, 30])
def test_a_file_cut_short_is_noticed(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "lines.gz"
    path.write_bytes(b"".join(pack([b"one\n"])) + b"".join(pack([b"x" * 999 + b"\n"]))[:-cut][:-1])
    assert [bool(member.damage) for member in members(path)][:1] == [False]
    assert any(member.damage for member in members(path))


def test_reading_takes_less_than_four_mebibytes(tmp_path: Path) -> None:
    folder = filled(tmp_path, [make_record(str(n), answer=f"{n} " + "so " * 5_000) for n in range(600)])
    folder.compress()
    tracemalloc.start()
    assert sum(1 for _ in folder.records("t")) == 600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_compressed_run_is_scored_verified_and_resumed_like_a_plain_one(tmp_path: Path) -> None:
    plain = run_tiny(tmp_path / "plain", tiny()).folder
    folder = run_tiny(tmp_path / "packed", tiny()).folder
    folder.compress(least=0)
    assert sorted(path.name for path in (folder.path / "samples").iterdir()) == ["tiny.jsonl.gz"]
    found = verify(RunReader.open(folder.path, [tiny()]), strict=True)
    assert (found.findings, found.exit_code) == ([], 0)
    outcome = resume_run(RunReader.open(folder.path, [tiny()]), make_fake, rerun=["q/3"])
    assert outcome.exit_code == 0
    appended = (folder.path / "samples" / "tiny.jsonl").read_bytes()
    assert [json.loads(line)["sample_id"] for line in appended.splitlines()] == ["q/3"]
    answers = [{record.sample_id: record.answer for record in run.records("tiny")} for run in (plain, folder)]
    assert answers[0] == answers[1]
    assert verify(RunReader.open(folder.path, [tiny()])).exit_code == 0
