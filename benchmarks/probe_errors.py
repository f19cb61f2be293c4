"""How often a probe is wrong, in simulation: `python -m benchmarks.probe_errors`.

Of 900 questions 200 are drawn by whether the answer was right, and asked with a setting that changes the given share of
verdicts: as many one way as the other, or with an effect. Each line gives the share of probes that call it an effect,
how often the interval holds the truth, and the mean number of samples asked.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence

from kvl_eval.explanation.probe_effect import ChangedScore, SampledChange, look_ends, sampled_change
from kvl_eval.scorers.statistics import group_sequential

QUESTIONS, SAMPLES, ACCURACY = 900, 200, 0.5
CASES = ((0.03, 0.0), (0.06, 0.0), (0.12, 0.0), (0.25, 0.0), (0.12, 0.05), (0.12, 0.08))  # changed verdicts, effect


def population(draw: random.Random, changed: float, effect: float) -> list[ChangedScore]:
    """Questions, each with the change of its score; exactly as many gain as lose where there is no effect."""
    right = round(ACCURACY * QUESTIONS)
    losing = set(draw.sample(range(right), round((changed - effect) / 2 * QUESTIONS)))
    gaining = set(draw.sample(range(right, QUESTIONS), round((changed + effect) / 2 * QUESTIONS)))
    return [
        ChangedScore(
            cluster=str(n), stratum="right" if n < right else "wrong", change=float(n in gaining) - float(n in losing)
        )
        for n in range(QUESTIONS)
    ]


def probed(draw: random.Random, questions: Sequence[ChangedScore], tests: int) -> tuple[SampledChange, bool]:
    """What a probe ends with, and whether it calls that an effect."""
    sizes = Counter(question.stratum for question in questions)
    by_stratum = {name: [one for one in questions if one.stratum == name] for name in sizes}
    drawn = {
        name: draw.sample(members, round(SAMPLES * sizes[name] / len(questions)))
        for name, members in by_stratum.items()
    }
    placed = sorted(
        ((place + 0.5) / len(members), one.cluster, one)
        for members in drawn.values()
        for place, one in enumerate(members)
    )
    order = [one for _, _, one in placed]
    limits = group_sequential(tests)
    for look, end in enumerate(look_ends([one.cluster for one in order])):
        found = sampled_change(order[:end], sizes, limits[look], is_fixed=True)
        if found.is_effect or found.is_same:
            return found, found.is_effect
    return found, found.is_shown(tests)


def main(worlds: int) -> None:
    """Print a line for each case."""
    print(f"{worlds:,} probes each\n{'changed':>8} {'effect':>7} {'called':>7} {'covered':>8} {'samples':>8}")
    for changed, effect in CASES:
        draw, called, covered, asked = random.Random(0), 0, 0, 0
        for _ in range(worlds):
            questions = population(draw, changed, effect)
            truth = sum(question.change for question in questions) / len(questions)
            found, is_effect = probed(draw, questions, tests=1)
            called += is_effect
            covered += found.ci95[0] <= truth <= found.ci95[1]
            asked += found.n
        shares = f"{100 * called / worlds:6.1f}% {100 * covered / worlds:7.1f}% {asked / worlds:8.0f}"
        print(f"{100 * changed:7.0f}% {100 * effect:6.0f}% {shares}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
