"""Draws: right distribution, and nothing but seed, step and the row's own logits matters."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.launches import Launches
from kvl_eval.errors import SampleError
from kvl_eval.model import sampling
from kvl_eval.model.sampling import kept_probabilities, probably_kept, sample, sample_rows, surely_kept, uniform


def by_hand(logits: list[float], temperature: float, top_p: float, top_k: int) -> list[float]:
    """The kept probabilities with Python numbers, renormalised."""
    exps = [math.exp((value - max(logits)) / temperature) for value in logits]
    total = sum(exps)
    shares = [value / total for value in exps]
    ranked = sorted(range(len(shares)), key=lambda i: (-shares[i], i))
    if top_k:
        ranked = ranked[:top_k]
    mass, kept = sum(shares[i] for i in ranked), []
    reached = 0.0
    for i in ranked:
        if top_p < 1.0 and reached >= top_p * mass:
            break
        kept.append(i)
        reached += shares[i]
    return [shares[i] / reached if i in kept else 0.0 for i in range(len(shares))]


@settings(deadline=None)
@given(
    logits=st.lists(st.integers(-80, 80).map(lambda n: n / 8), min_size=1, max_size=12, unique=True),
    temperature=st.sampled_from([0.2, 0.8, 1.0, 3.0]),
    top_p=st.sampled_from([0.1, 0.53, 0.9, 1.0]),
    top_k=st.integers(0, 14),
)
def test_kept_probabilities(logits: list[float], temperature: float, top_p: float, top_k: int) -> None:
    kept = kept_probabilities(torch.tensor([logits]), [temperature], [top_p], [top_k])[0]
    expected = by_hand(logits, temperature, top_p, top_k)
    assert (kept / kept.sum()).tolist() == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=150)
@given(data=st.data(), width=st.integers(2, 14))
def test_what_is_surely_kept_is_what_the_full_sort_keeps_to_the_last_bit(data: st.DataObject, width: int) -> None:
    """Few distinct logits, so that ties fall on every border, and sums that meet `top_p` exactly."""
    size, rows = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 3))
    cell = st.sampled_from([-30.0, -1.0, 0.0, math.log(2.0), 1.0]) | st.floats(-4, 4, width=32)
    logits = torch.tensor([data.draw(st.lists(cell, min_size=size, max_size=size)) for _ in range(rows)])
    temperature = [data.draw(st.sampled_from([0.2, 1.0, 3.0])) for _ in range(rows)]
    top_p = [data.draw(st.sampled_from([1e-12, 0.25, 0.5, 0.75, 0.9, 1.0])) for _ in range(rows)]
    top_k = [data.draw(st.integers(0, 26)) for _ in range(rows)]
    numbers = {"seed": list(range(rows)), "step": [3] * rows}
    expected = surely_kept(logits, temperature, top_p, top_k).probabilities
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sampling, "WIDTH", width)
        kept = probably_kept(logits, temperature, top_p, top_k)
        tokens = sample_rows(logits, temperature=temperature, top_p=top_p, top_k=top_k, **numbers)
        patched.setattr(sampling, "WIDTH", size)
        assert tokens == sample_rows(logits, temperature=temperature, top_p=top_p, top_k=top_k, **numbers)
    for row in range(rows):
        assert torch.equal(kept.probabilities[row], expected[row]) or (kept.sure is not None and not kept.sure[row])


def test_of_a_large_vocabulary_only_the_most_probable_tokens_are_sorted() -> None:
    torch.manual_seed(0)
    logits = 4 * torch.randn(3, 163840)
    kept = probably_kept(logits, [0.8, 0.8, 0.8], [0.8, 0.8, 1.0], [0, 50, 0])
    assert kept.sure is not None
    assert kept.sure.all()
    assert torch.equal(kept.probabilities, kept_probabilities(logits, [0.8] * 3, [0.8, 0.8, 1.0], [0, 50, 0]))
    flat = probably_kept(torch.zeros(1, 2000), [1.0], [0.9], [0])
    assert flat.sure is not None
    assert not flat.sure.any()


def test_a_draw_reads_once() -> None:
    logits, rows = torch.empty(2, 163840, device="meta"), 2
    with Launches() as counted:
        sample_rows(
            logits, temperature=[0.8] * rows, top_p=[0.9] * rows, top_k=[0] * rows, seed=[1] * rows, step=[0] * rows
        )
    assert counted.reads == 1
    assert not counted.launches["sort"]


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([1.0, 0.0, 2.0, -1.0, 0.5])
    expected = by_hand(logits.tolist(), 0.8, 0.9, 0)
    draws = 4000
    counts = Counter(sample(logits, temperature=0.8, top_p=0.9, seed=11, step=step) for step in range(draws))
    for token, share in enumerate(expected):
        spread = math.sqrt(share * (1 - share) / draws)
        assert counts[token] / draws == pytest.approx(share, abs=4 * spread)


def test_uniform_numbers_cover_the_unit_interval_evenly() -> None:
    numbers = [uniform(seed, step) for seed in range(40) for step in range(50)]
    assert all(0.0 <= number < 1.0 for number in numbers)
    assert len(set(numbers)) == len(numbers)
    bins = Counter(int(number * 10) for number in numbers)
    assert sum((bins[i] - 200) ** 2 / 200 for i in range(10)) < 27.9  # chi-square, 9 degrees of freedom, p = 0.001


def test_uniform_numbers_are_fixed_for_ever() -> None:
    """Stored runs are repeated by these values: a change of the generator is a change of every sampled result."""
    assert [uniform(0, 0), uniform(0, 1), uniform(1, 0), uniform(2**64 - 1, 5)] == [
        0.6524484863740322,
        0.7012121095215252,
        0.36818951565166946,
        0.15403342580516755,
    ]


def test_temperature_zero_is_greedy() -> None:
    logits = torch.tensor([0.0, 3.0, 3.0, 1.0])
    assert {sample(logits, seed=seed) for seed in range(20)} == {1}


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k_keeps_the_best(top_k: int) -> None:
    logits = torch.tensor([0.1, 0.4, 0.3, 0.2])
    drawn = {sample(logits, temperature=5.0, top_k=top_k, seed=1, step=step) for step in range(200)}
    assert drawn == set([1, 2, 3][:top_k])


def test_a_row_draws_the_same_among_any_neighbours() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 50)
    arguments = {
        "temperature": [0.8, 0.0, 1.3, 0.8, 0.2, 0.0],
        "top_p": [1.0, 1.0, 0.9, 0.5, 1.0, 1.0],
        "top_k": [0, 0, 7, 0, 3, 0],
        "seed": [1, 2, 3, 4, 5, 6],
        "step": [0, 9, 2, 7, 7, 1],
    }
    together = sample_rows(logits, **arguments)
    alone = [sample(row, **{key: values[i] for key, values in arguments.items()}) for i, row in enumerate(logits)]
    assert together == alone
    order = [3, 0, 5]
    assert sample_rows(logits[order], **{k: [v[i] for i in order] for k, v in arguments.items()}) == [
        alone[i] for i in order
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_logits_that_are_no_numbers_are_an_error_not_a_token(bad: float, temperature: float) -> None:
    with pytest.raises(SampleError) as caught:
        sample(torch.tensor([0.0, bad]), temperature=temperature)
    assert caught.value.reason == "nan"


def test_a_row_without_numbers_leaves_its_neighbours_alone() -> None:
    logits = torch.tensor([[0.0, 1.0], [math.nan, 1.0], [2.0, 1.0]])
    settings = {"top_p": [1.0] * 3, "top_k": [0] * 3, "seed": [0] * 3, "step": [0] * 3}
    assert sample_rows(logits, temperature=[0.0] * 3, **settings) == [1, None, 0]
    assert sample_rows(logits, temperature=[1e-3] * 3, **settings) == [1, None, 0]


@pytest.mark.parametrize("arguments", [{"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}, {"temperature": math.nan}])
def test_settings_that_mean_nothing_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        sample(torch.zeros(3), **{"temperature": 1.0, **arguments})
