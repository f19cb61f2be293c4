"""Records of one trajectory hold what they share once, and are read whole: after any cut, damage or replacement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.store.journal import checksum_of, decode_line, encode_line
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.shared_text import LEAST, Holder, joined, shortened
from tests.tiny_task import run_tiny, tiny

Record = dict[str, Any]
THOUGHT = "◁think▷" + "and so on, " * 40
MEDIA = [{"sha256": "a" * 64, "kind": "frame", "timestamp": 0.5}, {"sha256": "b" * 64, "kind": "frame"}]


def record(sample_id: str = "a", budget: int = 64, raw: str = THOUGHT, answer: str = "", **more: Any) -> Record:
    return {
        "schema": 1,
        "task": "t",
        "split": "s",
        "sample_id": sample_id,
        "repeat": 0,
        "budget": budget,
        "policy": "cut",
        "status": "ok",
        "reason": None,
        "config_fingerprint": "f",
        "prompt_text": f"What is {sample_id}?",
        "media": MEDIA,
        "raw_output": raw,
        "thinking": raw.removeprefix("◁think▷"),
        "answer": answer,
        "trajectory_id": f"t/{sample_id}/0",
        **more,
    }


SWEEP = [
    record(budget=64, raw=THOUGHT, answer="B"),
    record(budget=32, raw=THOUGHT[:300]),
    record("b", budget=64, raw=THOUGHT),
    record(budget=16, raw=THOUGHT[:150] + "◁/think▷C", answer="C"),
    record("b", budget=8, raw=THOUGHT[:20]),
    record("b", budget=16, raw=THOUGHT[:200]),
]


def lines_of(records: Iterable[Record]) -> list[bytes]:
    """Lines as a run writes them."""
    holders: dict[str, Holder] = {}
    lines = []
    for one in records:
        stored = shortened(one, holders.get(one["trajectory_id"]))
        lines.append(encode_line(stored))
        holders.setdefault(one["trajectory_id"], Holder(checksum_of(lines[-1]), one))
    return lines


def folder_with(path: Path, lines: Sequence[bytes]) -> RunFolder:
    (path / "samples").mkdir(exist_ok=True)
    (path / "samples" / "t.jsonl").write_bytes(b"".join(lines))
    folder = RunFolder.open(path)
    folder.legacy_manifest["config_fingerprint"] = "f"
    return folder


def by_key(records: Iterable[Record]) -> dict[Any, Record]:
    return {(one["sample_id"], one["budget"]): one for one in records}


TEXT = st.text(max_size=40) | st.text(alphabet=st.characters(categories=("Cs", "Ll")), max_size=9)


@given(
    common=st.tuples(TEXT, st.integers(0, 60), TEXT),
    ends=st.tuples(*[TEXT] * 6),
    media=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_a_record_comes_back_as_it_was_and_takes_no_more_room(
    common: tuple[str, int, str], ends: tuple[str, ...], media: tuple[int, int]
) -> None:
    text = common[0] + "so " * common[1] + common[2]
    first = record(raw=text + ends[0], answer=ends[1], prompt_text=ends[2], media=MEDIA[: media[0]])
    then = record(raw=text + ends[3], answer=ends[4], prompt_text=ends[5], media=MEDIA[: media[1]], budget=8)
    line, whole = encode_line(first), encode_line(then)
    stored = shortened(then, Holder(checksum_of(line), first))
    if stored is then:
        assert common[1] * 3 < LEAST or "begins_as" not in stored
        return
    assert len(encode_line(stored)) <= len(whole)
    assert encode_line(joined(decode_line(encode_line(stored)), decode_line(line))) == whole


def test_a_text_is_stored_once(tmp_path: Path) -> None:
    lines = lines_of(SWEEP)
    assert ["begins_as" in decode_line(line) for line in lines] == [False, True, False, True, False, True]
    short = decode_line(lines[3])
    assert (short["raw_output"], short["thinking"], short["answer"]) == ("◁/think▷C", "◁/think▷C", "C")
    assert (short["prompt_text"], short["media"]) == ("", [])
    assert short["schema"] == 2, "an older version must refuse it, not take the rest for the whole"
    assert {decode_line(lines[place])["schema"] for place in (0, 2, 4)} == {1}
    folder = folder_with(tmp_path, lines)
    assert by_key(folder.legacy_records("t")) == by_key(SWEEP)
    assert folder.index("t").damage == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(record("b", budget=8), id="of-another-trajectory"),
        pytest.param(record(budget=8, trajectory_id=None), id="of-none"),
        pytest.param(record(budget=8, raw="◁think▷no"), id="saves-nothing"),
        pytest.param(record(budget=8, raw=THOUGHT + "\ud800"), id="half-a-character"),
    ],
)
def test_what_does_not_begin_so_is_stored_whole(other: Record) -> None:
    first = SWEEP[0]
    assert shortened(other, Holder("0" * 8, first)) is other
    assert shortened(other, None) is other


def test_records_of_a_trajectory_come_together(tmp_path: Path) -> None:
    """So that whoever writes them again needs to remember one alone."""
    folder = folder_with(tmp_path, lines_of(SWEEP))
    found = [(one["sample_id"], one["budget"]) for one in folder.legacy_records("t")]
    assert found == [("a", 64), ("a", 32), ("a", 16), ("b", 64), ("b", 16), ("b", 8)]


def test_R1_cut_at_any_byte_every_line_that_is_left_is_whole(tmp_path: Path) -> None:
    lines = lines_of(SWEEP)
    content = b"".join(lines)
    ends = [sum(map(len, lines[: number + 1])) for number in range(len(lines))]
    for cut in range(len(content)):
        folder = folder_with(tmp_path, [content[:cut]])
        kept = sum(end <= cut for end in ends)
        assert by_key(folder.legacy_records("t")) == by_key(SWEEP[:kept])
        assert folder.index("t").damage == []
        assert folder.index("t").torn == (cut not in (0, *ends))


@pytest.mark.parametrize("place", range(len(SWEEP)))
@pytest.mark.parametrize("gone", [False, True], ids=["damaged", "taken-out"])
def test_R2_what_began_as_a_line_that_is_lost_counts_as_never_answered(tmp_path: Path, place: int, gone: bool) -> None:
    lines = lines_of(SWEEP)
    crc = checksum_of(lines[place]).encode()
    lost = {place} | {other for other, line in enumerate(lines) if b'"begins_as":{"crc":"' + crc in line}
    assert len(lost) == {0: 3, 2: 2}.get(place, 1)
    lines[place] = b"" if gone else lines[place].replace(b"so", b"sO", 1).replace(b"What", b"what")
    if not gone and lines[place] == lines_of(SWEEP)[place]:
        lines[place] = lines[place].replace(b'"ok"', b'"oK"')
    folder = folder_with(tmp_path, lines)
    index = folder.index("t")
    assert by_key(folder.legacy_records("t")) == by_key(one for other, one in enumerate(SWEEP) if other not in lost)
    dangling = [line for line in index.damage if "that is not there" in line]
    assert len(dangling) == len(lost) - 1
    for other, line in zip(sorted(lost - {place}), dangling, strict=True):
        named = f"{folder.samples_path('t')} line {other + 1 - (gone and other > place)}"
        assert line.startswith(f"{named}: {SWEEP[other]['sample_id']} budget {SWEEP[other]['budget']} begins as")
        assert f"trajectory {SWEEP[other]['trajectory_id']} with checksum {crc.decode()}" in line
        assert any(line in notice and "pending" in notice for notice in folder.notices)
    if index.damage:
        with pytest.raises(DataError):
            folder.index("t", strict=True)


def test_an_answer_that_replaces_a_whole_record_leaves_those_that_began_like_it(tmp_path: Path) -> None:
    """As a kill in the middle of `--rerun` leaves it; a later trajectory of the same name holds its own."""
    again = [record(budget=64, raw="◁think▷other " * 30), record(budget=32, raw="◁think▷other " * 20)]
    for count in (1, 2):
        folder = folder_with(tmp_path, lines_of(SWEEP) + lines_of(again[:count]))
        assert by_key(folder.legacy_records("t")) == by_key([*SWEEP, *again[:count]])
        assert folder.index("t").duplicates == count


@pytest.mark.parametrize(
    "begins_as",
    [
        None,
        "x",
        {},
        {"crc": 7},
        {"crc": "CRC", "raw_output": "9"},
        {"crc": "CRC", "raw_output": True},
        {"crc": "CRC", "raw_output": -1},
        {"crc": "CRC", "raw_output": 10**9},
        {"crc": "CRC", "media": 3},
        {"crc": "00000000"},
    ],
)
def test_a_reference_that_cannot_be_is_damage_and_no_crash(tmp_path: Path, begins_as: Any) -> None:
    first = encode_line(SWEEP[0])
    if isinstance(begins_as, dict) and begins_as.get("crc") == "CRC":
        begins_as = {**begins_as, "crc": checksum_of(first)}
    folder = folder_with(tmp_path, [first, encode_line({**SWEEP[1], "schema": 2, "begins_as": begins_as})])
    assert by_key(folder.legacy_records("t")) == by_key(SWEEP[:1])
    assert len(folder.index("t").damage) == 1


@pytest.mark.parametrize("name", ["raw_output", "media", "prompt_text"])
def test_a_record_without_a_text_is_no_beginning(tmp_path: Path, name: str) -> None:
    lines = lines_of(SWEEP[:2])
    broken, then = encode_line({**SWEEP[0], name: 3}), decode_line(lines[1])
    then["begins_as"]["crc"] = checksum_of(broken)
    folder = folder_with(tmp_path, [broken, encode_line(then)])
    assert len(folder.index("t").damage) == 1
    assert len(list(folder.legacy_records("t"))) == 1


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_a_run_stores_each_thought_once(tmp_path: Path, policy: str) -> None:
    args = {"think": 400, "answers": "hash"}
    budgets = (8, 64, 256, 512, 1024)
    path = run_tiny(tmp_path, tiny(4), think_budget=budgets, budget_policy=policy, model_args=args).folder.path
    lines = [decode_line(line) for line in (path / "samples" / "tiny.jsonl").read_bytes().splitlines(keepends=True)]
    assert [line["budget"] for line in lines] == [1024, 512, 256, 64, 8] * 4
    whole = by_key(RunFolder.open(path).legacy_records("tiny"))
    for line in lines:
        key = line["sample_id"], line["budget"]
        if line["budget"] == 1024:
            assert line == whole[key]
        elif line["budget"] > 8 or "begins_as" in line:  # what is as short as a reference is stored whole
            forced = policy == "force" and line["budget"] < 512
            rest = f"◁/think▷{whole[key]['answer']}" if forced else ""
            assert (line["raw_output"], line["thinking"], line["prompt_text"]) == (rest, "", "")
            assert len(whole[key]["thinking"].split()) == min(line["budget"] - 1, 400)
