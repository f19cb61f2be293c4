"""Archives of a local folder unpacked: what is in its place stays, whatever ended the work before."""

from __future__ import annotations

import sys
import time
import zipfile
from pathlib import Path

import pytest

from kvl_eval.errors import DataError, UsageError
from kvl_eval.sources import Source
from kvl_eval.sources.archive_plan import FetchPlan, plan_fetch
from kvl_eval.sources.fetch import carry_out, is_here
from tests.conftest import ROOT
from tests.processes import running

PATTERNS = ("videos_*.zip",)
CONTENT = {f"data/{number:04}.mp4": bytes([number % 256]) * 5000 for number in range(60)}
CHILD = """
import sys
from pathlib import Path
from kvl_eval.sources import Source
from kvl_eval.sources.archive_plan import plan_fetch
from kvl_eval.sources.fetch import carry_out
carry_out(plan_fetch(Source(data_dir=Path(sys.argv[1])), ("videos_*.zip",), task="t"))
"""


def write(path: Path, content: dict[str, bytes] = CONTENT) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def plan(folder: Path) -> FetchPlan:
    return plan_fetch(Source(data_dir=folder), PATTERNS, task="t")


def inodes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*.mp4")}


def test_what_is_unpacked_is_not_unpacked_again(tmp_path: Path) -> None:
    write(tmp_path / "videos_01.zip")
    assert [one.name for one in plan(tmp_path).todo] == ["videos_01.zip"]
    carry_out(plan(tmp_path))
    before = inodes(tmp_path)
    assert set(before) == set(CONTENT)
    assert plan(tmp_path).todo == ()
    carry_out(plan(tmp_path))
    assert inodes(tmp_path) == before
    assert (tmp_path / "videos_01.zip").exists(), "archives of a folder stay"


def test_killed_while_unpacking_it_goes_on_at_the_next_file(tmp_path: Path) -> None:
    write(tmp_path / "videos_01.zip")
    with running([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT) as child:
        deadline = time.monotonic() + 100
        while len(inodes(tmp_path)) < 5:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.002)
    before = inodes(tmp_path)
    assert 5 <= len(before) < len(CONTENT)
    assert plan(tmp_path).todo
    carry_out(plan(tmp_path))
    after = inodes(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in after} == CONTENT
    rewritten = {name for name in before if after[name] != before[name]}
    assert len(rewritten) <= 1, "only what was placed but not yet noted"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("cut", [1, 30, 1000])
def test_a_torn_journal_costs_what_it_lacks(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "videos_01.zip")
    carry_out(plan(tmp_path))
    journal = tmp_path / ".fetch" / "videos_01.zip.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    carry_out(plan(tmp_path))
    assert plan(tmp_path).todo == ()
    assert {name: (tmp_path / name).read_bytes() for name in inodes(tmp_path)} == CONTENT


def test_another_archive_of_the_same_name_replaces_every_file(tmp_path: Path) -> None:
    write(tmp_path / "videos_01.zip")
    carry_out(plan(tmp_path))
    newer = {name: data[::-1].replace(data[:1], b"x") for name, data in CONTENT.items()}
    write(tmp_path / "videos_01.zip", newer)
    carry_out(plan(tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in inodes(tmp_path)} == newer


def test_a_lost_file_is_put_back_and_the_others_stay(tmp_path: Path) -> None:
    write(tmp_path / "videos_01.zip")
    carry_out(plan(tmp_path))
    before = inodes(tmp_path)
    (tmp_path / "data" / "0007.mp4").unlink()
    (tmp_path / "data" / "0009.mp4").write_bytes(b"cut")
    carry_out(plan(tmp_path))
    after = inodes(tmp_path)
    assert set(after) == set(CONTENT)
    assert {name for name in after if after[name] != before[name]} <= {"data/0007.mp4", "data/0009.mp4"}
    assert (tmp_path / "data" / "0009.mp4").read_bytes() == CONTENT["data/0009.mp4"]


def test_nothing_to_unpack_is_told_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError) as caught:
        plan(tmp_path)
    assert caught.value.code == "data.missing"
    assert "readme.txt" in str(caught.value.why)


def test_loose_files_of_a_folder_are_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"frames")
    patterns = ("videos.zip|videos/*.mp4",)
    with pytest.raises(DataError) as caught:
        plan_fetch(Source(data_dir=tmp_path), patterns, task="t")
    assert "no videos.zip to unpack" in caught.value.message
    write(tmp_path / "videos.zip")
    assert [one.name for one in plan_fetch(Source(data_dir=tmp_path), patterns, task="t").archives] == ["videos.zip"]


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    for letters in ("aa", "ab", "ad"):
        (tmp_path / f"videos.tar.part.{letters}").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        plan_fetch(Source(data_dir=tmp_path), ("videos.tar.part.*",), task="t")
    assert "videos.tar.part.ac" in caught.value.message


def test_offline_says_what_to_do_and_a_folder_filled_by_hand_is_enough(tmp_path: Path) -> None:
    source = Source(repo="owner/name", cache_dir=tmp_path, offline=True)
    with pytest.raises(DataError) as caught:
        plan_fetch(source, PATTERNS, task="videomme")
    assert caught.value.code == "data.offline"
    assert "kvl-eval fetch videomme" in str(caught.value.fix)
    assert not is_here(source, PATTERNS)
    (tmp_path / "media" / "owner--name" / "data").mkdir(parents=True)
    assert is_here(source, PATTERNS)
    (tmp_path / "media" / "owner--name" / ".fetch").mkdir()
    assert not is_here(source, PATTERNS), "begun, not finished"


def test_only_one_at_a_time(tmp_path: Path) -> None:
    import fcntl

    write(tmp_path / "videos_01.zip")
    found = plan(tmp_path)
    (tmp_path / ".fetch").mkdir()
    with (tmp_path / ".fetch" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError) as caught:
            carry_out(found)
    assert caught.value.code == "usage.busy"
    assert inodes(tmp_path) == {}
