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
    settings = {"temperature": [temperature], "top_p": [top_p], "top_k": [top_k], "seed": [seed], "step": [step]}
    (token,) = sample_rows(logits[None], **settings)  # type: ignore[arg-type]
    return finite_token(token)


def finite_token(token: int | None) -> int:
    """The token, where there is one. Raises: SampleError (nan) otherwise."""
    if token is None:
        raise SampleError(
            "nan",
            "the model computed NaN or infinite logits",
            why="the weights are damaged or a number format overflowed",
            fix="check the checkpoint, or try dtype float32",
        )
    return token


def sample_rows(
    logits: Tensor,
    *,
    temperature: Sequence[float],
    top_p: Sequence[float],
    top_k: Sequence[int],
    seed: Sequence[int],
    step: Sequence[int],
) -> list[int | None]:
    """`sample` for each row of (B, vocab_size), with one read from the device; None where logits are not finite."""
    tokens = logits.argmax(-1)
    drawn = [row for row, value in enumerate(temperature) if value != 0.0]
    if drawn:
        warm = logits if len(drawn) == len(logits) else logits[drawn]
        kept = kept_probabilities(
            warm, [temperature[row] for row in drawn], [top_p[row] for row in drawn], [top_k[row] for row in drawn]
        )
        numbers = [uniform(seed[row], step[row]) for row in drawn]
        tokens = tokens.to(kept.device)
        tokens[torch.tensor(drawn, device=kept.device)] = _invert(kept, numbers)
    finite = logits.isfinite().all(-1).to(tokens.device)
    return [token if token >= 0 else None for token in torch.where(finite, tokens, -1).tolist()]


def _invert(kept: Tensor, numbers: Sequence[float]) -> Tensor:
    """The first id of each row at which the running sum exceeds its number's share of the whole."""
    sums = kept.cumsum(-1)
    thresholds = torch.tensor(numbers, dtype=kept.dtype, device=kept.device)[:, None] * sums[:, -1:]
    places = torch.searchsorted(sums, thresholds, right=True)
    last = torch.searchsorted(sums, sums[:, -1:].contiguous())  # nothing behind the last token that was kept
    return torch.minimum(places, last)[:, 0]


def kept_probabilities(
    logits: Tensor, temperature: Sequence[float], top_p: Sequence[float], top_k: Sequence[int]
) -> Tensor:
    """Probabilities (B, vocab_size) in float64; tokens outside top_k or top_p are zero, the rest is not renormalised.

    Equal probabilities rank by id. The token that makes the sum reach `top_p` is kept, so at least one is.
    """
    for t, p, k in zip(temperature, top_p, top_k, strict=True):
        if not (t > 0.0 and math.isfinite(t) and 0.0 < p <= 1.0 and k >= 0):
            raise ValueError(f"temperature {t}, top_p {p}, top_k {k}: want > 0, in (0, 1] and >= 0")
    wide = (logits.cpu() if logits.device.type == "mps" else logits).double()  # that device has no float64

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=wide.dtype, device=wide.device)[:, None]

    probabilities = ((wide - wide.amax(-1, keepdim=True)) / column(temperature)).softmax(-1)
    if not any(top_k) and min(top_p) >= 1.0:
        return probabilities
    ordered, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    ranks = torch.arange(ordered.shape[-1], device=wide.device)
    ordered = ordered.where(ranks < column([k or ordered.shape[-1] for k in top_k]), 0.0)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.where((before < column(top_p) * ordered.sum(-1, keepdim=True)) | (column(top_p) >= 1.0), 0.0)
    return torch.zeros_like(probabilities).scatter(-1, ids, ordered)
