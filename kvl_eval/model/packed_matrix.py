"""Weight matrices in int4 or int8 for products on a CPU: how one is packed, unpacked and multiplied with.

`int4`: 16 levels between the smallest and the largest value of each group of 128 (64 or 32) neighbours in a row, round
to nearest. `int8`: one scale a row, 255 levels. Scales are bfloat16. Torch's weight-only kernels take few rows; for
many, a matrix is unpacked to bfloat16 and the ordinary product taken, which reads it once and not once a few rows.

Shapes: T rows of an input, N outputs, K inputs (both padded), G groups of a row, S numbers in a group, B rows in a
block of the int4 kernel's layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

PACKED_DTYPE = torch.bfloat16  # of scales, and in which packed products are computed
GROUPS = (128, 64, 32)
INT4_ROWS, INT8_ROWS = 64, 16  # rows are padded to a multiple: with others the kernels read behind the matrix
INT4_COLUMNS, INT8_COLUMNS = 32, 64
INT4_FEW, INT8_FEW = 64, 16  # rows of an input up to which the kernels win (docs/weights.md)
AT_ONCE = 2**18  # numbers that are packed at a time: they stay in the processor's cache
UNPACKED_ROWS = 8192  # outputs of a matrix that are unpacked at a time


class PackedValues(NamedTuple):
    """A packed matrix: integers, and scales (int8) or scales and zeros (int4)."""

    values: Tensor
    scales: Tensor


class TensorShape(NamedTuple):
    """Shape and dtype of a tensor that is stored."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """What it takes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class PackedForm(Protocol):
    """How matrices of one shape are packed."""

    @property
    def rows(self) -> int:
        """Outputs."""

    @property
    def tensors(self) -> Mapping[str, TensorShape]:
        """The two tensors of `PackedValues`, by name."""

    def pack(self, weight: Tensor) -> PackedValues:
        """A matrix (rows, columns) of floats; scales that are not finite tell of values that are not."""

    def product(self, x_TK: Tensor, packed: PackedValues) -> Tensor:
        """`F.linear` of bfloat16 rows, (T, rows)."""

    def unpacked(self, packed: PackedValues) -> Tensor:
        """The matrix (rows, columns) in bfloat16."""


@dataclass(frozen=True, slots=True)
class Int8Form:
    """One scale a row."""

    rows: int
    columns: int

    @property
    def tensors(self) -> Mapping[str, TensorShape]:
        rows, columns = _padded(self.rows, INT8_ROWS), _padded(self.columns, INT8_COLUMNS)
        return {"values": TensorShape((rows, columns), torch.int8), "scales": TensorShape((rows,), PACKED_DTYPE)}

    def pack(self, weight: Tensor) -> PackedValues:
        values, scales = (torch.zeros(part.shape, dtype=part.dtype) for part in self.tensors.values())
        step = max(1, AT_ONCE // self.columns)
        for begin in range(0, self.rows, step):
            part, end = weight[begin : begin + step].to(torch.float32, copy=True), min(begin + step, self.rows)
            scale = (part.abs().amax(1) / 127).clamp_(min=1e-8).to(PACKED_DTYPE)
            values[begin:end, : self.columns] = part.mul_(1 / scale.float()[:, None]).round_().clamp_(-127, 127)
            scales[begin:end] = scale
        return PackedValues(values, scales)

    def product(self, x_TK: Tensor, packed: PackedValues) -> Tensor:
        x_TK = F.pad(x_TK, (0, packed.values.shape[1] - self.columns)).contiguous()
        if len(x_TK) <= INT8_FEW and has_int8_kernel():
            out: Tensor = torch.ops.aten._weight_int8pack_mm(x_TK, packed.values, packed.scales)
        else:
            blocks = torch.split(packed.values, UNPACKED_ROWS)
            out = torch.cat([F.linear(x_TK, block.to(PACKED_DTYPE)) for block in blocks], -1) * packed.scales
        return out[:, : self.rows]

    def unpacked(self, packed: PackedValues) -> Tensor:
        values = packed.values[: self.rows, : self.columns]
        return (values * packed.scales[: self.rows, None].float()).to(PACKED_DTYPE)


@dataclass(frozen=True, slots=True)
class Int4Form:
    """Groups with a scale and a zero each; `block` rows lie together, two of them in a byte."""

    rows: int
    columns: int
    block: int

    @property
    def group(self) -> int:
        """Numbers that share a scale: 128, or a divisor of it where the width asks for that."""
        width = _padded(self.columns, INT4_COLUMNS)
        return next(size for size in GROUPS if width % size == 0)

    @property
    def tensors(self) -> Mapping[str, TensorShape]:
        rows, columns = _padded(self.rows, INT4_ROWS), _padded(self.columns, INT4_COLUMNS)
        scales = (columns // self.group, rows, 2)
        return {
            "values": TensorShape((rows, columns // 2), torch.uint8),
            "scales": TensorShape(scales, PACKED_DTYPE),
        }

    def pack(self, weight: Tensor) -> PackedValues:
        values, scales = (torch.empty(part.shape, dtype=part.dtype) for part in self.tensors.values())
        rows, columns = values.shape[0], 2 * values.shape[1]
        if weight.shape != (rows, columns):
            weight = F.pad(weight, (0, columns - self.columns, 0, rows - self.rows))
        step = self.block * max(1, AT_ONCE // columns // self.block)
        for begin in range(0, rows, step):
            part = slice(begin, begin + step)
            levels, scales[:, part, 0], scales[:, part, 1] = self._levels(weight[part])
            low, high = levels.view(-1, 2, self.block // 2, columns).unbind(1)
            pairs = torch.bitwise_or(low, high.mul_(16))
            values[part].view(-1, columns, self.block // 2).copy_(pairs.transpose(1, 2))
        return PackedValues(values, scales)

    def _levels(self, weight_NK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (N, K) from 0 to 15, and scales and zeros, (G, N) each: a value is (level - 8) * scale + zero."""
        groups = weight_NK.to(torch.float32, copy=True).view(len(weight_NK), -1, self.group)
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        scale = ((high - low) / 15).clamp_(min=1e-6).to(PACKED_DTYPE)
        zero = (low + 8 * scale.float()).to(PACKED_DTYPE)
        levels = groups.sub_(zero.float()).mul_(1 / scale.float()).add_(8.5).clamp_(0, 15.5).to(torch.uint8)
        return levels, scale[..., 0].T, zero[..., 0].T

    def product(self, x_TK: Tensor, packed: PackedValues) -> Tensor:
        x_TK = F.pad(x_TK, (0, 2 * packed.values.shape[1] - self.columns)).contiguous()
        if len(x_TK) <= INT4_FEW and int4_block() == self.block:
            out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x_TK, packed.values, self.group, packed.scales)
        else:
            shuffled = (x_TK @ self._shuffled(packed)).view(len(x_TK), -1, 2, 2, self.block // 4)
            out = shuffled.transpose(-1, -2).reshape(len(x_TK), -1)
        return out[:, : self.rows]

    def unpacked(self, packed: PackedValues) -> Tensor:
        shuffled = self._shuffled(packed).T.reshape(-1, 2, 2, self.block // 4, 2 * packed.values.shape[1])
        return shuffled.transpose(2, 3).flatten(0, 3)[: self.rows, : self.columns]

    def _shuffled(self, packed: PackedValues) -> Tensor:
        """The matrix as (K, N) in bfloat16, of each half of a block the even rows first, then the odd ones.

        So two bytes are taken apart as one number, and become floats by their bits alone: 0x4300 + n is 128 + n.
        """
        rows, columns = len(packed.values), 2 * packed.values.shape[1]
        words_NKB = packed.values.view(torch.int16).view(-1, columns, self.block // 4)
        halves = packed.scales.view(-1, len(words_NKB), 2, self.block // 4, 2, 2)
        scales_G2N = halves.permute(0, 5, 1, 2, 4, 3).reshape(-1, 2, rows)
        out = torch.empty(columns, rows, dtype=PACKED_DTYPE)
        parts = zip(torch.split(words_NKB, self.group, 1), scales_G2N, torch.split(out, self.group), strict=True)
        for words, (scale_N, zero_N), part in parts:
            bits = torch.empty(4, *words.shape, dtype=torch.int16)
            for shift, quarter in zip((0, 8, 4, 12), bits, strict=True):
                torch.bitwise_right_shift(words, shift, out=quarter).bitwise_and_(15).bitwise_or_(0x4300)
            fours = bits.view(torch.int64).permute(2, 1, 0, 3)  # moved by fours
            part.view(torch.int64).view(fours.shape).copy_(fours)
            torch.addcmul(zero_N, part.sub_(136), scale_N, out=part)
        return out


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


@cache
def int4_block() -> int | None:
    """Rows in a block of the layout that this processor's int4 kernel reads; None where there is no such kernel.

    It differs between processors (64 with AVX-512, 32 with AVX2), so it is tried and not assumed.
    """
    convert = getattr(torch.ops.aten, "_convert_weight_to_int4pack_for_cpu", None)
    if convert is None or not hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu"):
        return None
    levels = torch.arange(INT4_ROWS * 32, dtype=torch.int32).mul_(7).remainder_(16).view(INT4_ROWS, 32)
    levels = levels.roll(1, 0) ^ (levels.T.reshape(INT4_ROWS, 32) >> 1)
    for block in (64, 32):
        low, high = levels.view(-1, block, 32).transpose(1, 2).chunk(2, -1)
        if torch.equal(convert(levels, 1).flatten(), (low | (high << 4)).to(torch.uint8).flatten()):
            return block
    return None


@cache
def has_int8_kernel() -> bool:
    """Whether this torch has a weight-only int8 product."""
    return hasattr(torch.ops.aten, "_weight_int8pack_mm")


def int8_form(rows: int, columns: int) -> Int8Form:
    """How a matrix of that shape is packed in int8."""
    return Int8Form(rows, columns)


def int4_form(rows: int, columns: int) -> Int4Form:
    """How a matrix of that shape is packed in int4, in the layout of this processor's kernel."""
    return Int4Form(rows, columns, int4_block() or 64)


def layout_name(kind: str) -> str:
    """What tells files of this processor's layout from others: nothing for int8 and for the usual layout of int4."""
    block = int4_block() or 64
    return "" if kind != "int4" or block == 64 else f"-{block}"
