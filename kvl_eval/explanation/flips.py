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
from kvl_eval.flip_causes import CAUSES as STAGES
from kvl_eval.flip_causes import ReplyFacts, flip_cause
from kvl_eval.scorers.statistics import FIXED, resampled_counts
from kvl_eval.store.manifest import Manifest
from kvl_eval.types import Interval

CAUSES = (*(cause for cause in STAGES if cause != "content"), "prompt", "images", "generation", "engine", "answers")


class ReplySettings(NamedTuple):
    """Digests of what a reply was made with, in the order in which causes are named, and what tells models apart."""

    prompt: str = ""
    images: str = ""
    generation: str = ""
    engine: str = ""
    weights: str = ""

    def differing(self, other: ReplySettings) -> tuple[str, ...]:
        """The settings that differ; none between models, where all of that is the answers."""
        if self.weights != other.weights:
            return ()
        pairs = zip(self._fields, self, other, strict=True)
        return tuple(name for name, ours, theirs in pairs if ours != theirs)


@dataclass(frozen=True, slots=True)
class PairedReply:
    """One of two replies to a question whose scores differ."""

    facts: ReplyFacts
    settings: ReplySettings


def gap_cause(losing: PairedReply, winning: PairedReply) -> tuple[str, tuple[str, ...]]:
    """The cause of a changed score, one of `CAUSES`, and settings that differ besides where the cause is one."""
    cause = flip_cause(losing.facts, winning.facts)
    if cause != "content":
        return cause, ()
    first, *others = (*losing.settings.differing(winning.settings), "answers")
    return first, tuple(others[:-1])


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
            losing, winning = sides[0].reply(mine), sides[1].reply(reference)
            if scores[0] > scores[1]:
                losing, winning = winning, losing
            cause, together = gap_cause(losing, winning)
        answers.append(PairedAnswer(*key, mine.cluster, scores[0], scores[1], cause, together))
    return PairedRuns(tuple(answers), changed, failed, len(left.keys() ^ right.keys()))


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

    def reply(self, facts: AnswerFacts) -> PairedReply:
        made: AnswerVerdict | None = self._own.get(facts.entry.key)
        other = self._other.get(facts.entry.key)
        return PairedReply(
            ReplyFacts(
                truncated=facts.is_truncated,
                unclosed=facts.is_unclosed,
                no_answer=made is not None and made.verdict == "no_answer",
                text=facts.reply,
                reader_score=None if other is None else other.value,
            ),
            ReplySettings(
                prompt=facts.prompt,
                images=_digest([encode(medium) for medium in facts.media]),
                generation=f"{self._generation} {facts.entry.budget} {facts.entry.policy} {facts.seed}",
                engine=self._engine,
                weights=self._weights,
            ),
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
