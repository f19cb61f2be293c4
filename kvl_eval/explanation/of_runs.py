"""What a report explains: each task of each run, against the published result of its own model and another run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from kvl_eval.errors import KvlEvalError
from kvl_eval.explanation.against_run import explain_against
from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.explaining import explain_run
from kvl_eval.scoring.published import own_system
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import known_task


def explanations(folders: Sequence[RunFolder]) -> Iterator[tuple[int, Explanation]]:
    """(place of the run, why its score differs) for each task that has something to be compared with.

    The other run of a task is the first of the report; of the first it is the second. What cannot be explained or
    compared is left out.
    """
    runs = [RunReader(folder) for folder in folders]
    for place, run in enumerate(runs):
        for task in run.task_names:
            if known_task(task) is None:
                continue
            options = ExplainOptions(task=task)
            with suppress(KvlEvalError):
                if _has_published(run, task):
                    yield from ((place, found) for found in [explain_run(run, options)] if _is_compared(found))
            other = next((other for other in runs if other is not run and task in other.task_names), None)
            with suppress(KvlEvalError):
                if other is not None:
                    yield place, explain_against(run, other, options)


def _has_published(run: RunReader, name: str) -> bool:
    task = known_task(name)
    system = own_system(run.folder.manifest)
    return task is not None and task.reference is not None and system is not None


def _is_compared(found: Explanation) -> bool:
    return found.gap is not None and found.gap.value is not None
