"""Which of a run's results a request means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvl_eval.errors import UsageError, unknown
from kvl_eval.names import same_name
from kvl_eval.printable import one_line
from kvl_eval.reports import numbers
from kvl_eval.results.task_score import TaskScore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.result_records import ResultRow


def score_keys(scores: Iterable[TaskScore]) -> dict[str, TaskScore]:
    """{task: score}; a task with several budgets has one key for each, such as `mathvista@4k`."""
    listed = list(scores)
    tasks = [score.task for score in listed]
    return {
        score.task if tasks.count(score.task) == 1 else f"{score.task}@{_label(score.budget)}": score
        for score in listed
    }


@dataclass(frozen=True, slots=True)
class ScoreChoice:
    """A request for results of a run; what is None was not asked for.

    Attributes:
        task:     a task, or a key of `score_keys`.
        budget:   tokens, or a text such as `4k`.
        protocol: a protocol, as results name it.
    """

    run: RunReader
    task: str | None = None
    budget: int | str | None = None
    protocol: str | None = None

    def one(self, rows: Sequence[ResultRow], main: Sequence[ResultRow]) -> ResultRow:
        """The only result meant. Raises: UsageError for several, or none, with the choices."""
        chosen = self.rows(rows, main)
        if len(chosen) == 1:
            return chosen[0]
        kind = "task" if len({row.task for row in chosen}) > 1 else "budget"
        names = [row.task if kind == "task" else _label(row.budget) for row in chosen]
        choices = list(dict.fromkeys(names))
        raise UsageError(
            f"usage.{kind}",
            f"the run has {len(choices)} {kind}s; name one",
            where=str(self.run.folder.path),
            why=", ".join(map(numbers.plain, choices)),
            fix=f'.score("{choices[0]}")' if kind == "task" else f'.score("{chosen[0].task}", budget="{choices[0]}")',
        )

    def rows(self, rows: Sequence[ResultRow], main: Sequence[ResultRow]) -> list[ResultRow]:
        """The results meant, one per task and budget, in the run's order; `main` are those shown by default.

        Raises: UsageError for a task, budget or protocol that the run lacks, with the choices.
        """
        task, budget = self._task_and_budget(main)
        chosen = [row for row in (main if self.protocol is None else rows) if task in (None, row.task)]
        if self.protocol is not None:
            chosen = self._of_protocol(chosen, self.protocol)
        if budget is None:
            return chosen
        fitting = [row for row in chosen if row.budget == budget]
        if not fitting:
            budgets = list(dict.fromkeys(_label(row.budget) for row in chosen))
            raise self._missing("budget", _label(budget), budgets)
        return fitting

    def _task_and_budget(self, main: Sequence[ResultRow]) -> tuple[str | None, int | None]:
        names = list(dict.fromkeys(row.task for row in main))
        if not names:
            where = str(self.run.folder.path)
            raise UsageError("usage.task", "the run has no results", where=where, fix=".resume() continues it")
        if self.task is None:
            return None, self._budget(self.budget)
        if name := same_name(self.task, names):
            return name, self._budget(self.budget)
        task, at, label = self.task.rpartition("@")
        if at and task in names and self.budget is None:
            return task, self._budget(label)
        raise self._missing("task", self.task, names)

    def _budget(self, budget: int | str | None) -> int | None:
        text = str(budget).strip().lower()
        digits, unit = (text[:-1], 1024) if text.endswith("k") else (text, 1)
        if budget is None or not digits.isdecimal():
            if budget is None:
                return None
            raise UsageError("usage.budget", f"not a budget: {one_line(repr(budget))}", fix='such as 4096 or "4k"')
        return int(digits) * unit

    def _of_protocol(self, rows: Sequence[ResultRow], protocol: str) -> list[ResultRow]:
        """The rows of a protocol, the newest judge's where there are several."""
        chosen: dict[tuple[str, int | None], ResultRow] = {}
        for row in rows:
            if protocol in (row.protocol, row.label, f"{row.protocol}+{row.judge}") and row.thinking == "split":
                chosen[row.task, row.budget] = row
        if not chosen:
            raise self._missing("protocol", protocol, list(dict.fromkeys(row.protocol for row in rows)))
        return list(chosen.values())

    def _missing(self, kind: str, name: str, choices: Sequence[str]) -> UsageError:
        """The error for what the run lacks: its choices, or how to get a score under that protocol."""
        if kind == "protocol" and self._is_a_protocol(name):
            return UsageError(
                "usage.protocol",
                f"the run was not scored under {one_line(repr(name))}",
                why=f"scored: {', '.join(choices)}",
                fix=f'.rescore("{name}")',
            )
        error = unknown(kind, name, choices, "result.scores")
        error.where = str(self.run.folder.path)
        error.why = f"the run has {', '.join(map(numbers.plain, choices))}"
        return error

    def _is_a_protocol(self, name: str) -> bool:
        tasks = [self.run.task(task) for task in self.run.task_names]
        return any(task.protocol_named(name) for task in tasks)


def _label(budget: int | None) -> str:
    return "none" if budget is None else numbers.budget_label(budget)
