"""R11: records under a right checksum whose fields have a wrong type count as damaged: pending, named, redone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from kvl_eval.decode import DecodeError, decode, encode_object
from kvl_eval.store.journal import encode_line
from kvl_eval.store.records import Extra, Record
from kvl_eval.store.run_folder import RunFolder
from tests.faults.shell import FAKE, Shell, newest
from tests.records import make_media, make_record

ODD = (5, 1.5, True, None, "x", [], {}, [[]], 10**400)
EACH = 2  # wrong values of a field: in turn, so that every odd value is met in many fields
MEDIA = make_media(
    pre_shrunk=(1, 1), note="n", index=0, timestamp=0.0, decoder="d", limit=1, flags=("uniform",), others={}
)
EXTRA = Extra(stop_token="</s>", flags=("finish_unknown",), thought="", trajectory="t", model="m")


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where each value stands in a record, objects and lists included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in items:
        yield (*path, step)
        yield from paths(child, (*path, step))


def replaced(record: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    changed: Any = deepcopy(record)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return dict(changed)


def wrong_types() -> list[tuple[tuple[str | int, ...], Any]]:
    """Every field of a record, objects and lists included, each with values that it cannot have."""
    whole = encode_object(make_record(media=(MEDIA,), extra=EXTRA, time={"total": 1.0}))
    pairs = []
    for number, path in enumerate(paths(whole)):
        odd = (*ODD[number % len(ODD) :], *ODD[: number % len(ODD)])
        pairs += [(path, value) for value in odd if not is_record(replaced(whole, path, value))][:EACH]
    assert {path for path, _ in pairs} == set(paths(whole))
    assert {repr(value) for _, value in pairs} == set(map(repr, ODD))
    return pairs


def is_record(fields: dict[str, Any]) -> bool:
    try:
        decode(Record, json.loads(json.dumps(fields)))
    except DecodeError:
        return False
    return True


def damage(run: Path, pairs: list[tuple[tuple[str | int, ...], Any]]) -> None:
    """Put one wrong value into each record."""
    [path] = (run / "samples").glob("*.jsonl")
    lines = []
    for text, (place, value) in zip(path.read_bytes().splitlines(), pairs, strict=True):
        record = json.loads(text)
        record.pop("crc")
        record["media"] = [encode_object(MEDIA)]
        record["time"], record["extra"] = {"total": 1.0}, encode_object(EXTRA)
        lines.append(encode_line(replaced(record, place, value)))
    path.write_bytes(b"".join(lines))


def test_R11_every_field_of_a_record_replaced_by_a_wrong_type(shell: Shell, tmp_path: Path) -> None:
    pairs = wrong_types()
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps({"question": f"{n}?", "answer": "B"}) + "\n" for n in range(len(pairs))))
    command = ("run", "--task", f"file:{table}", *FAKE, "--num-workers", "0", "--no-progress")
    assert shell(*command, "-o", tmp_path / "runs").code == 0
    run = newest(tmp_path / "runs")
    damage(run, pairs)
    [name] = RunFolder.open(run).manifest.data
    folder = RunFolder.open(run)
    index = folder.index(name)
    assert (len(index.offsets), len(index.damage)) == (0, len(pairs))
    for (place, _), told in zip(pairs, index.damage, strict=True):
        assert str(place[0]) in told, (place, told)
    for verb, more, code in (
        ("score", (), 3),
        ("report", ("--no-pictures",), 0),
        ("verify", (), 4),
        ("export", ("-f", "csv", "-o", tmp_path / "csv"), 3),
        ("resume", ("--no-progress",), 0),
    ):
        outcome = shell(verb, run, *more)
        assert outcome.code == code, (verb, outcome.out[-500:], outcome.err[-500:])
    assert len(RunFolder.open(run).index(name).offsets) == len(pairs)
    assert shell("verify", run).code == 0
