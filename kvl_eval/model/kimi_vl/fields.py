"""What is known of the fields of a Kimi-VL checkpoint's configuration files. Imports no torch.

Required is what differs between the published configuration classes (KimiVLConfig, DeepseekV3Config, MoonViTConfig) and
the released checkpoints, or among these.
"""

from __future__ import annotations

from kvl_eval.families import CONFIG_KEY
from kvl_eval.model.config_fields import FieldNotes, SectionRule
from kvl_eval.model.files import ConfigFields

TOP = SectionRule(
    required=("text_config", "vision_config"),
    optional={"media_placeholder_token_id": 163605},
    without_effect=frozenset({"ignore_index", "vocab_size", CONFIG_KEY}),
)
TEXT = SectionRule(
    path="text_config",
    required=(
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
        *("moe_intermediate_size", "n_routed_experts", "n_shared_experts", "num_experts_per_tok"),
        *("first_k_dense_replace", "q_lora_rank", "n_group", "topk_group", "routed_scaling_factor", "rms_norm_eps"),
        *("rope_theta", "max_position_embeddings"),
    ),
    optional={
        "moe_layer_freq": 1,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "rope_interleave": True,
    },
    without_effect=frozenset(
        {
            *("aux_loss_alpha", "ep_size", "head_dim", "num_key_value_heads", "output_router_logits", "pretraining_tp"),
            *("qk_head_dim", "rope_parameters", "router_aux_loss_coef", "seq_aux", "num_nextn_predict_layers"),
        }
    ),
    synonyms={"num_local_experts": "n_routed_experts", "num_mtp_layers": "num_nextn_predict_layers"},
)
VISION = SectionRule(
    path="vision_config",
    optional={
        "patch_size": 14,
        "init_pos_emb_height": 64,
        "init_pos_emb_width": 64,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "merge_kernel_size": [2, 2],
    },
)
PICTURES = SectionRule(required=("in_token_limit", "pad_input", "image_mean", "image_std"))


def field_notes(values: ConfigFields) -> FieldNotes:
    """What the fields of a parsed `config.json` are to us."""
    sections = [rule.notes(section) for rule in (TEXT, VISION) if isinstance(section := values.get(rule.path), dict)]
    return TOP.notes(values).joined(sections)
