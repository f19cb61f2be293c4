"""Kimi-VL with packed weights: experts in int4 or int8, other products but `kv_b_proj` and the router in int8.

Shapes as in `moe.py`: T tokens, H hidden, k experts a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.errors import CheckpointError
from kvl_eval.model.base import PackedPlace
from kvl_eval.model.kimi_vl.architecture import stop_ids
from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.moe import Experts
from kvl_eval.model.kimi_vl.weights import blueprint
from kvl_eval.model.memory import require_room
from kvl_eval.model.packed_files import Matrix, put_packed
from kvl_eval.model.packed_linear import pack_linears
from kvl_eval.model.packed_matrix import PACKED_DTYPE, PackedForm, PackedValues, int4_form, int8_form
from kvl_eval.model.precision import wide, wide_dtype
from kvl_eval.model.weights import (
    DTYPES,
    OpenTensor,
    checkpoint_tensors,
    fill,
    materialise,
    opened_tensors,
    weight_bytes,
)

UNPACKED = ("kv_b_proj",)  # decoding folds it into queries and sums
LAYER = re.compile(r"language_model\.model\.layers\.(\d+)\.")
CPU = torch.device("cpu")


class PackedExperts(nn.Module):
    """Takes the place of `Experts`: the same call, with packed matrices."""

    def __init__(self, experts: Experts, kind: str) -> None:
        super().__init__()
        count, hidden, inner = experts.down_proj.shape
        form = int4_form if kind == "int4" else int8_form
        self.gate_up_form: PackedForm = form(2 * inner, hidden)
        self.down_form: PackedForm = form(hidden, inner)
        self.gate_up: list[PackedValues | None] = [None] * count
        self.down: list[PackedValues | None] = [None] * count

    def forward(self, x_TH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
        """Weighted sum of each token's experts, (T, H), one expert after the other, skipping those without tokens."""
        chosen = experts_Tk.flatten()
        order = chosen.argsort(stable=True)
        tokens, weights = order // experts_Tk.shape[1], weights_Tk.flatten()[order]
        ends = torch.searchsorted(chosen[order], torch.arange(len(self.down)), right=True).tolist()
        total_TH, inputs, start = torch.zeros_like(x_TH, dtype=wide_dtype(x_TH.dtype)), x_TH.to(PACKED_DTYPE), 0
        for end, gate_up, down in zip(ends, self.gate_up, self.down, strict=True):
            if end > start:
                assert gate_up is not None and down is not None
                mine = tokens[start:end]
                gate, up = self.gate_up_form.product(inputs[mine], gate_up).chunk(2, -1)
                out = self.down_form.product(F.silu(gate) * up, down)
                total_TH.index_add_(0, mine, wide(out) * weights[start:end, None])
            start = end
        return total_TH.to(x_TH.dtype)


def load(folder: Path, place: PackedPlace, *, dtype: str | None = None) -> KimiVL:
    """The model in evaluation mode with packed weights, on the CPU; what is not packed is in `dtype`.

    Raises: CheckpointError; StorageError, where packed weights cannot be kept.
    """
    plan = blueprint(folder)
    plan.require_count(folder)
    model = plan.on_meta().to(PACKED_DTYPE if dtype is None else DTYPES[dtype])
    with ExitStack() as stack:
        sources = opened_tensors(stack, folder, model, plan.rules).sources
        matrices = list(_packed_modules(model, place.kind, sources))
        require_room(weight_bytes(model) + sum(matrix.bytes for matrix in matrices), CPU)
        put_packed(place, _by_layer(matrices))
        model = materialise(model, CPU)
        slots = checkpoint_tensors(model, sources)
        fill(folder, slots, {name: sources[name] for name in slots}, check_finite=True)
    model.stop_token_ids = stop_ids(folder)
    return model.eval()


def packed_bytes(folder: Path, kind: str, dtype: str | None = None) -> int:
    """Bytes of the whole model with weights of a kind; the files' headers are not read. Raises: CheckpointError."""
    model = blueprint(folder).on_meta().to(PACKED_DTYPE if dtype is None else DTYPES[dtype])
    matrices = list(_packed_modules(model, kind, {}))
    return weight_bytes(model) + sum(matrix.bytes for matrix in matrices)


def _packed_modules(model: KimiVL, kind: str, sources: Mapping[str, OpenTensor]) -> Iterator[Matrix]:
    """The matrices that are packed, in the model's order; packed modules stand in the place of the plain ones then."""
    names = [name for name, module in model.named_modules() if isinstance(module, Experts)]
    for name in names:
        plain = model.get_submodule(name)
        assert isinstance(plain, Experts)
        experts = PackedExperts(plain, kind)
        model.set_submodule(name, experts)
        for number in range(len(experts.down)):
            yield from _expert_matrices(name, experts, number, sources)
    linears = pack_linears(model, lambda name: not name.endswith(UNPACKED))
    for name, linear in linears.items():
        yield Matrix(name, linear.form, partial(_checked, sources, f"{name}.weight"), linear.put)


def _expert_matrices(
    name: str, experts: PackedExperts, number: int, sources: Mapping[str, OpenTensor]
) -> Iterator[Matrix]:
    """Gate and up of one expert as one matrix, and its down."""

    def gate_up() -> Tensor:
        if f"{name}.gate_up_proj" in sources:
            return _finite(f"{name}.gate_up_proj", sources[f"{name}.gate_up_proj"].part(number))
        parts = (_checked(sources, f"{name}.{number}.{part}_proj.weight") for part in ("gate", "up"))
        return torch.cat(list(parts))

    def down() -> Tensor:
        if f"{name}.down_proj" in sources:
            return _finite(f"{name}.down_proj", sources[f"{name}.down_proj"].part(number))
        return _checked(sources, f"{name}.{number}.down_proj.weight")

    yield Matrix(f"{name}.{number}.gate_up", experts.gate_up_form, gate_up, partial(_set, experts.gate_up, number))
    yield Matrix(f"{name}.{number}.down", experts.down_form, down, partial(_set, experts.down, number))


def _set(values: list[PackedValues | None], number: int, packed: PackedValues) -> None:
    values[number] = packed


def _checked(sources: Mapping[str, OpenTensor], name: str) -> Tensor:
    return _finite(name, sources[name].read())


def _finite(name: str, weight: Tensor) -> Tensor:
    """The matrix itself. Raises: CheckpointError, where a value is NaN or infinite: packing would hide it."""
    if not bool(torch.isfinite(weight.sum(dtype=torch.float32))):
        raise CheckpointError(
            "model.weights_nan",
            f"{name} contains NaN or infinite values",
            fix="use another copy of the checkpoint, or train it again",
        )
    return weight


def _by_layer(matrices: Sequence[Matrix]) -> dict[str, list[Matrix]]:
    """{name of a file: its matrices}: one for each decoder layer, one for the rest."""
    files: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        layer = LAYER.match(matrix.name)
        files.setdefault(f"layer-{int(layer[1]):02d}" if layer else "rest", []).append(matrix)
    return files
