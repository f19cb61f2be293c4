"""The routed experts against a loop over experts: `python -m benchmarks.experts`.

64 experts, 6 a token, hidden 512, width 352 (a quarter of the released sizes), float32, one thread. Four layers are
used in turn, so that no weight stays in the processor's cache. The twin is the plain loop: for each expert, find its
tokens, run them, add them up. The peer is `transformers`' DeepseekV3Experts as it is configured by default.
The path for accelerators is run on torch's meta device, which has no values: reads by the host are counted, and each
would raise besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measure import Row, alternate, main, speedup
from kvl_eval.model import TextConfig
from kvl_eval.model.kimi_vl.moe import Experts, MoE

CONFIG = TextConfig(hidden_size=512, moe_intermediate_size=352)
TINY = TextConfig(hidden_size=32, moe_intermediate_size=16)
GOALS = {1: 1.2, 8: 1.2, 32: 1.2, 2048: 0.9}  # tokens: times as fast as the loop
READS = ("_local_scalar_dense", "item", "nonzero", "_to_cpu")
Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; raises AssertionError if results differ."""
    torch.set_num_threads(1)
    config = TINY if tiny else CONFIG
    torch.manual_seed(0)
    layers = [random_experts(config) for _ in range(4)]
    peers = [transformers_experts(layer, config) for layer in layers]
    rows: list[Row] = []
    for tokens in (1, 33) if tiny else GOALS:
        rows += compared(config, layers, peers, tokens, rounds=1 if tiny else 7)
    return [*rows, host_reads(config)]


def compared(
    config: TextConfig, layers: Sequence[Experts], peers: Sequence[Layer], tokens: int, rounds: int
) -> list[Row]:
    """Rows of one number of tokens."""
    x = torch.randn(tokens, config.hidden_size)
    chosen = torch.rand(tokens, config.n_routed_experts).topk(config.num_experts_per_tok).indices
    weights = torch.rand(tokens, config.num_experts_per_tok)
    for layer, peer in zip(layers, peers, strict=True):
        expected = loop(layer, x, chosen, weights)
        for form in (layer, peer):
            torch.testing.assert_close(form(x, chosen, weights), expected, atol=1e-4, rtol=1e-4)
    ours, twins, others = cycle(layers), cycle(layers), cycle(peers)
    times = alternate(
        {
            "ours": lambda: next(ours)(x, chosen, weights),
            "loop": lambda: loop(next(twins), x, chosen, weights),
            "peer": lambda: next(others)(x, chosen, weights),
        },
        rounds,
    )
    import transformers

    what = f"experts, {tokens:,} token{'s' * (tokens > 1)}, float32"
    return [
        speedup(what, "loop over experts", times["ours"], times["loop"], at_least=GOALS.get(tokens)),
        speedup(what, f"transformers {transformers.__version__} DeepseekV3Experts", times["ours"], times["peer"]),
    ]


def loop(layer: Experts, x_TH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
    """The plain twin: every expert in turn picks its tokens by a one-hot mask."""
    total = torch.zeros_like(x_TH)
    picked = F.one_hot(experts_Tk, len(layer.down_proj)).permute(2, 0, 1)  # (E, T, k)
    for expert, (gate_up, down) in enumerate(zip(layer.gate_up_proj, layer.down_proj, strict=True)):
        tokens, places = torch.where(picked[expert])
        gate, up = F.linear(x_TH[tokens], gate_up).chunk(2, dim=-1)
        out = F.linear(F.silu(gate) * up, down) * weights_Tk[tokens, places, None]
        total.index_add_(0, tokens, out)
    return total


def random_experts(config: TextConfig) -> Experts:
    """A layer whose outputs are of order 1."""
    layer = Experts(config)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return layer


def transformers_experts(ours: Experts, config: TextConfig) -> Layer:
    """`transformers`' experts with the weights of ours."""
    from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

    names = ("hidden_size", "moe_intermediate_size", "n_routed_experts", "num_experts_per_tok", "n_shared_experts")
    experts: Any = DeepseekV3MoE(DeepseekV3Config(**{name: getattr(config, name) for name in names})).experts
    experts.load_state_dict(ours.state_dict())
    return experts  # type: ignore[no-any-return]


class HostReads(TorchDispatchMode):
    """Counts operations that make the host wait for a value of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.operations = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        self.reads += func.overloadpacket.__name__ in READS
        return func(*args, **(kwargs or {}))


def host_reads(config: TextConfig) -> Row:
    """The accelerator's path: operations and reads of one layer, against the loop's one `where` an expert."""
    layer = MoE(config).to("meta", torch.bfloat16)
    x = torch.empty(4, 8, config.hidden_size, device="meta", dtype=torch.bfloat16)
    assert layer.experts.takes_grouped(x), "this torch has no grouped matrix product"
    with HostReads() as counted:
        layer(x)
    assert counted.reads == 0, f"{counted.reads} reads by the host"
    return Row(
        what="experts on an accelerator, bfloat16: reads by the host",
        against="loop over experts",
        ours=f"{counted.reads} in {counted.operations} operations",
        theirs=f"{config.n_routed_experts}",
        ratio=float(counted.reads),
        at_most=0.0,
    )


if __name__ == "__main__":
    main(__doc__, measure)
