"""What a run is compared with: a published result or a bare number, and what is known of how it was made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.errors import UsageError, unknown
from kvl_eval.explanation.document import ExplainedReference, HowKnown, Reproduction, SettingLine
from kvl_eval.names import same_name
from kvl_eval.references import MAXIMUM, TABLES, ReferenceScore, kimi_value, load, others, published
from kvl_eval.references.protocols import Fact, facts, protocol_of
from kvl_eval.scorers.statistics import wilson
from kvl_eval.store.manifest import Manifest
from kvl_eval.tasks.base import Task
from kvl_eval.types import Unit

NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+|nan|inf|infinity)(?:e[-+]?\d+)?\s*%?", re.IGNORECASE)
INDEPENDENT = "independent"
SETTINGS = (
    *("split", "n", "data_version", "prompt", "system_prompt", "protocol", "judge", "temperature", "top_p"),
    *("max_new_tokens", "think_budget", "repeats", "selection", "image_limit", "frames", "subtitles", "engine"),
    "few_shot",
)  # fields of `reference_protocols.csv`


@dataclass(frozen=True, slots=True, kw_only=True)
class GapTarget:
    """A reference, before it is known how many questions are behind it.

    Attributes:
        value:  as a fraction.
        printed: as it was printed.
        step:   to which it was printed, as a fraction.
        figure: the published result; None for a number.
        note:   how a number was read, where that does not go without saying.
    """

    value: float
    printed: str
    step: float
    figure: ReferenceScore | None = None
    note: str = ""

    @property
    def protocol(self) -> str | None:
        """That it was scored with, where that is known."""
        return None if self.figure is None else protocol_of(self.figure)


def is_number(text: str) -> bool:
    """Whether `--to` names a number rather than a system or a run."""
    return NUMBER.fullmatch(text.strip()) is not None


def number(text: str, unit: Unit) -> GapTarget:
    """The number that `--to` gives, in the unit that the task prints: `57`, `57.0`, `57.0%`, `57,0`.

    Raises: UsageError `explain.number` for one outside the unit's range, or that may be a fraction.
    """
    largest, name = MAXIMUM[unit], "percent" if unit == "percent" else "points"
    printed = text.strip().removesuffix("%").strip()
    plain = printed.replace(",", ".")
    value = float(plain)
    scale = f"{name}, from 0 to {largest:g}"
    if not math.isfinite(value) or not 0 <= value <= largest:
        raise UsageError(
            "explain.number", f"--to must be a number in {scale}, got {text!r}", fix="such as --to 57.0 or a system"
        )
    if 0 < value < 1:
        fix = f"--to {100 * value:g}, or --to {plain}00 if it is meant" if unit == "percent" else "--to 570"
        question = f"{plain} percent, or {100 * value:g}?" if unit == "percent" else f"{plain} points?"
        raise UsageError("explain.number", f"--to is in {name}: {question}", fix=fix)
    decimals = len(plain.partition(".")[2])
    note = f"--to {text} was read as {plain}" if "," in text else ""
    return GapTarget(value=value / largest, printed=plain, step=10.0**-decimals / largest, note=note)


def system_named(text: str) -> str | None:
    """The system of the published results that a name means, or None."""
    labels = {score.system_label: score.system for score in load()}
    name = same_name(text, [*labels.values(), *labels])
    return None if name is None else labels.get(name, name)


def unknown_system(text: str) -> UsageError:
    """The error of a name that no system and no run has."""
    known = list(dict.fromkeys(score.system for score in load()))
    error = unknown("system", text, known, "kvl-eval list references", code="explain.system")
    error.why = "a number, a system with published results, or a run can be named"
    return error


def published_target(task: Task, system: str, budget: int | None) -> GapTarget:
    """The published result of a system. Raises: UsageError `explain.figure`, which lists the results that exist."""
    figure = None if task.reference is None else kimi_value(task.reference, system, budget)
    if figure is None and task.reference is not None and budget is not None:
        figure = next(iter(published(task.reference, system)), None)
    if figure is None:
        raise _no_figure(task, system)
    return target_of(figure)


def target_of(figure: ReferenceScore) -> GapTarget:
    """A published result as a target."""
    decimals = len(figure.printed.partition(".")[2])
    step = 10.0**-decimals / MAXIMUM[figure.unit]
    return GapTarget(value=figure.value, printed=figure.printed, step=step, figure=figure)


def own_target(task: Task, system: str | None, budget: int | None) -> GapTarget | None:
    """The published result of the run's own model; None where there is none."""
    figure = kimi_value(task.reference, system, budget)
    return None if figure is None else target_of(figure)


def _no_figure(task: Task, system: str) -> UsageError:
    benchmark = None if task.reference is None else task.reference.benchmark
    rows = [score for score in load() if score.benchmark == benchmark]
    of_system = [
        f"{score.split or score.setting or 'no split'}: {score.printed}" for score in rows if score.system == system
    ]
    systems = dict.fromkeys(score.system for score in rows)
    listed = f"{system}: {'; '.join(of_system)}" if of_system else f"systems: {', '.join(systems) or 'none'}"
    return UsageError(
        "explain.figure",
        f"no published result of {system} fits {task.name}",
        why=listed[:300],
        fix="use --to NUMBER, or see kvl-eval list references",
    )


def reference_of(
    target: GapTarget, task: Task, n_option: int | None, n_own: int, *, is_share: bool
) -> ExplainedReference:
    """The reference with the number of questions behind it."""
    n, evidence = _questions(target, task, n_option, n_own)
    figure = target.figure
    return ExplainedReference(
        kind="number" if figure is None else "published",
        value=target.value,
        ci95=wilson(target.value * n, n) if is_share else None,
        printed=target.printed,
        system=None if figure is None else figure.system,
        table=None if figure is None else figure.table,
        source=None if figure is None else figure.source,
        n=n,
        n_evidence=evidence,
        feasible=is_feasible(target, n) if is_share else None,
        protocol=target.protocol,
        others=() if figure is None else tuple(_elsewhere(figure)),
    )


def _questions(target: GapTarget, task: Task, n_option: int | None, n_own: int) -> tuple[int, HowKnown]:
    split = task.splits.get(task.published_split)
    if n_option is not None:
        return n_option, "option"
    if target.figure is not None and split is not None and split.rows is not None:
        return split.rows, "split"
    return n_own, "assumed"


def _elsewhere(figure: ReferenceScore) -> Iterable[str]:
    return (f"{other.printed} ({TABLES[other.table]})" for other in others(figure) if other.table != INDEPENDENT)


def is_feasible(target: GapTarget, n: int) -> bool:
    """Whether a share of `n` questions rounds to the printed value (Brown and Heathers 2017)."""
    half = target.step / 2 + 1e-12
    least = math.floor(target.value * n)
    return any(abs(k / n - target.value) <= half for k in (least, least + 1) if 0 <= k <= n)


def reproductions(task: Task, system: str | None) -> tuple[Reproduction, ...]:
    """Results of a system on the task's benchmark that other hands got."""
    if task.reference is None or system is None:
        return ()
    return tuple(
        Reproduction(value=score.value, printed=score.printed, source=score.source, note=score.note)
        for score in load()
        if score.table == INDEPENDENT
        and (score.system, score.benchmark) == (system, task.reference.benchmark)
        and score.setting == (task.reference.setting or "")
    )


def known_of(target: GapTarget) -> dict[str, Fact]:
    """{field: what is known} of how a published result was made; a benchmark's own facts go before general ones."""
    figure = target.figure
    if figure is None:
        return {}
    known: dict[str, Fact] = {}
    for fact in sorted(facts(), key=lambda fact: fact.benchmark == "*"):
        if fact.system == figure.system and fact.benchmark in ("*", figure.benchmark):
            known.setdefault(fact.field, fact)
    return known


def setting_lines(task: Task, manifest: Manifest, protocol: str, known: Mapping[str, Fact]) -> tuple[SettingLine, ...]:
    """Our settings beside what is known of the reference's."""
    ours = own_settings(task, manifest, protocol)
    return tuple(_line(name, ours.get(name, ""), known.get(name)) for name in SETTINGS if name in ours or name in known)


def own_settings(task: Task, manifest: Manifest, protocol: str) -> dict[str, str]:
    """{field of `reference_protocols.csv`: ours}, as far as the run folder says."""
    data, prompt = manifest.data.get(task.name), manifest.prompt.get(task.name)
    generation = manifest.generation.get(task.name)
    settings = {"protocol": protocol, "few_shot": "0"}
    if data is not None:
        settings |= {"split": data.split or "", "n": str(data.n)}
    if prompt is not None:
        settings["prompt"] = prompt.name
    system_prompt = manifest.identity.get("system_prompt")
    settings["system_prompt"] = system_prompt if isinstance(system_prompt, str) and system_prompt else "none"
    if generation is not None:
        settings |= {"temperature": f"{float(generation.temperature):g}", "top_p": f"{float(generation.top_p):g}"}
        settings["max_new_tokens"] = str(generation.limit)
        if generation.think_budgets:
            settings["think_budget"] = ", ".join(map(str, generation.think_budgets))
    repeats = manifest.identity.get("repeats")
    settings["repeats"] = str(repeats if isinstance(repeats, int) else 1)
    return {name: value for name, value in settings.items() if value}


def _line(name: str, ours: str, fact: Fact | None) -> SettingLine:
    """Only what was read or inferred can be called a difference."""
    if fact is None or fact.evidence not in ("read", "inferred"):
        note = "" if fact is None else fact.note
        return SettingLine(name=name, ours=ours, reference=None, evidence="unknown", differs=None, note=note)
    evidence: HowKnown = "read" if fact.evidence == "read" else "inferred"
    differs = None if not ours else not _same(ours, fact.value)
    return SettingLine(name=name, ours=ours, reference=fact.value, evidence=evidence, differs=differs, note=fact.note)


def _same(ours: str, theirs: str) -> bool:
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return same_name(ours, [theirs]) is not None


def unknowable(settings: Sequence[SettingLine]) -> tuple[str, ...]:
    """What could explain the rest and cannot be known from stored answers."""
    known = {line.name for line in settings if line.evidence in ("read", "inferred")}
    names = {
        "prompt": "prompt wording",
        "image_limit": "image size",
        "system_prompt": "system prompt",
        "engine": "engine",
    }
    return tuple(text for name, text in names.items() if name not in known)
