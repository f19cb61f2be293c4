"""OSWorld's task files: read by type, listed in splits, and refused where they would leave their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import DataError
from kvl_eval.scorers.episode import episode_answer, episode_score
from kvl_eval.sources import Reporter, Source
from kvl_eval.tasks import TASKS, open_split
from kvl_eval.tasks.osworld import FILES, OSWORLD, OSWORLD_LOCAL, cache_files
from kvl_eval.tasks.osworld_files import cached_files, hub_place, needs, task_file
from kvl_eval.types import Sample, Scored
from tests.osworld_tree import LIGHT, MAIL, PAGE, RENAME, SUM, URL, write_tree
from tests.osworld_tree import TASKS as FILES_OF_TREE


def samples(folder: Path, split: str = "test", reporter: Reporter | None = None) -> dict[str, Sample]:
    source = Source(data_dir=folder)
    return {sample.id: sample for sample in open_split(OSWORLD_LOCAL, source, split, reporter or Reporter())}


def task_of(**fields: Any) -> object:
    return {"id": "x", "instruction": "Do it.", "evaluator": {"func": "exact_match"}, **fields}


def test_a_sample_is_a_task_file_as_it_came(tmp_path: Path) -> None:
    found = samples(write_tree(tmp_path))
    assert list(found) == [
        f"os/{RENAME}",
        f"os/{LIGHT}",
        f"libreoffice_calc/{SUM}",
        f"multi_apps/{MAIL}",
        f"chrome/{PAGE}",
    ]
    sample = found[f"libreoffice_calc/{SUM}"]
    assert sample.question == "Put the sum into B6."
    assert sample.row["task"] == {"id": SUM, **FILES_OF_TREE[f"libreoffice_calc/{SUM}"]}
    assert sample.categories == {"domain": ("libreoffice_calc",), "group": ("Office",)}
    assert OSWORLD.sample(sample.row) == sample
    assert [found[f"os/{name}"].answers for name in (RENAME, LIGHT)] == [("DONE",), ("FAIL",)]


def test_the_folder_of_the_lists_may_be_named_itself(tmp_path: Path) -> None:
    write_tree(tmp_path)
    assert list(samples(tmp_path / "evaluation_examples", "infeasible")) == [f"os/{LIGHT}"]


def test_what_a_task_needs_keeps_it_out_of_the_local_split(tmp_path: Path) -> None:
    notes: list[str] = []
    found = samples(write_tree(tmp_path), "local", Reporter(note=notes.append))
    assert list(found) == [f"os/{RENAME}", f"os/{LIGHT}"]
    assert notes == ["note: osworld-local leaves out 3 tasks; they need: account 1, download 1, network 1"]
    assert needs(task_file(FILES_OF_TREE[f"multi_apps/{MAIL}"] | {"id": MAIL}, "")) == (
        *("account", "application thunderbird"),
    )
    assert needs(task_file(task_of(related_apps=["vscode"], proxy=True), "")) == ("network", "application vs_code")


def test_downloads_are_called_as_the_original_environment_looks_for_them() -> None:
    task = task_file({"id": SUM, **FILES_OF_TREE[f"libreoffice_calc/{SUM}"]}, "")
    # uuid5 of the address in the namespace of addresses, as controllers/setup.py of desktop_env 1.0.2 makes it
    assert [file.name for file in cached_files(task)] == ["928157fd-76f7-59d7-bc86-587cc351fee7_x.xlsx", "gold.xlsx"]
    row = {"domain": "libreoffice_calc", "task": {"id": SUM, **FILES_OF_TREE[f"libreoffice_calc/{SUM}"]}}
    files = cache_files(OSWORLD.sample(row))
    assert [file.path for file in files] == ["a b/in.xlsx", "gold.xlsx"]
    assert files[1].place == f"osworld/{SUM}/gold.xlsx"


@pytest.mark.parametrize("url", ["https://example.org/a", "https://huggingface.co/datasets/a/b/resolve/main/c", URL])
def test_other_addresses_are_not_of_the_hub_data_set(url: str) -> None:
    assert hub_place(url, FILES) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../x"},
        {"config": [{"type": "upload_file", "parameters": {"files": [{"local_path": "/etc/passwd", "path": "/x"}]}}]},
        {"config": [{"type": "upload_file", "parameters": {"files": [{"local_path": "../x", "path": "/x"}]}}]},
        {"config": [{"type": "command", "parameters": {"command": "ls", "stdout": "../../x"}}]},
        {"evaluator": {"func": "f", "result": {"type": "vm_file", "path": "/x", "dest": "/etc/x"}}},
        {"evaluator": {"func": "f", "expected": [{"type": "cloud_file", "path": ["u"], "dest": ["a/../../x"]}]}},
        {"evaluator": {"func": "f", "result": {"type": "cache_file", "path": "../x"}}},
    ],
    ids=["id", "absolute upload", "upload above", "output", "absolute", "list", "cache"],
)
def test_a7_names_that_leave_the_cache_folder_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        task_file(task_of(**fields), "os/x.json")
    assert caught.value.code == "data.field" and "file name" in caught.value.message
    assert caught.value.where == "os/x.json"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"instruction": 3}, "task.instruction"),
        ({"config": {"type": "x"}}, "task.config"),
        ({"evaluator": None}, "task.evaluator"),
        ({"evaluator": {"func": "f", "conj": "xor"}}, "task.evaluator.conj"),
    ],
)
def test_a_field_of_another_type_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named.replace(".", r"\.")):
        task_file(task_of(**fields), "")


def test_a_tree_that_is_not_whole_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        samples(tmp_path)
    assert caught.value.code == "data.missing" and "git clone" in (caught.value.fix or "")
    write_tree(tmp_path)
    broken = tmp_path / f"evaluation_examples/examples/os/{RENAME}.json"
    broken.write_text("{")
    with pytest.raises(DataError) as caught:
        samples(tmp_path)
    assert caught.value.where == str(broken)


@pytest.mark.parametrize("name", ["../../x", "", ".."])
def test_a_list_names_files_of_its_folder_only(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path)
    (tmp_path / "evaluation_examples/test_all.json").write_text(json.dumps({"os": [name]}))
    with pytest.raises(DataError, match="cannot be read"):
        samples(tmp_path)


def test_one_bad_task_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {**FILES_OF_TREE, "os/bad": {"instruction": "x", "evaluator": {"func": 3}}})
    faults: list[DataError] = []
    assert len(samples(tree, "test", Reporter(bad_row=faults.append))) == 5
    assert [fault.where for fault in faults] == ["os/bad.json"]


def test_every_figure_carries_its_label(tmp_path: Path) -> None:
    """Nothing here stands beside a published result: there is no reference, and tables name the sandbox."""
    assert OSWORLD.reference is None and OSWORLD_LOCAL.reference is None
    assert OSWORLD_LOCAL.title == "OSWorld tasks, local sandbox, n of 369 (not the official image)"
    assert OSWORLD_LOCAL.protocols["official"].label == "not the official image"
    assert OSWORLD.title == "OSWorld (experimental)" and OSWORLD.protocols["official"].label == "experimental"
    answer = episode_answer(0.5, "done", 3)
    scored = [
        Scored(sample=sample, score=episode_score(sample, answer)) for sample in samples(write_tree(tmp_path)).values()
    ]
    assert OSWORLD_LOCAL.aggregate(scored, "official").official["tasks"] == "5 of 369"


def test_both_tasks_are_listed() -> None:
    assert {"osworld", "osworld-local"} <= set(TASKS)
