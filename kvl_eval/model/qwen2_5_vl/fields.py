"""What is known of the fields of a Qwen2.5-VL checkpoint's configuration files. Imports no torch.

Required is what differs between the configuration classes of transformers and the released checkpoints, or among these.
"""

from __future__ import annotations

from kvl_eval.model.config_fields import FieldNotes, SectionRule
from kvl_eval.model.files import ConfigFields

TOP = SectionRule(
    required=("vision_config",),
    optional={"image_token_id": 151655},
    without_effect=frozenset(
        {
            *("text_config", "video_token_id", "vision_start_token_id", "vision_end_token_id", "vision_token_id"),
            *("vocab_size", "hidden_size", "tokens_per_second"),
        }
    ),
)
TEXT = SectionRule(
    path="text_config",
    required=(
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "mrope_section"),
    ),
    optional={"hidden_act": "silu", "rope_theta": 1000000.0},
    without_effect=frozenset(
        {
            *("layer_types", "max_window_layers", "rope_parameters", "rope_scaling", "sliding_window"),
            *("use_sliding_window", "image_token_id", "video_token_id", "vision_start_token_id"),
            *("vision_end_token_id", "vision_token_id"),
        }
    ),
)
VISION = SectionRule(
    path="vision_config",
    required=("hidden_size", "intermediate_size", "out_hidden_size"),
    optional={
        "depth": 32,
        "hidden_act": "silu",
        "num_heads": 16,
        "in_channels": 3,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    without_effect=frozenset({"in_chans", "spatial_patch_size", "tokens_per_second", "rope_parameters"}),
)
PICTURES = SectionRule(required=("max_pixels",))


def field_notes(values: ConfigFields) -> FieldNotes:
    """What the fields of a parsed `config.json` are to us, in either form of the file."""
    vision = values.get("vision_config")
    parts = [VISION.notes(vision)] if isinstance(vision, dict) else []
    nested = values.get("text_config")
    if isinstance(nested, dict):
        return TOP.notes(values).joined([TEXT.notes(_without_rope(nested)), *parts])
    own = {name: value for name, value in values.items() if name not in ("vision_config", "text_config")}
    return TEXT.notes(_without_rope(own)).joined(parts)


def _without_rope(text: ConfigFields) -> ConfigFields:
    """The fields with those that stand in a section of the rope beside the others."""
    ropes = [rope for name in ("rope_scaling", "rope_parameters") if isinstance(rope := text.get(name), dict)]
    return {**{name: value for rope in ropes for name, value in rope.items() if name in TEXT_OF_ROPE}, **text}


TEXT_OF_ROPE = ("rope_theta", "mrope_section")
