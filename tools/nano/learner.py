"""One step of learning: loss, master weights, optimizers, balance of the experts."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.moe import Router
from tools.nano.encoding import IGNORED, Batch
from tools.nano.muon import Muon
from tools.nano.plan import Plan


def loss_of(model: KimiVL, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the reply tokens."""
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel is slower on pictures this small
        features = None if batch.pixel_values is None else model.image_features(batch.pixel_values, batch.grids)
        embeds = model.embeddings(batch.input_ids, features)
        positions = torch.arange(embeds.shape[1]).expand_as(batch.input_ids)
        hidden = model.language_model.model(embeds, positions, None)
    targets = batch.labels[:, 1:]
    kept = targets != IGNORED
    return F.cross_entropy(model.language_model.logits(hidden[:, :-1][kept]), targets[kept])


class Trainer:
    """The model in bfloat16, its master weights in float32, Muon for most matrices and AdamW for everything else."""

    def __init__(self, model: KimiVL, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self.masters = {name: nn.Parameter(p.detach().float().clone()) for name, p in model.named_parameters()}
        self.biases = [name for name in self.masters if name.endswith("e_score_correction_bias")]
        matrices = [p for name, p in self.masters.items() if plan.muon_lr and _for_muon(name, p)]
        kept = {id(p) for p in matrices} | {id(self.masters[name]) for name in self.biases}
        rest = [p for p in self.masters.values() if id(p) not in kept]
        adam = torch.optim.AdamW(rest, lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.tools: list[torch.optim.Optimizer] = [adam]
        if matrices:
            self.tools.append(Muon(matrices, lr=plan.muon_lr))
        self.rates = (plan.lr, plan.muon_lr)
        self.balance = Balance(model)
        model.bfloat16()
        self.copy_down()

    @torch.no_grad()
    def copy_down(self) -> None:
        """Round the master weights into the model."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(self.masters[name])

    def step(self, batch: Batch, factor: float) -> float:
        """One update at the given factor on the learning rates; returns the loss."""
        loss = loss_of(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in self.model.named_parameters():
            self.masters[name].grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        for name in self.biases:
            self.masters[name].grad = None
        nn.utils.clip_grad_norm_(self.masters.values(), 1.0)
        for tool, base in zip(self.tools, self.rates, strict=False):
            tool.param_groups[0]["lr"] = base * factor
            tool.step()
        self.balance.step([self.masters[name] for name in self.biases])
        self.copy_down()
        return loss.item()

    def state(self) -> dict[str, object]:
        """Everything that resuming needs."""
        masters = {name: p.detach() for name, p in self.masters.items()}
        return {"masters": masters, "tools": [tool.state_dict() for tool in self.tools]}

    @torch.no_grad()
    def restore(self, masters: dict[str, torch.Tensor], tools: list[dict[str, object]] | None = None) -> None:
        """Go on from saved master weights and, where given, optimizer states."""
        for name, value in masters.items():
            self.masters[name].copy_(value)
        for tool, saved in zip(self.tools, tools or [], strict=False):
            tool.load_state_dict(saved)
        self.copy_down()


def _for_muon(name: str, parameter: torch.Tensor) -> bool:
    """The matrices of attention, MLPs and experts; not tables, heads, routers, the patch map or the projector."""
    return (
        parameter.ndim in (2, 3)
        and any(part in name for part in ("self_attn", ".mlp.experts", ".mlp.", "blocks"))
        and (not name.endswith("gate.weight"))
    )


class Balance:
    """Nudges the routers' correction biases so that every expert is used (arXiv 2412.19437, section 2.1.2)."""

    def __init__(self, model: KimiVL, speed: float = 1e-3) -> None:
        self.speed = speed
        self.routers = [module for module in model.modules() if isinstance(module, Router)]
        self.counts = [torch.zeros(router.weight.shape[0]) for router in self.routers]
        for router, count in zip(self.routers, self.counts, strict=True):
            router.register_forward_hook(self._counter(count))

    @staticmethod
    def _counter(count: torch.Tensor):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, inputs: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
            if torch.is_grad_enabled():
                count.add_(torch.bincount(output[0].flatten(), minlength=len(count)))

        return hook

    @torch.no_grad()
    def step(self, biases: list[nn.Parameter]) -> None:
        for bias, count in zip(biases, self.counts, strict=True):
            bias += self.speed * torch.sign(count.mean() - count)
            count.zero_()
