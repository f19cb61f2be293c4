"""One run in `index.json` and in `kvl-eval list runs`. Types only, as in `records.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvl_eval.decode import Count, omitted
from kvl_eval.store.manifest import AnswerCounts
from kvl_eval.types import Interval, Policy

ListedStatus = Literal["planned", "running", "interrupted", "finished", "unknown", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScore:
    """One result of a run: task x split x budget x policy x protocol.

    Attributes:
        task:      the task's name.
        split:     the split's name; null where the manifest is lost.
        budget:    most thinking tokens; null without a limit.
        policy:    what happens at the budget; null without one.
        protocol:  the protocol's name.
        label:     what views print for it.
        n:         samples with a score.
        n_planned: samples planned.
        n_total:   samples of the split, where known.
        score:     the headline, a fraction; null where nothing was scored.
        ci95:      95% confidence interval; null where there is none.
        unit:      `percent` or `points`: how views print the score.
        partial:   why fewer samples than the split has were planned; null where all were.
    """

    task: str
    split: str | None
    budget: Count | None
    policy: Policy | None
    protocol: str
    label: str
    n: Count
    n_planned: Count
    n_total: Count | None = None
    score: float | None
    ci95: Interval | None
    unit: str
    partial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run.

    Attributes:
        run_id:             the folder's name.
        path:               the folder; in `index.json` its name alone.
        status:             as in the manifest, or `unreadable`.
        reason:             why it cannot be read.
        created:            local time with offset.
        finished:           local time with offset; null until then.
        model:              the model's name.
        demo:               whether a demo model answers.
        tasks:              names.
        protocol:           the protocol the run was started with; null for the default of each task.
        config_fingerprint: hash of what can change an answer.
        counts:             samples as of the last session's end.
        planned:            samples planned; null where that is unknown.
        answered:           samples with a record: of a run that did not end in order, the lines of `samples/`.
        results:            from `results.json`, in its order; empty where there is none.
        parent:             of a probe: id of the run whose samples it asks again.
    """

    run_id: str
    path: str
    status: ListedStatus
    reason: str | None = omitted(None)
    created: str | None = None
    finished: str | None = None
    model: str | None = None
    demo: bool = False
    tasks: tuple[str, ...] = ()
    protocol: str | None = None
    config_fingerprint: str | None = None
    counts: AnswerCounts | None = None
    planned: Count | None = None
    answered: Count | None = None
    results: tuple[RunScore, ...] = ()
    parent: str | None = omitted(None)
