"""Maps of the same input as one product: the same values, names and memory as apart."""

import pytest
import torch
from torch import nn

from benchmarks.launches import Launches, full_model
from kvl_eval.model import TextConfig
from kvl_eval.model.joined import Joint, laid_together, products
from kvl_eval.model.kimi_vl.moe import MLP, Router


def maps() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, size, bias=False) for size in (48, 16)]


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
@torch.no_grad()
def test_one_product_gives_what_the_maps_give(rows: int) -> None:
    linears, x = maps(), torch.randn(rows, 24)
    expected = [linear(x) for linear in linears]
    joint = Joint.of(linears)
    for found, alone in zip(products(x, linears, joint), expected, strict=True):
        torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)
    assert {linear.weight.untyped_storage().data_ptr() for linear in linears} == {joint.weight.data_ptr()}
    linears[1].weight.mul_(2)  # as a loader writes to it
    torch.testing.assert_close(products(x, linears, joint)[1], 2 * expected[1], atol=1e-6, rtol=0)


@torch.no_grad()
def test_maps_whose_weights_went_elsewhere_are_taken_one_by_one() -> None:
    linears, x = maps(), torch.randn(3, 24)
    joint = Joint.of(linears)
    linears[0].weight = nn.Parameter(torch.zeros(48, 24))
    assert not products(x, linears, joint)[0].any()
    assert laid_together(linears) is None, "on a CPU"
    assert laid_together([linears[0].to("meta"), nn.Linear(24, 3, device="meta")]) is None, "with a bias"
    assert laid_together([linears[0], nn.Identity()]) is None


@pytest.mark.parametrize("grad", [False, True])
def test_a_module_lays_its_maps_together_on_an_accelerator_but_not_to_learn(grad: bool) -> None:
    mlp = MLP(24, 16)
    names = [name for name, _ in mlp.named_parameters()]
    mlp.to("meta", torch.bfloat16)
    assert [name for name, _ in mlp.named_parameters()] == names
    with Launches() as counted, torch.set_grad_enabled(grad):
        mlp(torch.empty(5, 24, device="meta", dtype=torch.bfloat16))
    assert counted.launches["mm"] == (3 if grad else 2)


@torch.no_grad()
def test_a_router_widens_its_weight_once_and_again_when_it_changes() -> None:
    router = Router(TextConfig(hidden_size=8, n_routed_experts=8, num_experts_per_tok=2)).to(torch.bfloat16)
    nn.init.normal_(router.weight)
    nn.init.zeros_(router.e_score_correction_bias)
    first, _ = router.widened()
    assert router.widened()[0] is first
    router.weight.mul_(2)
    torch.testing.assert_close(router.widened()[0], 2 * first)


@torch.no_grad()
def test_embedding_a_prompt_with_pictures_waits_for_nothing() -> None:
    model = full_model()
    ids = torch.tensor([[1, *[model.config.media_placeholder_token_id] * 4, 2]])
    features = torch.empty(4, model.config.text_config.hidden_size, device="meta")
    with Launches() as counted:
        embedded = model.embed(ids, features, [(4, 4)])
    assert embedded.embeds.shape == (1, 6, model.config.text_config.hidden_size)
    assert (counted.reads, counted.launches["masked_scatter"]) == (0, 0)
