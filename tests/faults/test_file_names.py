"""Names from data, models and servers as parts of paths: what is written lies below the folder that was named."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.errors import KvlEvalError, StorageError
from kvl_eval.exports import FORMATS, export_run
from kvl_eval.reports.write import write_report
from kvl_eval.store.names import file_name, scores_file
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Split
from tests.faults.foreign_run import seal
from tests.faults.shell import MINI, Shell, newest
from tests.faults.stub_server import chat, models, serving
from tests.refusals import refused
from tests.tiny_task import run_tiny, tiny

NAMES = {
    "parent": "..",
    "above": "../x",
    "far": "../../../../src/t.jsonl",
    "absolute": "/abs/t",
    "file": "file:/home/somebody/t.jsonl",
    "inner": "a/b",
    "device": "CON",
    "hidden": ".hidden",
    "long": "n" * 5000,
    "nul": "a\x00b",
    "surrogate": "a\ud800b",
    "empty": "",
    "backslash": "..\\x",
}
odd_names = pytest.mark.parametrize("name", [pytest.param(text, id=key) for key, text in NAMES.items()])


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@odd_names
def test_K4_exports_and_reports_stay_below_their_folder(tmp_path: Path, name: str) -> None:
    deep = tmp_path / "a" / "b" / "c" / "d" / "e"
    task = tiny(3, name=name or "tiny", splits={name: Split(rows=3)}, default_split=name)
    run = run_tiny(deep / "runs", task).folder.path
    seal(run, lambda manifest: manifest["model"].update(name=name))
    seal(run, lambda manifest: manifest.update(created=f"2026-01-01T00:00:00{name}"))
    before = tree(tmp_path)
    out = deep / "out"
    for form in FORMATS:
        try:
            written = export_run(RunFolder.open(run), form, out / form)
        except KvlEvalError as error:
            assert error.code == f"export.{form}" and form in ("submission", "osworld")
            continue
        assert written and all(path.is_file() and path.resolve().is_relative_to(out) for path in written)
    write_report([run], out / "report")
    new = tree(tmp_path) - before
    assert new and all(path.startswith("a/b/c/d/e/out") for path in new), new


@odd_names
def test_K4_a_file_name_is_short_unique_and_leads_nowhere(name: str) -> None:
    made = file_name(name)
    assert made.isascii() and 0 < len(made) <= 100
    assert not made.startswith(".") and not set(made) & set('/\\\0:*?"<>|')
    assert made.upper() not in ("CON", "NUL", "AUX", "PRN")
    assert len({file_name(other) for other in NAMES.values()}) == len(NAMES)
    assert Path("/root", scores_file(name, name, "0.1.0")).parent == Path("/root")
    assert file_name("mathvista-mini_1.0+x") == "mathvista-mini_1.0+x"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/abs", "a\x00", "x" * 300, "a\\b", "a\ud800"])
def test_K4_what_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    with refused(StorageError, "storage.outside"):
        OutputFolder(tmp_path / "out").write([b"x"], name)
    with refused(StorageError, "storage.outside"):
        OutputFolder(tmp_path / "out").write([b"x"], "data", name)
    assert tree(tmp_path) <= {"out"}


def test_K4_links_that_leave_are_not_followed(tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "runs", tiny(3)).folder.path
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / "report").symlink_to(outside)
    (run / "export").symlink_to(outside)
    with refused(StorageError, "storage.outside"):
        write_report([run])
    with refused(StorageError, "storage.outside"):
        export_run(RunFolder.open(run), "csv")
    for name in ("data", "media", "assets"):
        report = tmp_path / f"report {name}"
        report.mkdir()
        (report / name).symlink_to(outside)
        with refused(StorageError, "storage.outside"):
            write_report([run], report)
    (report / "samples.csv").symlink_to(outside / "new.csv")
    with refused(StorageError, "storage.outside"):
        export_run(RunFolder.open(run), "csv", report)
    assert tree(outside) == set()


@pytest.mark.parametrize("name", ["..", "../x", "/abs", "a/b", ".hidden", "CON"])
def test_K5_a_model_id_of_a_server(shell: Shell, tmp_path: Path, name: str) -> None:
    with serving(lambda asked: chat("B"), models(name)) as stub:
        done = shell("run", *MINI, "--model", "endpoint", "--base-url", stub.url, "-o", tmp_path / "x" / "runs")
    assert done.code == 0, done.err
    run = newest(tmp_path / "x" / "runs")
    assert run.parent == tmp_path / "x" / "runs"
    before = tree(tmp_path)
    for form in ("lm-eval", "csv", "inspect"):
        assert shell("export", run, "-f", form, "-o", tmp_path / "x" / "y").code == 0
    assert all(path.startswith("x/y") for path in tree(tmp_path) - before)
