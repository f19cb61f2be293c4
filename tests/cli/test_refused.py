"""A run that is refused leaves the results folder as it was, and says so with exit code 2 or 4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.errors import CheckpointError
from kvl_eval.store.results_folder import ResultsFolder
from tests.cli.conftest import Kvl
from tests.faults.stub_server import Stub, chat, in_turn, serving

pytestmark = pytest.mark.slow

NOWHERE = "http://127.0.0.1:9/v1"
TASK = ("--task", "mathvista", "--split", "mini", "--limit", "1")


def listing(folder: Path) -> dict[str, bytes | None]:
    """{path below a folder: content of a file}."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder."""
    folder = tmp_path_factory.mktemp("work")
    rows = [{"question": "", "answer": "x"}, {"question": "q", "answer": "x", "image": "../outside.png"}]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "empty.jsonl").write_text("")
    (folder / "two.jsonl").write_text(json.dumps({"question": "q", "answer": "x", "target": "y"}) + "\n")
    (folder / "broken").mkdir()
    (folder / "broken" / "mine.py").write_text("raise ValueError('no')\n")
    return folder


@pytest.fixture(params=["no results yet", "results of another run"])
def folder(
    request: pytest.FixtureRequest, used: Path, kvl: Kvl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """The working folder, with and without results in it."""
    monkeypatch.chdir(used)
    monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", str(tmp_path / "deep" / "results"))
    if request.param == "results of another run":
        assert kvl("run", *TASK, "--model", "fake").code == 0
    return tmp_path


REFUSALS = [
    pytest.param(("--task", "nope"), 2, id="task"),
    pytest.param(("--nope",), 2, id="option"),
    pytest.param(("--model", "./nothing"), 2, id="model"),
    pytest.param(("--prompt", "nope"), 2, id="prompt"),
    pytest.param(("--protocol", "nope"), 2, id="protocol"),
    pytest.param(("--split", "nope"), 2, id="split"),
    pytest.param(("--limit", "0"), 2, id="limit"),
    pytest.param(("--sample-ids", "nope"), 2, id="sample-ids"),
    pytest.param(("--split", "testmini", "--data-dir", "nope"), 4, id="data"),
    pytest.param(("--split", "testmini", "--offline"), 4, id="offline"),
    pytest.param(("--device", "gpu"), 4, id="device"),
    pytest.param(("--dtype", "float8"), 2, id="dtype"),
    pytest.param(("--model", "endpoint", "--base-url", NOWHERE), 4, id="server"),
    pytest.param(("--judge", "endpoint"), 2, id="judge-options"),
    pytest.param(("--task", "file:bad.jsonl"), 4, id="bad-rows"),
    pytest.param(("--task", "file:empty.jsonl"), 4, id="empty-table"),
    pytest.param(("--task", "file:two.jsonl"), 4, id="two-answers"),
    pytest.param(("--include-path", "broken"), 2, id="own-task"),
]


@pytest.mark.parametrize(("options", "code"), REFUSALS)
def test_a_refused_run_leaves_nothing(options: tuple[str, ...], code: int, folder: Path, kvl: Kvl) -> None:
    before = listing(folder)
    task = () if "--task" in options else TASK
    dry = () if before else ("--dry-run",)
    answer = kvl("run", *task, *options, *dry)
    assert answer.code == code, answer.err
    assert "error[" in answer.err and "Traceback" not in answer.err
    assert listing(folder) == before


def test_a_server_without_budgets_leaves_nothing(folder: Path, kvl: Kvl, stub: Stub) -> None:
    before = listing(folder)
    stub.script = in_turn(chat("yes"))
    answer = kvl("run", *TASK, "--model", "endpoint", "--base-url", stub.url, "--think-budget", "1k")
    assert (answer.code, "error[endpoint.budget]" in answer.err) == (4, True), answer.err
    assert listing(folder) == before


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server that lists one model."""
    with serving(in_turn(chat("B"))) as server:
        yield server


def test_weights_that_cannot_be_loaded_leave_nothing(folder: Path, kvl: Kvl, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: TorchEngine) -> None:
        raise CheckpointError("model.memory", "not enough memory")

    before = listing(folder)
    monkeypatch.setattr(TorchEngine, "load", load)
    answer = kvl("run", *TASK)
    assert (answer.code, "error[model.memory]" in answer.err) == (4, True), answer.err
    assert set(listing(folder)) == set(before)


def test_a_run_with_a_record_stays(tmp_path: Path, kvl: Kvl, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = FakeBackend.generate

    async def dying(self: FakeBackend, requests: object) -> object:
        async for item in generate(self, requests):  # type: ignore[arg-type]
            yield item
            raise CheckpointError("model.gone", "the device is gone")

    monkeypatch.setattr(FakeBackend, "generate", dying)
    answer = kvl("run", "--task", "mathvista", "--limit", "3", "--model", "fake", "-o", str(tmp_path))
    assert answer.code == 4, answer.err
    [run] = tmp_path.glob("2*/run.json")
    assert json.loads(run.read_text())["status"] == "interrupted"


def test_folders_of_others_stay(tmp_path: Path) -> None:
    before = ResultsFolder.of(tmp_path / "a" / "b")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "theirs").mkdir()
    before.restore()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["theirs"]
