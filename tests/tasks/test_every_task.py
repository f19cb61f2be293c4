"""What holds for every task in the list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval import check_data
from kvl_eval.decode import decode
from kvl_eval.errors import UsageError
from kvl_eval.references import load as published_scores
from kvl_eval.sources import Source, Tables
from kvl_eval.sources.local import SUFFIXES, read_file
from kvl_eval.sources.pictures import IMAGE_COLUMNS
from kvl_eval.tasks import MINI, TASKS, get_task, open_split, select
from kvl_eval.tasks.base import OtherName, Task
from kvl_eval.types import ImageRef, PdfRef, Sample, VideoRef
from tests.tasks.vectors import check_same_again


def replies_of(task: Task, samples: list[Sample]) -> int:
    """What a bundled split asks a model for at least: a reply for each sample, or for each step of its oracle."""
    if task.episode is None:
        return len(samples)
    oracle = task.episode.scripts["oracle"]
    steps = [[oracle(sample, number) for number in range(1, task.episode.max_steps + 1)] for sample in samples]
    return sum(max(1, sum(code != "DONE" for code in codes)) for codes in steps)


BUNDLED = [task for task in TASKS.values() if task.mini]


@pytest.mark.parametrize("task", BUNDLED, ids=lambda task: task.name)
def test_its_bundled_split_is_whole(task: Task) -> None:
    report = check_data.check(task, Source(), "mini")
    assert report.ok, report.problems
    samples = list(open_split(task, Source(), "mini"))
    assert report.rows == len(samples) and replies_of(task, samples) >= 20
    assert len({bool(one.media) for one in samples}) == 1  # none lost its picture
    check_same_again(task, samples)
    measured = task if task.data.measured is None else task.data.measured(len)
    samples = list(open_split(measured, Source(), "mini"))
    for name, prompt in task.prompts.items():
        assert all(any(turn.media for turn in prompt(one)) or not one.media for one in samples), name


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_its_value_is_sound(task: Task) -> None:
    assert task.default_prompt in task.prompts and task.default_split in task.splits
    assert {"official", task.default_protocol, *task.view.beside} <= set(task.protocols)
    assert "_" not in task.name and task.doc and task.licence and task.data.files and task.data.row_layouts
    for split, counts in task.data.count.items():
        assert split in task.splits
        assert task.splits[split].rows in (None, counts.get("rows", task.splits[split].rows))
    json.dumps({name: list(columns) for name, columns in task.data.row_layouts.items()})


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_its_download_and_its_other_names_are_sound(task: Task) -> None:
    assert (task.download_bytes is None) == (
        not task.download_source
    )  # every size has a source, no source stands alone
    assert (task.access == "none") == (task.download_bytes == 0) == (not task.repos)
    assert (task.access == "gated") == ("gated: " in task.licence)  # with the step that opens it
    own = {folded(other) for known in TASKS.values() for other in (known.name, *known.groups)}
    assert not own & {folded(other.name) for other in task.other_names}  # such a name would be read as a task's own
    assert {other.split for other in task.other_names} <= {None, *task.splits}


def folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def test_another_harness_name_means_one_task() -> None:
    meant = {(folded(other.name), task.name, other.split) for task in TASKS.values() for other in task.other_names}
    assert len({name for name, _, _ in meant}) == len(meant) > 40


def test_names_of_other_harnesses_come_with_their_split() -> None:
    assert OtherName("VLMEvalKit", "MMBench_DEV_EN_V11") in TASKS["mmbench-en-v11"].other_names
    assert OtherName("lmms-eval", "mathvista_testmini", "testmini") in TASKS["mathvista"].other_names
    assert OtherName("lmms-eval", "mmmu_val", "validation") in TASKS["mmmu"].other_names


@pytest.mark.parametrize("task", BUNDLED, ids=lambda task: task.name)
def test_its_modality_is_what_its_bundled_samples_show(task: Task) -> None:
    media = [sample.media for sample in open_split(task, Source(), "mini")]
    drawn = any(isinstance(ref, ImageRef) and ref.drawn for refs in media for ref in refs)  # frames of no video
    kinds = {VideoRef if drawn else type(ref) for refs in media for ref in refs}
    if task.modality in ("image", "images"):
        assert kinds == {ImageRef} and (max(len(refs) for refs in media) > 1) == (task.modality == "images")
    else:
        assert (VideoRef in kinds, PdfRef in kinds) == (task.modality == "video", task.modality == "document")
    assert bool(kinds) == (task.modality != "text")


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.reference], ids=lambda task: task.name)
def test_a_published_figure_that_it_names_exists(task: Task) -> None:
    wanted = task.reference
    assert wanted is not None
    assert any(
        score.benchmark == wanted.benchmark
        and (score.setting == (wanted.setting or "") or score.setting.startswith(f"{wanted.by}="))
        and wanted.split in (None, score.split)
        for score in published_scores()
    )


PICTURES = {"image", "decoded_image", *IMAGE_COLUMNS}
LEFT_OUT = {  # columns of bundled tables that no scorer, report or submission needs, and those that are empty there
    "mmmu": {"explanation"},
    "mmmu-pro": {"explanation"},
    "mathvision": {"solution"},
    "infovqa": {"data_split", "ocr"},
    "screenspot-pro": {"instruction_cn"},
    "longvideobench": {f"option{number}" for number in range(5)},  # kept as `candidates`
    "longvideobench-nosubs": {f"option{number}" for number in range(5)},
    "mmbench-en-v11": {"comment", "source", "split", "hint"},
    "mmstar": {"meta_info"},
    "mmvet": {"image_source"},
}


def columns_of(folder: Path) -> set[str]:
    """The columns of a bundled split's tables; subtitles are none."""
    tables = [path for path in folder.rglob("*") if path.name.endswith(SUFFIXES) and path.parent.name != "subtitles"]
    return {name for path in tables for row in read_file(path, folder, Tables(task="mini")) for name in row.values}


@pytest.mark.parametrize("task", BUNDLED, ids=lambda task: task.name)
def test_no_column_of_a_table_is_dropped_unless_it_is_named_here(task: Task) -> None:
    stored = {name for sample in open_split(task, Source(), "mini") for name in sample.row}
    dropped = columns_of(MINI / (task.mini or "")) - stored - PICTURES
    assert dropped == LEFT_OUT.get(task.name, set())


def test_a_stored_source_of_an_older_version_is_read() -> None:
    stored = {"repo": "a/b", "data_dir": "/data", "offline": True, "faults": None, "announce": None}
    assert decode(Source, stored) == Source(repo="a/b", data_dir=Path("/data"), offline=True)


def test_an_unknown_task_is_a_usage_error_with_suggestions() -> None:
    with pytest.raises(UsageError) as caught:
        get_task("mathvysta")
    assert caught.value.code == "usage.task"
    assert caught.value.suggestions == ("mathvista",)
    with pytest.raises(UsageError):
        select(["mathvista", "no-such-task"])


def test_names_may_be_written_with_underscores_and_capitals() -> None:
    assert get_task("Screenspot_V2") is TASKS["screenspot-v2"]
    assert select(["MMMU_pro"]) == [TASKS["mmmu-pro"]]
