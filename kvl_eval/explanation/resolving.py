"""What `--to` names: a number, a run, or a system with published results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kvl_eval.errors import DataError
from kvl_eval.explanation.against_run import explain_against
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of, comparing_scorer
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.explaining import explain_run, target_of_case
from kvl_eval.explanation.reading import Scorer
from kvl_eval.explanation.references import is_number, known_of, system_named, unknown_system
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_names import find_run


def explain(run: RunReader, options: ExplainOptions, results_dir: Path) -> Explanation:
    """Why a run's score differs from what `options.to` names; runs are looked up in `results_dir`.

    Raises: UsageError `explain.system` for a name that nothing has; as `explain_run` and `explain_against`.
    """
    other = _other_run(options.to, results_dir)
    if other is None:
        return explain_run(run, options)
    return explain_against(run, RunReader.open(other, run.tasks), options)


def read_case(
    run: RunReader, options: ExplainOptions, results_dir: Path
) -> tuple[ExplainedCase, Scorer, Mapping[str, str]]:
    """What `explain` would explain, how it would read the answers, and {field: value} known of the reference.

    Raises: as `explain`.
    """
    case = case_of(run, options)
    target = None if _other_run(options.to, results_dir) else target_of_case(case, options)
    known = {} if target is None else {name: fact.value for name, fact in known_of(target).items()}
    return case, comparing_scorer(case, target, options.as_)[0], known


def _other_run(to: str | None, results_dir: Path) -> Path | None:
    """The run folder that `--to` names; None for a number, a system, or nothing."""
    if to is None or is_number(to):
        return None
    if not (Path(to).expanduser() / "run.json").exists() and system_named(to) is not None:
        return None
    try:
        return find_run(to, results_dir)
    except DataError as error:
        if error.code != "run.missing" or "/" in to or to.startswith("latest"):
            raise
        raise unknown_system(to) from None
