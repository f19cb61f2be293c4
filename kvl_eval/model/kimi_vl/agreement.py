"""Whether the files of a Kimi-VL checkpoint belong together. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer


def check_agreement(tokenizer: KimiTokenizer, config: PreprocessorConfig, model: KimiVLConfig, folder: Path) -> None:
    """Raise CheckpointError if `config.json` contradicts the tokenizer's or the image processor's files."""
    vocabulary = tokenizer.num_base + 256
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
                why=f"the tokenizer's and preprocessor's files say {expected}",
                fix="use config.json, preprocessor_config.json and tokenizer files of the same checkpoint",
            )
