"""The families of Kimi-VL checkpoints: facts alone, without torch."""

from __future__ import annotations

from dataclasses import replace

from kvl_eval.families import Families, ModelFamily
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN

INSTRUCT = ModelFamily(
    name="instruct",
    model_type="kimi_vl",
    stop_texts=("<|im_end|>", "[EOS]"),
    think=(THINK_OPEN, THINK_CLOSE),
    temperature=0.0,
    max_new_tokens=None,
    cap_new_tokens=None,
    published="kimi-vl-a3b-instruct",
    is_demo=False,
    default_split=None,
)
THINKING = replace(
    INSTRUCT,
    name="thinking",
    temperature=0.8,
    max_new_tokens=16_384 + 2_048,
    published="kimi-vl-a3b-thinking",
)
THINKING_2506 = replace(
    INSTRUCT,
    name="thinking-2506",
    temperature=0.8,
    max_new_tokens=32_768,
    agent="kimi",
    published="kimi-vl-a3b-thinking-2506",
)
NANO = replace(INSTRUCT, name="nano", cap_new_tokens=512, is_demo=True, default_split="mini", agent="one-click")
NANO_THINKING = replace(NANO, name="nano-thinking", temperature=0.8, max_new_tokens=512)
OTHER = replace(INSTRUCT, name="other", published=None)
SCRIPTED = replace(INSTRUCT, name="fake", default_split="mini")
"""Of the backend that answers without a model: no checkpoint has it."""

FAMILIES = Families(
    records={family.name: family for family in (INSTRUCT, THINKING, THINKING_2506, NANO, NANO_THINKING, OTHER)},
    other=OTHER,
    repositories={
        "moonshotai/Kimi-VL-A3B-Instruct": INSTRUCT.name,
        "moonshotai/Kimi-VL-A3B-Thinking": THINKING.name,
        "moonshotai/Kimi-VL-A3B-Thinking-2506": THINKING_2506.name,
    },
    image_limits={16_384: THINKING_2506.name},
)
