"""Planned answers of a run folder: the sample under the plan's id, made once for all its repeats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.stored_answers import planned_answers, sample_of
from kvl_eval.types import Sample
from tests import tiny_task
from tests.records import make_entry, make_sample
from tests.tiny_task import rows, run_tiny, tiny


def test_a_sample_has_the_id_that_the_plan_gave_it() -> None:
    planned = make_sample(row=rows(1)[0])
    assert sample_of(tiny(), make_entry("q/0", sample=planned)).id == "q/0"
    assert sample_of(tiny(), make_entry("q/0#2", sample=planned)).id == "q/0#2"


def test_a_sample_is_made_once_for_all_its_repeats(tmp_path: Path) -> None:
    path = run_tiny(tmp_path, repeats=3).folder.path
    made: list[str] = []

    def make(row: Mapping[str, Any]) -> Sample:
        made.append(str(row["id"]))
        return tiny_task.sample_of(row)

    task = tiny(sample=make)
    answers = list(planned_answers(RunReader.open(path, [task]), task, "answer"))
    assert made == [f"q/{number}" for number in range(10)]
    assert [answer.item.sample.id for answer in answers if answer.item] == [name for name in made for _ in range(3)]


def test_what_has_no_answer_says_whether_it_failed(tmp_path: Path) -> None:
    folder = run_tiny(tmp_path, model_args={"answers": "constant:B", "fail": "oom:@q/2"}).folder
    file = folder.samples_path("tiny")
    file.write_bytes(b"".join(line for line in file.read_bytes().splitlines(keepends=True) if b'"q/5"' not in line))
    states = {
        answer.entry.sample_id: (answer.failure, answer.item is None, answer.usage is None)
        for answer in planned_answers(RunReader.open(folder.path, [tiny()]), tiny(), "answer")
    }
    assert states.pop("q/2") == ("oom", True, True)
    assert states.pop("q/5") == (None, True, True)
    assert set(states.values()) == {(None, False, False)} and len(states) == 8
