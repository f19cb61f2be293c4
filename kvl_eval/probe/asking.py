"""The arms of a probe: a run folder for each, whose samples are asked look by look until enough is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from kvl_eval.backends.base import Backend
from kvl_eval.errors import DataError, UsageError
from kvl_eval.explanation.case import ExplainedCase
from kvl_eval.explanation.probes import FIRST, MOST_TESTS, ProbedRun, StoredArm, stored_arms
from kvl_eval.explanation.reading import Scorer
from kvl_eval.probe.knobs import TurnedKnob
from kvl_eval.run.config import RunConfig, from_json
from kvl_eval.run.event_loop import run_async
from kvl_eval.run.fingerprint import differences
from kvl_eval.run.manifest import manifest_of
from kvl_eval.run.plan import Plan, PlannedTasks, answered_by, plan_tasks
from kvl_eval.run.progress import Silent
from kvl_eval.run.row_order import in_stored_order
from kvl_eval.run.runner import MakeBackend, RunOutcome, carry_out
from kvl_eval.run.same_run import check_same
from kvl_eval.run.stored_config import config_files
from kvl_eval.run.warm_plan import closed_on_error
from kvl_eval.store.manifest import ProbeArm, ProbeParent
from kvl_eval.store.names import run_name
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import write_index


@dataclass(frozen=True, slots=True)
class PlannedArm:
    """An arm as it is to be: what its run folder says of its parent, and its configuration."""

    parent: ProbeParent
    config: RunConfig

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """As of `StoredArm`."""
        return self.parent.arm, self.parent.probe, self.config.sample_ids


def probed_config(case: ExplainedCase) -> RunConfig:
    """The run's configuration for the explained task alone.

    Raises: UsageError `explain.probe`, where asking again could show nothing; DataError for a damaged run.
    """
    folder, name = case.run.folder, case.task.name
    if folder.problem is not None or not folder.manifest.config:
        raise DataError("run.manifest", folder.problem or "run.json has no configuration", where=str(folder.path))
    folder.check_plan()
    if folder.manifest.blind:
        raise _refused("cannot probe a blind run", "its answers are those of a model that sees nothing")
    if case.task.episode is not None:
        raise _refused("cannot probe a task of agents", f"{name} is played on a desktop")
    if folder.manifest.parent is not None:
        raise _refused("cannot probe a probe", f"it asks samples of {folder.manifest.parent.run} again")
    config = from_json(folder.manifest.config)
    names = {entry.sample_id for entry in folder.plan(name)}
    ids = config.sample_ids
    if len(config.tasks) > 1:
        ids = tuple(one for one in ids if one in names or one.removeprefix(f"{name}/") in names)
    tasks = tuple(task for task in config.tasks if task.task == name)
    return replace(config, tasks=tasks, sample_ids=ids, judge=None, compress=False, output_dir=folder.path.parent)


def check_unchanged(case: ExplainedCase, config: RunConfig, make: MakeBackend) -> None:
    """Raises: UsageError `explain.changed`, where another model, other data or another version answers now."""
    folder = case.run.folder
    backend = make(config)
    with closed_on_error(backend):
        planned = plan_tasks(config, backend.limits(), case.run.tasks, draft_dir=folder.path.parent)
        identity = answered_by(backend, config, in_stored_order(folder, planned)).identity
    run_async(backend.close())
    stored = dict(folder.manifest.identity)
    tasks = stored.get("tasks")
    if isinstance(tasks, dict):
        stored["tasks"] = {case.task.name: tasks.get(case.task.name)}
    if changes := differences(stored, identity):
        day = (folder.manifest.created or "then")[:10]
        raise UsageError(
            "explain.changed",
            f"{_changed(changes)} than on {day}: a control would not be one",
            where=str(folder.path),
            why="; ".join(changes),
            fix="probe a run of what answers now",
        )


def _changed(changes: Sequence[str]) -> str:
    """What of a run is not as it was, by the differences of its identity."""
    if any(change.startswith("model.") for change in changes):
        return "another model answers now"
    if any(".data " in change for change in changes):
        return "the data is different now"
    return "kvl-eval asks otherwise now"


def planned_arms(
    case: ExplainedCase, config: RunConfig, knobs: Sequence[TurnedKnob], ids: tuple[str, ...]
) -> list[PlannedArm]:
    """The control, and one arm for each of `knobs`; one that changes several settings is joint."""
    control = TurnedKnob(setting="", evidence="option", config=config)
    return [_arm(case, "control", control, ids)] + [
        _arm(case, "joint" if "," in knob.setting else "probe", knob, ids) for knob in knobs
    ]


def _arm(case: ExplainedCase, kind: ProbeArm, knob: TurnedKnob, ids: tuple[str, ...]) -> PlannedArm:
    folder, budget = case.run.folder, case.replies.budget.budget
    parent = ProbeParent(
        run=folder.run_id, probe=knob.setting, arm=kind, plan=folder.manifest.plan_sha256, evidence=knob.evidence
    )
    [task] = knob.config.tasks
    if budget is not None:
        task = replace(task, generation=replace(task.generation, think_budgets=(budget,)))
    return PlannedArm(parent, replace(knob.config, tasks=(task,), sample_ids=ids, limit=None, shard=None))


class ProbeRuns:
    """Asks the samples of planned arms.

    Raises: UsageError `explain.probes` for more than eight settings in all.
    """

    def __init__(self, case: ExplainedCase, reading: Scorer, arms: Sequence[PlannedArm], make: MakeBackend) -> None:
        self._case = case
        self._reading = reading
        self._make = make
        self._arms = {arm.key: arm for arm in arms}
        self._planned: dict[str, PlannedTasks] = {}  # by the path of a run folder
        parents = [arm.parent for arm in arms] + [arm.parent for arm in stored_arms(case, reading)]
        tested = {parent.probe for parent in parents if parent.arm != "control"}
        if len(tested) > MOST_TESTS:
            raise UsageError(
                "explain.probes",
                f"{len(tested)} settings are too many to test on one run",
                why=f"at most {MOST_TESTS} can be told from chance; stored ones count",
                fix="leave some out, or probe another run",
            )

    def carry_out(self, say: Callable[[str], None]) -> RunOutcome | None:
        """Ask until every arm has shown enough; how an arm ended that was stopped, else None."""
        stored = self._opened()
        arms = [arm for key, arm in self._arms.items() if key[0] != "control"]
        [control] = [arm for key, arm in self._arms.items() if key[0] == "control"]
        ids = control.config.sample_ids
        if stored[control.key].is_exact and (stopped := self._ask(control, ids[:FIRST])):
            return stopped
        for look, end in enumerate(self._run().ends(ids), 1):
            run = self._run()
            results = {arm.key: run.result(self._stored(run, arm)) for arm in arms}
            unknown = [arm for arm in arms if (found := results[arm.key]) is None or found.outcome == "unfinished"]
            if not unknown:
                return None
            say(f"look {look} of 4: {end:,} of {len(ids):,} samples, {len(unknown)} of {len(arms)} settings open")
            is_stored = run.is_stored(self._stored(run, control))
            for arm in ([] if is_stored else [control]) + unknown:
                if stopped := self._ask(arm, ids[:end]):
                    return stopped
        return None

    def _run(self) -> ProbedRun:
        """The probes as they are stored now."""
        return ProbedRun(self._case, self._reading, stored_arms(self._case, self._reading))

    def _stored(self, run: ProbedRun, arm: PlannedArm) -> StoredArm:
        return next(stored for stored in reversed(run.arms) if stored.key == arm.key)

    def _opened(self) -> Mapping[tuple[str, str, tuple[str, ...]], StoredArm]:
        """The arms, each with a run folder: all are made before the first sample is asked."""
        known = {arm.key for arm in stored_arms(self._case, self._reading)}
        for key, arm in self._arms.items():
            if key not in known:
                self._create(arm)
        return {arm.key: arm for arm in stored_arms(self._case, self._reading)}

    def _create(self, arm: PlannedArm) -> None:
        backend = self._make(arm.config)
        with closed_on_error(backend):
            planned = plan_tasks(
                arm.config, backend.limits(), self._case.run.tasks, draft_dir=self._case.run.folder.path.parent
            )
            plan = answered_by(backend, arm.config, planned)
        run_async(backend.close())
        created = datetime.now().astimezone()
        folder = RunFolder.create(
            arm.config.output_dir,
            run_name(created, str(plan.model["name"]), [self._case.task.name], plan.fingerprint),
            replace(manifest_of(plan, created), parent=arm.parent),
            plan.lines.chunks(),
            files=partial(config_files, arm.config),
        )
        write_index(folder.path.parent, folder.disk)
        folder.unlock()
        self._planned[str(folder.path)] = planned

    def _ask(self, arm: PlannedArm, ids: Sequence[str]) -> RunOutcome | None:
        """Ask those of `ids` that an arm lacks; how it ended if it was stopped before the last of them."""
        folder = RunFolder.open(self._stored(self._run(), arm).run.folder.path)
        done, wanted = set(folder.index(self._case.task.name).offsets), set(ids)
        pending = {entry.key for entry in folder.plan() if entry.key not in done}
        now = {key for key in pending if key.sample_id in wanted}
        if not now:
            return None
        folder.lock()
        try:
            backend = self._make(arm.config)
            with closed_on_error(backend):
                plan = self._plan(folder, arm, backend)
                check_same(folder, plan)
        except BaseException:
            folder.unlock()
            raise
        outcome = carry_out(folder, plan, backend, {self._case.task.name: done | (pending - now)}, Silent(), True)
        lacking = now - set(RunFolder.open(folder.path).index(self._case.task.name).offsets)
        return outcome if lacking or outcome.exit_code not in (0, 3) else None

    def _plan(self, folder: RunFolder, arm: PlannedArm, backend: Backend) -> Plan:
        """The plan of an arm, as it is answered now; the data is read once."""
        path = str(folder.path)
        if path not in self._planned:
            planned = plan_tasks(arm.config, backend.limits(), self._case.run.tasks, draft_dir=folder.path)
            self._planned[path] = in_stored_order(folder, planned)
        return answered_by(backend, arm.config, self._planned[path])


def _refused(message: str, why: str) -> UsageError:
    return UsageError("explain.probe", message, why=why, fix="use `kvl-eval explain` without --probe")
