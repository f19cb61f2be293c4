"""Small randomly initialised checkpoints of two architectures, saved as their own code saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ["hello world", "the answer is B", "a point at 0.5, 0.5"]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}PICTURE"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer(specials: list[str], **more: Any) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>", *specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(WORDS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", **more)


def save(folder: Path, model: Any, processor: Any) -> Path:
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    """CLIP and Llama, pictures of 4 tokens."""
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    words = tokenizer(["<image>"])
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=28, patch_size=14, projection_dim=32),
        text_config=LlamaConfig(vocab_size=len(words), **TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("PICTURE", "<image>"),
    )
    return save(folder, LlavaForConditionalGeneration(config), processor)


def gemma3(folder: Path) -> Path:
    """SigLIP and Gemma 3 with sliding attention, pictures of 4 tokens between marks."""
    import torch
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    torch.manual_seed(0)
    begin, end, soft = "<start_of_image>", "<end_of_image>", "<image_soft_token>"
    words = tokenizer(
        [begin, end, soft],
        extra_special_tokens={"image_token": soft, "boi_token": begin, "eoi_token": end},
    )
    config = Gemma3Config(
        text_config=Gemma3TextConfig(vocab_size=len(words), head_dim=16, sliding_window=64, **TEXT),
        vision_config=SiglipVisionConfig(**VISION, image_size=56, patch_size=14),
        mm_tokens_per_image=4,
        boi_token_index=words.convert_tokens_to_ids(begin),
        eoi_token_index=words.convert_tokens_to_ids(end),
        image_token_index=words.convert_tokens_to_ids(soft),
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer=words,
        image_seq_length=4,
        chat_template=TEMPLATE.replace("PICTURE", begin),
    )
    return save(folder, Gemma3ForConditionalGeneration(config), processor)


MAKERS = {"llava": llava, "gemma3": gemma3}
