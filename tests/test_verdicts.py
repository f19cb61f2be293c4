"""What sentences say of comparisons: Holm's correction, directions, one task, published results, sweeps."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from kvl_eval.scorers.statistics import mcnemar_exact
from kvl_eval.verdicts import (
    AnsweredShare,
    Evidence,
    Gap,
    ModelPair,
    Pays,
    PublishedGap,
    PublishedPair,
    decisions,
    p_text,
    signed,
    verdict,
    verdict_sentences,
)

NAMES = ("old", "new")


def gap(difference: float = 0.029, p_value: float = 0.001, **changes: object) -> Gap:
    made = Gap(
        task="MathVista",
        n=1000,
        difference=difference,
        ci95=(difference - 0.023, difference + 0.023),
        p_value=p_value,
        changed=0.143,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def texts(evidence: Evidence) -> list[str]:
    return [sentence.text for sentence in verdict_sentences(evidence)]


def pair(*gaps: Gap) -> Evidence:
    return Evidence(models=NAMES, n_tasks=len(gaps), pair=ModelPair(a="old", b="new", gaps=gaps))


def test_a_task_whose_own_interval_excludes_zero_can_be_undecided_among_others() -> None:
    gaps = [gap(p_value=0.014), *(gap(0.001, p_value=0.9) for _ in range(6)), gap(0.028, p_value=0.0001)]
    assert decisions(gaps) == [*(["same"] * 7), "up"]
    assert texts(pair(*gaps)) == ["new is better than old on 1 of 8 tasks, worse on none; 7 are undecided."]


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ((0.03, 0.03, 0), "new is better than old on 2 of 3 tasks, worse on none; 1 is undecided."),
        ((0.03, -0.03, -0.03), "new is better than old on 1 of 3 tasks and worse on 2."),
        ((-0.03, 0, 0), "new is worse than old on 1 of 3 tasks, better on none; 2 are undecided."),
        ((0, 0, 0), "No difference shown between old and new on any of 3 tasks."),
    ],
)
def test_a_pair_on_several_tasks_is_one_sentence(differences: tuple[float, ...], expected: str) -> None:
    assert texts(pair(*(gap(value, p_value=1e-6 if value else 1.0) for value in differences))) == [expected]


def test_a_pair_on_one_task_is_said_with_its_numbers() -> None:
    assert texts(pair(gap(p_value=0.0142))) == [
        "new is better than old on MathVista by 2.9 points [0.6, 5.2] (1,000 samples, p = 0.014)."
    ]
    assert verdict(gap(-0.031, p_value=1e-9), NAMES) == [
        "new is worse than old on MathVista by 3.1 points [0.8, 5.4] (1,000 samples, p < 0.001)."
    ]
    assert verdict(gap(0.007, p_value=0.6), NAMES) == [
        "No difference shown between old and new on MathVista: +0.7 [−1.6, +3.0]; 1,000 samples can show 3.4 or more."
    ]
    assert verdict(gap(0.0, p_value=1.0, ci95=(-0.004, 0.004)), NAMES) == [
        "old and new are the same within 1 point on MathVista."
    ]


def test_an_undecided_difference_says_about_how_many_samples_it_takes() -> None:
    assert gap(0.016, changed=0.107).needed == 3282
    assert gap(0.0).needed is None


def test_published_results_that_disagree_are_named_with_their_size() -> None:
    gaps = (
        PublishedGap(task="MathVista", gap=-0.015, agrees=True),
        PublishedGap(task="MMMU", gap=-0.034, agrees=False),
        PublishedGap(task="OCRBench", gap=0.012, agrees=False, points=True),
    )
    evidence = Evidence(models=("m",), n_tasks=3, published=PublishedPair(model="m", system="Kimi-VL", gaps=gaps))
    assert texts(evidence) == [
        "m agrees with the published Kimi-VL on 1 of 3 tasks; on MMMU it is 3.4 points lower, "
        "on OCRBench it is 12 points higher."
    ]


def test_a_sweep_says_up_to_which_budget_it_pays() -> None:
    step = gap(0.008, p_value=0.3, ci95=(-0.006, 0.022), task="MathVista")
    labels = {4096: "4k", 8192: "8k", 16384: "16k"}
    pays = Pays(
        task="MathVista", budget=4096, start=4096, end=16384, step=step, tokens=0.54, labels=labels, decided=False
    )
    assert texts(Evidence(models=("m",), n_tasks=1, pays=pays)) == [
        "Thinking on MathVista: beyond 4k nothing measurable is gained: 4k to 16k brings +0.8 [−0.6, +2.2] "
        "for 54 % more tokens."
    ]
    still = replace(pays, budget=16384, start=8192, step=gap(0.028, ci95=(0.019, 0.037)), decided=True, tokens=0.42)
    assert texts(Evidence(models=("m",), n_tasks=1, pays=still)) == [
        "Thinking on MathVista: still paying at 16k: 8k to 16k brings +2.8 [+1.9, +3.7] for 42 % more tokens."
    ]


def test_an_unfinished_model_comes_before_all_comparisons() -> None:
    evidence = replace(pair(gap(), gap()), unfinished=AnsweredShare(model="new", answered=412, planned=1000))
    assert texts(evidence) == ["new has answered 412 of 1,000 samples; scores are preliminary."]


def test_a_demo_model_is_named_as_one_whatever_else_is_said() -> None:
    sentences = verdict_sentences(replace(pair(gap(), gap()), demo=True))
    assert [sentence.sign for sentence in sentences] == ["up", "warn"]
    assert sentences[-1].text == "Demo model: do not compare these scores with published results."


def test_a_single_model_without_a_published_result_is_named() -> None:
    assert texts(Evidence(models=("m",), n_tasks=2)) == [
        "Scores of m on 2 tasks; no published result fits these settings."
    ]


def test_numbers_are_signed_with_a_minus_and_p_is_never_zero() -> None:
    assert (signed(0.0294), signed(-0.0061), signed(-0.0001), signed(0.012, points=True)) == (
        "+2.9",
        "−0.6",
        "0.0",
        "+12",
    )
    assert (p_text(0.014), p_text(1e-12)) == ("p = 0.014", "p < 0.001")


def test_equal_pairs_are_seldom_called_decided() -> None:
    """F11: 20 tasks of two models that are equal; some task is called decided in at most 7 % of 200 draws."""
    draws = random.Random(18)
    decided = 0
    for _ in range(200):
        gaps = []
        for _ in range(20):
            changed = sum(draws.random() < 0.12 for _ in range(300))
            better = sum(draws.random() < 0.5 for _ in range(changed))
            p_value = mcnemar_exact(better, changed - better)
            gaps.append(gap((2 * better - changed) / 300, p_value=p_value))
        decided += set(decisions(gaps)) != {"same"}
    assert decided <= 14
