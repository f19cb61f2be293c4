"""From a training state to the checkpoint folder that ships."""

import json
from pathlib import Path

import torch

from kvl_eval.families import CONFIG_KEY
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.families import NANO, NANO_THINKING
from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.processor import KimiVLProcessor
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from kvl_eval.model.kimi_vl.weights import save_checkpoint

README = """\
# kimi-vl-nano

A demo model trained on synthetic drawings, **not Kimi-VL-A3B**. It has Kimi-VL's architecture (MoonViT, 2x2
merge, MLP projector, mixture-of-experts language model with latent attention) at {millions:.1f} million parameters, and
the exact checkpoint format of the released models, so that the whole path from pixels to a score can be run and tested
without a GPU or a download. It reads numbers, short words, small charts, tables and figures of the kinds that
the bundled `mini` splits show, drawn with other seeds, and knows nothing else. Its scores say something about this
software only.

Trained by `tools/train_nano.py`; its last run took {steps} steps, {minutes:.0f} minutes of one core. All runs, recipe
and accuracy table: `tools/README.md`. MIT license, as the rest of the project; the drawings use the DejaVu fonts.
"""

THINKING = """\
# kimi-vl-nano-thinking

A demo model trained on synthetic drawings, **not Kimi-VL-A3B-Thinking**: kimi-vl-nano's architecture,
tokenizer and format ({millions:.1f} million parameters), trained on from its weights so that it thinks before it
answers: `◁think▷ ... ◁/think▷answer`. Its thoughts write down what an image shows and go through it step by step:
adding up, counting, walking from letter to letter. They take some 20 to 450 tokens, so that a thinking budget has an
effect. It knows nothing else; its scores say something about this software only.

Trained by `tools/train_nano.py --thinking`: {steps} steps, {minutes:.0f} minutes of one core. Recipe and accuracy:
`tools/README.md`. MIT license, as the rest of the project; the drawings use the DejaVu fonts.
"""


def export(run: Path, target: Path, preprocessor: PreprocessorConfig, model: KimiVL, *, thinking: bool = False) -> None:
    """Write the state of a training run as a checkpoint folder; `model` lends its shape and is overwritten."""
    state = torch.load(run / "state.pt", weights_only=True)
    tokenizer = KimiTokenizer.from_folder(run)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state["masters"][name])
    model.stop_token_ids = tokenizer.stop_ids
    save_checkpoint(model, target, dtype=torch.bfloat16)
    _label(target / "config.json", NANO_THINKING.name if thinking else NANO.name)
    KimiVLProcessor(tokenizer, preprocessor).save(target)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    text = (THINKING if thinking else README).format(
        millions=millions, steps=state["step"], minutes=state["spent"] / 60
    )
    (target / "README.md").write_text(text, encoding="utf-8")


def _label(config: Path, family: str) -> None:
    """Say in config.json which family the checkpoint is of."""
    values = {**json.loads(config.read_text(encoding="utf-8")), CONFIG_KEY: family}
    config.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
