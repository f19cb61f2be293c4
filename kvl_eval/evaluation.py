"""The Python call: `kvl_eval.evaluate(model=..., tasks=[...], limit=...)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvl_eval.backends.base import Backend
from kvl_eval.decode import Json, decode, encode_object
from kvl_eval.families import ChosenFamily, FamilyRule
from kvl_eval.model.registry import stored_family
from kvl_eval.run.config import answers_bundled, resolve
from kvl_eval.run.large_data import bring_large
from kvl_eval.run.options import Options
from kvl_eval.run.progress import Progress
from kvl_eval.run.runner import start_run
from kvl_eval.run.warm_plan import plan_warm
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import select
from kvl_eval.tasks.base import Task


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What came out.

    Attributes:
        results:   results.json: `results["rows"]` has one row per task, budget and protocol.
        folder:    the run folder, with plan, records and scores.
        exit_code: as on the command line: 0, or 3 where something failed or was not scored.
        message:   what happened and what to do next.
    """

    results: dict[str, Json]
    folder: RunFolder
    exit_code: int
    message: str

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.folder.path

    def table(self) -> str:
        """The final table as plain text."""
        from kvl_eval.reports.table import final_table
        from kvl_eval.store.result_records import Results

        return final_table(decode(Results, self.results))


def evaluate(
    model: str = "kimi-vl-nano",
    tasks: Sequence[str | Task] | str = ("mathvista",),
    *,
    backend: Backend | str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """Answer tasks with a model and score the answers.

    Args:
        model:    a name, a checkpoint folder or `owner/name`, as `--model` takes it.
        tasks:    names, groups or globs, or tasks of your own; of a group demo models take what has a bundled split.
        backend:  what answers, instead of the one that `model` names; a text is the option `--backend` (`"vllm"`).
        progress: who is told how far it is; nobody by default.
        options:  flags of `kvl-eval run` with underscores and parsed values: `limit=20`, `split="mini"`,
                  `think_budget=(1024, 2048)`, `output_dir="results"`, ... (`kvl_eval.run.options.OPTIONS`).
    Raises: KvlEvalError for unknown names, unusable data or checkpoints, and storage that fails.
    """
    from kvl_eval.backends import family_of, make_backend

    if isinstance(backend, str):
        backend, options["backend"] = None, backend
    asked = Options.of({"backend": "auto", **options} if backend is None else options)
    if backend is None or asked.settings.engine.family:
        family = family_of(model, asked.settings.engine)
    else:
        family = ChosenFamily(stored_family(backend.family), FamilyRule.REGISTERED)
    chosen = _tasks(tasks, answers_bundled(family.family, asked))
    config = resolve(model, family, chosen, asked)
    bring_large(config, chosen)
    backend = backend or make_backend(model, config.settings)
    outcome = start_run(plan_warm(config, backend, chosen), backend, progress)
    return EvaluationResult(encode_object(outcome.results), outcome.folder, outcome.exit_code, outcome.message)


def _tasks(tasks: Sequence[str | Task] | str, bundled: bool) -> list[Task]:
    if isinstance(tasks, str):
        return select([tasks], bundled=bundled)
    chosen: list[Task] = []
    for task in tasks:
        chosen += [task] if isinstance(task, Task) else select([task], bundled=bundled)
    return list({task.name: task for task in chosen}.values())
