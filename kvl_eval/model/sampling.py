"""Choosing the next token: greedy, or a draw that depends on nothing but (seed, step) and the row's own logits.

The n-th token of a request is drawn with one uniform number u(seed, n): the splitmix64 finaliser applied to the seed
and then to the step, its upper 53 bits divided by 2 ** 53. The token is the first, in the order of ids, at which the
running sum of the kept probabilities (float64, renormalised) exceeds u. In the order of ids a rounding error moves no
token past another, as it could in the order of probabilities. So neither neighbours in the batch nor the moment of a
request change a draw, and a longer run repeats the tokens of a shorter one.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kvl_eval.errors import SampleError
from kvl_eval.model.tensors import index_tensor

_MASK = (1 << 64) - 1
WIDTH = 1024  # most tokens that top-p is looked for among before all are sorted
UNSURE = -2


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
            why="the weights are damaged, or the data type overflowed",
            fix="check the checkpoint, or use dtype float32",
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
    """`sample` for each row of (B, vocab_size), with one read from the device; None where logits are not finite.

    A second read follows only where a row's tokens inside of top_k and top_p cannot be told without sorting all.
    """
    numbers = {row: uniform(seed[row], step[row]) for row, value in enumerate(temperature) if value != 0.0}

    def drawn(keep: Callable[..., Kept], rows: Sequence[int]) -> Tensor:
        part = logits if len(rows) == len(logits) else logits[index_tensor(rows, logits.device)]
        kept = keep(part, *([values[row] for row in rows] for values in (temperature, top_p, top_k)))
        found = _invert(kept.probabilities, [numbers[row] for row in rows])
        return found if kept.sure is None else torch.where(kept.sure, found, UNSURE)

    tokens = logits.argmax(-1)
    if numbers:
        warm = drawn(probably_kept, list(numbers))
        tokens = tokens.to(warm.device).index_copy(0, index_tensor(list(numbers), warm.device), warm)
    finite = logits.isfinite().all(-1).to(tokens.device)
    values = torch.where(finite, tokens, -1).tolist()
    unsure = [row for row, value in enumerate(values) if value == UNSURE]
    for row, value in zip(unsure, drawn(surely_kept, unsure).tolist() if unsure else [], strict=True):
        values[row] = value
    return [value if value >= 0 else None for value in values]


def _invert(kept: Tensor, numbers: Sequence[float]) -> Tensor:
    """The first id of each row at which the running sum exceeds its number's share of the whole."""
    sums = kept.cumsum(-1)
    thresholds = torch.tensor(numbers, dtype=kept.dtype).to(kept.device, non_blocking=True)[:, None] * sums[:, -1:]
    places = torch.searchsorted(sums, thresholds, right=True)
    last = torch.searchsorted(sums, sums[:, -1:].contiguous())  # nothing behind the last token that was kept
    return torch.minimum(places, last)[:, 0]


class Kept(NamedTuple):
    """Probabilities (B, vocab_size) in float64; tokens outside top_k or top_p are zero, the rest is not renormalised.

    Attributes:
        sure: (B), whether these are the kept tokens; None stands for all.
    """

    probabilities: Tensor
    sure: Tensor | None = None


def kept_probabilities(
    logits: Tensor, temperature: Sequence[float], top_p: Sequence[float], top_k: Sequence[int]
) -> Tensor:
    """Those of `surely_kept`."""
    return surely_kept(logits, temperature, top_p, top_k).probabilities


def surely_kept(logits: Tensor, temperature: Sequence[float], top_p: Sequence[float], top_k: Sequence[int]) -> Kept:
    """What is kept, by sorting all probabilities.

    Equal probabilities rank by id. The token that makes the sum reach `top_p` is kept, so at least one is.
    """
    probabilities = _all_probabilities(logits, temperature, top_p, top_k)
    if not any(top_k) and min(top_p) >= 1.0:
        return Kept(probabilities)
    limit, share = _columns(probabilities, top_p, top_k)
    ordered, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    ordered = ordered.where(torch.arange(ordered.shape[-1], device=ordered.device) < limit, 0.0)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.where((before < share * ordered.sum(-1, keepdim=True)) | (share >= 1.0), 0.0)
    return Kept(torch.zeros_like(probabilities).scatter(-1, ids, ordered))


def probably_kept(logits: Tensor, temperature: Sequence[float], top_p: Sequence[float], top_k: Sequence[int]) -> Kept:
    """`surely_kept` from the `WIDTH` most probable tokens alone, and whether it is surely that, to the last bit.

    It is where the last token that is kept is among them and more probable than the next one, and no sum on the way is
    as near to `top_p` as sums in another order could differ.
    """
    size = logits.shape[-1]
    if size <= WIDTH or (not any(top_k) and min(top_p) >= 1.0):
        return surely_kept(logits, temperature, top_p, top_k)
    probabilities = _all_probabilities(logits, temperature, top_p, top_k)
    limit, share = _columns(probabilities, top_p, top_k)
    best = probabilities.topk(WIDTH, dim=-1).values
    inside = torch.arange(WIDTH, device=best.device) < limit
    ordered = best.where(inside, 0.0)
    total = torch.where(limit < size, ordered.sum(-1, keepdim=True), probabilities.sum(-1, keepdim=True))
    distance = share * total - (ordered.cumsum(-1) - ordered)
    taken = (inside & ((distance > 0) | (share >= 1.0))).sum(-1, keepdim=True)
    everything = (limit >= size) & (share >= 1.0)
    # A sum of n numbers that are not negative is right to n roundings of its value, in any order.
    clear = (distance.abs() > 8 * size * 2.0**-53 * total) | ~inside | (share >= 1.0)
    last = best.gather(-1, (taken - 1).clamp(min=0))
    following = best.gather(-1, taken.clamp(max=WIDTH - 1))
    summed = (limit <= WIDTH) | (limit >= size)  # else the sum of the tokens inside of top_k is not known
    sure = clear.all(-1, keepdim=True) & summed & (taken > 0) & (taken < WIDTH) & (last > following)
    kept = probabilities.where((probabilities >= last) | everything, 0.0)
    return Kept(kept, (sure | everything)[:, 0])


def _columns(probabilities: Tensor, top_p: Sequence[float], top_k: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Most tokens of each row by top_k, and top_p: (B, 1) each, float64."""
    values = [[float(k or probabilities.shape[-1]) for k in top_k], list(top_p)]
    limit, share = torch.tensor(values, dtype=probabilities.dtype).to(probabilities.device, non_blocking=True)
    return limit[:, None], share[:, None]


def _all_probabilities(
    logits: Tensor, temperature: Sequence[float], top_p: Sequence[float], top_k: Sequence[int]
) -> Tensor:
    """Probabilities of all tokens, (B, vocab_size), float64. Raises: ValueError, for settings that mean nothing."""
    for t, p, k in zip(temperature, top_p, top_k, strict=True):
        if not (t > 0.0 and math.isfinite(t) and 0.0 < p <= 1.0 and k >= 0):
            raise ValueError(f"temperature {t}, top_p {p}, top_k {k}: must be > 0, in (0, 1] and >= 0")
    wide = (logits.cpu() if logits.device.type == "mps" else logits).double()  # that device has no float64
    degrees = torch.tensor(temperature, dtype=wide.dtype).to(wide.device, non_blocking=True)[:, None]
    return ((wide - wide.amax(-1, keepdim=True)) / degrees).softmax(-1)
