"""What is trained when, and how fast."""

from dataclasses import dataclass

MAIN = {"mathvista": 0.54, "read": 0.1, "plain": 0.04, "match": 0.12, "copy": 0.12, "ocrbench": 0.03, "infovqa": 0.05}
FINE = {
    "mathvista": 0.58,
    "read": 0.16,
    "plain": 0.03,
    "match": 0.08,
    "copy": 0.02,
    "sums": 0.06,
    "ocrbench": 0.03,
    "infovqa": 0.04,
}
WIDE = {
    "mathvista": 0.26,
    "infovqa": 0.08,
    "ocrbench": 0.06,
    "screenspot": 0.3,
    "mmmu": 0.03,
    "mathvision": 0.03,
    "video": 0.23,
    "document": 0.01,
}
LAST = {
    "mathvista": 0.56,
    "infovqa": 0.08,
    "ocrbench": 0.06,
    "screenspot": 0.21,
    "mmmu": 0.01,
    "mathvision": 0.01,
    "video": 0.1,
}
# (until this part of the time, shares, highest difficulty there, share of prompts cut short)
Phase = tuple[float, dict[str, float], float, float]
FROM_NOTHING: tuple[Phase, ...] = (
    (0.10, {"plain": 1.0}, 0.4, 0.0),
    (0.22, {"plain": 0.2, "read": 0.3, "match": 0.1, "copy": 0.1, "mathvista": 0.3}, 0.4, 1.0),
    (0.66, MAIN, 0.7, 0.7),
    (1.0, FINE, 0.6, 0.4),
)
ONWARD: tuple[Phase, ...] = (
    (0.7, {"mathvista": 0.75, "read": 0.05, "plain": 0.04, "copy": 0.03, "infovqa": 0.08, "ocrbench": 0.05}, 0.4, 0.6),
    (1.0, {"mathvista": 0.6, "read": 0.04, "infovqa": 0.14, "ocrbench": 0.14, "match": 0.04, "mmmu": 0.04}, 0.4, 0.4),
)
WIDER: tuple[Phase, ...] = ((0.02, WIDE, 0.4, 0.9), (0.82, WIDE, 0.4, 0.9), (1.0, LAST, 0.4, 0.5))
_LOOK = {"mathvista": 0.2, "mathvision": 0.07, "mmmu": 0.05}
THINKING: tuple[Phase, ...] = (
    (0.45, {**_LOOK, "total": 0.17, "count": 0.06, "path": 0.12, "walk": 0.16, "chase": 0.17}, 0.5, 0.9),
    (0.75, {**_LOOK, "total": 0.17, "count": 0.08, "path": 0.12, "walk": 0.16, "tally": 0.15}, 0.8, 0.9),
    (1.0, {**_LOOK, "total": 0.18, "count": 0.1, "path": 0.17, "walk": 0.23}, 1.0, 0.4),
)


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; fractions are of `minutes`."""

    phases: tuple[Phase, ...] = FROM_NOTHING
    minutes: float = 58.0
    batch: int = 32
    lr: float = 1e-3
    muon_lr: float = 3e-3
    warmup: int = 60  # steps
    decay: float = 0.35  # the last part of the time, in which the rate falls to zero
    dense: float = 0.4  # share of conversations with a second, dense turn
    thinking: bool = False  # replies with a thought
    tokens: int = 0  # most tokens of a batch, padding included; 0 for `batch` rows of any length
    check_minutes: float = 6.0
    save_minutes: float = 3.0


def phase(phases: tuple[Phase, ...], part: float) -> tuple[dict[str, float], float, float]:
    """Shares, highest difficulty and share of short prompts at a part of the time; the difficulty rises steadily."""
    start, low = 0.0, 0.0
    for end, shares, high, brief in phases:
        if part < end or end == 1.0:
            return shares, min(high, low + (high - low) * (part - start) / (end - start)), brief
        start, low = end, high
    raise AssertionError("the last phase ends at 1")


def rate(plan: Plan, step: int, part: float) -> float:
    """Factor on the learning rates: warm-up by steps, then constant, then linear to a fiftieth."""
    return min(1.0, (step + 1) / plan.warmup) * min(1.0, max(0.02, (1 - part) / plan.decay))
