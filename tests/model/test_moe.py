"""Expert choice and the three ways of running experts."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from benchmarks.launches import Launches
from kvl_eval.model import TextConfig
from kvl_eval.model.kimi_vl.moe import FEW_ROWS, Experts, MoE, Router, has_grouped_product, product
from kvl_eval.model.precision import wide, wide_dtype

CONFIG = TextConfig(
    hidden_size=24, moe_intermediate_size=16, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2
)


def random_experts(dtype: torch.dtype = torch.float32) -> Experts:
    torch.manual_seed(0)
    experts = Experts(CONFIG)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return experts.to(dtype)


def summed_plainly(experts: Experts, x_TH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
    """The plain form of `Experts`: every expert on every token, weighted by zero where it was not chosen."""
    total = torch.zeros_like(x_TH, dtype=wide_dtype(x_TH.dtype))
    for expert, (gate_up, down) in enumerate(zip(experts.gate_up_proj, experts.down_proj, strict=True)):
        gate, up = torch.nn.functional.linear(x_TH, gate_up).chunk(2, dim=-1)
        weight_T = (weights_Tk * (experts_Tk == expert)).sum(-1)
        total = total + wide(torch.nn.functional.linear(torch.nn.functional.silu(gate) * up, down)) * weight_T[:, None]
    return total.to(x_TH.dtype)


@pytest.mark.parametrize("tokens", [1, 2, 7, 64])
@torch.no_grad()
def test_sorted_and_grouped_experts_equal_the_plain_loop(tokens: int) -> None:
    experts = random_experts()
    x = torch.randn(tokens, 24)
    chosen = torch.stack([torch.randperm(8)[:3] for _ in range(tokens)])
    weights = torch.rand(tokens, 3)
    expected = summed_plainly(experts, x, chosen, weights)
    torch.testing.assert_close(experts(x, chosen, weights), expected, atol=1e-5, rtol=0)
    first, order = chosen[:, 0].sort(stable=True)  # one expert a token, weighted by one
    ends = torch.searchsorted(first, torch.arange(8), right=True)
    looped = experts.looped(x, order, torch.ones(tokens), ends)
    ends = ends.to(torch.int32)
    torch.testing.assert_close(experts.grouped(x[order], ends), looped[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, FEW_ROWS, FEW_ROWS + 1])
def test_a_product_of_few_rows_is_the_usual_one(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x, weight = torch.randn(10, rows, dtype=dtype).T, torch.randn(7, 10, dtype=dtype)
    torch.testing.assert_close(product(x, weight), torch.nn.functional.linear(x, weight), atol=1e-5, rtol=1e-5)


def test_gradients_of_sorted_experts_equal_those_of_the_plain_loop() -> None:
    experts = random_experts()
    x, weights = torch.randn(5, 24, requires_grad=True), torch.rand(5, 3, requires_grad=True)
    chosen = torch.tensor([[0, 1, 2], [2, 3, 0], [5, 0, 1], [7, 2, 1], [0, 2, 5]])
    inputs = [x, weights, *experts.parameters()]
    found = torch.autograd.grad(experts(x, chosen, weights).square().sum(), inputs)
    expected = torch.autograd.grad(summed_plainly(experts, x, chosen, weights).square().sum(), inputs)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def test_the_accelerator_path_reads_nothing_back() -> None:
    """On the meta device there are no values, so any read by the host would raise."""
    layer = MoE(CONFIG).to("meta", torch.bfloat16)
    x = torch.empty(2, 5, 24, device="meta", dtype=torch.bfloat16)
    assert layer.experts.takes_grouped(x)
    assert layer(x).shape == (2, 5, 24)


@pytest.mark.parametrize("tokens", [1, 2, 7, 64])
@torch.no_grad()
def test_experts_without_a_grouped_product_equal_the_plain_loop(tokens: int) -> None:
    """One token takes gathered weights, more tokens all experts; both by themselves, too."""
    experts, x = random_experts(), torch.randn(tokens, 24)
    chosen = torch.stack([torch.randperm(8)[:2] for _ in range(tokens)])
    weights = torch.rand(tokens, 2)
    expected = summed_plainly(experts, x, chosen, weights)
    torch.testing.assert_close(experts.unsorted(x, chosen, weights), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(experts.gathered(x, chosen, weights), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("tokens", [1, 64])
@torch.no_grad()
def test_a_card_without_a_grouped_product_decodes_without_reads(tokens: int) -> None:
    layer = MoE(CONFIG).to("meta")  # float32
    with Launches() as counted:
        layer(torch.empty(tokens, 1, 24, device="meta"))
    assert counted.reads == 0
    assert counted.launches.total() < 20
    assert not counted.launches["sort"]


@pytest.mark.parametrize(
    ("hip", "card", "expected"),
    [
        (None, (8, 0), False),
        (None, (8, 9), False),
        (None, (9, 0), True),
        (None, (10, 0), True),
        (None, (12, 0), False),
        ("6.4", "gfx942:sramecc+", True),
        ("6.4", "gfx950", True),
        ("6.4", "gfx90a", False),
    ],
)
def test_the_grouped_product_is_taken_where_a_card_has_it(
    monkeypatch: pytest.MonkeyPatch, hip: str | None, card: tuple[int, int] | str, expected: bool
) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: card)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(gcnArchName=card))
    assert has_grouped_product.__wrapped__(torch.device("cuda")) is expected
    assert not has_grouped_product(torch.device("mps"))


def test_odd_sizes_and_other_dtypes_take_the_loop() -> None:
    assert not Experts(replace(CONFIG, hidden_size=20)).takes_grouped(
        torch.empty(1, 20, device="meta", dtype=torch.bfloat16)
    )
    assert not random_experts().takes_grouped(torch.empty(1, 24, device="meta"))


def by_hand(config: TextConfig, router: Router, x: torch.Tensor) -> list[dict[int, float]]:
    """The routing rule spelled out with Python numbers, token by token."""
    results = []
    size = config.n_routed_experts // config.n_group
    for token in x.double() @ router.weight.double().T:
        scores = [1 / (1 + torch.exp(-value).item()) for value in token]
        biased = [s + b for s, b in zip(scores, router.e_score_correction_bias.tolist(), strict=True)]
        groups = [sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(config.n_group)]
        best = sorted(range(config.n_group), key=lambda g: groups[g])[-config.topk_group :]
        masked = [value if i // size in best else 0.0 for i, value in enumerate(biased)]
        chosen = sorted(range(len(masked)), key=lambda i: masked[i])[-config.num_experts_per_tok :]
        total = sum(scores[i] for i in chosen) + 1e-20 if config.norm_topk_prob else 1.0
        results.append({i: scores[i] / total * config.routed_scaling_factor for i in chosen})
    return results


@pytest.mark.parametrize("groups", [(1, 1), (4, 2), (2, 1)])
@pytest.mark.parametrize("normalised", [True, False])
@torch.no_grad()
def test_router_follows_the_rule(groups: tuple[int, int], normalised: bool) -> None:
    config = replace(CONFIG, n_group=groups[0], topk_group=groups[1], norm_topk_prob=normalised, num_experts_per_tok=2)
    torch.manual_seed(3)
    router = Router(config)
    torch.nn.init.normal_(router.weight)
    torch.nn.init.uniform_(router.e_score_correction_bias, 0.0, 0.5)
    x = torch.randn(20, 24)
    experts, weights = router(x)
    for chosen, weight, expected in zip(experts.tolist(), weights.tolist(), by_hand(config, router, x), strict=True):
        assert dict(zip(chosen, weight, strict=True)) == pytest.approx(expected, abs=1e-5)
