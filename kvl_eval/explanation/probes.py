"""The probes of a run, from their run folders: what each shows, and whether enough was asked.

Everything follows from what is stored, so a probe that was killed and continues, and a later `explain`, say the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kvl_eval.errors import KvlEvalError
from kvl_eval.explanation.case import ExplainedCase
from kvl_eval.explanation.probe_document import ProbeControl, ProbeInteraction, ProbeOutcome, ProbeResult, settings_of
from kvl_eval.explanation.probe_effect import LOOKS, ChangedScore, SampledChange, look_ends, sampled_change
from kvl_eval.explanation.probe_sample import probed_cluster, probed_strata
from kvl_eval.explanation.reading import BudgetKey, Scorer, TaskReplies
from kvl_eval.scorers.statistics import GROUP_SEQUENTIAL, group_sequential
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.manifest import ProbeParent
from kvl_eval.store.run_list import list_runs

FIRST = 20  # samples of the control that are asked before it is decided whether the others are
MOST_TESTS = len(GROUP_SEQUENTIAL)


@dataclass(frozen=True, slots=True)
class SampleScore:
    """A sample in one arm: its score over the repeats, None where one failed or has none; digests of its replies."""

    value: float | None
    replies: tuple[str, ...]


def sample_scores(replies: TaskReplies, reading: Scorer) -> dict[str, SampleScore]:
    """{id: score} of the samples that have a record for every repeat."""
    verdicts = replies.verdicts(reading)
    scores: dict[str, SampleScore | None] = {}
    by_sample: dict[str, list[tuple[float | None, str]]] = {}
    for facts in replies.facts:
        name = facts.entry.sample_id
        if facts.status == "pending":
            scores[name] = None
            continue
        verdict = verdicts.get(facts.entry.key)
        value = verdict.value if facts.status == "ok" and verdict is not None else None
        by_sample.setdefault(name, []).append((value, facts.reply))
    for name, answers in by_sample.items():
        if name not in scores:
            values = [value for value, _ in answers if value is not None]
            mean = math.fsum(values) / len(values) if len(values) == len(answers) else None
            scores[name] = SampleScore(mean, tuple(reply for _, reply in answers))
    return {name: score for name, score in scores.items() if score is not None}


class StoredArm:
    """One arm: the run folder, what it says of itself, and the scores it has."""

    def __init__(self, run: RunReader, parent: ProbeParent, case: ExplainedCase, reading: Scorer) -> None:
        self.run = run
        self.parent = parent
        self.ids = run.folder.manifest.selection.sample_ids
        self._case = case
        self._reading = reading

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What tells it from the other arms of a run."""
        return self.parent.arm, self.parent.probe, self.ids

    @cached_property
    def scores(self) -> dict[str, SampleScore]:
        """Of the samples that were asked."""
        plan = list(self.run.folder.plan(self._case.task.name))
        budget = BudgetKey(plan[0].budget, plan[0].policy) if plan else BudgetKey()
        return sample_scores(TaskReplies(self.run, self._case.task, budget, plan), self._reading)

    def has(self, ids: Sequence[str]) -> bool:
        """Whether all of these samples were asked."""
        return all(name in self.scores for name in ids)

    @property
    def is_exact(self) -> bool:
        """Whether equal requests are expected to get equal answers: greedy, and not through a server."""
        manifest = self.run.folder.manifest
        generation = manifest.generation.get(self._case.task.name)
        return manifest.model.device != "server" and generation is not None and generation.temperature == 0


def stored_arms(case: ExplainedCase, reading: Scorer) -> list[StoredArm]:
    """The arms that are stored beside a run for the explained task, the oldest first."""
    folder = case.run.folder
    arms = []
    try:
        entries = list_runs(folder.path.parent)
    except OSError:  # a folder that may not be listed holds no probes
        entries = []
    for entry in entries:
        if entry.parent != folder.run_id or case.task.name not in entry.tasks:
            continue
        run = RunReader.open(entry.path, case.run.tasks)
        parent = run.folder.manifest.parent
        if parent is not None and parent.plan == folder.manifest.plan_sha256:
            arms.append(StoredArm(run, parent, case, reading))
    return arms


class ProbedRun:
    """The probes of one task of a run.

    Attributes:
        arms:  all of them, controls included.
        tests: settings that were tested, joint ones included.
    """

    def __init__(self, case: ExplainedCase, reading: Scorer, arms: Sequence[StoredArm]) -> None:
        """Raises: DataError `run.damaged` for a damaged arm, when its answers are read."""
        self.arms = tuple(arms)
        self._reading = reading
        self._ours = sample_scores(case.replies, reading)
        self._strata = {name: " ".join(stratum) for name, stratum in probed_strata(case, reading).items()}
        self._sizes = Counter(self._strata.values())
        self._clusters = {facts.entry.sample_id: probed_cluster(facts) for facts in case.replies.facts}
        tested = {arm.parent.probe for arm in arms if arm.parent.arm != "control"}
        self.tests = min(len(tested), MOST_TESTS)

    def results(self) -> tuple[ProbeResult, ...]:
        """What each arm shows, joint ones last; of one setting the arm with the most samples, then the newest."""
        latest: dict[str, ProbeResult] = {}
        for arm in self.arms:
            found = None if arm.parent.arm == "control" else self.result(arm)
            if found is None:
                continue
            before = latest.get(found.setting)
            if before is None or (found.n, found.planned) >= (before.n, before.planned):
                latest[found.setting] = found
        return tuple(sorted(latest.values(), key=lambda found: (found.arm == "joint", found.setting)))

    def result(self, arm: StoredArm) -> ProbeResult | None:
        """What an arm shows at the last look it has come to; None before the first, or without a control."""
        control = self.control(arm.ids)
        if control is None:
            return None
        base = self._base(control)
        measured: tuple[int, SampledChange, dict[str, float]] | None = None
        outcome: ProbeOutcome = "unfinished"
        for look, end in enumerate(self.ends(arm.ids), 1):
            changes = self._changes([arm], base, arm.ids[:end])
            if changes is None:
                break
            found = self._estimate(changes, look, control)
            measured = (look, found, changes)
            if found.is_effect or found.is_same:
                outcome = "effect" if found.is_effect else "same"
                break
            if look == LOOKS:
                outcome = "effect" if found.is_shown(self.tests) else "no-effect-shown"
        if measured is None:
            return None
        look, found, changes = measured
        return ProbeResult(
            setting=arm.parent.probe,
            arm=arm.parent.arm,
            evidence=arm.parent.evidence,
            in_sum=arm.parent.evidence != "default",
            run=arm.run.folder.run_id,
            protocol=self._reading.protocol,
            n=found.n,
            planned=len(arm.ids),
            look=look,
            gained=found.gained,
            lost=found.lost,
            value=found.value,
            ci95=found.ci95,
            limit=group_sequential(self.tests)[look - 1],
            tests=self.tests,
            p_value=found.p_value(self.tests) if look == LOOKS else None,
            outcome=outcome,
            control=self._about(control),
            interaction=self._interaction(arm, control, look) if arm.parent.arm == "joint" else None,
            samples=tuple(name for name, change in changes.items() if change),
        )

    def ends(self, ids: Sequence[str]) -> tuple[int, ...]:
        """How many of the samples each look has."""
        return look_ends([self._clusters.get(name, name) for name in ids])

    def control(self, ids: Sequence[str]) -> StoredArm | None:
        """The control that asks these samples."""
        return next((arm for arm in self.arms if arm.parent.arm == "control" and arm.ids == tuple(ids)), None)

    def is_stored(self, control: StoredArm) -> bool:
        """Whether the run's own answers serve as the control: the first replies are the same, and were to be."""
        first = control.ids[:FIRST]
        return control.is_exact and control.has(first) and self._replies_changed(control, first) == 0

    def _base(self, control: StoredArm) -> Mapping[str, SampleScore]:
        return self._ours if self.is_stored(control) else control.scores

    def _replies_changed(self, control: StoredArm, ids: Sequence[str]) -> int:
        return sum(
            name not in self._ours or control.scores[name].replies != self._ours[name].replies
            for name in ids
            if name in control.scores
        )

    def _changes(
        self, arms: Sequence[StoredArm], base: Mapping[str, SampleScore], ids: Sequence[str]
    ) -> dict[str, float] | None:
        """{id: score of the first arm less those of the others, each taken from the control}; None where one lacks."""
        if not all(arm.has(ids) for arm in arms) or any(name not in base for name in ids):
            return None
        changes: dict[str, float] = {}
        for name in ids:
            control = base[name].value
            values = [arm.scores[name].value for arm in arms]
            known = [value for value in values if value is not None]
            if control is not None and len(known) == len(values) and name in self._strata:
                changes[name] = known[0] - control - math.fsum(value - control for value in known[1:])
        return changes or None

    def _estimate(self, changes: Mapping[str, float], look: int, control: StoredArm) -> SampledChange:
        samples = [
            ChangedScore(cluster=self._clusters[name], stratum=self._strata[name], change=change)
            for name, change in changes.items()
        ]
        is_fixed = self._replies_changed(control, list(changes)) == 0
        return sampled_change(samples, self._sizes, group_sequential(self.tests)[look - 1], is_fixed=is_fixed)

    def _interaction(self, joint: StoredArm, control: StoredArm, look: int) -> ProbeInteraction | None:
        """Of the settings together, on the samples of the largest look that all arms have."""
        wanted = {_setting(name, value) for name, value in settings_of(joint.parent.probe)}
        alone = [arm for arm in self.arms if arm.ids == joint.ids and arm.parent.probe in wanted]
        if len(alone) < len(wanted):
            return None
        base = self._base(control)
        for number in range(look, 0, -1):
            ids = joint.ids[: self.ends(joint.ids)[number - 1]]
            changes = self._changes([joint, *alone], base, ids)
            if changes is not None:
                found = self._estimate(changes, number, control)
                return ProbeInteraction(n=found.n, value=found.value, ci95=found.ci95)
        return None

    def _about(self, control: StoredArm) -> ProbeControl:
        ids = [name for name in control.ids if name in control.scores and name in self._ours]
        pairs = [(control.scores[name].value, self._ours[name].value) for name in ids]
        changes = [now - before for now, before in pairs if now is not None and before is not None]
        return ProbeControl(
            run=control.run.folder.run_id,
            n=len(changes),
            changed=sum(change != 0 for change in changes),
            replies_changed=self._replies_changed(control, ids),
            value=math.fsum(changes) / len(changes) if changes else 0.0,
            is_stored=self.is_stored(control),
        )


def probe_results(case: ExplainedCase, reading: Scorer, *, may_add: bool) -> tuple[tuple[ProbeResult, ...], list[str]]:
    """The results of the probes stored beside a run, and notices about those that cannot be read.

    `may_add` says whether their effects are points of the gap that is explained.
    """
    arms = stored_arms(case, reading)
    if not any(arm.parent.arm != "control" for arm in arms):
        return (), []
    try:
        results = ProbedRun(case, reading, arms).results()
        return tuple(replace(result, in_sum=result.in_sum and may_add) for result in results), []
    except KvlEvalError as error:
        return (), [f"probes left out: {error.message}"]


def _setting(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={value}"
