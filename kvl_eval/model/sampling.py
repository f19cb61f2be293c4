"""Choosing the next token: greedy, or a draw that depends on nothing but (seed, step) and the row's own logits.

The n-th token of a request is drawn with one uniform number u(seed, n): the splitmix64 finaliser applied to the seed
and then to the step, its upper 53 bits divided by 2 ** 53. The token is the first, in the order of ids, at which the
running sum of the kept probabilities (float64, renormalised) exceeds u. In the order of ids a rounding error moves no
token past another, as it could in the order of probabilities. So neither neighbours in the batch nor the moment of a
request change a draw, and a longer run repeats the tokens of a shorter one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kvl_eval.errors import SampleError

_MASK = (1 << 64) - 1


def uniform(seed: int, step: int) -> float:
    """A number in [0, 1) that is a fixed function of the request's seed and the token's number."""
    state = _mix((seed & _MASK) + 0x9E3779B97F4A7C15)
    return (_mix((state + (step + 1) * 0x9E3779B97F4A7C15) & _MASK) >> 11) * 2.0**-53


def _mix(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def sample(
    logits: Tensor, *, temperature: float = 0.0, top_p: float = 1.0, top_k: int = 0, seed: int = 0, step: int = 0
) -> int:
    """The next token of one request.

    Args:
        logits:      (vocab_size).
        temperature: 0 means greedy (the lowest id wins a tie).
        top_p:       keep the most probable tokens until their sum reaches this; 1 means all.
        top_k:       keep this many of the most probable tokens, before top_p; 0 means all.
        seed, step:  the request's seed and the number of the token, from 0.
    Raises: SampleError (nan), if a logit is NaN or infinite.
    """
    if not bool(logits.isfinite().all()):
        raise SampleError(
            "nan",
            "the model computed NaN or infinite logits",
            why="the weights are damaged or a number format overflowed",
            fix="check the checkpoint, or try dtype float32",
        )
    if temperature <= 0.0:
        return int(logits.argmax())
    sums = kept_probabilities(logits, temperature, top_p, top_k).cumsum(0)
    threshold = uniform(seed, step) * float(sums[-1])
    place = int(torch.searchsorted(sums, torch.tensor([threshold], dtype=sums.dtype, device=sums.device), right=True))
    return min(place, int(torch.searchsorted(sums, sums[-1:])))  # never behind the last token that was kept


def sample_rows(
    logits: Tensor,
    *,
    temperature: Sequence[float],
    top_p: Sequence[float],
    top_k: Sequence[int],
    seed: Sequence[int],
    step: Sequence[int],
) -> list[int]:
    """`sample` for each row of (B, vocab_size); greedy batches are chosen with one read from the device."""
    if max(temperature) <= 0.0 and bool(logits.isfinite().all()):
        return [int(token) for token in logits.argmax(-1).tolist()]
    return [
        sample(row, temperature=t, top_p=p, top_k=k, seed=s, step=n)
        for row, t, p, k, s, n in zip(logits, temperature, top_p, top_k, seed, step, strict=True)
    ]


def kept_probabilities(logits: Tensor, temperature: float, top_p: float = 1.0, top_k: int = 0) -> Tensor:
    """Probabilities (vocab_size) in float64; tokens outside top_k or top_p are zero, the rest is not renormalised.

    Equal probabilities rank by id. The token that makes the sum reach `top_p` is kept, so at least one is.
    """
    if not (temperature > 0.0 and math.isfinite(temperature) and 0.0 < top_p <= 1.0 and top_k >= 0):
        raise ValueError(f"temperature {temperature}, top_p {top_p}, top_k {top_k}: want > 0, in (0, 1] and >= 0")
    wide = logits.double()
    probabilities = ((wide - wide.max()) / temperature).softmax(-1)
    if top_k <= 0 and top_p >= 1.0:
        return probabilities
    ordered, ids = probabilities.sort(descending=True, stable=True)
    if 0 < top_k < len(ordered):
        ordered[top_k:] = 0.0
    if top_p < 1.0:
        before = ordered.cumsum(0) - ordered
        ordered[before >= top_p * ordered.sum()] = 0.0
    return torch.zeros_like(probabilities).scatter(0, ids, ordered)
