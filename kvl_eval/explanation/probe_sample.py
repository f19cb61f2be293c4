"""Which of a run's samples a probe asks again, and in which order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from kvl_eval.explanation.case import ExplainedCase
from kvl_eval.explanation.reading import AnswerFacts, Scorer
from kvl_eval.explanation.stratified import StratifiedSample, nested_order

SMALLEST_CATEGORY = 10  # samples of one verdict below which a category is merged with others
OTHERS = 4  # one finished reply for so many that ended at a limit, where a probe is about those


def probed_strata(case: ExplainedCase, reading: Scorer) -> dict[str, tuple[str, str]]:
    """{sample id: (verdict under P1, whether a limit ended the reply)} of the answered samples, in plan order.

    Of a sample with repeats the first answer counts.
    """
    verdicts = case.replies.verdicts(reading)
    strata: dict[str, tuple[str, str]] = {}
    for facts in _answered(case):
        verdict = verdicts.get(facts.entry.key)
        value = None if verdict is None else verdict.value
        if verdict is None or value is None:
            continue
        word = "no answer" if verdict.verdict == "no_answer" else "right" if value >= 0.5 else "wrong"
        ended = "ended" if facts.is_truncated or facts.is_unclosed else ""
        strata.setdefault(facts.entry.sample_id, (word, ended))
    return strata


def probed_order(case: ExplainedCase, reading: Scorer, n: int, *, about_ended: bool) -> tuple[str, ...]:
    """Ids of at least `n` samples, or of all: strata in proportion, and each beginning is a smaller such sample.

    With `about_ended` replies that ended at a limit come four to one.
    """
    strata = probed_strata(case, reading)
    facts = {one.entry.sample_id: one for one in reversed(_answered(case))}
    labels = _labels(facts, strata)
    samples = {
        name: StratifiedSample(probed_cluster(facts[name]), (*strata[name], labels[name]))
        for name in strata
        if name in facts
    }
    order = nested_order(samples)
    if about_ended:
        order = _ended_first(order, strata)
    ids: list[str] = []
    for names in order:
        if len(ids) >= n:
            break
        ids += names
    return tuple(ids)


def probed_cluster(facts: AnswerFacts) -> str:
    """What is drawn together: samples of an image, video or document, or a question in all its rotations."""
    group = facts.entry.sample.group
    return facts.cluster if group is None else f"group {group}"


def _answered(case: ExplainedCase) -> list[AnswerFacts]:
    return [facts for facts in case.replies.facts if facts.status == "ok"]


def _labels(facts: Mapping[str, AnswerFacts], strata: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """{sample id: its first category, or nothing where too few share it}."""
    sizes = Counter((strata[name], facts[name].stratum) for name in strata)
    return {
        name: facts[name].stratum if sizes[strata[name], facts[name].stratum] >= SMALLEST_CATEGORY else ""
        for name in strata
    }


def _ended_first(order: Sequence[list[str]], strata: Mapping[str, tuple[str, str]]) -> list[list[str]]:
    """The clusters with an ended reply, and one of the others for every four of them; then nothing more."""
    ended = [names for names in order if any(strata[name][1] for name in names)]
    others = [names for names in order if not any(strata[name][1] for name in names)]
    mixed: list[list[str]] = []
    for number, names in enumerate(ended, 1):
        mixed.append(names)
        if number % OTHERS == 0 or number == len(ended):
            mixed += others[len(mixed) - number : math.ceil(number / OTHERS)]
    return mixed
