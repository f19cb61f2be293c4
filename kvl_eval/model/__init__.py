"""Kimi-VL as a library: model, processor, tokenizer and generation, without the evaluation harness.

Names are resolved on first use, so that worker processes can import `kvl_eval.model.kimi_vl.image_processor` and the
tokenizer without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig, TextConfig, VisionConfig
    from kvl_eval.model.kimi_vl.model import KimiVL
    from kvl_eval.model.kimi_vl.processor import KimiVLProcessor
    from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
    from kvl_eval.model.kimi_vl.weights import save_checkpoint
    from kvl_eval.model.sampling import sample

__all__ = [
    "KimiTokenizer",
    "KimiVL",
    "KimiVLConfig",
    "KimiVLProcessor",
    "PreprocessorConfig",
    "TextConfig",
    "VisionConfig",
    "sample",
    "save_checkpoint",
]

_HOMES = {
    "KimiTokenizer": "kimi_vl.tokenizer",
    "KimiVL": "kimi_vl.model",
    "KimiVLConfig": "kimi_vl.config",
    "KimiVLProcessor": "kimi_vl.processor",
    "PreprocessorConfig": "kimi_vl.config",
    "TextConfig": "kimi_vl.config",
    "VisionConfig": "kimi_vl.config",
    "sample": "sampling",
    "save_checkpoint": "kimi_vl.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
