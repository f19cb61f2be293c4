"""What Kimi-VL-A3B must at least cost on given cards: arithmetic from its shapes, no measurement.

    python -m benchmarks.roofline [--cards 8] [--share 0.4]

Decode is bound by bytes (weights that a batch hits, and every sequence's latent cache), prefill by multiplications.
Shapes: arXiv 2504.07491 and the released config.json. Card: H100 SXM, vendor's figures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

LAYERS, HEADS, QK, V, LATENT = 27, 16, 192, 128, 576
EXPERTS, TOP = 64, 6
ALWAYS = 1.23e9  # parameters every decoded token reads: attention, shared experts, dense layer, router, head
ROUTED = 14.39e9  # parameters of all routed experts
LINEAR = 2 * 2.24e9  # operations of a prompt token outside attention
BYTES = 2  # bf16
BANDWIDTH, OPERATIONS = 3.35e12, 989e12  # bytes and dense bf16 operations a second


@dataclass(frozen=True)
class Workload:
    """Samples of one task: prompt tokens (visual ones included), patches, patches of one picture, new tokens."""

    name: str
    samples: int
    prompt: int
    patches: int
    picture: int
    new: int


WORKLOADS = (
    Workload("MathVista, one image, 500 new tokens", 1000, 1200, 4000, 4000, 500),
    Workload("MathVista, thoughts of 8,000 tokens", 1000, 1200, 4000, 4000, 8000),
    Workload("Video-MME, 64 frames of 1,024 patches", 2700, 16684, 65536, 1024, 20),
    Workload("MMLongBench-Doc, 120 pages, 131,072 tokens", 1091, 131072, 491520, 4096, 100),
)


def experts_hit(batch: int) -> float:
    """Experts of a layer that a batch of independent tokens reads."""
    return EXPERTS * (1 - (1 - TOP / EXPERTS) ** batch)


def step_seconds(batch: int, context: float) -> float:
    """Least time of one decode step: bytes of weights and caches over the bandwidth."""
    weights = BYTES * (ALWAYS + ROUTED * experts_hit(batch) / EXPERTS)
    caches = BYTES * LATENT * LAYERS * context * batch
    return (weights + caches) / BANDWIDTH


def prefill_seconds(one: Workload) -> float:
    """Least time of one prompt: vision tower, linear parts, causal attention."""
    vision = 0.82e9 * one.patches + 124e3 * one.patches * one.picture
    attention = LAYERS * HEADS * (QK + V) * float(one.prompt) ** 2
    return (vision + LINEAR * one.prompt + attention) / OPERATIONS


def batch_that_fits(one: Workload, free: float = 80e9 - 32.8e9 - 4e9, most: int = 64) -> int:
    """Sequences whose latent cache fits beside the weights, 4 GB being left for work."""
    return max(1, min(most, int(free / (BYTES * LATENT * LAYERS * (one.prompt + one.new)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.4, help="of the limit that an engine reaches (assumed)")
    arguments = parser.parse_args()
    print(f"| workload | batch | prefill | decode | 1 card, limit | {arguments.cards} cards at {arguments.share:.0%} |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in WORKLOADS:
        batch = batch_that_fits(one)
        prefill = one.samples * prefill_seconds(one)
        decode = one.samples * one.new * step_seconds(batch, one.prompt + one.new / 2) / batch
        total = prefill + decode
        shared = total / arguments.cards / arguments.share
        cells = (one.name, batch, *(f"{seconds / 60:.1f} min" for seconds in (prefill, decode, total, shared)))
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
