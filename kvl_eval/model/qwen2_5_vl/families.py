"""The families of Qwen2.5-VL checkpoints: facts alone, without torch."""

from __future__ import annotations

from dataclasses import replace

from kvl_eval.families import Families, ModelFamily

OTHER = ModelFamily(
    name="qwen2.5-vl",
    model_type="qwen2_5_vl",
    stop_texts=("<|im_end|>", "<|endoftext|>"),
    think=None,
    temperature=0.0,
    max_new_tokens=None,
    cap_new_tokens=None,
    published=None,
    is_demo=False,
    default_split=None,
)
"""Greedy, as the published settings are in effect (temperature 1e-6)."""

QWEN_3B = replace(OTHER, name="qwen2.5-vl-3b")
QWEN_7B = replace(OTHER, name="qwen2.5-vl-7b", published="qwen2.5-vl-7b")
QWEN_32B = replace(OTHER, name="qwen2.5-vl-32b", published="qwen2.5-vl-32b")
QWEN_72B = replace(OTHER, name="qwen2.5-vl-72b", published="qwen2.5-vl-72b")

FAMILIES = Families(
    records={family.name: family for family in (QWEN_3B, QWEN_7B, QWEN_32B, QWEN_72B, OTHER)},
    other=OTHER,
    repositories={
        "Qwen/Qwen2.5-VL-3B-Instruct": QWEN_3B.name,
        "Qwen/Qwen2.5-VL-7B-Instruct": QWEN_7B.name,
        "Qwen/Qwen2.5-VL-32B-Instruct": QWEN_32B.name,
        "Qwen/Qwen2.5-VL-72B-Instruct": QWEN_72B.name,
    },
    image_limits={},
)
