"""Tiny Qwen2.5-VL checkpoints with random weights, made and answered by transformers' own classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

# How published tokenizers of this family cut a text into words.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
LETTERS = 320  # ids before the special ones
TEXT = (
    "You are a helpful assistant. system user assistant What is shown in this picture? Answer the question with the "
    "letter of one option. The first and the second picture differ. Der Größe nach: 1, 2, 3. 图片里是什么?"
)
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}"
    "<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in "
    "content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}"
    "Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == "
    "'video' or 'video' in content %}{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}"
    "Video {{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}"
    "{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% endif %}"
)  # of the published checkpoints


LOUDNESS = {"embed_tokens": 0.3, "q_proj": 2.0, "k_proj": 2.0, "o_proj": 2.0, "down_proj": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One configuration; windows are in pixels."""

    text: dict[str, Any]
    vision: dict[str, Any]
    is_tied: bool
    pixels: tuple[int, int] = field(default=(56 * 56, 200_000))


SHAPES = {
    "untied": Shape(
        text={
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"type": "mrope", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        },
        vision={"depth": 3, "hidden_size": 32, "num_heads": 2, "window_size": 56, "fullatt_block_indexes": [1]},
        is_tied=False,
    ),
    "tied": Shape(
        text={
            "hidden_size": 96,
            "intermediate_size": 80,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "rope_parameters": {"type": "mrope", "mrope_section": [4, 2, 6], "rope_theta": 1000000.0},
        },
        vision={"depth": 4, "hidden_size": 48, "num_heads": 4, "window_size": 112, "fullatt_block_indexes": [0, 3]},
        is_tied=True,
    ),
}


def make_tokenizer() -> Tokenizer:
    """A byte-level tokenizer in the published form, with a small vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=LETTERS, initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    tokenizer.train_from_iterator([TEXT], trainer)
    assert tokenizer.get_vocab_size() == LETTERS
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False)])
    return tokenizer


def make_checkpoint(folder: Path, shape: Shape, dtype: torch.dtype = torch.float32) -> Path:
    """A folder as published ones are, with random weights; what it holds is made by transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {name: LETTERS + number for number, name in enumerate(SPECIAL)}
    tokens = {
        f"{kind}_token_id": ids[f"<|{name}|>"]
        for kind, name in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 384,
            "max_position_embeddings": 2048,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            **shape.text,
        },
        vision_config={"intermediate_size": 52, "out_hidden_size": shape.text["hidden_size"], **shape.vision},
        tie_word_embeddings=shape.is_tied,
        **tokens,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    randomize(model)
    model.to(dtype).save_pretrained(folder)
    stops = {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "temperature": 1e-6, "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(stops))
    make_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    Qwen2VLImageProcessorPil(min_pixels=shape.pixels[0], max_pixels=shape.pixels[1]).save_pretrained(folder)
    return folder


@torch.no_grad()
def randomize(model: torch.nn.Module) -> None:
    """Weights that make every part count: no norm is one, no bias zero, and what is written depends on all before."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
            if "language_model" in name:
                parameter.mul_(next((size for part, size in LOUDNESS.items() if part in name), 1.0))
            if "lm_head" in name or "embed_tokens" in name:
                parameter[LETTERS : LETTERS + 3] *= 0.5  # so that replies do not end at once
                parameter[LETTERS + SPECIAL.index("<|image_pad|>") :] *= 0.1  # transformers would ask for an image
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.3, generator=generator)
        else:
            parameter.uniform_(0.5, 1.5, generator=generator)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coarse noise, so that resizing leaves something to see."""
    noise = torch.randint(0, 256, (7, 5, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(noise.numpy()).resize((width, height), Image.Resampling.BICUBIC)


class Reference:
    """A checkpoint in transformers' own classes, float32, attention written out."""

    def __init__(self, folder: Path) -> None:
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        ).eval()
        self.processor = Qwen2VLImageProcessorPil.from_pretrained(folder)

    def inputs(self, ids: Sequence[int], pictures: Sequence[Image.Image] = ()) -> dict[str, Tensor]:
        """What the model takes of one prompt."""
        input_ids = torch.tensor([list(ids)])
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        if not pictures:
            return inputs
        kinds = (input_ids == self.model.config.image_token_id).int()
        return {**inputs, "mm_token_type_ids": kinds, **self.processor(list(pictures), return_tensors="pt")}

    @torch.no_grad()
    def logits(self, ids: Sequence[int], pictures: Sequence[Image.Image] = ()) -> Tensor:
        """(S, vocab_size) of every position."""
        logits: Tensor = self.model(**self.inputs(ids, pictures)).logits[0]
        return logits

    @torch.no_grad()
    def answer(self, ids: Sequence[int], pictures: Sequence[Image.Image] = (), new: int = 32) -> list[int]:
        """Greedy ids, a stop id included."""
        inputs = self.inputs(ids, pictures)
        written = self.model.generate(**inputs, max_new_tokens=new, do_sample=False, temperature=None)
        answer: list[int] = written[0, len(ids) :].tolist()
        return answer
