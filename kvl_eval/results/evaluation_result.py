"""A run as Python sees it: scores, answers, table. Everything but `rescore`, `report` and `resume` only reads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.backends.base import Backend
from kvl_eval.decode import Json, encode_object
from kvl_eval.printable import one_line
from kvl_eval.reports import numbers
from kvl_eval.reports.runs import ReportRun, main_rows, task_of
from kvl_eval.reports.table import final_table
from kvl_eval.reports.warnings import run_warnings, warning_lines
from kvl_eval.results.html import report_link, result_html
from kvl_eval.results.samples import samples_frame
from kvl_eval.results.score_choice import ScoreChoice, score_keys
from kvl_eval.results.task_score import TaskScore, scores_frame, task_score
from kvl_eval.run.config import RunConfig
from kvl_eval.run.contacts import contacts_of
from kvl_eval.run.runner import MakeBackend, resume_run
from kvl_eval.scoring.rescore import current_results, rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.trust import AddressPlace, KnownServers, Trust

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 120  # of `repr`
INTERRUPTED = 130  # exit code of a run that SIGINT ended


class EvaluationResult:
    """The outcome of a run; `print(result)` is its table.

    Attributes:
        folder:    the run folder, with plan, records and scores.
        run_id:    the folder's name.
        model:     the model's name.
        status:    `finished`, `interrupted`, `running`, `planned`, or `unknown` where run.json is lost.
        exit_code: what `kvl-eval run` exits with: 0, or 3 where a sample has no score.
        demo:      whether a demo model answered.
        warnings:  what to know before reading a score.
        results:   results.json: `results["rows"]` has one row per task, budget and protocol.
        message:   what happened and what to do next.
    """

    def __init__(
        self,
        run: RunReader,
        results: Results,
        *,
        protocol: str | None = None,
        exit_code: int | None = None,
        message: str = "",
        make: MakeBackend | None = None,
    ) -> None:
        """A run and its results.

        Args:
            protocol: what `scores` are shown under; None means the protocol that the run asked for.
            make:     builds the backend of `resume`; None where the run's configuration is a file's alone.
        """
        self._run = run
        self._stored = results
        self._protocol = protocol or _own_protocol(run)
        self._make = make
        self.folder: RunFolder = run.folder
        self.results: dict[str, Json] = encode_object(results)
        self.run_id = run.folder.run_id
        self.model = run.folder.manifest.model.name or ""
        self.status: str = run.folder.status
        self.demo = run.folder.manifest.demo
        self.message = message
        self.warnings = tuple(warning_lines(run_warnings(run.folder, results)))
        self.exit_code = self._exit_code() if exit_code is None else exit_code

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.folder.path

    @property
    def scores(self) -> Mapping[str, TaskScore]:
        """{task: score}; in a sweep {task@budget: score}, such as `mathvista@4k`."""
        return score_keys([task_score(row) for row in self._main_rows()])

    def score(
        self, task: str | None = None, *, budget: int | str | None = None, protocol: str | None = None
    ) -> TaskScore:
        """One score; what a run has only once need not be named.

        Args:
            task:     a task, or a key of `scores`.
            budget:   `4096` or `"4k"`.
            protocol: a protocol the run was scored under; None means the one of `scores`.
        Raises: UsageError for an unknown or ambiguous request, with the choices.
        """
        return task_score(self._row(task, budget, protocol))

    def to_pandas(self) -> pd.DataFrame:
        """One row per result, all protocols: the fields of TaskScore, with `score`, `ci_low` and `ci_high`."""
        return scores_frame(map(task_score, self._stored.rows))

    def samples(
        self, task: str | None = None, *, protocol: str | None = None, budget: int | str | None = None
    ) -> pd.DataFrame:
        """One row per planned answer; failed and pending samples are rows without an answer.

        Args: as in `score`; None means all tasks and all budgets. Raises: UsageError likewise.
        """
        choice = ScoreChoice(self._run, task, budget, protocol)
        return samples_frame(self._run, choice.rows(self._stored.rows, self._main_rows()))

    def table(self) -> str:
        """The final table as plain text."""
        rows = self._stored.rows if self._protocol is None else self._main_rows()
        return final_table(replace(self._stored, rows=tuple(rows)))

    def rescore(self, protocol: str) -> EvaluationResult:
        """Score the stored answers under a protocol, or `all`; the run keeps its other scores.

        Returns: the run, with `scores` under that protocol. Raises: UsageError for an unknown protocol.
        """
        run = RunReader.open(self.path, self._run.tasks)
        results = rescore(run, protocol)
        return EvaluationResult(run, results, protocol=None if protocol == "all" else protocol, make=self._make)

    def report(self, output_dir: str | Path | None = None, *, open: bool = False) -> Path:
        """Write the HTML and Markdown report; `open` shows it in the browser. Returns: the path of its first page."""
        from kvl_eval.reports.write import write_report

        paths = write_report([self.path], None if output_dir is None else Path(output_dir))
        page = next(path for path in paths if path.suffix == ".html")
        if open:
            import webbrowser

            webbrowser.open(page.resolve().as_uri())
        return page

    def resume(self, *, rerun: str | Sequence[str] | None = None) -> EvaluationResult:
        """Answer what the run lacks, with its stored configuration.

        Args:
            rerun: samples to answer again: `failed`, `all`, or ids.
        Raises: UsageError `run.mismatch`, `run.busy`, or `trust.server` for an address that only the folder names.
        """
        run = RunReader.open(self.path, self._run.tasks)
        outcome = resume_run(run, self._make or _make_trusted(run), rerun=rerun, handle_signals="interrupts")
        if outcome.exit_code == INTERRUPTED:
            raise KeyboardInterrupt(f"stopped; .resume() continues the run in {self.path}")
        run = RunReader(outcome.folder, self._run.tasks)
        return EvaluationResult(
            run, outcome.results, exit_code=outcome.exit_code, message=outcome.message, make=self._make
        )

    def reader(self) -> RunReader:
        """The run as the rest of the package reads it."""
        return self._run

    def __str__(self) -> str:
        """The final table."""
        return self.table()

    def __repr__(self) -> str:
        """One line: scores, counts, status and folder."""
        scores = [f"{key} {str(score).split(' ')[0].rstrip(',')}" for key, score in self.scores.items()]
        rows = self._main_rows()
        done, planned = (sum(getattr(row, name) for row in rows) for name in ("n_scored", "n_planned"))
        place = f"{done}/{planned}, {self.status}, {_near(self.path)}"
        text = f"<EvaluationResult {_listed(scores)}{place}>" if scores else f"<EvaluationResult {place}>"
        return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]}...>"

    def _repr_html_(self) -> str:
        """The table for notebooks, with the warnings above it."""
        return result_html(self._main_rows(), self.warnings, report_link(self.path))

    def _main_rows(self) -> list[ResultRow]:
        """One result per task and budget: that of the protocol shown."""
        rows = self._stored.rows
        named = [row for row in rows if self._protocol is not None and row.protocol == _canonical(row, self._protocol)]
        shown = replace(self._stored, rows=tuple(named or rows))
        return main_rows(ReportRun(0, RunReader(self.folder), shown))

    def _row(self, task: str | None, budget: int | str | None, protocol: str | None) -> ResultRow:
        return ScoreChoice(self._run, task, budget, protocol).one(self._stored.rows, self._main_rows())

    def _exit_code(self) -> int:
        rows = self._main_rows()
        is_whole = self.status == "finished" and all(row.n_scored == row.n_planned for row in rows)
        return 0 if rows and is_whole else 3


def open_run(run: str | Path = "latest", *, results_dir: str | Path = "results") -> EvaluationResult:
    """A stored run: finished, interrupted, merged, of an earlier version or in progress. Nothing is written.

    Args:
        run:         a path, a run id, a unique beginning or end of one, `latest` or `latest~1`.
        results_dir: the folder where run ids are looked up.
    Raises: UsageError for an ambiguous name, DataError for one that is not a run folder.
    """
    from kvl_eval.store.run_names import find_run

    reader = RunReader.open(find_run(str(run), Path(results_dir)))
    return EvaluationResult(reader, current_results(reader))


def _own_protocol(run: RunReader) -> str | None:
    """The protocol that the run was started with; None for each task's default, or all."""
    protocol = run.folder.manifest.config.get("protocol")
    return protocol if isinstance(protocol, str) and protocol != "all" else None


def _make_trusted(run: RunReader) -> MakeBackend:
    """Builds the backend of a stored configuration, once nothing in it would contact an unknown address."""

    def make(config: RunConfig) -> Backend:
        from kvl_eval.backends import make_backend
        from kvl_eval.sources.media_files import cache_home

        def command(words: tuple[str, ...]) -> str:
            return shlex.join(["kvl-eval", "resume", str(run.folder.path), *words])

        Trust(KnownServers(cache_home(None)), command).settle(
            contacts_of(config, lambda _: AddressPlace.RUN_FOLDER, run.tasks)
        )
        return make_backend(config.model, config.settings)

    return make


def _canonical(row: ResultRow, protocol: str) -> str:
    task = task_of(row)
    return (None if task is None else task.protocol_named(protocol)) or protocol


def _near(path: Path) -> str:
    """The path from the current folder, or of a folder elsewhere the last two parts."""
    path = path.absolute()
    try:
        text = str(path.relative_to(Path.cwd()))
    except ValueError:
        text = str(Path(path.parent.name, path.name))
    return one_line(text)


def _listed(scores: list[str]) -> str:
    more = f"{len(scores) - 3} more, " if len(scores) > 3 else ""
    return "".join(f"{numbers.plain(text)}, " for text in scores[:3]) + more
