"""`kvl-eval list tasks`, `models` and `references`: headers, filters, counts."""

from __future__ import annotations

import json

import pytest

from kvl_eval.backends import MODELS
from kvl_eval.references import load
from kvl_eval.tasks import TASKS
from tests.cli.conftest import Kvl


def rows(kvl: Kvl, *arguments: str) -> list[list[str]]:
    """The words of each line of a list."""
    answer = kvl("list", *arguments)
    assert answer.code == 0, answer.err
    return [line.split() for line in answer.out.splitlines()]


def test_every_task_has_a_line_between_a_header_and_the_count(kvl: Kvl) -> None:
    lines = rows(kvl, "tasks")
    assert lines[0] == ["task", "samples", "modality", "access", "download", "title"]
    assert [line[0] for line in lines[1:-1]] == list(TASKS)
    assert lines[1] == ["mathvista", "1,000", "image", "open", "?", "MathVista", "(testmini)"]
    assert " ".join(lines[-1]).startswith(f"{len(TASKS)} tasks, {len(TASKS) - 3} with a bundled mini split.")


def test_tasks_are_narrowed_by_modality_and_access(kvl: Kvl) -> None:
    lines = rows(kvl, "tasks", "--modality", "video", "--access", "open")
    assert {tuple(line[2:4]) for line in lines[1:-1]} == {("video", "open")}
    assert lines[-1][0] == str(len(lines) - 2)


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        pytest.param(("screenspot",), {"screenspot", "screenspot-v2", "screenspot-pro"}, id="pattern"),
        pytest.param(("screenspot-*",), {"screenspot-v2", "screenspot-pro"}, id="glob"),
        pytest.param(("--group", "Needle"), {"niah-text", "niah-video"}, id="group"),
        pytest.param(
            ("--max-download", "0"), {"niah-text", "niah-video", "desktop-mini", "desktop-apps"}, id="no-download"
        ),
        pytest.param(
            ("--max-download", "2GB"),
            {"niah-text", "niah-video", "desktop-mini", "desktop-apps", "ocrbench", "screenspot-v2"},
            id="2GB",
        ),
        pytest.param(("--bundled",), set(TASKS) - {"osworld", "osworld-local", "desktop-apps"}, id="bundled"),
        pytest.param(("nothing",), set(), id="nothing"),
    ],
)
def test_tasks_are_narrowed(options: tuple[str, ...], tasks: set[str], kvl: Kvl) -> None:
    answer = kvl("list", "tasks", "--json", *options)
    assert {entry["task"] for entry in json.loads(answer.out)} == tasks


def test_a_task_entry_has_its_keys(kvl: Kvl) -> None:
    entry = json.loads(kvl("list", "tasks", "screenspot-v2", "--json").out)[0]
    keys = ["task", "title", "modality", "samples", "split", "has_answers", "access", "download_bytes"]
    assert list(entry) == [*keys, "groups", "splits"]
    assert (entry["samples"], entry["has_answers"], entry["splits"]) == (1272, True, "test,mini")
    assert entry["download_bytes"] == TASKS["screenspot-v2"].download_bytes


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--max-download", "much"), "usage.size"),
        (("--group", "nope"), "usage.group"),
        (("--sort", "when"), "usage.list"),
    ],
)
def test_a_value_that_cannot_be_is_refused(options: tuple[str, ...], code: str, kvl: Kvl) -> None:
    answer = kvl("list", "tasks", *options)
    assert (answer.code, answer.err.splitlines()[0].split(":")[0]) == (2, f"error[{code}]")


def test_models_have_a_header_and_are_narrowed(kvl: Kvl) -> None:
    lines = rows(kvl, "models")
    assert lines[0] == ["model", "location", "note"]
    assert [line[0] for line in lines[1:]] == [*MODELS, "hf:OWNER/NAME", "FOLDER"]
    assert [line[0] for line in rows(kvl, "models", "nano")[1:]] == ["kimi-vl-nano", "kimi-vl-nano-thinking"]


def test_published_results_have_a_header(kvl: Kvl) -> None:
    lines = rows(kvl, "references")
    assert lines[0] == ["task", "system", "setting", "value", "source"]
    assert len(lines) == len(load()) + 1


@pytest.mark.parametrize("arguments", [("screenspot-v2",), ("--task", "ScreenSpot_v2")])
def test_published_results_are_narrowed_by_task_and_system(arguments: tuple[str, ...], kvl: Kvl) -> None:
    found = json.loads(kvl("list", "references", *arguments, "--system", "gpt-4o", "--json").out)
    assert {entry["benchmark"] for entry in found} == {"screenspot_v2"}
    assert {entry["system"] for entry in found} == {"gpt-4o", "gpt-4o-mini"}
    assert list(found[0]) == ["benchmark", "split", "system", "setting", "value", "table", "source"]


def test_the_whole_name_of_a_task_names_that_task_alone(kvl: Kvl) -> None:
    found = json.loads(kvl("list", "references", "mmmu", "--json").out)
    assert {entry["benchmark"] for entry in found} == {"mmmu"}
