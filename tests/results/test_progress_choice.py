"""Who sees progress: a terminal, a notebook, or whoever asks for it."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from kvl_eval.evaluation.notebook import NotebookProgress, chosen_progress, in_notebook
from kvl_eval.run.progress import Lines, Silent, TaskCounts, Terminal


class Screen(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


class Output:
    """Stands for IPython.display and the output it returns."""

    def __init__(self) -> None:
        self.shown: list[Mapping[str, str]] = []

    def display(self, content: Mapping[str, str], *, raw: bool, display_id: bool) -> Output:
        assert raw and display_id
        self.shown.append(content)
        return self

    def update(self, content: Mapping[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(content)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Output:
    """A Jupyter kernel as far as progress sees it."""
    output = Output()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", output)
    return output


def test_none_means_a_terminal_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(chosen_progress(None), Silent)
    assert isinstance(chosen_progress(True), Lines)
    monkeypatch.setattr(sys, "stderr", Screen())
    assert isinstance(chosen_progress(None), Terminal)
    assert isinstance(chosen_progress(False), Silent)
    own = Silent()
    assert chosen_progress(own) is own


def test_a_notebook_has_its_own(kernel: Output) -> None:
    assert in_notebook()
    assert isinstance(chosen_progress(None), NotebookProgress)
    assert isinstance(chosen_progress(False), Silent)


def test_one_output_is_updated_and_all_text_escaped(kernel: Output) -> None:
    clock = iter(range(100))
    progress = NotebookProgress(lambda: float(next(clock)))
    task = TaskCounts("a<b", 10, 10.0)
    progress.start([task])
    progress.notice("<img>")
    task.started, task.ok = 0.0, 10
    for _ in range(3):
        progress.update()
    progress.close()
    progress.close()
    assert len(kernel.shown) == 2  # the same text is not sent again
    assert "a<b" in kernel.shown[-1]["text/plain"] and "10/10" in kernel.shown[-1]["text/plain"]
    assert "&lt;img&gt;" in kernel.shown[-1]["text/html"] and "<img>" not in kernel.shown[-1]["text/html"]
