"""The vision tower of Qwen2.5-VL (arXiv 2502.13923, section 2.1): most layers attend within windows, a few within the
whole picture.

Shapes: P patches of all pictures, the four of a merge cell next to each other, cells in raster order; G pictures of one
size with N patches each; A heads of size D; C width; K patches of a merge cell; M = P / K visual tokens; H width of the
language model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.errors import PromptError
from kvl_eval.model.qwen2_5_vl.config import VisionConfig
from kvl_eval.model.qwen2_5_vl.layers import RMSNorm, SwiGLU
from kvl_eval.model.qwen2_5_vl.rope import patch_angles, rotate
from kvl_eval.pictures import Grid

EPS = 1e-6


class Span(NamedTuple):
    """Windows of one size, next to each other in their picture."""

    windows: int
    patches: int


class Run(NamedTuple):
    """Neighbouring pictures of one size.

    Attributes:
        pictures: how many there are.
        patches:  of each.
        spans:    their windows; together they hold all patches of a picture.
    """

    pictures: int
    patches: int
    spans: tuple[Span, ...]

    @property
    def whole(self) -> tuple[Span, ...]:
        """The picture as one window."""
        return (Span(1, self.patches),)


class VisionTower(nn.Module):
    """Patches of any number of pictures in, visual tokens for the language model out."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.merger = Merger(config)

    def forward(self, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Encode packed patches.

        Args:
            patches: (P, 3, 14, 14), normalized, of all pictures; the patches of a merge cell are neighbours.
            grids:   (rows, columns) in patches of each picture.
        Returns: (P / K, H), pictures in the given order, the tokens of each in raster order.
        Raises:  PromptError, if grids and patches do not fit together.
        """
        check_grids(grids, len(patches), self.config.spatial_merge_size)
        order_M, runs = self.plan(grids)
        order_M = order_M.to(patches.device)
        cell = self.config.spatial_merge_size**2
        order_P = (order_M[:, None] * cell + torch.arange(cell, device=patches.device)).flatten()
        angles_PJ = patch_angles(self._places(grids).to(patches.device)[order_P], self.config.head_dim)
        turn = angles_PJ.cos()[:, None], angles_PJ.sin()[:, None]
        x_PC = self.patch_embed(patches[order_P])
        for index, block in enumerate(self.blocks):
            spans = [run.whole if index in self.config.fullatt_block_indexes else run.spans for run in runs]
            x_PC = block(x_PC, turn, runs, spans)
        merged_MH = self.merger(x_PC)
        return torch.empty_like(merged_MH).index_copy_(0, order_M, merged_MH)

    def plan(self, grids: Sequence[Grid]) -> tuple[Tensor, list[Run]]:
        """The order in which the tower takes the merge cells of all pictures, and the windows in it.

        Pictures of one size are brought together, and so are a picture's windows of one size, so that attention runs
        on stacked batches.
        """
        merge = self.config.spatial_merge_size
        sizes = [rows * cols // merge**2 for rows, cols in grids]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        parts, runs = [], []
        for grid in sorted(set(grids)):
            same = [start for start, other in zip(starts, grids, strict=True) if other == grid]
            order, spans = window_order(grid[0] // merge, grid[1] // merge, self.config.window_cells)
            parts += [start + order for start in same]
            patches = tuple(Span(span.windows, span.patches * merge**2) for span in spans)
            runs.append(Run(len(same), grid[0] * grid[1], patches))
        return torch.cat(parts), runs

    def _places(self, grids: Sequence[Grid]) -> Tensor:
        """(P, 2), row and column of each patch in its picture, in the order in which patches come."""
        merge = self.config.spatial_merge_size
        places = {grid: cell_order(_raster(*grid), *grid, merge) for grid in set(grids)}
        return torch.cat([places[grid] for grid in grids])


class PatchEmbed(nn.Module):
    """A linear map of single patches; a picture stands for both frames of a clip."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, kernel_size=size, stride=size, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight  # a convolution over a single patch is a matrix product
        frames = patches.to(weight.dtype)[:, :, None].expand(-1, -1, weight.shape[2], -1, -1)
        return F.linear(frames.flatten(1), weight.flatten(1))


class Block(nn.Module):
    """Attention within windows or pictures, then a gated MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.hidden_size, EPS)
        self.norm2 = RMSNorm(config.hidden_size, EPS)
        self.attn = VisionAttention(config)
        self.mlp = SwiGLU(config.hidden_size, config.intermediate_size, bias=True)

    def forward(
        self, x_PC: Tensor, turn: tuple[Tensor, Tensor], runs: Sequence[Run], spans: Sequence[tuple[Span, ...]]
    ) -> Tensor:
        x_PC = x_PC + self.attn(self.norm1(x_PC), turn, runs, spans)
        return x_PC + self.mlp(self.norm2(x_PC))  # type: ignore[no-any-return]


class VisionAttention(nn.Module):
    """Full attention within each window, none across."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x_PC: Tensor, turn: tuple[Tensor, Tensor], runs: Sequence[Run], spans: Sequence[tuple[Span, ...]]
    ) -> Tensor:
        q, k, v = self.qkv(x_PC).view(len(x_PC), 3, self.heads, -1).unbind(1)  # (P, A, D) each
        outputs, start = [], 0
        q, k = rotate(q, *turn), rotate(k, *turn)
        for run, windows in zip(runs, spans, strict=True):
            part = slice(start, start + run.pictures * run.patches)
            stacks = [torch.unflatten(x[part], 0, (run.pictures, run.patches)) for x in (q, k, v)]  # (G, N, A, D) each
            outputs.append(attend_within(stacks, windows))
            start = part.stop
        return self.proj(torch.cat(outputs).flatten(1))  # type: ignore[no-any-return]


class Merger(nn.Module):
    """The patches of each merge cell as one token of the language model."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.width = config.hidden_size * config.spatial_merge_size**2
        self.ln_q = RMSNorm(config.hidden_size, EPS)
        self.mlp = nn.Sequential(
            nn.Linear(self.width, self.width), nn.GELU(), nn.Linear(self.width, config.out_hidden_size)
        )

    def forward(self, x_PC: Tensor) -> Tensor:
        return self.mlp(self.ln_q(x_PC).view(-1, self.width))  # type: ignore[no-any-return]


def attend_within(stacks: Sequence[Tensor], spans: Sequence[Span]) -> Tensor:
    """Attention of queries, keys and values (G, N, A, D) within the windows of each picture: (G * N, A, D)."""
    parts, start = [], 0
    for windows, patches in spans:
        part = slice(start, start + windows * patches)
        q, k, v = (x[:, part].reshape(-1, patches, *x.shape[2:]).transpose(1, 2) for x in stacks)
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        parts.append(found.reshape(len(stacks[0]), -1, *found.shape[2:]))
        start = part.stop
    return torch.cat(parts, dim=1).flatten(0, 1)


def window_order(rows: int, cols: int, side: int) -> tuple[Tensor, list[Span]]:
    """The cells of a picture window by window, windows of one size together; sizes are in cells.

    Windows start at the upper left corner; at the right and at the bottom they are cut off.
    Returns: (rows * cols) numbers of cells in raster order, and the spans in that order.
    """
    row, col = _raster(rows, cols).unbind(-1)
    window = row // side * -(-cols // side) + col // side
    size = window.bincount()[window]  # of each cell's window
    order = (size * len(window) + window).argsort(stable=True)
    cells = enumerate(size.bincount().tolist())  # how many lie in windows of each size
    spans = [Span(count // size, size) for size, count in cells if count]
    return order, spans


def cell_order(x: Tensor, rows: int, cols: int, merge: int) -> Tensor:
    """Patches (rows * cols, ...) in raster order, brought into the order of the tower: cell by cell."""
    cells = x.view(rows // merge, merge, cols // merge, merge, *x.shape[1:]).transpose(1, 2)
    return cells.reshape(x.shape)


def check_grids(grids: Sequence[Grid], num_patches: int, merge: int) -> None:
    """Raise PromptError unless every grid is legal and all of them together cover the patches."""
    for rows, cols in grids:
        if rows < 1 or cols < 1 or rows % merge or cols % merge:
            raise PromptError(
                "image.grid",
                f"unsupported grid of {rows} x {cols} patches",
                why=f"sides must be multiples of {merge}",
            )
    expected = sum(rows * cols for rows, cols in grids)
    if not grids or expected != num_patches:
        raise PromptError(
            "image.patches",
            f"the grids describe {expected} patches, but there are {num_patches}",
            fix="pass patches and grids from one call of the processor",
        )


def _raster(rows: int, cols: int) -> Tensor:
    """(rows * cols, 2), row and column of each place in raster order."""
    return torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).view(-1, 2)
