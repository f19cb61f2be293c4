"""Rows in another order: the same data where they have ids of their own, and the run continues as planned."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from kvl_eval.decode import Json
from kvl_eval.run.data_digest import canonical
from kvl_eval.run.draft import PlanLines
from kvl_eval.run.former_plan import todays_fields
from kvl_eval.run.plan import PlannedTasks
from kvl_eval.store.plan_file import lines_of, plan_chunks
from kvl_eval.store.run_folder import RunFolder


def in_stored_order(folder: RunFolder, planned: PlannedTasks) -> PlannedTasks:
    """`planned` in the order of the run's plan where it has the same lines; `planned` itself where it has others.

    Data is compared sample by sample, by id, as `verify` does. Where ids are row numbers, a row that moved is another
    sample. Of the other shards' samples the data's fingerprint tells. Raises: DataError `run.plan`.
    """
    stored = _object(folder.manifest.identity.get("tasks"))
    before = {name: _object(task) for name, task in stored.items()}
    now = planned.identities()
    is_same_data = before.keys() == now.keys() and all(before[name].get("data") == now[name]["data"] for name in now)
    is_same_order = folder.manifest.plan_sha256 == planned.lines.sha256
    is_same_order = is_same_order and all(before[name].get("prompt_text") == now[name]["prompt_text"] for name in now)
    if not is_same_data or is_same_order:
        return planned
    path = folder.path / "plan.jsonl"
    if _digests(plan_chunks(path)) != _digests(planned.lines.chunks()):
        return planned
    lines = PlanLines(planned.lines.folder)
    for chunk in plan_chunks(path):
        lines.add(chunk)
    tasks = (replace(task, prompt_sha256=str(before[task.name].get("prompt_text"))) for task in planned.tasks)
    return PlannedTasks(tuple(tasks), lines)


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _digests(chunks: Iterable[bytes]) -> Counter[bytes]:
    """How often each line of a plan occurs, by a hash over what it says; where a sample stood is left out."""
    digests: Counter[bytes] = Counter()
    for line in lines_of(chunks):
        said = todays_fields(line)
        said.pop("position", None)
        digests[hashlib.sha256(canonical(said)).digest()] += 1
    return digests
