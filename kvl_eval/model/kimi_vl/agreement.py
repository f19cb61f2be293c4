"""Whether the files of a Kimi-VL checkpoint belong together. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig
from kvl_eval.model.kimi_vl.tokenizer import NUM_SPECIAL, KimiTokenizer


def check_agreement(tokenizer: KimiTokenizer, config: PreprocessorConfig, model: KimiVLConfig, folder: Path) -> None:
    """Raise CheckpointError if `config.json` contradicts the tokenizer's or the image processor's files."""
    vocabulary = tokenizer.num_base + 256
    _check_added(tokenizer, model.text_config.vocab_size, folder)
    agreements: list[tuple[str, object, object, bool]] = [
        ("vocab_size", model.text_config.vocab_size, vocabulary, model.text_config.vocab_size >= vocabulary),
        *(
            (name, ours, theirs, ours == theirs)
            for name, ours, theirs in (
                ("media_placeholder_token_id", model.media_placeholder_token_id, tokenizer.media_pad_id),
                ("vision_config.patch_size", model.vision_config.patch_size, config.patch_size),
                ("vision_config.merge_kernel_size", model.vision_config.merge_kernel_size, config.merge_kernel_size),
            )
        ),
    ]
    for name, found, expected, agrees in agreements:
        if not agrees:
            raise CheckpointError(
                "model.config",
                f"{name} is {found}",
                where=str(folder / "config.json"),
                why=f"the tokenizer and preprocessor files say {expected}",
                fix="use config.json, preprocessor_config.json and tokenizer files of one checkpoint",
            )


def _check_added(tokenizer: KimiTokenizer, vocab_size: int, folder: Path) -> None:
    """Raise CheckpointError for a token that was added at or beyond the size of the embedding table."""
    first = max(vocab_size, tokenizer.num_base + NUM_SPECIAL)
    beyond = [f"{name} = {number}" for name, number in tokenizer.special_tokens.items() if number >= first]
    if beyond:
        raise CheckpointError(
            "model.tokenizer",
            f"special tokens beyond the vocabulary: {', '.join(beyond[:5])}",
            where=str(folder),
            why=f"text_config.vocab_size is {vocab_size}: special ids are {tokenizer.num_base} to {vocab_size - 1}",
            fix="use the tokenizer files and the weights of one checkpoint",
        )
