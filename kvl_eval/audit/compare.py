"""Two runs, or two protocols or judges of one run, on the samples that both have scored: what differs, and where.

Settings that differ come first, since they may be the reason. Then for each task the paired difference B - A with a
95 % interval (samples of one document, video or picture, and repeats of one question, count together), the exact
McNemar test for 0/1 scores, and every sample that one side got right and the other did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from kvl_eval.audit.flag_differences import FlagDifference, flag_differences, flags_of
from kvl_eval.decode import Json, encode, encode_object
from kvl_eval.errors import UsageError, unknown
from kvl_eval.flip_causes import READER, CauseSum, ChangedReply, cause_sums, score_changes, score_pairs
from kvl_eval.paired import LinesBySample, PairedLines, SampleKey, gap_of, paired
from kvl_eval.printable import policy_name
from kvl_eval.reports.numbers import plain
from kvl_eval.run.fingerprint import differences
from kvl_eval.scorers.statistics import holm
from kvl_eval.scoring.judged import can_be_judged, scorer_parts
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import score_run
from kvl_eval.store.names import scores_name
from kvl_eval.store.records import Key, PlanEntry, ScoreLine
from kvl_eval.store.replies import JudgeView
from kvl_eval.tasks.base import Task
from kvl_eval.types import Policy
from kvl_eval.verdicts import Gap, ModelPair, pair_sentence, verdict

Protocols = tuple[str | None, str | None]
"""Of A and of B, by their names in `scores/`; None means the default."""


class Budget(NamedTuple):
    """Most thinking tokens and what happens there; None without a limit."""

    budget: int | None
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the runs."""

    run: str
    path: str
    model: str | None
    demo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSetting:
    """Protocol, as `scores/` calls it, and thinking budget of one side."""

    protocol: str
    budget: int | None
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """One task of both runs, at one budget each."""

    task: str
    title: str
    a: ComparedSetting
    b: ComparedSetting
    pairs: PairedLines
    flags: tuple[FlagDifference, ...] = ()
    causes: tuple[CauseSum, ...] = ()

    @property
    def gap(self) -> Gap | None:
        """The difference as sentences name it; None where nothing is scored in both."""
        return None if self.pairs.scores is None else gap_of(self.pairs.scores, plain(self.title))

    def as_json(self) -> dict[str, Json]:
        """Counts, means, difference with its interval, test and causes, and the samples lost and gained."""
        pairs, scores = self.pairs, self.pairs.scores
        setting = {"task": self.task, "title": self.title, "a": encode(self.a), "b": encode(self.b)}
        counts = {**encode_object(pairs.counts), "flags": [encode(difference) for difference in self.flags]}
        if scores is None:
            return {**setting, **counts, "difference": None, "causes": [], "lost": [], "gained": []}
        found = scores.difference
        return {
            **setting,
            **counts,
            "score_a": scores.score_a,
            "score_b": scores.score_b,
            "difference": found.mean,
            "ci95": list(found.ci95),
            "ci_method": found.method,
            "stderr": found.stderr,
            "p_value": found.p_value,
            "detectable": found.detectable,
            "n_lower": scores.n_lower,
            "n_higher": scores.n_higher,
            "causes": [encode(cause) for cause in self.causes],
            "lost": [encode(sample) for sample in pairs.lost],
            "gained": [encode(sample) for sample in pairs.gained],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """How run B differs from run A.

    Attributes:
        settings:      what can change an answer and differs, `name of A → of B`; and which samples were chosen.
        circumstances: what should change no answer, and differs.
    """

    a: ComparedRun
    b: ComparedRun
    settings: tuple[str, ...]
    circumstances: tuple[str, ...]
    comparisons: tuple[TaskComparison, ...]

    @property
    def pair(self) -> ModelPair:
        """The differences of all tasks that have one."""
        models = tuple(plain(run.model or run.run) for run in (self.a, self.b))
        a, b = models if models[0] != models[1] else ("A", "B")
        return ModelPair(a=a, b=b, gaps=tuple(task.gap for task in self.comparisons if task.gap is not None))

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the differences say together; empty where there are none."""
        return (pair_sentence(self.pair).text,) if self.pair.gaps else ()

    def as_json(self) -> dict[str, Json]:
        """Everything, as JSON values; scores are fractions.

        Of each task also its p value after Holm's correction over all of them, and what it says alone.
        """
        pair = self.pair
        corrected = iter(zip(pair.gaps, holm([gap.p_value for gap in pair.gaps]), strict=True))
        comparisons: list[Json] = []
        for task in self.comparisons:
            gap, p_holm = next(corrected) if task.gap is not None else (None, None)
            words = [] if gap is None else verdict(gap, (pair.a, pair.b), p_holm)
            comparisons.append({**task.as_json(), "p_holm": p_holm, "verdict": [*words]})
        return {
            "a": encode(self.a),
            "b": encode(self.b),
            "settings": list(self.settings),
            "circumstances": list(self.circumstances),
            "comparisons": comparisons,
            "verdict": [*self.verdict],
        }


@dataclass(frozen=True, slots=True)
class _Side:
    """One task of one run under one protocol and judge: its score lines by budget and by sample."""

    run: RunReader
    task: str
    scorer: str
    lines: Mapping[Budget, LinesBySample]

    def setting(self, budget: Budget) -> ComparedSetting:
        return ComparedSetting(protocol=self.scorer, budget=budget.budget, policy=budget.policy)

    def replies(self, budget: Budget, keys: Iterable[SampleKey]) -> dict[SampleKey, ChangedReply]:
        """Some of its replies with their scores, as far as they are there."""
        lines, index = self.lines.get(budget, {}), self.run.index(self.task)
        reader = {
            (line.sample_id, line.repeat): line
            for line in self.run.folder.scores(self.task, READER)
            if (line.budget, line.policy) == budget
        }
        with self.run.records(self.task) as records:
            return {
                key: ChangedReply(records.at(full), lines[key], reader.get(key))
                for key in keys
                if (full := Key(*key, *budget)) in index
            }


def compare(
    a: RunReader, b: RunReader, *, task: str | None = None, protocols: Protocols = (None, None)
) -> RunComparison:
    """How B differs from A.

    Args:
        task:      one task; None means every task that both runs have.
        protocols: of A and of B, as `scores/` calls them: `NAME`, `NAME.raw` for scores of raw outputs, `NAME+JUDGE`
                   for a judge's. None means the task's default one, by the newest judge that both runs asked, if any.
    Raises: UsageError for a task, protocol or judge that is not there, or a run compared with itself; DataError.
    """
    names = _tasks(a, b, task)
    if _is_same(a, b) and protocols[0] == protocols[1] and not _sweeps(a):
        raise UsageError(
            "usage.compare",
            "both arguments are the same run",
            fix="use two runs, or `--protocol P,Q` for two protocols (or judges: P,P+JUDGE) of one run",
        )
    return RunComparison(
        a=_about(a),
        b=_about(b),
        settings=tuple(settings(a, b, names)),
        circumstances=tuple(circumstances(a, b)),
        comparisons=tuple(pair for name in names for pair in _of_task(a, b, name, protocols)),
    )


def settings(a: RunReader, b: RunReader, tasks: Sequence[str]) -> list[str]:
    """What can change an answer of these tasks and differs, `name of A → of B`; and which samples were chosen."""
    left, right = (dict(run.folder.manifest.identity) for run in (a, b))
    left_tasks, right_tasks = (_mapping(identity.pop("tasks", None)) for identity in (left, right))
    lines = differences(left, right)
    changed: dict[str, list[str]] = {}
    for task in tasks:
        for change in differences(_mapping(left_tasks.get(task)), _mapping(right_tasks.get(task))):
            changed.setdefault(change, []).append(task)
    for change, where in changed.items():
        lines.append(f"{'every task' if len(where) == len(tasks) > 1 else ', '.join(where)}: {change}")
    selections = (encode_object(run.folder.manifest.selection) for run in (a, b))
    return lines + differences(next(selections), next(selections))


def circumstances(a: RunReader, b: RunReader) -> list[str]:
    """What should change no answer, and differs: code, device, libraries."""

    def about(run: RunReader) -> dict[str, Json]:
        manifest = run.folder.manifest
        settings = _mapping(manifest.config.get("settings"))
        return {
            "code": encode(manifest.code),
            "environment": dict(manifest.environment),
            "device": manifest.model.device,
            "batch_size": settings.get("batch_size"),
        }

    return differences(about(a), about(b))


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _about(run: RunReader) -> ComparedRun:
    manifest = run.folder.manifest
    return ComparedRun(run=run.folder.run_id, path=str(run.folder.path), model=manifest.model.name, demo=manifest.demo)


def _tasks(a: RunReader, b: RunReader, task: str | None) -> list[str]:
    both = [list(run.folder.manifest.data) for run in (a, b)]
    shared = [name for name in both[0] if name in both[1]]
    if task is not None and task not in shared:
        raise unknown("task", task, shared or [*both[0], *both[1]], "kvl-eval list runs")
    if not shared:
        raise UsageError(
            "usage.compare",
            "the runs have no task in common",
            why=f"{', '.join(both[0])} versus {', '.join(both[1])}",
            fix="use runs of the same tasks",
        )
    return shared if task is None else [task]


def _is_same(a: RunReader, b: RunReader) -> bool:
    return a.folder.path.resolve() == b.folder.path.resolve()


def _sweeps(run: RunReader) -> bool:
    return any(len(generation.think_budgets) > 1 for generation in run.folder.manifest.generation.values())


# -- one task ---------------------------------------------------------------------------------------------------


def _of_task(a: RunReader, b: RunReader, name: str, protocols: Protocols) -> Iterator[TaskComparison]:
    default = _default_scorer(a, b, a.task(name))
    left, right = (_side(run, name, scorer or default) for run, scorer in zip((a, b), protocols, strict=True))
    changed = _changed_samples(a, b, name)
    for before, after in _budgets(left, right, name):
        yield TaskComparison(
            task=name,
            title=a.task(name).title,
            a=left.setting(before),
            b=right.setting(after),
            pairs=paired(left.lines.get(before, {}), right.lines.get(after, {}), changed),
            flags=_flags(left, before, right, after),
            causes=_causes(left, before, right, after, changed),
        )


def _causes(a: _Side, before: Budget, b: _Side, after: Budget, changed: frozenset[str]) -> tuple[CauseSum, ...]:
    """What truncation, missing answers, extraction and content add to the difference."""
    lines = a.lines.get(before, {}), b.lines.get(after, {})
    pairs = score_pairs(*lines, changed)
    moved = [key for key, scores in pairs.items() if scores[0] != scores[1]]
    changes = score_changes(pairs, a.replies(before, moved), b.replies(after, moved))
    return tuple(cause_sums(changes, len(pairs)))


def _flags(a: _Side, before: Budget, b: _Side, after: Budget) -> tuple[FlagDifference, ...]:
    """None where both sides are the same answers."""
    if _is_same(a.run, b.run) and before == after:
        return ()
    return flag_differences(flags_of(a.run, a.task, *before), flags_of(b.run, b.task, *after))


def _default_scorer(a: RunReader, b: RunReader, task: Task) -> str:
    """The task's default protocol, read by the newest judge of A that B has asked, too."""
    name = task.default_protocol
    if not can_be_judged(task, task.protocols[name]):
        return name
    known = b.replies(task.name).views
    shared = [judge for judge in a.replies(task.name).views if judge.view == "answer" and judge in known]
    return scores_name(name, judge=shared[-1].judge if shared else None)


def _side(run: RunReader, name: str, scorer: str) -> _Side:
    """Stored scores; where a run is unfinished or was not scored so, its answers scored now."""
    task = run.task(name)
    named, view, reader = scorer_parts(scorer)
    protocol = task.protocol_named(named)
    if protocol is None:
        raise unknown("protocol", named, list(task.protocols), f"kvl-eval describe {name}")
    judge = None
    if reader is not None and can_be_judged(task, task.protocols[protocol]):
        judge = JudgeView(reader, view)
        _check_asked(run, name, judge)
    else:
        scorer = scores_name(protocol, view)  # a task that needs no judge reads the same with one
    lines: Sequence[ScoreLine] = list(run.folder.scores(name, scorer)) if run.folder.status == "finished" else ()
    grouped: dict[Budget, dict[SampleKey, ScoreLine]] = {}
    for line in lines or score_run(run, task, protocol, view, judge).lines:
        grouped.setdefault(Budget(line.budget, line.policy), {})[line.sample_id, line.repeat] = line
    return _Side(run, name, scorer, grouped)


def _check_asked(run: RunReader, task: str, judge: JudgeView) -> None:
    """Raises UsageError `usage.judge` for a judge that a run did not ask."""
    views = run.replies(task).views
    if judge not in views:
        named = dict.fromkeys(known.judge for known in views if known.view == judge.view)
        raise UsageError(
            "usage.judge",
            f"the judge {judge.judge!r} has not judged {task}",
            where=str(run.folder.path),
            why=f"asked: {', '.join(named) or 'nobody'}",
            fix=f"kvl-eval score {run.folder.path} --judge endpoint --judge-base-url URL --judge-model {judge.judge}",
        )


def _budgets(a: _Side, b: _Side, task: str) -> list[tuple[Budget, Budget]]:
    """Which budget of A stands against which of B: equal ones, or, where a side has but one, that one."""
    if _is_same(a.run, b.run) and a.scorer == b.scorer:  # budgets of one sweep against its largest
        ordered = sorted(a.lines, key=lambda budget: (budget.budget is None, budget.budget or 0))
        return [(budget, ordered[-1]) for budget in ordered[:-1]]
    if len(a.lines) <= 1 or len(b.lines) <= 1:
        unlimited = [Budget(None, None)]
        return list(product(a.lines or unlimited, b.lines or unlimited))
    shared = [(budget, budget) for budget in a.lines if budget in b.lines]
    if not shared:
        raise UsageError(
            "usage.compare",
            f"{task}: the runs have no thinking budget in common",
            why=f"{_listed(a.lines)} versus {_listed(b.lines)}",
            fix="use runs with the same --think-budget",
        )
    return shared


def _listed(budgets: Iterable[Budget]) -> str:
    return ", ".join(
        "none" if budget.budget is None else f"{budget.budget} ({policy_name(budget.policy)})" for budget in budgets
    )


def _changed_samples(a: RunReader, b: RunReader, task: str) -> frozenset[str]:
    """Samples of the same id whose question, options or gold are not the same in both runs."""
    prints = [data.fingerprint for run in (a, b) if (data := run.folder.manifest.data.get(task)) is not None]
    if _is_same(a, b) or (len(prints) == 2 and prints[0] == prints[1]):
        return frozenset()
    texts = [{entry.sample_id: _texts(entry) for entry in run.folder.plan(task)} for run in (a, b)]
    return frozenset(name for name, text in texts[0].items() if texts[1].get(name, text) != text)


def _texts(entry: PlanEntry) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return entry.sample.question, entry.sample.choices, entry.sample.gold
