"""A linear map with packed weights, and the matrices of a model that are packed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from kvl_eval.model.packed_matrix import PACKED_DTYPE, Int8Form, PackedValues, int8_form


class PackedLinear(nn.Module):
    """Takes the place of `nn.Linear`: the same call; the weight is in int8, the bias as it was."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.form: Int8Form = int8_form(linear.out_features, linear.in_features)
        self.bias = linear.bias
        self.packed: PackedValues | None = None

    def put(self, packed: PackedValues) -> None:
        """Take the weight."""
        self.packed = packed

    def forward(self, x: Tensor) -> Tensor:
        assert self.packed is not None
        rows = x.reshape(-1, x.shape[-1])
        out = self.form.product(rows.to(PACKED_DTYPE), self.packed).to(x.dtype)
        return (out if self.bias is None else out + self.bias).view(*x.shape[:-1], -1)


def pack_linears(model: nn.Module, is_packed: Callable[[str], bool]) -> dict[str, PackedLinear]:
    """{name: what stands in the place of an `nn.Linear` now}, for those whose names are to be packed."""
    places = {
        name: PackedLinear(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and is_packed(name)
    }
    for name, packed in places.items():
        model.set_submodule(name, packed)
    return places
