"""`kvl-eval fetch osworld`: files that tasks download, from a stand-in of the hub to where the environment looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.osworld import FILES, OSWORLD, cache_files
from tests.hub.conftest import Kvl
from tests.hub.server import Hub, Repo
from tests.osworld_tree import write_tree

pytestmark = pytest.mark.slow


def data_set(hub: Hub, folder: Path, **files: bytes) -> None:
    (folder / "a b").mkdir(parents=True)
    (folder / "a b/in.xlsx").write_bytes(b"input")
    for name, content in files.items():
        (folder / f"{name}.xlsx").write_bytes(content)
    hub.repos = [Repo("datasets", FILES, {"main": folder})]


def command(tree: Path, tmp_path: Path) -> tuple[str, ...]:
    return ("fetch", "osworld", "--data-dir", str(tree), "--cache-dir", str(tmp_path / "cache"), "--json")


def test_downloads_are_brought_once_to_where_the_environment_looks(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    data_set(hub, tmp_path / "repo", gold=b"gold", other=b"of no task")
    tree = write_tree(tmp_path / "tree")
    done = kvl(*command(tree, tmp_path))
    assert done.returncode == 0, done.stderr
    samples = open_split(OSWORLD, Source(data_dir=tree), "test")
    places = [file.place for sample in samples for file in cache_files(sample)]
    assert [(tmp_path / "cache" / place).read_bytes() for place in places] == [b"input", b"gold"]
    assert not hub.fetched("other.xlsx")
    asked = len(hub.requests)
    assert kvl(*command(tree, tmp_path)).returncode == 0
    assert len(hub.requests) == asked


def test_a_file_that_the_data_set_lacks_is_named(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    data_set(hub, tmp_path / "repo")
    done = kvl(*command(write_tree(tmp_path / "tree"), tmp_path))
    assert done.returncode == 4, done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["samples"], report["missing"]) == (5, ["gold.xlsx"])
