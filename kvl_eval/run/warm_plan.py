"""A plan made while the backend starts its first media worker, which saves time later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kvl_eval.backends.base import Backend
from kvl_eval.run.config import RunConfig
from kvl_eval.run.event_loop import run_async
from kvl_eval.run.plan import Plan, plan_run
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.base import Task


def plan_warm(config: RunConfig, backend: Backend, own: Sequence[Task] = ()) -> Plan:
    """`plan_run` for a run that will be carried out; `own` tasks go before registered ones.

    The first worker starts before the plan where a task is known to have media, and as many as the planned images need
    start behind it.
    """
    known = [TASKS[task.task] for task in config.tasks if task.task in TASKS]
    with closed_on_error(backend):
        if any(task.data.has_media for task in known):
            backend.warm_up(1)
        plan = plan_run(config, backend, own)
        if images := sum(task.media for task in plan.tasks):
            backend.warm_up(images)
    return plan


@contextmanager
def closed_on_error(backend: Backend) -> Iterator[None]:
    """Ends the backend's workers where a run is refused before it begins."""
    try:
        yield
    except BaseException:
        run_async(backend.close())
        raise
