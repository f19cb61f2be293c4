from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import InputError, StorageError
from kvl_eval.store.journal import DamagedLine, Disk, Journal, decode_line, encode_line, read_lines
from tests.refusals import refused

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
LINES = [{"n": 1, "text": "erste\nZeile"}, {"n": 2, "text": "◁think▷ 二 \u2028"}, {"n": 3, "text": ""}]


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name != "schema"), VALUES, min_size=1, max_size=5))
def test_a_line_gives_its_fields_back(fields: dict[str, Any]) -> None:
    assert decode_line(encode_line(fields)) == fields


def test_lone_surrogates_and_very_long_texts_keep_every_character() -> None:
    fields = {"answer": "\ud83d broken", "long": "ä\n" * 1_000_000}
    assert decode_line(encode_line(fields)) == fields


def test_numbers_that_json_lacks_become_null() -> None:
    assert decode_line(encode_line({"a": float("nan"), "b": [float("inf"), 1.5]})) == {"a": None, "b": [None, 1.5]}


def test_the_checksum_is_the_last_field_of_plain_json() -> None:
    assert list(json.loads(encode_line({"a": 1}))) == ["a", "crc"]


def test_every_flipped_bit_is_noticed() -> None:
    line = encode_line({"sample_id": "q/1", "answer": "A"})
    for position in range(len(line)):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[position] ^= 1 << bit
            with pytest.raises(DamagedLine):
                decode_line(bytes(flipped))


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(encode_line({"schema": 1}) + encode_line({"schema": 3}))
    with pytest.raises(InputError, match="schema 3, this version reads up to 1") as caught:
        list(read_lines(path))
    assert caught.value.where == f"{path} line 2"
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "garbage",
    [b"\0\0\0\0\n", b"\xff\xfe\n", b"{}\n", b"\n", b'{"n":2,"crc":"00000000"}\n', b"no json at all\n"],
    ids=["zeros", "not-utf-8", "no-checksum", "empty", "wrong-checksum", "text"],
)
def test_garbage_in_the_middle_is_named_and_the_rest_is_read(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(encode_line(LINES[0]) + garbage + encode_line(LINES[2]))
    found = list(read_lines(path))
    assert [line.fields for line in found] == [LINES[0], None, LINES[2]]
    assert found[1].number == 2
    assert found[1].damage
    assert not found[1].torn


def test_a_file_cut_at_any_byte_keeps_its_whole_lines_and_takes_new_ones(tmp_path: Path) -> None:
    encoded = [encode_line(line) for line in LINES]
    whole = b"".join(encoded)
    ends = [len(b"".join(encoded[:count])) for count in range(len(encoded) + 1)]
    for cut in range(len(whole) + 1):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        complete = max(count for count, end in enumerate(ends) if end <= cut)
        read = list(read_lines(path))
        assert [line.fields for line in read if line.fields] == LINES[:complete]
        assert any(line.torn for line in read) == (cut not in ends)
        journal = Journal(path, Disk())
        assert journal.cut == cut - ends[complete]
        journal.append({"n": 4})
        journal.close()
        assert [line.fields for line in read_lines(path)] == [*LINES[:complete], {"n": 4}]


def test_a_torn_end_longer_than_one_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(encode_line(LINES[0]) + b"x" * 200_000)
    journal = Journal(path, Disk())
    journal.close()
    assert journal.cut == 200_000
    assert path.read_bytes() == encode_line(LINES[0])


class Counting(Disk):
    def __init__(self) -> None:
        self.synced = 0

    def sync(self, descriptor: int, path: Path) -> None:
        self.synced += 1
        super().sync(descriptor, path)


def test_records_are_synced_sixteen_lines_or_one_second_later(tmp_path: Path) -> None:
    disk, now = Counting(), [0.0]
    journal = Journal(tmp_path / "lines.jsonl", disk, clock=lambda: now[0])
    for _ in range(32):
        journal.append({"n": 1})
    assert disk.synced == 2
    journal.append({"n": 1})
    journal.sync_if_due()
    assert disk.synced == 2
    now[0] = 0.6
    journal.sync_if_due()
    assert disk.synced == 3
    journal.close()
    assert disk.synced == 3


def test_a_line_is_in_the_file_before_it_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = Journal(path, Disk())
    journal.append({"n": 1})
    assert path.read_bytes() == encode_line({"n": 1})
    journal.close()


def test_a_full_disk_names_path_and_free_bytes(tmp_path: Path) -> None:
    class Full(Disk):
        def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
            def refuse() -> Iterable[bytes]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                yield b""

            super().replace(path, refuse())

    with refused(StorageError, "storage.full") as caught:
        Full().replace(tmp_path / "run.json", [b"{}"])
    assert caught.value.exit_code == 6
    assert caught.value.message == f"cannot write {tmp_path / 'run.json'}: {os.strerror(errno.ENOSPC)}"
    assert "bytes free" in str(caught.value.where)
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")

    def interrupted() -> Iterable[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Disk().replace(path, interrupted())
    assert path.read_text() == "old"
    Disk().replace(path, [b"new"])
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]
