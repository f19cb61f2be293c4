"""A stratified order of a run's samples, of which every beginning is a smaller stratified sample."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.explanation.score_columns import ScoreColumns


@dataclass(frozen=True, slots=True)
class StratifiedSample:
    """What a sample is drawn with and as: whole clusters, in proportion to their strata."""

    cluster: str
    stratum: tuple[str, ...]


def stratified_order(columns: ScoreColumns, seed: int = 0) -> list[list[str]]:
    """Clusters of sample ids in an order of which each beginning has the strata in proportion.

    Strata are the label of the first category and whether the run's answer is right.
    """
    samples = columns.samples
    return nested_order(
        {name: StratifiedSample(sample.cluster, _stratum(columns, name)) for name, sample in samples.items()}, seed
    )


def nested_order(samples: Mapping[str, StratifiedSample], seed: int = 0) -> list[list[str]]:
    """The same for any strata; a cluster is in that of its first sample.

    Within a stratum clusters are shuffled by `seed`. The order of the samples does not matter.
    """
    clusters: dict[str, list[str]] = {}
    for name in sorted(samples):
        clusters.setdefault(samples[name].cluster, []).append(name)
    strata: dict[tuple[str, ...], list[list[str]]] = {}
    for names in clusters.values():
        strata.setdefault(samples[names[0]].stratum, []).append(names)
    placed: list[tuple[float, str, list[str]]] = []
    for members in strata.values():
        members.sort(key=lambda names: _draw(seed, names[0]))
        size, before = sum(map(len, members)), 0
        for names in members:
            placed.append(((before + len(names) / 2) / size, _draw(seed, names[0]), names))
            before += len(names)
    return [names for _, _, names in sorted(placed)]


def chosen_ids(order: Sequence[Sequence[str]], n: int) -> list[str]:
    """The ids of the first clusters that have at least `n` samples together, or of all."""
    ids: list[str] = []
    for names in order:
        if len(ids) >= n:
            break
        ids += names
    return ids


def _stratum(columns: ScoreColumns, name: str) -> tuple[str, str]:
    sample = columns.samples[name]
    verdict = "" if not sample.scores else "right" if sample.mean >= 0.5 else "wrong"
    return sample.label, verdict


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).hexdigest()
