"""The answers of a card: verdicts in 3 bits, digests in 8 bytes, and the score that follows from them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.card.document import MOST_ANSWERS, CardAnswers
from kvl_eval.errors import DataError
from kvl_eval.scorers.statistics import interval
from kvl_eval.types import Interval

CODES = ("correct", "partial", "wrong", "no_answer", "not_scored", "failed", "pending")
BITS, DIGEST = 3, 8  # of a verdict, in bits; of a question, in bytes
MOST_PACKED = 52_000  # bytes of digests and scores that leave the page below 100 kB
FIXED = {"correct": 1.0, "wrong": 0.0, "no_answer": 0.0}


@dataclass(frozen=True, slots=True)
class CardAnswer:
    """One planned answer: the question's digest, what became of it, its score, its cluster and first category."""

    digest: bytes
    code: str
    score: float | None
    cluster: str
    label: str


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What the verdicts of a card give."""

    score: float
    ci95: Interval
    method: str


def question_digest(task: str, split: str | None, sample_id: str, gold: Sequence[str]) -> bytes:
    """8 bytes that name a question and its gold answers."""
    text = json.dumps([task, split, sample_id, list(gold)], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).digest()[:DIGEST]


def packed(answers: Sequence[CardAnswer]) -> CardAnswers:
    """The answers as a card holds them."""
    counts: dict[str, Counter[str]] = {}
    for answer in answers:
        counts.setdefault(answer.label, Counter())[answer.code] += 1
    digests = b"".join(answer.digest for answer in answers)
    scores = [answer.score or 0.0 for answer in answers if answer.code == "partial"]
    is_whole = len(answers) <= MOST_ANSWERS and 8 * (len(answers) + len(scores)) <= MOST_PACKED
    numbers = {name: number for number, name in enumerate(dict.fromkeys(answer.cluster for answer in answers))}
    shares = len(numbers) < len(answers)
    clusters = [numbers[answer.cluster] for answer in answers]
    return CardAnswers(
        n=len(answers),
        digests=_text(digests) if is_whole else None,
        verdicts=_text(_bits([CODES.index(answer.code) for answer in answers])) if is_whole else None,
        partial=_text(struct.pack(f"<{len(scores)}d", *scores)) if scores and is_whole else None,
        clusters=_text(struct.pack(f"<{len(clusters)}H", *clusters)) if shares and is_whole else None,
        list_sha256=hashlib.sha256(digests).hexdigest(),
        counts={label: dict(sorted(of_label.items())) for label, of_label in sorted(counts.items())},
    )


def digests_of(answers: CardAnswers) -> list[bytes]:
    """The digest of each answer's question; none where the card holds counts. Raises: DataError `card.answers`."""
    if answers.digests is None:
        return []
    data = _bytes(answers.digests, "digests", answers.n * DIGEST)
    if hashlib.sha256(data).hexdigest() != answers.list_sha256:
        raise _damaged("digests", "list_sha256 is not their hash")
    return [data[start : start + DIGEST] for start in range(0, len(data), DIGEST)]


def codes_of(answers: CardAnswers) -> list[str]:
    """What became of each answer; where the card holds counts, in any order. Raises: DataError `card.answers`."""
    if answers.verdicts is None:
        if set().union(*answers.counts.values(), CODES) != set(CODES):
            raise _damaged("counts", "unknown verdicts")
        totals = Counter({name: 0 for name in CODES})
        for of_label in answers.counts.values():
            totals.update(of_label)
        if totals.total() != answers.n or answers.n > 10_000_000:
            raise _damaged("counts", f"{totals.total():,} verdicts of {answers.n:,} answers")
        return list(totals.elements())
    data = _bytes(answers.verdicts, "verdicts", math.ceil(answers.n * BITS / 8))
    text = "".join(f"{byte:08b}" for byte in data)
    numbers = [int(text[start : start + BITS], 2) for start in range(0, answers.n * BITS, BITS)]
    if any(number >= len(CODES) for number in numbers) or "1" in text[answers.n * BITS :]:
        raise _damaged("verdicts", "a code that stands for nothing")
    return [CODES[number] for number in numbers]


def recomputed(answers: CardAnswers) -> Recomputed | None:
    """Score and interval from the verdicts; None where nothing is scored. Raises: DataError `card.answers`."""
    codes = codes_of(answers)
    n_partial = codes.count("partial")
    data = _bytes(answers.partial or "", "partial", 8 * n_partial if answers.verdicts is not None else 0)
    if n_partial and not data:
        return None
    partial = iter(struct.unpack(f"<{n_partial}d", data) if data else ())
    clusters: list[str | None] = [None] * answers.n
    if answers.clusters is not None:
        packed_clusters = _bytes(answers.clusters, "clusters", 2 * answers.n)
        clusters = [str(number) for number in struct.unpack(f"<{answers.n}H", packed_clusters)]
    values: list[float] = []
    of_values: list[str | None] = []
    for code, cluster in zip(codes, clusters, strict=True):
        value = next(partial) if code == "partial" else FIXED.get(code)
        if value is not None:
            values.append(value)
            of_values.append(cluster)
    if not all(0 <= value <= 1 for value in values):
        raise _damaged("partial", "a score outside 0 to 1")
    if not values:
        return None
    low, high, method = interval(values, of_values)
    return Recomputed(math.fsum(values) / len(values), (low, high), method)


def _bits(numbers: Sequence[int]) -> bytes:
    text = "".join(f"{number:0{BITS}b}" for number in numbers)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str, name: str, size: int) -> bytes:
    """What a base64 text holds. Raises: DataError `card.answers` where it has not that many bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _damaged(name, "not base64") from None
    if len(data) != size or _text(data) != text:
        raise _damaged(name, f"{len(data):,} bytes instead of {size:,}")
    return data


def _damaged(name: str, why: str) -> DataError:
    return DataError("card.answers", f"the card's {name} cannot be read", why=why, fix="ask for the card again")
