"""What `kvl-eval view` shows: the report of a run, written when it is missing or old, or the progress of one."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from kvl_eval.errors import KvlEvalError, UsageError
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.write import write_report
from kvl_eval.scoring.rescore import fresh_results
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_list import list_runs
from kvl_eval.view.live import LiveRun, RunProgress
from kvl_eval.view.server import ReportServer

CHECK = 1.0  # seconds between two looks at whether a run is over


class RunView:
    """A server for one run or report, and the thread that writes a run's report when the run is over."""

    def __init__(self, path: Path, port: int = 0) -> None:
        """Start serving. Raises: DataError for anything but a run or a report, UsageError for a port in use."""
        self._problem = ""
        self._closed = threading.Event()
        self._written = threading.Event()
        self._live = None if is_report(path) else LiveRun(path)
        if self._live is not None and not self._live.running:
            self._live.close()
            self._live = None
            write_if_old(path)
        root = path if is_report(path) else path / "report"
        self.server = ReportServer(root, port, None if self._live is None else self._state)
        self.server.start()
        if self._live is not None:
            threading.Thread(target=self._wait_for_end, args=(path, self._live), daemon=True).start()

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return self.server.url

    @property
    def live(self) -> bool:
        """Whether a run was in progress at the start."""
        return self._live is not None

    def close(self) -> None:
        """Stop."""
        self._closed.set()
        self.server.close()
        if self._live is not None:
            self._live.close()

    def _state(self) -> RunProgress:
        assert self._live is not None
        return replace(self._live.state(), report=self._written.is_set(), problem=self._problem)

    def _wait_for_end(self, path: Path, live: LiveRun) -> None:
        while not self._closed.wait(CHECK):
            if not live.running:
                try:
                    write_if_old(path)
                    self._written.set()
                except KvlEvalError as error:  # the page says so; its last state stays
                    self._problem = plain(f"cannot write the report: {error.message}")
                return


def is_report(path: Path) -> bool:
    """Whether a folder is a written report rather than a run."""
    return (path / "index.html").is_file() and not (path / "run.json").exists()


def write_if_old(path: Path) -> Path:
    """The run's report folder, written if it is missing or older than the results. Raises: DataError, StorageError."""
    fresh_results(RunReader.open(path))
    index = path / "report" / "index.html"
    if not index.is_file() or index.stat().st_mtime_ns < (path / "results.json").stat().st_mtime_ns:
        write_report([path])
    return index.parent


def newest_run(output_dir: Path) -> Path:
    """The run made last below `output_dir`. Raises: UsageError where there is none."""
    runs = [run for run in list_runs(output_dir) if run.created is not None]
    if not runs:
        raise UsageError("view.run", f"no runs found in {output_dir}", fix="name a run folder, or use --output-dir")
    return Path(runs[-1].path)
