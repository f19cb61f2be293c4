"""A real Jupyter kernel: progress in one output, tables as HTML, interrupts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.results.test_readme_example import changed, example

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = """
import os, signal, threading
options = dict(tasks="mathvista", model_args={"delay": 0.05}, output_dir="stopped")
threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
kvl_eval.evaluate("fake", **options)
"""
THREAD = """
from kvl_eval.evaluation.notebook import NotebookProgress
from kvl_eval.run.event_loop import run_async
progress = NotebookProgress()
progress.notice("from the cell")
async def work():
    progress.notice("from the run's thread")
run_async(work())
"""
CELLS = (
    changed(example(), ""),
    "result",
    "again = kvl_eval.evaluate('kimi-vl-nano', 'mathvista', limit=3)\nassert again.path == result.path",
    INTERRUPTED,
    "stopped = kvl_eval.open_run('latest', results_dir='stopped')\nprint(stopped.status, 0 < stopped.score().n < 90)",
    "kvl_eval.evaluate('fake', limt=3)",
    THREAD,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[dict[str, Any]]]]:
    """The outputs of each cell."""
    import nbformat
    from nbclient import NotebookClient

    place = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "IPYTHONDIR": str(place / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    client = NotebookClient(
        notebook, timeout=300, allow_errors=True, resources={"metadata": {"path": str(place)}}
    )
    client.execute(env=environment)
    yield [list(cell.outputs) for cell in notebook.cells]


def test_progress_is_one_output_of_the_cell(outputs: list[list[dict[str, Any]]]) -> None:
    (shown,) = [output for output in outputs[0] if output["output_type"] == "display_data"]
    text = shown["data"]["text/plain"]
    assert "mathvista" in text and "3/3" in text and "done" in text


def test_the_example_of_the_readme_prints_its_table(outputs: list[list[dict[str, Any]]]) -> None:
    printed = "".join(output["text"] for output in outputs[0] if output["output_type"] == "stream")
    assert "mathvista/mini" in printed and "official-rule" in printed and "Traceback" not in printed


def test_a_result_is_a_table(outputs: list[list[dict[str, Any]]]) -> None:
    (shown,) = outputs[1]
    assert "<table>" in shown["data"]["text/html"] and "official-rule" in shown["data"]["text/html"]
    assert shown["data"]["text/plain"].startswith("<EvaluationResult mathvista")


def test_the_cell_again_returns_at_once(outputs: list[list[dict[str, Any]]]) -> None:
    assert not [output for output in outputs[2] if output["output_type"] == "error"]


def test_an_interrupt_stops_the_run_in_order(outputs: list[list[dict[str, Any]]]) -> None:
    assert outputs[3][-1]["ename"] == "KeyboardInterrupt" and "continues the run" in outputs[3][-1]["evalue"]
    assert outputs[4][0]["text"].split() == ["interrupted", "True"]


def test_an_error_ends_with_its_fix(outputs: list[list[dict[str, Any]]]) -> None:
    error = outputs[5][-1]
    assert error["ename"] == "UsageError" and "did you mean 'limit'?" in error["evalue"]


def test_the_thread_of_a_run_updates_the_output_of_its_cell(outputs: list[list[dict[str, Any]]]) -> None:
    (shown,) = outputs[6]
    assert shown["data"]["text/plain"].splitlines() == ["from the cell", "from the run's thread"]
