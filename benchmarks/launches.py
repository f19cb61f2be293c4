"""Operations of one decode step of the full-size model on an accelerator, counted: `python -m benchmarks.launches`.

The released configuration in bfloat16 lies on torch's meta device, which has shapes and no values. A step goes from
the tokens' ids to the tokens that are drawn greedily, for rows of 1,500 tokens.

What counts as one launch: each operation that torch dispatches with a tensor of the device among its arguments or
results, and that computes, fills or copies; a copy from the host counts too. What does not: views, metadata, memory
that is reserved and not filled, and what happens to tensors of the host. So a sort or a fill by index counts one,
though a card starts several kernels for it. A region (`kvl_eval.model.regions`) counts the kernels that it says torch
compiles it to; `tests/model/test_regions.py` compares. What counts as a read: a value of the device that the host
waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.measure import Row, main
from kvl_eval.model import KimiVL, KimiVLConfig
from kvl_eval.model.pages import PageTable
from kvl_eval.model.regions import Region
from kvl_eval.model.rows import StepRows
from kvl_eval.model.sampling import sample_rows
from kvl_eval.model.tensors import index_tensor

CONTEXT = 1500  # tokens that each row holds
BEFORE = 3099  # launches of a step of 64 rows before anything was fused, counted in the same way (without the draw)
MOST = 1000
MOST_READS = 1
UNCOUNTED = frozenset(
    ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "_reshape_alias")
)
READS = frozenset(("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero"))


class Launches(TorchDispatchMode):
    """Counts what an accelerator would be asked to do; copies to the host give zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.reads = 0
        self.inside = False  # a region

    def __enter__(self) -> Self:
        plain = Region.__call__

        def counted(region: Region[..., Any], *args: Any, **kwargs: Any) -> Any:
            self.launches[region.function.__name__] += region.kernels
            self.inside = True
            try:
                return plain(region, *args, **kwargs)
            finally:
                self.inside = False

        self._patch = patch.object(Region, "__call__", counted)
        self._patch.start()
        return super().__enter__()

    def __exit__(self, *args: object) -> None:
        self._patch.stop()
        super().__exit__(*args)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name == "_to_copy" and args[0].is_meta and str(kwargs.get("device", "meta")) == "cpu":
            self.reads += 1
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        result = func(*args, **kwargs)
        if self.inside:
            return result
        if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves((args, kwargs, result))):
            self.reads += name in READS
            self.launches[name] += not (func.is_view or name in UNCOUNTED)
        return result


class Step(NamedTuple):
    """What one decode step asks of an accelerator."""

    launches: Counter[str]
    reads: int


@torch.no_grad()
def decode_step(model: KimiVL, rows: int, context: int = CONTEXT) -> Step:
    """The second step of some rows, which finds its pages as the first one left them."""
    pool, tables = model.new_pool(), [PageTable() for _ in range(rows)]
    for table in tables:
        pool.extend([table], context)
        table.length = context
    step_rows = StepRows(pool, tables)
    with Launches():
        _draw(model, step_rows)
    with Launches() as counted:
        _draw(model, step_rows)
    return Step(+counted.launches, counted.reads)


def _draw(model: KimiVL, rows: StepRows) -> list[int | None]:
    """As the engine does: feed one token a row, and draw the next ones."""
    count = len(rows.tables)
    ids = index_tensor([0] * count, model.device)
    logits = model.forward_cached(model.embed(ids[:, None]).embeds, rows)
    return sample_rows(
        logits, temperature=[0.0] * count, top_p=[1.0] * count, top_k=[0] * count, seed=[0] * count, step=[0] * count
    )


def full_model() -> KimiVL:
    """The released configuration, without memory."""
    with torch.device("meta"):
        return KimiVL(KimiVLConfig()).to(torch.bfloat16).eval()


def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; counts do not depend on the machine, so `tiny` leaves out the larger batch and no more."""
    model = full_model()
    return [_row(rows, decode_step(model, rows)) for rows in ((1,) if tiny else (1, 64))]


def _row(rows: int, step: Step) -> Row:
    launches = step.launches.total()
    most = ", ".join(f"{count} {name}" for name, count in step.launches.most_common(6))
    return Row(
        what=f"decode step, {rows} row{'s' * (rows > 1)}: launches ({most}); reads by the host: {step.reads}",
        against="commit 5e316bf",
        ours=f"{launches:,}",
        theirs=f"{BEFORE:,}",
        figure=float(launches),
        at_most=float(MOST),
    )


if __name__ == "__main__":
    main(__doc__, measure)
