"""What `watch` prints and shows: runs of tonight, comparisons, drift, and the sentences on them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kvl_eval.decode import Count, Json, encode_object
from kvl_eval.printable import whole
from kvl_eval.verdicts import p_text, signed
from kvl_eval.watch.judging import NightDrift, NightGap
from kvl_eval.watch.nights import Night, NightPair

REGRESSION, GAPS = 5, 3  # exit codes
TonightStatus = Literal["complete", "skipped", "gaps", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TonightRun:
    """What became of one run of the file.

    Attributes:
        name:    in the file.
        status:  `complete`; `skipped` where it was complete before; `gaps` where samples have no score; `failed`.
        run:     its folder; null where none was made.
        error:   why it failed; null otherwise.
        changes: what is other than the night before.
    """

    name: str
    status: TonightStatus
    run: str | None
    error: str | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchDocument:
    """What `watch` prints; differences are fractions.

    Attributes:
        schema:      1.
        kind:        `watch`.
        runs:        in the order of the file.
        comparisons: with the baseline and with the last night.
        drifts:      of each task from the pin.
        page:        the trend page; `why` the explanation of the largest drop, null without one.
        verdict:     sentences, the last one the most important.
        exit_code:   5 after a regression, 3 where samples have no score, that of an error, else 0.
    """

    schema: int = 1
    kind: Literal["watch"] = "watch"
    runs: tuple[TonightRun, ...]
    comparisons: tuple[NightGap, ...]
    drifts: tuple[NightDrift, ...]
    page: str
    why: str | None
    verdict: tuple[str, ...]
    exit_code: Count

    def as_json(self) -> dict[str, Json]:
        """The document as JSON values."""
        return encode_object(self)


@dataclass(frozen=True, slots=True)
class NightSeries:
    """One run of the file over the nights.

    Attributes:
        nights: oldest first.
        pin:    folder of the pinned run; None without a night.
        last:   {task: tonight against the night before}, with the samples that changed.
    """

    name: str
    nights: Sequence[Night]
    pin: str | None
    last: Mapping[str, NightPair]


def gaps_of(
    name: str, against: Literal["baseline", "last"], pairs: Mapping[str, NightPair], paths: tuple[str, str]
) -> list[NightGap]:
    """The comparisons of tonight with one earlier night; `paths` are those of the earlier night and of tonight."""
    from kvl_eval.watch.judging import one_sided

    return [
        NightGap(
            run=name,
            task=task,
            against=against,
            old=paths[0],
            new=paths[1],
            n=pair.scores.difference.n,
            difference=pair.scores.difference.mean,
            ci95=pair.scores.difference.ci95,
            p_value=one_sided(pair.scores.difference.mean, pair.scores.p_value),
        )
        for task, pair in pairs.items()
    ]


def worst(gaps: Sequence[NightGap]) -> NightGap | None:
    """The largest regression; None without one."""
    return min((gap for gap in gaps if gap.regression), key=lambda gap: gap.difference, default=None)


def gap_text(gap: NightGap) -> str:
    """`mathvista -3.1 [-5.0, -1.2] against the baseline`."""
    low, high = (signed(bound) for bound in gap.ci95)
    against = "the baseline" if gap.against == "baseline" else "the night before"
    return f"{gap.run} {gap.task} {signed(gap.difference)} [{low}, {high}] against {against}"


def task_of(label: str) -> tuple[str, int | None]:
    """Task and budget of `mathvista@4096`."""
    name, _, budget = label.rpartition("@")
    return (name, int(budget)) if name and budget.isdecimal() else (label, None)


def explain_command(gap: NightGap) -> str:
    """The command that says why."""
    task, _ = task_of(gap.task)
    return shlex.join(["kvl-eval", "explain", gap.new, "--to", gap.old, "--task", task])


def sentences(runs: Sequence[TonightRun], gaps: Sequence[NightGap], drifts: Sequence[NightDrift]) -> list[str]:
    """The verdict, the most important last."""
    texts = [f"{run.name}: {run.status}{f' ({run.error})' if run.error else ''}" for run in runs]
    texts += [f"{run.name}: changed since the night before: {', '.join(run.changes)}" for run in runs if run.changes]
    for sign in drifts:
        if sign.warning:
            limit = signed(sign.limit).removeprefix("+")
            texts.append(
                f"warning: {sign.run} {sign.task} drifts down: {signed(sign.sum).removeprefix('+')} points over "
                f"several nights (limit {limit})"
            )
    drop = worst(gaps)
    if drop is None:
        texts.append("No regression." if gaps else "No earlier night to compare with.")
    else:
        others = [gap_text(gap) for gap in gaps if gap.regression and gap is not drop]
        texts += [f"regression: {text}" for text in others]
        texts.append(f"regression: {gap_text(drop)}, {p_text(drop.p_holm)}: {explain_command(drop)}")
    return texts


def exit_code(runs: Sequence[TonightRun], gaps: Sequence[NightGap], failures: Sequence[int]) -> int:
    """Regression wins over errors, and these over gaps."""
    if worst(gaps) is not None:
        return REGRESSION
    if failures:
        return max(failures)
    return GAPS if any(run.status == "gaps" for run in runs) else 0


def as_text(document: WatchDocument, folder: Path) -> str:
    """The lines of the terminal."""
    lines = [f"watch  {whole(folder)}", ""]
    for gap in document.comparisons:
        lines.append(f"  {gap_text(gap)}   n = {gap.n:,}   one-sided {p_text(gap.p_holm)}")
    lines += [""] if document.comparisons else []
    lines += [f"  {text}" for text in document.verdict[:-1]]
    lines.append(f"  page   {whole(document.page)}")
    if document.why is not None:
        lines.append(f"  why    {whole(document.why)}")
    return "\n".join([*lines, document.verdict[-1]])
