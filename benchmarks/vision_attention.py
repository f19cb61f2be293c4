"""Attention of the vision tower, image by image, against one dense mask: `python -m benchmarks.vision_attention`.

16 heads x 72 as released, images of 1,024 patches, float32, one thread, random weights. The twin packs all patches
into one sequence and hides other images by a boolean mask, (1, N, N) over queries (heads, N, size) as the published
code does, for which torch takes its plain path (10 GB for eight images); or by the same mask with a batch dimension,
for which it takes its fused one. Eight images need seconds, so that two rounds have to do. The tower's ratio is that of
one of its 27 equal blocks. Memory is the peak of a process of its own, above what it held with its inputs made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Row, alternate, show, speedup
from kvl_eval.model.kimi_vl import vision
from kvl_eval.model.kimi_vl.config import VisionConfig
from kvl_eval.model.kimi_vl.vision import MoonViT, attend_per_image
from kvl_eval.pictures import Grid

Attend = Callable[[Tensor, Tensor, Tensor, Sequence[Grid]], Tensor]


@torch.no_grad()
def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; raises AssertionError if results differ."""
    torch.set_num_threads(1)
    side, rounds = (4, 1) if tiny else (32, 5)
    config = VisionConfig(num_hidden_layers=1, **({"hidden_size": 128, "intermediate_size": 128} if tiny else {}))
    rows = [row for images, goal in ((1, None), (8, 15.0)) for row in attention(config, images, side, rounds, goal)]
    return [*rows, tower(config, 8, side), memory(tiny)]


def attention(config: VisionConfig, images: int, side: int, rounds: int, goal: float | None) -> list[Row]:
    """Attention proper."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, images * side * side, config.num_attention_heads, config.head_dim)
    grids = [(side, side)] * images
    times = alternate(
        {
            "ours": lambda: attend_per_image(q, k, v, grids),
            "dense": lambda: dense_mask(q, k, v, grids),
            "fused": lambda: fused_mask(q, k, v, grids),
        },
        rounds if images == 1 else 2,
        same=1e-5,
    )
    what = f"vision attention, {images} image{'s' * (images > 1)} of {side * side:,} patches"
    return [
        speedup(what, "dense mask as in the published code", times["ours"], times["dense"], at_least=goal),
        speedup(what, "dense mask, fused SDPA", times["ours"], times["fused"]),
    ]


def tower(config: VisionConfig, images: int, side: int) -> Row:
    """The whole tower."""
    model, pixels, grids = random_tower(config, images, side)

    def dense() -> Tensor:
        with attending_by(dense_mask):
            return model(pixels, grids)  # type: ignore[no-any-return]

    times = alternate({"ours": lambda: model(pixels, grids), "dense": dense}, 1, same=1e-4)
    what = f"vision tower, {images} images of {side * side:,} patches"
    return speedup(what, "the same tower, dense mask as in the published code", times["ours"], times["dense"])


def memory(tiny: bool) -> Row:
    """How the peak grows: bytes of the second half of the images over those of the first half."""
    counts = (2, 4, 8) if tiny else (4, 8, 16)
    few, some, many = (peak(images, tiny) for images in counts)
    return Row(
        what=f"vision tower, peak memory of {counts[2]} images",
        against=f"linear growth from {counts[0]} and {counts[1]} images",
        ours=f"{many / 2**20:,.0f} MiB",
        theirs=f"{few / 2**20:,.0f} and {some / 2**20:,.0f} MiB",
        ratio=(many - some) / max(1, 2 * (some - few)),
        at_most=None if tiny else 1.15,
    )


def dense_mask(q_PAD: Tensor, k_PAD: Tensor, v_PAD: Tensor, grids: Sequence[Grid]) -> Tensor:
    """The twin of `attend_per_image`."""
    q, k, v = (x.transpose(0, 1) for x in (q_PAD, k_PAD, v_PAD))  # (A, P, D)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=same_image(grids)[None]).transpose(0, 1)


def fused_mask(q_PAD: Tensor, k_PAD: Tensor, v_PAD: Tensor, grids: Sequence[Grid]) -> Tensor:
    """The same in torch's fused kernel."""
    q, k, v = (x.transpose(0, 1)[None] for x in (q_PAD, k_PAD, v_PAD))  # (1, A, P, D)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=same_image(grids)[None, None])[0].transpose(0, 1)


def same_image(grids: Sequence[Grid]) -> Tensor:
    """(P, P), true where two patches belong to one image."""
    owner = torch.repeat_interleave(torch.arange(len(grids)), torch.tensor([rows * cols for rows, cols in grids]))
    return owner[:, None] == owner[None, :]


@contextmanager
def attending_by(attend: Attend) -> Iterator[None]:
    """The tower with another attention."""
    own = vision.attend_per_image
    vision.attend_per_image = attend
    try:
        yield
    finally:
        vision.attend_per_image = own


def random_tower(config: VisionConfig, images: int, side: int) -> tuple[MoonViT, Tensor, list[Grid]]:
    """A tower, and the patches and grids of `images` square images."""
    torch.manual_seed(0)
    model = MoonViT(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            torch.nn.init.ones_(parameter)
    torch.nn.init.normal_(model.patch_embed.pos_emb.weight, std=0.02)
    size = config.patch_size
    return model.eval(), torch.randn(images * side * side, 3, size, size), [(side, side)] * images


def peak(images: int, tiny: bool) -> int:
    """Bytes that a run over `images` images takes at most, seen in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.vision_attention", "--peak", str(images), *["--tiny"] * tiny]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@torch.no_grad()
def peak_here(images: int, tiny: bool) -> int:
    """The same in this process, which has to be a fresh one."""
    torch.set_num_threads(1)
    model, pixels, grids = random_tower(VisionConfig(num_hidden_layers=1), images, 8 if tiny else 24)
    before = high_water()
    model(pixels, grids)
    return high_water() - before


def high_water() -> int:
    """Most bytes this program has held; `ru_maxrss` would count those of the process that started it, too."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that results are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    parser.add_argument("--peak", type=int, metavar="IMAGES", help="print the bytes that so many images take")
    options = parser.parse_args()
    if options.peak:
        print(peak_here(options.peak, options.tiny))
    else:
        show(measure(options.tiny), as_json=options.json)


if __name__ == "__main__":
    main()
