"""Regions: torch takes each one whole, makes as many kernels of it as it says, and runs it plainly where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kvl_eval.model import regions
from kvl_eval.model.kernels import add_and_norm, merged, page_shares, rms_norm, silu_times
from kvl_eval.model.kimi_vl.attention import cached_values, met_queries
from kvl_eval.model.kimi_vl.moe import (
    added,
    biased_scores,
    chosen_weights,
    picked_sum,
    sorted_pairs,
    summed_pairs,
    weighted_sum,
)
from kvl_eval.model.kimi_vl.rope import text_turn
from kvl_eval.model.regions import Region, region

H, A, C, R, P, E, K = 32, 4, 24, 8, 16, 8, 2  # hidden, heads, latent, rope, page, experts, a token's experts


def some(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(*shape).to(dtype)


def chosen(rows: int) -> tuple[Tensor, Tensor]:
    return torch.rand(rows, E).topk(K).indices.flatten().sort(stable=True)  # type: ignore[return-value]


def turn(rows: int) -> Tensor:
    return text_turn(torch.arange(rows)[:, None], R, 1e4, torch.bfloat16)


Make = Callable[[int], tuple[Any, ...]]
REGIONS: dict[Region[..., Any], Make] = {
    rms_norm: lambda rows: (some(rows, 1, H), some(H), 1e-5),
    add_and_norm: lambda rows: (some(rows, 1, H), some(rows, 1, H), some(H), 1e-5),
    silu_times: lambda rows: (*some(rows, 1, 2 * H).split(H, -1),),
    page_shares: lambda rows: (some(3 * rows, 1, A, P), torch.rand(3 * rows, P) > 0.5, 0.1),
    merged: lambda rows: (
        some(3 * rows, A, C),
        some(3 * rows, A, dtype=torch.float32),
        torch.rand(3 * rows, A),
        torch.cat([torch.arange(3 * rows).view(rows, 3), torch.full((rows, 1), -1)], 1),
    ),
    cached_values: lambda rows: (some(rows, 1, H + C + R)[..., H:], some(C), 1e-6, turn(rows)),
    met_queries: lambda rows: (
        some(A, rows, C).transpose(0, 1),
        some(rows, A, H + R)[..., H:],
        turn(rows),
        torch.arange(3 * rows)[:, None] // 2,
    ),
    biased_scores: lambda rows: (torch.randn(rows, E), torch.rand(E)),
    chosen_weights: lambda rows: (torch.rand(rows, E), torch.rand(rows, E).topk(K).indices, True, 2.5),
    sorted_pairs: lambda rows: (some(rows, H), *chosen(rows), E),
    summed_pairs: lambda rows: (some(rows * K, H), torch.randperm(rows * K), torch.rand(rows, K)),
    weighted_sum: lambda rows: (some(rows * K, H), torch.rand(rows, K)),
    picked_sum: lambda rows: (some(E, rows, H), torch.rand(rows, E).topk(K).indices, torch.rand(rows, K)),
    added: lambda rows: (some(rows, 1, H), some(rows, 1, H), some(rows, 1, H)),
}


def name(made: Region[..., Any]) -> str:
    return made.function.__name__


def assert_alike(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("made", REGIONS, ids=name)
@torch.no_grad()
def test_torch_takes_a_region_whole(made: Region[..., Any]) -> None:
    """No graph break, whatever the number of rows: `fullgraph` raises otherwise."""
    torch.manual_seed(0)
    compiled = torch.compile(made.function, dynamic=True, fullgraph=True, backend="eager")
    for rows in (1, 5):
        values = REGIONS[made](rows)
        assert_alike(compiled(*values), made.function(*values))


@pytest.mark.slow
@pytest.mark.parametrize("made", REGIONS, ids=name)
@torch.no_grad()
@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled")  # said once in a process
def test_torch_makes_as_many_kernels_of_a_region_as_it_says(
    made: Region[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels are planned by the rules for cards, which need no card; they are neither written nor built."""
    from torch._inductor import config
    from torch._inductor.graph import GraphLowering
    from torch._inductor.scheduler import NopKernelSchedulerNode

    class PlannedError(Exception):
        """The kernels are planned."""

    planned: list[str] = []

    def plan(graph: GraphLowering) -> None:
        graph._update_scheduler()
        planned.extend(
            node.get_name() for node in graph.scheduler.nodes if not isinstance(node, NopKernelSchedulerNode)
        )
        raise PlannedError

    monkeypatch.setattr(GraphLowering, "compile_to_module", plan)
    settings = config.patch(cpu_backend="triton", force_disable_caches=True)
    with settings, pytest.raises(Exception, match="PlannedError"):
        made.compiled(*REGIONS[made](5))
    assert 0 < len(planned) <= made.kernels, planned


@torch.no_grad()
def test_a_region_that_torch_cannot_compile_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(regions.compiling, "cpu", True)
    calls: list[int] = []

    def refused(function: object, **options: object) -> Callable[[Tensor], Tensor]:
        def compiled(x: Tensor) -> Tensor:
            calls.append(1)
            raise RuntimeError("no compiler\nand much more")

        return compiled

    monkeypatch.setattr(torch, "compile", refused)
    doubled = region(kernels=1)(lambda x: 2 * x)
    with caplog.at_level(logging.WARNING):
        assert [doubled(torch.ones(1)).item() for _ in range(3)] == [2.0] * 3
    assert len(calls) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "torch cannot compile <lambda> on this machine: no compiler"
    ]


@torch.no_grad()
def test_regions_are_compiled_only_where_it_is_switched_on_and_nothing_is_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: lambda x: 3 * x)
    doubled = region(kernels=1)(lambda x: 2 * x)
    assert doubled(torch.ones(1)).item() == 2
    monkeypatch.setitem(regions.compiling, "cpu", True)
    assert doubled(torch.ones(1)).item() == 3
    with torch.enable_grad():
        assert doubled(torch.ones(1)).item() == 2
