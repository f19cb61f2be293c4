"""Mixture of experts with sigmoid gating and a correction bias (DeepSeek-V3 form, as in Moonlight).

Shapes: T tokens, H hidden, E routed experts, I expert width, k experts a token.
"""

from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.model.joined import Joining
from kvl_eval.model.kernels import silu_times
from kvl_eval.model.kimi_vl.config import TextConfig
from kvl_eval.model.precision import wide, wide_dtype
from kvl_eval.model.regions import region

# Public in newer releases of torch, private in older ones, absent in the oldest that are supported.
GROUPED_MM: Callable[..., Tensor] | None = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
ALL_EXPERTS_TOKENS = 256  # up to which reading all experts costs more than running all of them on every token
FEW_ROWS = 6  # up to which `product` turns the matrix product round


class MLP(Joining):
    """down(silu(gate(x)) * up(x)), without biases: the dense first layer and the shared experts."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def inputs(self) -> Sequence[nn.Module]:
        return [self.gate_proj, self.up_proj]

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """The map of `x`, added to `onto`."""
        gate, up = self.products(x)
        out = self.down_proj(silu_times(gate, up))
        return out if onto is None else onto + out  # type: ignore[no-any-return]


class Router(nn.Module):
    """Chooses experts by biased scores and weighs them by unbiased ones, all in float32 or wider."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))
        self.e_score_correction_bias = nn.Parameter(torch.empty(config.n_routed_experts))
        self._wide: tuple[tuple[object, ...], Tensor, Tensor] | None = None  # what they were when they were widened

    def forward(self, x_TH: Tensor) -> tuple[Tensor, Tensor]:
        """Expert indices (T, k) and their weights (T, k), normalised and scaled, float32 or wider."""
        weight_EH, bias_E = self.widened()
        scores_TE, biased_TE = biased_scores(F.linear(wide(x_TH), weight_EH), bias_E)
        experts_Tk = self.choose(biased_TE)
        is_normed = self.config.norm_topk_prob and self.config.num_experts_per_tok > 1
        return experts_Tk, chosen_weights(scores_TE, experts_Tk, is_normed, self.config.routed_scaling_factor)

    def widened(self) -> tuple[Tensor, Tensor]:
        """Weight and correction bias in float32 or wider; widened once, until they change, where no gradients flow."""
        weight, bias = self.weight, self.e_score_correction_bias
        if torch.is_grad_enabled() or wide_dtype(weight.dtype) == weight.dtype:
            return wide(weight), wide(bias)
        state = (weight.data_ptr(), weight._version, bias.data_ptr(), bias._version, weight.device)
        if self._wide is None or self._wide[0] != state:
            self._wide = state, wide(weight), wide(bias)
        return self._wide[1:]

    def choose(self, biased_TE: Tensor) -> Tensor:
        """The top experts by biased score, out of the best groups (a group counts by its two best experts)."""
        if self.config.n_group > 1:
            grouped = biased_TE.view(len(biased_TE), self.config.n_group, -1)
            best = grouped.topk(2, dim=-1).values.sum(-1).topk(self.config.topk_group, dim=-1).indices
            kept = torch.zeros_like(grouped[..., 0]).scatter(1, best, 1.0)
            biased_TE = (grouped * kept[..., None]).flatten(-2)  # scores of dropped groups become 0, as published
        return biased_TE.topk(self.config.num_experts_per_tok, dim=-1).indices


class Experts(nn.Module):
    """All routed experts of a layer, stacked; checkpoints name them `experts.E.{gate,up,down}_proj.weight`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        count, hidden, inner = config.n_routed_experts, config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(count, 2 * inner, hidden))  # gate rows, then up rows
        self.down_proj = nn.Parameter(torch.empty(count, hidden, inner))

    def forward(self, x_TH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
        """Weighted sum of each token's experts, (T, H), summed in float32 or wider.

        Pairs (token, expert) are sorted by expert once; then one grouped matrix product for gate and up and one for
        down where a card has it, or a loop over the experts that were hit on a CPU. An accelerator without the grouped
        product gathers the weights of few pairs, and runs every expert on every token of a decode step: both need no
        value on the host. Only a pass of more tokens than that takes the loop there, for one read a layer.
        """
        if len(x_TH) <= ALL_EXPERTS_TOKENS and x_TH.device.type != "cpu" and not self.takes_grouped(x_TH):
            return self.unsorted(x_TH, experts_Tk, weights_Tk)
        chosen, order = experts_Tk.flatten().sort(stable=True)
        if not self.takes_grouped(x_TH):
            tokens = order // experts_Tk.shape[1]
            ends_E = torch.searchsorted(chosen, torch.arange(len(self.down_proj), device=order.device), right=True)
            return self.looped(x_TH, tokens, weights_Tk.flatten()[order], ends_E)
        inputs, ends_E = sorted_pairs(x_TH, chosen, order, len(self.down_proj))
        return summed_pairs(self.grouped(inputs, ends_E), order.argsort(), weights_Tk)

    def takes_grouped(self, x: Tensor) -> bool:
        """Whether torch has a fused grouped product for these weights: bfloat16, rows of whole 16 bytes, some cards."""
        aligned = all(size % 8 == 0 for size in self.down_proj.shape[1:])
        return GROUPED_MM is not None and aligned and x.dtype == torch.bfloat16 and has_grouped_product(x.device)

    def unsorted(self, x_TH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
        """The same without sorting pairs, by batched products whose sizes the host knows."""
        if 3 * experts_Tk.numel() <= len(self.down_proj):  # the copy is written and read besides
            return self.gathered(x_TH, experts_Tk, weights_Tk)
        gate, up = torch.unflatten(
            F.linear(x_TH, self.gate_up_proj.flatten(0, 1)), 1, (-1, 2, self.down_proj.shape[2])
        ).unbind(2)
        outputs_ETH = silu_times(gate, up).transpose(0, 1) @ self.down_proj.mT
        return picked_sum(outputs_ETH, experts_Tk, weights_Tk)

    def gathered(self, x_TH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
        """The same with a copy of the weights of each pair's expert."""
        chosen = experts_Tk.flatten()
        inputs_PH1 = x_TH.repeat_interleave(experts_Tk.shape[1], 0)[..., None]
        gate, up = (self.gate_up_proj[chosen] @ inputs_PH1)[..., 0].chunk(2, dim=-1)
        outputs_PH = (self.down_proj[chosen] @ silu_times(gate, up)[..., None])[..., 0]
        return weighted_sum(outputs_PH, weights_Tk)

    def grouped(self, inputs: Tensor, ends_E: Tensor) -> Tensor:
        """Outputs of the sorted pairs by grouped matrix products; `ends_E` (int32) is where each expert's pairs end."""
        assert GROUPED_MM is not None
        gate, up = GROUPED_MM(inputs, self.gate_up_proj.mT, offs=ends_E).chunk(2, dim=-1)
        return GROUPED_MM(silu_times(gate, up), self.down_proj.mT, offs=ends_E)

    def looped(self, x_TH: Tensor, tokens_P: Tensor, weights_P: Tensor, ends_E: Tensor) -> Tensor:
        """Weighted sum (T, H) over the sorted pairs, one expert after the other, skipping those without pairs.

        What an expert gives is added at once, so that no more than one expert's outputs lie in memory.
        """
        total_TH, start = torch.zeros_like(x_TH, dtype=wide_dtype(x_TH.dtype)), 0
        experts = zip(ends_E.tolist(), self.gate_up_proj.unbind(), self.down_proj.unbind(), strict=True)
        for end, gate_up, down in experts:
            if end > start:
                tokens = tokens_P[start:end]
                gate, up = product(x_TH[tokens], gate_up).chunk(2, dim=-1)
                out = product(F.silu(gate) * up, down)
                total_TH.index_add_(0, tokens, wide(out) * weights_P[start:end, None])
            start = end
        return total_TH.to(x_TH.dtype)


@cache
def has_grouped_product(device: torch.device) -> bool:
    """Whether torch's grouped product is one kernel on a device.

    On other cards torch copies the offsets to the host and runs one product after the other (`GroupedBlas.cpp`,
    pytorch/pytorch 186620). The meta device stands for a card that has it.
    """
    if device.type != "cuda":
        return device.type == "meta"
    if torch.version.hip is not None:
        return torch.cuda.get_device_properties(device).gcnArchName.startswith(("gfx942", "gfx950"))
    return torch.cuda.get_device_capability(device)[0] in (9, 10)


def product(x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    """`F.linear(x, weight)`, (N, O); for few rows in float32 on a CPU with the weight on the left.

    That form reads the weight as fast as memory gives it, the usual one takes 1.1 to 2.4 times as long; a single row is
    computed twice, since the product with a vector is the slowest of all (`python -m benchmarks.experts`).
    """
    if len(x_NI) > FEW_ROWS or x_NI.device.type != "cpu" or x_NI.dtype != torch.float32:
        return F.linear(x_NI, weight_OI)
    rows = x_NI.contiguous() if len(x_NI) > 1 else torch.cat([x_NI, x_NI])
    return (weight_OI @ rows.T)[:, : len(x_NI)].T


@region(kernels=1)
def biased_scores(logits_TE: Tensor, bias_E: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of the experts, and those by which they are chosen."""
    scores = logits_TE.sigmoid()
    return scores, scores + bias_E


@region(kernels=1)
def chosen_weights(scores_TE: Tensor, experts_Tk: Tensor, is_normed: bool, factor: float) -> Tensor:
    """Weights of the chosen experts, (T, k)."""
    weights_Tk = scores_TE.gather(1, experts_Tk)
    if is_normed:
        weights_Tk = weights_Tk / (weights_Tk.sum(-1, keepdim=True) + 1e-20)
    return weights_Tk * factor


@region(kernels=2)
def sorted_pairs(x_TH: Tensor, chosen_P: Tensor, order_P: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """Inputs (P, H) of pairs (token, expert) sorted by expert, and where each expert's pairs end, (E) int32."""
    inputs = x_TH[order_P // (len(order_P) // len(x_TH))]
    names_E = torch.arange(experts, device=order_P.device)
    ends_E = (chosen_P <= names_E[:, None]).sum(-1, dtype=torch.int32)
    return inputs, ends_E


@region(kernels=1)
def weighted_sum(outputs_PH: Tensor, weights_Tk: Tensor) -> Tensor:
    """Weighted sum of each token's pairs, (T, H), summed in float32 or wider."""
    pairs = outputs_PH.view(*weights_Tk.shape, -1)
    return (wide(pairs) * weights_Tk[..., None]).sum(1).to(outputs_PH.dtype)


@region(kernels=1)
def summed_pairs(outputs_PH: Tensor, places_P: Tensor, weights_Tk: Tensor) -> Tensor:
    """`weighted_sum` of sorted pairs that are brought back in the tokens' order."""
    return weighted_sum.function(outputs_PH[places_P], weights_Tk)


@region(kernels=1)
def picked_sum(outputs_ETH: Tensor, experts_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
    """`weighted_sum` of the outputs of each token's experts, out of those of all experts."""
    tokens_T1 = torch.arange(len(experts_Tk), device=experts_Tk.device)[:, None]
    return weighted_sum.function(outputs_ETH[experts_Tk, tokens_T1].flatten(0, 1), weights_Tk)


@region(kernels=1)
def added(x: Tensor, routed: Tensor, shared: Tensor) -> Tensor:
    """What the experts give, added to what went by them."""
    return x + (routed + shared)


class MoE(nn.Module):
    """Routed experts plus the shared ones, which are a single MLP and are not scaled."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)
        self.shared_experts = MLP(config.hidden_size, config.n_shared_experts * config.moe_intermediate_size)

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """The map of `x`, added to `onto`."""
        x_TH = x.reshape(-1, x.shape[-1])
        routed = self.experts(x_TH, *self.gate(x_TH)).view_as(x)
        shared = self.shared_experts(x)
        return routed + shared if onto is None else added(onto, routed, shared)
