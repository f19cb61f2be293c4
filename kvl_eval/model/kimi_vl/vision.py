"""MoonViT: the native-resolution vision encoder of Kimi-VL (arXiv 2504.07491, section 2.1).

Shapes: P patches of all images, packed in raster order; G images of one size with N patches each; A attention heads of
size D; C vision width; K patches of a merge cell; M = P / K visual tokens.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.errors import PromptError
from kvl_eval.model.kimi_vl.config import VisionConfig
from kvl_eval.model.kimi_vl.rope import rotate, turn_of, vision_angles
from kvl_eval.model.precision import wide
from kvl_eval.pictures import Grid

MAX_SIDE = 512  # patches
EPS = 1e-5


def grid_pairs(image_grid_hws: Tensor | Sequence[Sequence[int]]) -> list[Grid]:
    """Grids as a list of (rows, columns), from a tensor (n, 2) or any nested sequence."""
    pairs = image_grid_hws.tolist() if isinstance(image_grid_hws, Tensor) else image_grid_hws
    return [(int(rows), int(cols)) for rows, cols in pairs]


class MoonViT(nn.Module):
    """Patches of any number of pictures in, merged visual tokens out."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.encoder = Encoder(config)

    def forward(self, pixel_values: Tensor, image_grid_hws: Tensor | Sequence[Sequence[int]]) -> Tensor:
        """Encode packed patches.

        Args:
            pixel_values:   (P, 3, 14, 14) normalised patches of all images in raster order.
            image_grid_hws: (n, 2) rows and columns in patches of each image.
        Returns: (P / 4, 4, C), images in the given order, patches of a cell in raster order.
        Raises:  PromptError, if grids and patches do not fit together.
        """
        grids = grid_pairs(image_grid_hws)
        check_grids(grids, pixel_values.shape[0], self.config.merge_kernel_size)
        # Pictures of equal size are brought next to each other, so that attention runs on plain stacked batches.
        order = sorted(range(len(grids)), key=lambda i: grids[i])
        patches = torch.split(pixel_values, [rows * cols for rows, cols in grids])
        ordered = [grids[i] for i in order]
        x_PC = self.patch_embed(torch.cat([patches[i] for i in order]), ordered)
        x_PC = self.encoder(x_PC, ordered)
        merged = merge_patches(x_PC, ordered, self.config.merge_kernel_size)
        back = sorted(range(len(order)), key=order.__getitem__)
        return torch.cat([merged[i] for i in back])


class PatchEmbed(nn.Module):
    """Linear map of single patches plus the interpolated position table."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(3, config.hidden_size, kernel_size=size, stride=size)
        self.pos_emb = PositionTable(config)

    def forward(self, pixel_values: Tensor, grids: list[Grid]) -> Tensor:
        weight = self.proj.weight.flatten(1)  # a convolution over a single patch is a matrix product
        x_PC = F.linear(pixel_values.to(weight.dtype).flatten(1), weight, self.proj.bias)
        positions = {grid: self.pos_emb(*grid) for grid in dict.fromkeys(grids)}
        return x_PC + torch.cat([positions[grid] for grid in grids])


class PositionTable(nn.Module):
    """Learned positions (height, width, C), resized to a picture's grid by bicubic interpolation.

    Outside training each grid is resized once and kept until the weight changes.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(config.init_pos_emb_height, config.init_pos_emb_width, config.hidden_size)
        )
        self._kept: dict[Grid, Tensor] = {}
        self._kept_for: tuple[int, int] | None = None

    def forward(self, rows: int, cols: int) -> Tensor:
        """Positions of a grid, (rows * cols, C) in raster order."""
        if torch.is_grad_enabled() and self.weight.requires_grad:
            return self.resized(rows, cols)
        version = (self.weight.data_ptr(), self.weight._version)
        if self._kept_for != version or len(self._kept) >= 64:
            self._kept, self._kept_for = {}, version
        if (rows, cols) not in self._kept:
            self._kept[rows, cols] = self.resized(rows, cols)
        return self._kept[rows, cols]

    def resized(self, rows: int, cols: int) -> Tensor:
        table = self.weight.permute(2, 0, 1)[None]
        resized = F.interpolate(wide(table), size=(rows, cols), mode="bicubic", align_corners=False)
        return resized[0].flatten(1).T.to(self.weight.dtype)


class Encoder(nn.Module):
    """Pre-norm transformer over the patches of each picture."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=EPS)

    def forward(self, x_PC: Tensor, grids: list[Grid]) -> Tensor:
        """`grids` are ordered so that equal ones are neighbours."""
        angles = {grid: vision_angles(*grid, self.config.head_dim, x_PC.device) for grid in set(grids)}
        turn_P2J = turn_of(torch.cat([angles[grid] for grid in grids]), x_PC.dtype)
        for block in self.blocks:
            x_PC = block(x_PC, turn_P2J, grids)
        return self.final_layernorm(x_PC)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention within each picture, then an MLP with the tanh form of GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.norm0 = nn.LayerNorm(width, eps=EPS)
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.wqkv = nn.Linear(width, 3 * width)
        self.wo = nn.Linear(width, width)
        self.mlp = VisionMLP(width, config.intermediate_size)

    def forward(self, x_PC: Tensor, turn_P2J: Tensor, grids: list[Grid]) -> Tensor:
        q, k, v = self.wqkv(self.norm0(x_PC)).view(len(x_PC), 3, self.heads, -1).unbind(1)  # (P, A, D) each
        q, k = rotate(q, turn_P2J[:, None]), rotate(k, turn_P2J[:, None])
        x_PC = x_PC + self.wo(attend_per_image(q, k, v, grids).flatten(1))
        return x_PC + self.mlp(self.norm1(x_PC))  # type: ignore[no-any-return]


class VisionMLP(nn.Module):
    """fc1(gelu_tanh(fc0(x)))."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc0 = nn.Linear(width, inner)
        self.fc1 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc1(F.gelu(self.fc0(x), approximate="tanh"))  # type: ignore[no-any-return]


def attend_per_image(q_PAD: Tensor, k_PAD: Tensor, v_PAD: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Full attention within each image and none across images; neighbours of equal size go as one stacked batch.

    Returns: (P, A, D).
    """
    outputs, start = [], 0
    for patches, count in _runs(grids):
        part = slice(start, start + patches * count)
        q, k, v = (
            x[part].view(count, patches, *x.shape[1:]).transpose(1, 2) for x in (q_PAD, k_PAD, v_PAD)
        )  # (G, A, N, D)
        outputs.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1))
        start = part.stop
    return torch.cat(outputs)


def merge_patches(x_PC: Tensor, grids: Sequence[Grid], kernel: tuple[int, int] = (2, 2)) -> list[Tensor]:
    """Group each kernel cell of neighbouring patches into one visual token, image by image.

    Returns: one (rows * cols / K, K, C) per image, the patches of a token in raster order.
    Source:  arXiv 2504.07491, section 2.1 (2 x 2 pixel shuffle before the projector).
    """
    height, width = kernel
    images = []
    for (rows, cols), image_NC in zip(grids, torch.split(x_PC, [rows * cols for rows, cols in grids]), strict=True):
        cells = image_NC.view(rows // height, height, cols // width, width, -1).transpose(1, 2)
        images.append(cells.flatten(0, 1).flatten(1, 2))
    return images


def check_grids(grids: Sequence[Grid], num_patches: int, kernel: tuple[int, int]) -> None:
    """Raise PromptError unless every grid is legal and all of them together cover the patches."""
    for rows, cols in grids:
        if not (1 <= rows <= MAX_SIDE and 1 <= cols <= MAX_SIDE) or rows % kernel[0] or cols % kernel[1]:
            raise PromptError(
                "image.grid",
                f"unsupported grid of {rows} x {cols} patches",
                why=f"sides must be multiples of {kernel[0]} and {kernel[1]} between 1 and {MAX_SIDE}",
            )
    expected = sum(rows * cols for rows, cols in grids)
    if not grids or expected != num_patches:
        raise PromptError(
            "image.patches",
            f"image_grid_hws describes {expected} patches, but pixel_values has {num_patches}",
            fix="pass pixel_values and image_grid_hws from one call of the processor",
        )


def _runs(grids: Sequence[Grid]) -> Iterator[tuple[int, int]]:
    """(patches an image, images) of each run of neighbours with the same number of patches."""
    for patches, group in groupby(rows * cols for rows, cols in grids):
        yield patches, sum(1 for _ in group)
