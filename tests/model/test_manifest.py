"""The full-size model has exactly the tensors of the released checkpoints, name by name, shape by shape."""

import math

import pytest
import torch

from kvl_eval.model import KimiVL, KimiVLConfig
from kvl_eval.model.weights import checkpoint_tensors

Shapes = dict[str, tuple[int, ...]]


def vision() -> Shapes:
    shapes: Shapes = {
        "patch_embed.proj.weight": (1152, 3, 14, 14),
        "patch_embed.proj.bias": (1152,),
        "patch_embed.pos_emb.weight": (64, 64, 1152),
        "encoder.final_layernorm.weight": (1152,),
        "encoder.final_layernorm.bias": (1152,),
    }
    for layer in range(27):
        block = f"encoder.blocks.{layer}"
        for norm in ("norm0", "norm1"):
            shapes |= {f"{block}.{norm}.weight": (1152,), f"{block}.{norm}.bias": (1152,)}
        for name, (out, into) in {
            "wqkv": (3456, 1152),
            "wo": (1152, 1152),
            "mlp.fc0": (4304, 1152),
            "mlp.fc1": (1152, 4304),
        }.items():
            shapes |= {f"{block}.{name}.weight": (out, into), f"{block}.{name}.bias": (out,)}
    return {f"vision_tower.{name}": shape for name, shape in shapes.items()}


def projector() -> Shapes:
    shapes: Shapes = {
        "pre_norm.weight": (1152,),
        "pre_norm.bias": (1152,),
        "linear_1.weight": (4608, 4608),
        "linear_1.bias": (4608,),
        "linear_2.weight": (2048, 4608),
        "linear_2.bias": (2048,),
    }
    return {f"multi_modal_projector.{name}": shape for name, shape in shapes.items()}


def language() -> Shapes:
    shapes: Shapes = {
        "model.embed_tokens.weight": (163840, 2048),
        "lm_head.weight": (163840, 2048),
        "model.norm.weight": (2048,),
    }
    for layer in range(27):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.input_layernorm.weight": (2048,),
            f"{prefix}.post_attention_layernorm.weight": (2048,),
            f"{prefix}.self_attn.q_proj.weight": (3072, 2048),
            f"{prefix}.self_attn.kv_a_proj_with_mqa.weight": (576, 2048),
            f"{prefix}.self_attn.kv_a_layernorm.weight": (512,),
            f"{prefix}.self_attn.kv_b_proj.weight": (4096, 512),
            f"{prefix}.self_attn.o_proj.weight": (2048, 2048),
        }
        if layer == 0:
            shapes |= mlp(f"{prefix}.mlp", 11264)
            continue
        shapes |= {f"{prefix}.mlp.gate.weight": (64, 2048), f"{prefix}.mlp.gate.e_score_correction_bias": (64,)}
        shapes |= mlp(f"{prefix}.mlp.shared_experts", 2816)
        for expert in range(64):
            shapes |= mlp(f"{prefix}.mlp.experts.{expert}", 1408)
    return {f"language_model.{name}": shape for name, shape in shapes.items()}


def mlp(prefix: str, width: int) -> Shapes:
    return {
        f"{prefix}.gate_proj.weight": (width, 2048),
        f"{prefix}.up_proj.weight": (width, 2048),
        f"{prefix}.down_proj.weight": (2048, width),
    }


@pytest.fixture(scope="module")
def released() -> Shapes:
    """Tensors of the model built from the real Instruct configuration, which the defaults are."""
    with torch.device("meta"):
        model = KimiVL(KimiVLConfig())
    return {name: tuple(tensor.shape) for name, tensor in checkpoint_tensors(model).items()}


def test_names_and_shapes(released: Shapes) -> None:
    assert released == vision() | projector() | language()


def test_counts(released: Shapes) -> None:
    assert len(released) == 5652
    assert sum(map(math.prod, released.values())) == 16_407_656_048


@pytest.mark.parametrize(
    ("prefix", "tensors", "parameters"),
    [
        ("vision_tower.", 329, 416_866_032),
        ("multi_modal_projector.", 6, 30_679_808),
        ("language_model.", 5317, 15_960_110_208),
    ],
)
def test_counts_of_the_parts(released: Shapes, prefix: str, tensors: int, parameters: int) -> None:
    shapes = [shape for name, shape in released.items() if name.startswith(prefix)]
    assert (len(shapes), sum(map(math.prod, shapes))) == (tensors, parameters)
