"""What holds for every task in the list."""

from __future__ import annotations

import json

import pytest

from kvl_eval import check_data
from kvl_eval.references import load as published_scores
from kvl_eval.sources import Source
from kvl_eval.tasks import TASKS, open_split
from kvl_eval.tasks.base import Task
from tests.tasks.vectors import check_same_again

BUNDLED = [task for task in TASKS.values() if task.mini]


@pytest.mark.parametrize("task", BUNDLED, ids=lambda task: task.name)
def test_its_bundled_split_is_whole(task: Task) -> None:
    report = check_data.check(task, Source(), "mini")
    assert report.ok, report.problems
    samples = list(open_split(task, Source(), "mini"))
    assert report.rows == len(samples) >= 20
    assert len({bool(one.media) for one in samples}) == 1  # none lost its picture
    check_same_again(task, samples)
    measured = task if task.measured is None else task.measured(len)
    samples = list(open_split(measured, Source(), "mini"))
    for name, prompt in task.prompts.items():
        assert all(any(turn.media for turn in prompt(one)) or not one.media for one in samples), name


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_its_value_is_sound(task: Task) -> None:
    assert task.default_prompt in task.prompts and task.default_split in task.splits
    assert {"official", task.default_protocol, *task.beside} <= set(task.protocols)
    assert "_" not in task.name and task.doc and task.licence and task.files and task.row_layouts
    for split, counts in task.count.items():
        assert split in task.splits
        assert task.splits[split].rows in (None, counts.get("rows", task.splits[split].rows))
    json.dumps({name: list(columns) for name, columns in task.row_layouts.items()})


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_its_published_figures_exist(task: Task) -> None:
    assert task.reference is not None
    wanted = task.reference
    assert any(
        score.benchmark == wanted.benchmark
        and (score.setting == (wanted.setting or "") or score.setting.startswith(f"{wanted.by}="))
        and wanted.split in (None, score.split)
        for score in published_scores()
    )
