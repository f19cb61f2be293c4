"""A record is read by itself: whatever is cut off, damaged or taken out costs that record and no other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvl_eval
from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.decode import decode, encode_object
from kvl_eval.errors import DataError, InputError, MediaError
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import resume_run, start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import decode_line, encode_line
from kvl_eval.store.records import Key, Record, text_sha256
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import Completion, Message, Sample
from tests.records import make_manifest, make_media, make_record
from tests.tiny_task import config_of, make_fake, run_tiny, tiny

THOUGHT = "◁think▷" + "and so on, " * 40
FRAMES = (make_media(kind="frame", timestamp=0.5), make_media(sha256="b" * 64, kind="frame"))


def answered(sample_id: str, budget: int, raw: str, answer: str = "") -> Record:
    return make_record(
        sample_id,
        budget=budget,
        policy="cut",
        prompt_text=f"What is {sample_id}?",
        media=FRAMES,
        raw_output=raw,
        thinking=raw.removeprefix("◁think▷"),
        answer=answer,
        trajectory_id=f"t/{sample_id}/0",
    )


SWEEP = [
    answered("a", 64, THOUGHT, answer="B"),
    answered("a", 32, THOUGHT[:300]),
    answered("b", 64, THOUGHT),
    answered("a", 16, THOUGHT[:150] + "◁/think▷C", answer="C"),
    answered("b", 8, THOUGHT[:20]),
    answered("b", 16, THOUGHT[:200]),
]


def lines_of(records: Iterable[Record]) -> list[bytes]:
    return [encode_line(encode_object(record)) for record in records]


def folder_with(path: Path, lines: Sequence[bytes]) -> RunFolder:
    if not path.exists() or not (path / "run.json").exists():
        RunFolder.create(path.parent, path.name, make_manifest("t"), []).unlock()
    (path / "samples" / "t.jsonl").write_bytes(b"".join(lines))
    return RunFolder.open(path)


def by_key(records: Iterable[Record]) -> dict[Key, Record]:
    return {record.key: record for record in records}


TEXT = st.text(max_size=40) | st.text(alphabet="\ud800\ud801ab", max_size=9)  # lone halves of characters


@given(raw=TEXT, answer=TEXT, prompt=TEXT)
def test_a_record_comes_back_as_it_was(raw: str, answer: str, prompt: str) -> None:
    record = make_record(raw_output=raw, answer=answer, prompt_text=prompt, media=FRAMES)
    assert decode(Record, decode_line(encode_line(encode_object(record)))) == record


def test_records_come_in_the_order_they_were_finished(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "run", lines_of(SWEEP))
    assert list(folder.records("t")) == SWEEP


def test_R1_cut_at_any_byte_every_line_that_is_left_is_whole(tmp_path: Path) -> None:
    lines = lines_of(SWEEP)
    content = b"".join(lines)
    ends = [sum(map(len, lines[: number + 1])) for number in range(len(lines))]
    for cut in range(0, len(content), 7):
        folder = folder_with(tmp_path / "run", [content[:cut]])
        complete = sum(end <= cut for end in ends)
        assert list(folder.records("t")) == SWEEP[:complete]
        assert folder.index("t").damage == []
        assert folder.index("t").torn == (cut not in (0, *ends))


@pytest.mark.parametrize("place", range(len(SWEEP)))
@pytest.mark.parametrize("gone", [False, True], ids=["damaged", "taken-out"])
def test_R2_a_lost_line_costs_its_own_record_alone(tmp_path: Path, place: int, gone: bool) -> None:
    lines = lines_of(SWEEP)
    lines[place] = b"" if gone else lines[place].replace(b'"ok"', b'"oK"')
    folder = folder_with(tmp_path / "run", lines)
    index = folder.index("t")
    assert list(folder.records("t")) == [record for number, record in enumerate(SWEEP) if number != place]
    assert len(index.damage) == (0 if gone else 1)
    if not gone:
        assert index.damage[0].startswith(f"{folder.samples_path('t')} line {place + 1}:")
        with pytest.raises(DataError):
            folder.index("t", strict=True)


def test_an_answer_that_replaces_a_record_leaves_its_trajectory(tmp_path: Path) -> None:
    """As a kill in the middle of `--rerun` leaves it."""
    again = [answered("a", 64, "◁think▷other " * 30), answered("a", 32, "◁think▷other " * 20)]
    for count in (1, 2):
        folder = folder_with(tmp_path / "run", lines_of(SWEEP) + lines_of(again[:count]))
        assert by_key(folder.records("t")) == by_key([*SWEEP, *again[:count]])
        assert folder.index("t").duplicates == count


def test_R7_a_record_that_begins_as_another_is_refused_with_both_versions(tmp_path: Path) -> None:
    spent = {**encode_object(SWEEP[1]), "schema": 2, "raw_output": "", "begins_as": {"crc": "0" * 8, "raw_output": 300}}
    folder = folder_with(tmp_path / "run", [*lines_of(SWEEP[:1]), encode_line(spent)])
    with pytest.raises(InputError) as caught:
        folder.index("t")
    assert caught.value.code == "run.schema"
    assert caught.value.where == f"{folder.samples_path('t')} line 2"
    assert "schema 2" in caught.value.message and "schema 1" in caught.value.message


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_every_record_of_a_sweep_holds_its_whole_text(tmp_path: Path, policy: str) -> None:
    args = {"think": 400, "answers": "hash"}
    budgets = (8, 64, 256, 512, 1024)
    path = run_tiny(tmp_path, tiny(4), think_budget=budgets, budget_policy=policy, model_args=args).folder.path
    stored = [json.loads(line) for line in (path / "samples" / "tiny.jsonl").read_bytes().splitlines()]
    assert [record["budget"] for record in stored] == [1024, 512, 256, 64, 8] * 4
    for record in stored:
        assert record["schema"] == 1 and "begins_as" not in record
        assert record["prompt_text"].startswith("[user]")
        assert len(record["thinking"].split()) == min(record["budget"] - 1, 400)
        assert record["raw_output"].startswith("◁think▷" + record["thinking"])
        assert record["raw_output"].endswith(record["answer"])


def test_R14_hashes_of_messages_join_plan_and_records(tmp_path: Path) -> None:
    folder = run_tiny(tmp_path, tiny(4), repeats=2).folder
    planned = {entry.key: entry.sample.messages_sha256 for entry in folder.plan("tiny")}
    assert {record.key: record.messages_sha256 for record in folder.records("tiny")} == planned
    first = json.loads((folder.path / "plan.jsonl").read_bytes().splitlines()[0])
    assert "messages_sha256" in first and "prompt_sha256" not in first
    manifest = json.loads((folder.path / "run.json").read_bytes())
    assert list(manifest["prompt"]["tiny"]) == ["name", "template_sha256", "mean_tokens"]


def test_a_run_whose_plan_has_the_former_name_is_resumed(tmp_path: Path) -> None:
    path = run_tiny(tmp_path, tiny()).folder.path
    lines = [json.loads(line) for line in (path / "plan.jsonl").read_bytes().splitlines()]
    former = [
        {"prompt_sha256" if name == "messages_sha256" else name: value for name, value in line.items() if name != "crc"}
        for line in lines
    ]
    (path / "plan.jsonl").write_bytes(b"".join(map(encode_line, former)))
    folder = RunFolder.open(path)
    folder.save(replace(folder.manifest, plan_sha256=hashlib.sha256((path / "plan.jsonl").read_bytes()).hexdigest()))
    samples = folder.samples_path("tiny")
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:4]))
    assert [entry.sample.messages_sha256 for entry in folder.plan()] == [line["messages_sha256"] for line in lines]
    assert resume_run(RunReader.open(path, [tiny()]), make_fake).exit_code == 0
    assert len(list(RunFolder.open(path).records("tiny"))) == 10


def test_fields_of_a_record_are_named_in_one_module() -> None:
    """Exports and pages have columns of their own; the former plan respells the lines of version 0.1."""
    package = Path(kvl_eval.__file__).parent
    only = ("raw_output", "think_closed", "budget_forced", "trajectory_id", "ended_at", "messages_sha256")
    assert set(only) < {field.name for field in fields(Record)}
    quoted = re.compile("|".join(f"[\"']{name}[\"']" for name in only))
    naming = {path.relative_to(package) for path in package.rglob("*.py") if quoted.search(path.read_text("utf-8"))}
    assert {str(path) for path in naming if path.parts[0] not in ("exports", "reports")} == {"run/former_plan.py"}


class Templated(FakeBackend):
    """Gives prompts as a chat template writes them."""

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        async for key, completion in super().generate(requests):
            yield key, replace(completion, prompt_text=f"<|user|>{key}<|end|>")


def test_R14_equal_messages_have_equal_hashes_and_the_exact_text_has_its_own(tmp_path: Path) -> None:
    config = config_of(tiny(4), tmp_path / "templated")
    backend = Templated(config.settings, answer=lambda request, repeat: "A")
    templated = start_run(plan_run(config, backend, [tiny(4)]), backend).folder
    plain = {record.key: record for record in run_tiny(tmp_path / "plain", tiny(4)).folder.records("tiny")}
    planned = {entry.key: entry.sample.messages_sha256 for entry in templated.plan("tiny")}
    for record in templated.records("tiny"):
        assert record.messages_sha256 == planned[record.key] == plain[record.key].messages_sha256
        assert record.prompt_sha256 == text_sha256(f"<|user|>tiny/{record.sample_id}<|end|>")
        assert record.prompt_sha256 != plain[record.key].prompt_sha256


def test_R14_a_prompt_that_cannot_be_made_joins_too(tmp_path: Path) -> None:
    def prompt(sample: Sample) -> list[Message]:
        raise MediaError("media.corrupt", "no picture")

    folder = run_tiny(tmp_path, tiny(2, prompts={"plain": prompt, "short": prompt})).folder
    planned = {entry.key: entry.sample.messages_sha256 for entry in folder.plan("tiny")}
    assert {record.key: record.messages_sha256 for record in folder.records("tiny")} == planned
