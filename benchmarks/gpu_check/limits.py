"""The least that a step of Kimi-VL moves and computes, counted from the weights of a model at hand.

Decode is bound by bytes (weights that a batch hits, and every sequence's latents), prefill by operations. Only matrix
products count, a causal pair of tokens once. `benchmarks.roofline` does the same for the released shape, with no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu_check.card import Rates
from kvl_eval.model import KimiVL, KimiVLConfig

TABLES = ("embed_tokens", "lm_head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Parameters of a model by when they are used.

    Attributes:
        routed: of all routed experts of the language model.
        always: of the rest of it, without embedding table and head.
        head:   of the output head.
        tower:  of the vision tower.
        itemsize: bytes of one.
    """

    routed: int
    always: int
    head: int
    tower: int
    itemsize: int

    @classmethod
    def of(cls, model: KimiVL) -> Weights:
        """Of a model, whatever its layers are called."""
        text = {name: value.numel() for name, value in model.language_model.named_parameters()}
        routed = sum(count for name, count in text.items() if ".experts." in name)
        tables = sum(count for name, count in text.items() if any(table in name for table in TABLES))
        head = sum(count for name, count in text.items() if "lm_head" in name)
        return cls(
            routed=routed,
            always=sum(text.values()) - routed - tables,
            head=head,
            tower=sum(value.numel() for value in model.vision_tower.parameters()),
            itemsize=model.dtype.itemsize,
        )


def decode_seconds(weights: Weights, config: KimiVLConfig, rates: Rates, batch: int, context: float) -> float:
    """Least time of one new token for each of `batch` sequences of `context` tokens."""
    text = config.text_config
    hit = 1 - (1 - text.num_experts_per_tok / text.n_routed_experts) ** batch  # share of experts of random tokens
    cached = text.latent_size * text.num_hidden_layers * context * batch
    moved = weights.itemsize * (weights.always + weights.head + weights.routed * hit + cached)
    linear = 2 * batch * (weights.head + _linear(weights, config))
    absorbed = text.num_attention_heads * (text.latent_size + text.kv_lora_rank)  # products of a pair of tokens
    attention = 2 * absorbed * text.num_hidden_layers * context * batch
    return max(moved / rates.bandwidth, (linear + attention) / rates.operations)


def prefill_seconds(weights: Weights, config: KimiVLConfig, rates: Rates, prompts: int, tokens: int) -> float:
    """Least time of so many prompts of so many tokens, from embeddings to the logits behind each."""
    text = config.text_config
    attention = text.num_hidden_layers * text.num_attention_heads * (text.qk_head_dim + text.v_head_dim) * tokens**2
    linear = 2 * _linear(weights, config) * tokens + 2 * weights.head
    read = weights.itemsize * (weights.always + weights.routed + weights.head)
    return max(prompts * (linear + attention) / rates.operations, read / rates.bandwidth)


def tower_seconds(weights: Weights, config: KimiVLConfig, rates: Rates, pictures: int, patches: int) -> float:
    """Least time of so many pictures of so many patches each."""
    vision = config.vision_config
    linear = 2 * weights.tower * patches
    attention = 4 * vision.hidden_size * vision.num_hidden_layers * patches**2
    return max(pictures * (linear + attention) / rates.operations, weights.itemsize * weights.tower / rates.bandwidth)


def _linear(weights: Weights, config: KimiVLConfig) -> float:
    """Parameters that each token meets outside attention and the head."""
    text = config.text_config
    return weights.always + weights.routed * text.num_experts_per_tok / text.n_routed_experts
