"""Why a score is not the one expected: the Python call."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.resolving import explain as explain_to
from kvl_eval.results.evaluation_result import EvaluationResult, open_run
from kvl_eval.store.run_names import default_results_dir


def explain(
    run: EvaluationResult | str | Path,
    task: str | None = None,
    to: str | float | Path | EvaluationResult | None = None,
    protocol: str | None = None,
    as_: str | None = None,
) -> Explanation:
    """Why a run's score differs from a published result, a number or another run; `print(explanation)` shows all of it.

    Args:
        run:      a result, or a run as `open_run` takes it.
        task:     the task; None where the run has one.
        to:       a system with published results, a number in the task's unit, or a run; None means the published
                  result of the run's own model.
        protocol: whose score is explained; None means the run's own.
        as_:      the protocol that answers are read with in order to compare.
    Raises: UsageError for unknown names, UnscoredError where nothing has a score, DataError.
    """
    result = run if isinstance(run, EvaluationResult) else open_run(run)
    target = str(to.reader().folder.path) if isinstance(to, EvaluationResult) else None if to is None else str(to)
    options = ExplainOptions(task=task, to=target, protocol=protocol, as_=as_)
    return explain_to(result.reader(), options, Path(default_results_dir()))
