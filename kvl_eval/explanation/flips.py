"""Against another run: every changed score goes to one cause, and the causes add up to the paired difference.

    truncated, unclosed, no_answer   one reply is, the other is not
    extraction                       the replies are the same, or the losing one is right under P1
    prompt                           another prompt
    images                           the same prompt; other images, sizes or order
    generation                       the same images; other limits, temperature, budget or seed
    engine                           the same settings; another backend, dtype, device or version
    answers                          nothing that was recorded differs: other weights, or chance

Between runs of different weights all but the first four are `answers`. The losing reply is looked at first. Where
several settings differ at once a cause is named after the first: a comparison of two runs is not an experiment.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kvl_eval.decode import Json, encode
from kvl_eval.explanation.ledger import Floats
from kvl_eval.explanation.reading import AnswerFacts, AnswerVerdict, Scorer, TaskReplies
from kvl_eval.explanation.resampling import RESAMPLES, SEED, percentiles
from kvl_eval.explanation.units import GapPart
from kvl_eval.scorers.statistics import FIXED, resampled_counts
from kvl_eval.store.manifest import Manifest
from kvl_eval.types import Interval

CAUSES = (
    *("truncated", "unclosed", "no_answer", "extraction"),
    *("prompt", "images", "generation", "engine", "answers"),
)
RIGHT = 0.5  # the least score of a reply that counts as right


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipSide:
    """What one run knows of an answer whose score differs in the other.

    Attributes:
        truncated:  whether the reply ended at a limit outside a thought; `unclosed`, `no_answer` likewise.
        score:      of the reply under P1.
        reply:      its digest; so are `prompt`, `images`, `generation` and `engine`.
        weights:    what tells the models apart.
    """

    truncated: bool = False
    unclosed: bool = False
    no_answer: bool = False
    score: float = 0.0
    reply: str = ""
    prompt: str = ""
    images: str = ""
    generation: str = ""
    engine: str = ""
    weights: str = ""


def flip_cause(losing: FlipSide, winning: FlipSide) -> str:
    """The cause of a changed score: the first of `CAUSES` whose rule fits."""
    for side, other in ((losing, winning), (winning, losing)):
        for name in ("truncated", "unclosed", "no_answer"):
            if getattr(side, name) and not getattr(other, name):
                return name
        if side is losing and ((losing.reply and losing.reply == winning.reply) or losing.score >= RIGHT):
            return "extraction"
    if losing.weights != winning.weights:
        return "answers"
    for name in ("prompt", "images", "generation", "engine"):
        if getattr(losing, name) != getattr(winning, name):
            return name
    return "answers"


class PairedAnswer(NamedTuple):
    """One question that both runs scored: reference minus ours, and what made the difference (empty: none)."""

    sample_id: str
    repeat: int
    cluster: str
    ours: float
    theirs: float
    cause: str
    together: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """What two runs have in common.

    Attributes:
        answers: scored by both.
        changed: samples whose question, options or gold answers differ; left out.
        failed:  answers that failed or are pending on either side; left out.
        unpaired: answers that only one of the runs planned.
    """

    answers: tuple[PairedAnswer, ...]
    changed: int
    failed: int
    unpaired: int


def pair_runs(ours: TaskReplies, theirs: TaskReplies, own: Scorer, other: Scorer) -> PairedRuns:
    """The answers of two runs side by side, each under P0 (`own`), with P1 (`other`) for what a reply is worth."""
    sides = (_PairedRun(ours, own, other), _PairedRun(theirs, own, other))
    left, right = (side.by_key for side in sides)
    answers: list[PairedAnswer] = []
    changed = failed = 0
    for key in sorted(left.keys() & right.keys()):
        mine, reference = left[key], right[key]
        if _question(mine) != _question(reference):
            changed += 1
            continue
        scores = sides[0].value(mine), sides[1].value(reference)
        if scores[0] is None or scores[1] is None:
            failed += mine.status != "ok" or reference.status != "ok"
            continue
        cause = ""
        together: tuple[str, ...] = ()
        if scores[0] != scores[1]:
            losing, winning = sides[0].flip(mine), sides[1].flip(reference)
            if scores[0] > scores[1]:
                losing, winning = winning, losing
            cause = flip_cause(losing, winning)
            together = _together(cause, losing, winning)
        answers.append(PairedAnswer(*key, mine.cluster, scores[0], scores[1], cause, together))
    return PairedRuns(tuple(answers), changed, failed, len(left.keys() ^ right.keys()))


def _together(cause: str, losing: FlipSide, winning: FlipSide) -> tuple[str, ...]:
    """Further settings that differ where the cause is one."""
    settings = ("prompt", "images", "generation", "engine")
    if cause not in settings:
        return ()
    later = settings[settings.index(cause) + 1 :]
    return tuple(name for name in later if getattr(losing, name) != getattr(winning, name))


class _PairedRun:
    """One of the two runs."""

    def __init__(self, replies: TaskReplies, own: Scorer, other: Scorer) -> None:
        self.by_key = {(facts.entry.sample_id, facts.entry.repeat): facts for facts in replies.facts}
        self._own, self._other = replies.verdicts(own), replies.verdicts(other)
        manifest, task = replies.run.folder.manifest, replies.task.name
        self._generation, self._engine = _generation(manifest, task), _engine(manifest)
        self._weights = weights_of(manifest)

    def value(self, facts: AnswerFacts) -> float | None:
        made = self._own.get(facts.entry.key)
        return None if made is None else made.value

    def flip(self, facts: AnswerFacts) -> FlipSide:
        made: AnswerVerdict | None = self._own.get(facts.entry.key)
        other = self._other.get(facts.entry.key)
        return FlipSide(
            truncated=facts.is_truncated,
            unclosed=facts.is_unclosed,
            no_answer=made is not None and made.verdict == "no_answer",
            score=(other.value or 0.0) if other is not None else 0.0,
            reply=facts.reply,
            prompt=facts.prompt,
            images=_digest([encode(medium) for medium in facts.media]),
            generation=f"{self._generation} {facts.entry.budget} {facts.entry.policy} {facts.seed}",
            engine=self._engine,
            weights=self._weights,
        )


def weights_of(manifest: Manifest) -> str:
    """What tells the models of two runs apart: the hash of the weights, or the model's name."""
    weights = manifest.model_identity.get("weights_sha256")
    return weights if isinstance(weights, str) else f"{manifest.model.name} {manifest.model.weights}"


def _question(facts: AnswerFacts) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    sample = facts.entry.sample
    return sample.question, sample.choices, sample.gold


def _generation(manifest: Manifest, task: str) -> str:
    generation = manifest.generation.get(task)
    return _digest(None if generation is None else encode(generation))


def _engine(manifest: Manifest) -> str:
    identity = {name: value for name, value in manifest.model_identity.items() if name != "weights_sha256"}
    return _digest([identity, manifest.model.dtype, manifest.model.device, dict(manifest.environment)])


def _digest(value: Json) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def cause_parts(pairs: PairedRuns) -> tuple[GapPart, ...]:
    """What each cause adds to the paired difference, reference minus ours, in order; those without a pair left out."""
    answers = pairs.answers
    differences = np.array([answer.theirs - answer.ours for answer in answers])
    columns = {
        name: np.where([answer.cause == name for answer in answers], differences, 0.0)
        for name in CAUSES
        if any(answer.cause == name for answer in answers)
    }
    intervals = mean_intervals(columns, [answer.cluster for answer in answers])
    return tuple(_part(name, values, intervals[name], answers) for name, values in columns.items())


def _part(name: str, values: Floats, interval: Interval, answers: Sequence[PairedAnswer]) -> GapPart:
    of_cause = [answer for answer in answers if answer.cause == name]
    together = tuple(dict.fromkeys(other for answer in of_cause for other in answer.together))
    detail: dict[str, Json] = {
        "lost": sum(answer.ours < answer.theirs for answer in of_cause),
        "gained": sum(answer.ours > answer.theirs for answer in of_cause),
        "together_with": [*together],
    }
    return GapPart(
        name=name,
        basis="exact",
        n=len(of_cause),
        value=math.fsum(values) / len(answers),
        ci95=interval,
        detail=detail,
        samples=tuple(dict.fromkeys(answer.sample_id for answer in of_cause)),
    )


def mean_intervals(
    columns: Mapping[str, Floats], clusters: Sequence[str], n: int = RESAMPLES, seed: int = SEED
) -> dict[str, Interval]:
    """95 % percentile interval of the mean of each column; whole clusters are drawn, the same for all columns."""
    if not columns:
        return {}
    names, cluster = np.unique(list(clusters), return_inverse=True)
    if len(names) == 1:
        return dict.fromkeys(columns, (-1.0, 1.0))
    vectors = np.stack([*columns.values(), np.ones(len(clusters))], axis=1)
    sums = np.zeros((len(names), vectors.shape[1]), dtype=np.int64)
    np.add.at(sums, cluster, np.rint(vectors * FIXED).astype(np.int64))
    types, sizes = np.unique(sums, axis=0, return_counts=True)
    totals = resampled_counts(sizes.tolist(), n, seed) @ types
    means = totals[:, :-1] / totals[:, -1:]
    return {name: percentiles(np.sort(means[:, place])) for place, name in enumerate(columns)}
