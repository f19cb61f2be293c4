"""What a result card holds: the JSON document `kvl-card-1`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kvl_eval.decode import Count, encode_object
from kvl_eval.types import Interval, Policy, Unit

MOST_ANSWERS = 5_000  # of which a card holds a verdict each
Certainty = Literal["recomputed", "stated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardModel:
    """What answered: name, family, precision, device, and a fingerprint over everything that can change an answer."""

    name: str
    family: str
    dtype: str | None
    device: str | None
    demo: bool
    scripted: bool
    fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardData:
    """Which questions were asked; fields as in `run.json`."""

    source: str | None
    revision: str | None
    version: str | None
    fingerprint: str | None
    partial: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAnswers:
    """The planned answers, in plan order.

    Attributes:
        n:          planned answers.
        digests:    8 bytes each over task, split, id and gold answers, base64; null for more than 5,000 answers.
        verdicts:   3 bits each, base64; null likewise.
        partial:    scores of the partial ones as 8-byte floats, base64; null where there are none.
        clusters:   what answers share an image, document or video, 2 bytes each, base64; null where none do.
        list_sha256: over all digests.
        counts:     {label of the first category: {verdict: answers}}.
    """

    n: Count
    digests: str | None
    verdicts: str | None
    partial: str | None
    clusters: str | None
    list_sha256: str
    counts: Mapping[str, Mapping[str, Count]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCard:
    """A result and what it was made from; scores are fractions.

    Attributes:
        kind:       `kvl-card-1`.
        certainty:  whether score and interval follow from `answers`, or are an aggregate that a card only states.
        n:          answers behind the score.
        settings:   {name: value} of how replies were generated, as shown.
        verdict:    sentences on the published result.
        harness:    version of kvl-eval that ran; `written_by` the one that wrote the card.
        created:    when the run began.
        run_sha256: as run.json holds it.
        sha256:     over the document without this field, keys sorted.
    """

    kind: Literal["kvl-card-1"] = "kvl-card-1"
    task: str
    title: str
    split: str | None
    budget: Count | None
    policy: Policy | None
    protocol: str
    label: str
    judge: str | None
    score: float
    unit: Unit
    ci95: Interval | None
    ci_method: str | None
    certainty: Certainty
    n: Count
    n_planned: Count
    n_failed: Count
    n_pending: Count
    n_unextracted: Count
    prompt: str
    settings: Mapping[str, str]
    model: CardModel
    data: CardData
    verdict: tuple[str, ...]
    harness: str | None
    commit: str | None
    written_by: str
    run_id: str
    created: str | None
    run_sha256: str | None
    answers: CardAnswers
    sha256: str = ""


def canonical(card: ResultCard) -> str:
    """The card as JSON, keys sorted, without blanks, in ASCII."""
    return json.dumps(encode_object(card), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(card: ResultCard) -> str:
    """The hash that `sha256` must be."""
    fields = {name: value for name, value in encode_object(card).items() if name != "sha256"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
