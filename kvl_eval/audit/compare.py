"""Two runs, or two protocols or judges of one run, on the samples that both have scored: what differs, and where.

Settings that differ come first, since they may be the reason. Then for each task the paired difference B - A with a
95 % interval (samples of one document, video or picture, and repeats of one question, count together), the exact
McNemar test for 0/1 scores, and every sample that one side got right and the other did not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from math import fsum
from typing import Any, NamedTuple

from kvl_eval.audit.shadow import score_again, shadow
from kvl_eval.errors import UsageError, unknown
from kvl_eval.reports.numbers import plain
from kvl_eval.run.plan import differences
from kvl_eval.scorers.statistics import paired_difference
from kvl_eval.scoring.judged import can_be_judged, scorer_parts
from kvl_eval.store.journal import encode_line
from kvl_eval.store.names import scores_name
from kvl_eval.store.replies import Replies, View
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task
from kvl_eval.tasks.base import Task

Lookup = Callable[[str], Task]
Line = Mapping[str, Any]
SHOWN = 20  # flips in each direction in the text


class _Pair(NamedTuple):
    a: Line
    b: Line

    @property
    def cluster(self) -> str:
        shared = self.a["cluster"]
        return f"sample {self.a['sample_id']}" if shared is None else f"cluster {shared}"


@dataclass(frozen=True, slots=True)
class _Side:
    """One task of one run under one protocol and judge, its score lines by (budget, policy) and (sample, repeat)."""

    folder: RunFolder
    protocol: str
    lines: Mapping[tuple[Any, ...], Mapping[tuple[str, int], Line]]


def compare(
    a: RunFolder,
    b: RunFolder,
    *,
    task: str | None = None,
    protocols: tuple[str | None, str | None] = (None, None),
    lookup: Lookup = get_task,
) -> dict[str, Any]:
    """How B differs from A, as JSON values; scores are fractions.

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
            "a run is compared with itself",
            fix="give two runs, or `--protocol P,Q` for two protocols (or judges: P,P+JUDGE) of one run",
        )
    with ExitStack() as stack:
        comparisons = [one for name in names for one in _of_task(stack, a, b, lookup(name), protocols)]
    return {
        "a": _named(a),
        "b": _named(b),
        "settings": settings(a, b, names),
        "circumstances": circumstances(a, b),
        "comparisons": comparisons,
    }


def settings(a: RunFolder, b: RunFolder, tasks: Sequence[str]) -> list[str]:
    """What can change an answer of these tasks and differs, `name of A → of B`; and which samples were chosen."""
    left, right = (dict(folder.legacy_manifest.get("identity", {})) for folder in (a, b))
    by_task = (left.pop("tasks", {}), right.pop("tasks", {}))
    found = differences(left, right)
    changed: dict[str, list[str]] = {}
    for task in tasks:
        for change in differences(*(one.get(task, {}) for one in by_task)):
            changed.setdefault(change, []).append(task)
    for change, where in changed.items():
        found.append(f"{'every task' if len(where) == len(tasks) > 1 else ', '.join(where)}: {change}")
    return found + differences(a.legacy_manifest.get("selection", {}), b.legacy_manifest.get("selection", {}))


def circumstances(a: RunFolder, b: RunFolder) -> list[str]:
    """What should change no answer, and differs: code, device, libraries."""

    def told(folder: RunFolder) -> dict[str, Any]:
        manifest = folder.legacy_manifest
        model = {"device": (manifest.get("model") or {}).get("device")}
        batch = {"batch_size": ((manifest.get("config") or {}).get("settings") or {}).get("batch_size")}
        return {"code": manifest.get("code", {}), "environment": manifest.get("environment", {}), **model, **batch}

    return differences(told(a), told(b))


def _named(folder: RunFolder) -> dict[str, Any]:
    manifest = folder.legacy_manifest
    model = (manifest.get("model") or {}).get("name")
    return {"run": folder.run_id, "path": str(folder.path), "model": model, "demo": bool(manifest.get("demo"))}


def _tasks(a: RunFolder, b: RunFolder, task: str | None) -> list[str]:
    both = [list(folder.legacy_manifest.get("data") or {}) for folder in (a, b)]
    shared = [name for name in both[0] if name in both[1]]
    if task is not None and task not in shared:
        raise unknown("task", task, shared or [*both[0], *both[1]], "kvl-eval list runs")
    if not shared:
        raise UsageError(
            "usage.compare", "the runs share no task", why=f"{', '.join(both[0])} against {', '.join(both[1])}"
        )
    return shared if task is None else [task]


def _is_same(a: RunFolder, b: RunFolder) -> bool:
    return a.path.resolve() == b.path.resolve()


def _sweeps(folder: RunFolder) -> bool:
    tasks = (folder.legacy_manifest.get("config") or {}).get("tasks", [])
    return any(len(one["generation"]["think_budgets"]) > 1 for one in tasks)


# -- one task ---------------------------------------------------------------------------------------------------


def _of_task(
    stack: ExitStack, a: RunFolder, b: RunFolder, task: Task, protocols: tuple[str | None, str | None]
) -> Iterator[dict[str, Any]]:
    default = _default_scorer(a, b, task)
    left, right = (
        _side(stack, folder, task, protocol or default, lambda name: task)
        for folder, protocol in zip((a, b), protocols, strict=True)
    )
    changed = _changed_samples(a, b, task.name)
    for before, after in _budgets(left, right, task.name):
        yield {
            "task": task.name,
            "title": task.title,
            "a": {"protocol": left.protocol, "budget": before[0], "policy": before[1]},
            "b": {"protocol": right.protocol, "budget": after[0], "policy": after[1]},
            **_paired(left.lines.get(before, {}), right.lines.get(after, {}), changed),
        }


def _default_scorer(a: RunFolder, b: RunFolder, task: Task) -> str:
    """The task's default protocol, read by the newest judge of A that B has asked, too."""
    name = task.default_protocol
    if not can_be_judged(task, task.protocols[name]):
        return name
    known = Replies(b, task.name).views
    shared = [view for view in Replies(a, task.name).views if view.thinking == "split" and view in known]
    return scores_name(name, judge=shared[-1].judge if shared else None)


def _side(stack: ExitStack, folder: RunFolder, task: Task, scorer: str, lookup: Lookup) -> _Side:
    """Stored scores; where a run is unfinished or was not scored so, its answers scored now, beside the folder."""
    protocol, view, judge = scorer_parts(scorer)
    if protocol not in task.protocols:
        raise unknown("protocol", protocol, list(task.protocols), f"kvl-eval describe {task.name}")
    if judge is not None and can_be_judged(task, task.protocols[protocol]):
        _check_asked(folder, task, View(judge, view))
    else:
        scorer = scores_name(protocol, view)  # a task that needs no judge reads the same with one
    lines = list(folder.legacy_scores(task.name, scorer)) if folder.status == "finished" else []
    if not lines:
        again = stack.enter_context(shadow(folder))
        score_again(again, [(task.name, protocol, view)], lookup)
        lines = list(again.legacy_scores(task.name, scorer))
    grouped: dict[tuple[Any, ...], dict[tuple[str, int], Line]] = {}
    for line in lines:
        group = grouped.setdefault((line["budget"], line["policy"]), {})
        group[line["sample_id"], line["repeat"]] = line
    return _Side(folder, scorer, grouped)


def _check_asked(folder: RunFolder, task: Task, view: View) -> None:
    """Raises UsageError `usage.judge` for a judge that a run did not ask."""
    views = Replies(folder, task.name).views
    if view not in views:
        named = dict.fromkeys(one.judge for one in views if one.thinking == view.thinking)
        raise UsageError(
            "usage.judge",
            f"the judge {view.judge!r} was not asked about {task.name}",
            where=str(folder.path),
            why=f"asked: {', '.join(named) or 'nobody'}",
            fix=f"kvl-eval score {folder.path} --judge endpoint --judge-base-url URL --judge-model {view.judge}",
        )


def _budgets(a: _Side, b: _Side, task: str) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Which (budget, policy) of A stands against which of B: equal ones, or, where a side has but one, that one."""
    if _is_same(a.folder, b.folder) and a.protocol == b.protocol:  # budgets of one sweep against its largest
        ordered = sorted(a.lines, key=lambda one: (one[0] is None, one[0] or 0))
        return [(one, ordered[-1]) for one in ordered[:-1]]
    if len(a.lines) <= 1 or len(b.lines) <= 1:
        return list(product(a.lines or [(None, None)], b.lines or [(None, None)]))
    shared = [(one, one) for one in a.lines if one in b.lines]
    if not shared:
        raise UsageError(
            "usage.compare",
            f"{task}: the runs share no thinking budget",
            why=f"{_listed(a.lines)} against {_listed(b.lines)}",
        )
    return shared


def _listed(budgets: Iterable[tuple[Any, ...]]) -> str:
    return ", ".join("none" if budget is None else f"{budget} ({policy})" for budget, policy in budgets)


def _changed_samples(a: RunFolder, b: RunFolder, task: str) -> set[str]:
    """Samples of the same id whose question, options or gold are not the same in both runs."""
    prints = [((one.legacy_manifest.get("data") or {}).get(task) or {}).get("fingerprint") for one in (a, b)]
    if _is_same(a, b) or (prints[0] is not None and prints[0] == prints[1]):
        return set()
    texts = [
        {
            entry["sample_id"]: encode_line({name: entry[name] for name in ("question", "choices", "gold")})
            for entry in folder.legacy_plan(task)
        }
        for folder in (a, b)
    ]
    return {name for name, text in texts[0].items() if name in texts[1] and texts[1][name] != text}


def _paired(a: Mapping[tuple[str, int], Line], b: Mapping[tuple[str, int], Line], changed: set[str]) -> dict[str, Any]:
    shared = [_Pair(line, b[key]) for key, line in a.items() if key in b and key[0] not in changed]
    scored = [pair for pair in shared if pair.a["score"] is not None and pair.b["score"] is not None]
    pairs = _by_question(scored, [*a.values(), *b.values()])
    counts = {
        "n": len(pairs),
        "n_samples": len({pair.a["sample_id"] for pair in pairs}),
        "n_clusters": len({pair.cluster for pair in pairs}),
        "only_a": len(a.keys() - b.keys()),
        "only_b": len(b.keys() - a.keys()),
        "not_scored": len(shared) - len(scored),
        "changed_samples": sorted(changed),
        "scorer_versions": _versions(pairs),
    }
    if not pairs:
        return {**counts, "difference": None, "lost": [], "gained": []}
    before, after = ([float(line["score"]) for line in side] for side in zip(*pairs, strict=True))
    found = paired_difference(before, after, [pair.cluster for pair in pairs])
    return {
        **counts,
        "score_a": fsum(before) / len(pairs),
        "score_b": fsum(after) / len(pairs),
        "difference": found.mean,
        "ci95": list(found.ci95),
        "ci_method": found.method,
        "stderr": found.stderr,
        "p_value": found.p_value,
        "detectable": found.detectable,
        "n_lower": sum(y < x for x, y in zip(before, after, strict=True)),
        "n_higher": sum(y > x for x, y in zip(before, after, strict=True)),
        "lost": [_flip(pair) for pair in pairs if pair.a["score"] >= 1 > pair.b["score"]],
        "gained": [_flip(pair) for pair in pairs if pair.b["score"] >= 1 > pair.a["score"]],
    }


def _by_question(pairs: Sequence[_Pair], lines: Iterable[Line]) -> list[_Pair]:
    """One pair for each question that is asked several times: each side's worst, where both answered all of them."""
    times: dict[tuple[str, int], set[str]] = {}
    for line in lines:
        if line.get("group") is not None:
            times.setdefault((line["group"], line["repeat"]), set()).add(line["sample_id"])
    folded: dict[tuple[str, int], list[_Pair]] = {}
    for pair in pairs:
        if pair.a.get("group") is not None:
            folded.setdefault((pair.a["group"], pair.a["repeat"]), []).append(pair)
    whole = [found for key, found in folded.items() if len(found) == len(times[key])]
    return [pair for pair in pairs if pair.a.get("group") is None] + [_worst(found) for found in whole]


def _worst(pairs: Sequence[_Pair]) -> _Pair:
    a, b = (min((pair[side] for pair in pairs), key=lambda line: float(line["score"])) for side in (0, 1))
    return _Pair(*({**line, "sample_id": line["group"]} for line in (a, b)))


def _versions(pairs: Iterable[_Pair]) -> list[str]:
    return sorted({line["scorer_version"] for pair in pairs for line in pair})


def _flip(pair: _Pair) -> dict[str, Any]:
    def told(line: Line) -> dict[str, Any]:
        return {name: line[name] for name in ("extracted", "verdict", "reason", "score")}

    a = pair.a
    return {
        "sample_id": a["sample_id"],
        "repeat": a["repeat"],
        "gold": a["gold"],
        "a": told(a),
        "b": told(pair.b),
    }


# -- as text ----------------------------------------------------------------------------------------------------


def as_text(found: Mapping[str, Any]) -> str:
    """Settings, then a block for each task; percent with one decimal."""
    lines = [f"{name.upper()}  {found[name]['run']}  ({plain(found[name]['model'])})" for name in ("a", "b")]
    lines += _block("settings that can change an answer", found["settings"], "none differ")
    lines += _block("circumstances", found["circumstances"], "none differ")
    for one in found["comparisons"]:
        lines += ["", *_comparison(one)]
    paths = list(dict.fromkeys(found[name]["path"] for name in ("a", "b")))
    return "\n".join([*lines, "", f"see each sample: kvl-eval report {' '.join(map(plain, paths))}"])


def _block(title: str, lines: Iterable[str], nothing: str) -> list[str]:
    shown = [f"  {plain(line)}" for line in lines]
    return [f"{title}:", *shown] if shown else [f"{title}: {nothing}"]


def _comparison(one: Mapping[str, Any]) -> list[str]:
    sides = " against ".join(_of_side(one[side]) for side in ("a", "b"))
    lines = [f"{plain(one['task'])}  {sides}", f"  same samples        {one['n']}{_left_out(one)}"]
    if one["difference"] is None:
        return [*lines, "  nothing to compare: no sample is scored in both"]
    low, high = (_points(bound) for bound in one["ci95"])
    test = "" if one["p_value"] is None else f", exact McNemar p = {one['p_value']:.4f}"
    lines += [
        f"  score               {100 * one['score_a']:.1f} → {100 * one['score_b']:.1f}",
        f"  difference B - A    {_points(one['difference'])} [{low}, {high}] ({one['ci_method']}){test}",
        f"  could be shown      {_detectable(one)}",
        f"  changed             {one['n_higher']} higher, {one['n_lower']} lower; "
        f"{len(one['gained'])} gained, {len(one['lost'])} lost",
    ]
    if one["p_value"] is not None and one["n_clusters"] < one["n"]:
        lines.append("  note                p takes every answer for independent; trust the interval, which does not")
    if len(one["scorer_versions"]) > 1:
        lines.append(f"  note                scored by kvl-eval {' and '.join(one['scorer_versions'])}")
    for name, title in (("gained", "only B right"), ("lost", "only A right")):
        lines += _flips(title, one[name])
    return lines


def _of_side(side: Mapping[str, Any]) -> str:
    budget = "" if side["budget"] is None else f" at {side['budget']} ({side['policy']})"
    return f"{side['protocol']}{budget}"


def _left_out(one: Mapping[str, Any]) -> str:
    parts = [
        f"{number} {text}"
        for number, text in (
            (one["only_a"], "scored only in A"),
            (one["only_b"], "scored only in B"),
            (one["not_scored"], "without a score"),
            (len(one["changed_samples"]), "whose question or gold changed"),
        )
        if number
    ]
    repeated = [f"{one['n_samples']} questions"] if one["n_samples"] != one["n"] else []
    return f" ({', '.join([*repeated, *(f'left out: {part}' for part in parts)])})" if parts or repeated else ""


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _detectable(one: Mapping[str, Any]) -> str:
    if one["detectable"] is None:
        return "unknown: no sample differs" if one["n"] > 1 else "unknown: one sample shows no spread"
    return f"a difference of {100 * one['detectable']:.1f} (four times in five, at 5 %)"


def _flips(title: str, flips: list[Mapping[str, Any]]) -> list[str]:
    if not flips:
        return []
    lines = [f"  {title} ({len(flips)}):"]
    for flip in flips[:SHOWN]:
        repeat = f" repeat {flip['repeat']}" if flip["repeat"] else ""
        read = " → ".join(_read(flip[side]) for side in ("a", "b"))
        lines.append(f"    {plain(flip['sample_id'])}{repeat}: {read}, gold {_cut(flip['gold'])}")
    return [*lines, *([f"    and {len(flips) - SHOWN} more; --json lists all"] if len(flips) > SHOWN else [])]


def _read(side: Mapping[str, Any]) -> str:
    return f"nothing ({side['reason']})" if side["extracted"] is None else _cut(side["extracted"])


def _cut(value: Any) -> str:
    text = plain(value if isinstance(value, str) else repr(value))
    return repr(text[:60]) + ("..." if len(text) > 60 else "") if isinstance(value, str) else text[:80]
