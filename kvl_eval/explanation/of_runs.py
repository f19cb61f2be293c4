"""What a report explains: each task of each run, against the published result of its own model and another run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from kvl_eval.errors import KvlEvalError
from kvl_eval.explanation.against_run import explain_pair, their_replies
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.explaining import explain_case
from kvl_eval.scoring.published import own_system
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.tasks import known_task


def explanations(runs: Sequence[RunReader]) -> list[tuple[int, Explanation]]:
    """(place of the run, why its score differs) for each task that has something to be compared with.

    The other run of a task is the first of the report; of the first it is the second. What cannot be explained or
    compared is left out.
    """
    tasks = dict.fromkeys(task for run in runs for task in run.task_names)
    made = [found for task in tasks if known_task(task) is not None for found in _of_task(runs, task)]
    return sorted(made, key=lambda found: found[0])


def _of_task(runs: Sequence[RunReader], task: str) -> Iterator[tuple[int, Explanation]]:
    """What is explained of one task; the replies of each run are read once."""
    options = ExplainOptions(task=task)
    cases: dict[int, ExplainedCase] = {}
    for place, run in enumerate(runs):
        with suppress(KvlEvalError):
            if task in run.task_names:
                cases[place] = case_of(run, options)
    for place, case in cases.items():
        with suppress(KvlEvalError):
            if _has_published(case.run, task):
                yield from ((place, found) for found in [explain_case(case, options)] if _is_compared(found))
        others = (other for other, run in enumerate(runs) if other != place and task in run.task_names)
        with suppress(KvlEvalError):
            if (other := next(others, None)) is not None:
                known = cases[other].replies if other in cases else None
                yield place, explain_pair(case, their_replies(case, runs[other], known))


def _has_published(run: RunReader, name: str) -> bool:
    task = known_task(name)
    system = own_system(run.folder.manifest)
    return task is not None and task.reference is not None and system is not None


def _is_compared(found: Explanation) -> bool:
    return found.gap is not None and found.gap.value is not None
