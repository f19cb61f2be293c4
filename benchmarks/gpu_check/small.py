"""Small checkpoints of both architectures, questions with and without pictures, and their answers on a device.

Kimi-VL is the demo model that thinks, which comes with kvl-eval; Qwen2.5-VL has random weights, made here. Nothing is
fetched. A model is asked as an engine asks it (`kvl_eval.model.base`), or through the engine itself.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.engine import THINKING, Place, answers
from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.model.base import Architecture, VisionLanguageModel
from kvl_eval.model.generate import decode_step
from kvl_eval.model.pages import PageTable
from kvl_eval.model.qwen2_5_vl.config import QwenConfig
from kvl_eval.model.registry import architecture_of
from kvl_eval.model.rows import PromptRows, StepRows
from kvl_eval.model.weights import write_weights
from kvl_eval.pictures import Grid
from kvl_eval.thinking import THINK_OPEN
from kvl_eval.types import Generation, ImageRef, Message

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    "<|video_pad|>",
)
LETTERS = 256  # ids before the special ones: a byte each
# Questions with the sizes of their pictures, the cheap ones first.
QUESTIONS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("Think about it: what is 17 plus 25?", ()),
    ("A.", ((100, 61),)),
    ("Which differ?", ((30, 90), (64, 48))),
    ("How many bars are taller than 40? " * 3, ()),
    ("Read the number at the top right of the table and write it down. " * 6, ()),
    ("Which option is right? (A) red (B) green (C) blue", ((140, 140),)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder with a small model; `prefix` opens a thought where the model does not."""

    name: str
    family: str
    folder: Path
    prefix: str = ""

    @property
    def architecture(self) -> Architecture:
        return architecture_of(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A prompt as ids, with the patches (P, 3, side, side) of its pictures as bytes."""

    ids: list[int]
    patches: Tensor | None
    grids: list[Grid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Greedy ids, and the logits (steps, vocabulary) that each was taken from, in float64 on the CPU."""

    ids: list[int]
    logits: Tensor

    @property
    def margin(self) -> float:
        """The smallest distance of the best logit from the second best."""
        best = self.logits.topk(2).values
        return float((best[:, 0] - best[:, 1]).min())


def checkpoints(place: Path) -> list[Checkpoint]:
    """One of each architecture; what is made is written to `place`."""
    qwen = Checkpoint(
        name="Qwen2.5-VL (random)", family="qwen2.5-vl", folder=random_qwen(place / "qwen"), prefix=THINK_OPEN
    )
    return [Checkpoint(name="Kimi-VL (nano-thinking)", family="nano-thinking", folder=THINKING), qwen]


def random_qwen(folder: Path) -> Path:
    """A Qwen2.5-VL checkpoint with random weights, a tokenizer of single bytes and rules for small pictures."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
    from kvl_eval.model.qwen2_5_vl.tokenizer import byte_letters

    text = {
        **{"vocab_size": 384, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096},
        **{"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    vision = {
        **{"depth": 3, "hidden_size": 32, "num_heads": 2, "window_size": 56, "fullatt_block_indexes": [1]},
        **{"intermediate_size": 48, "out_hidden_size": 64},
    }
    ids = {name: LETTERS + number for number, name in enumerate(SPECIAL)}
    fields = {
        **{"model_type": "qwen2_5_vl", "image_token_id": ids["<|image_pad|>"], "eos_token_id": ids["<|im_end|>"]},
        **{"torch_dtype": "float32", "tie_word_embeddings": False, **text, "vision_config": vision},
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(fields))
    model = Qwen25VL(QwenConfig.from_dict(fields))
    randomize(model)
    write_weights(model, folder, torch.float32, 2**30)
    tokenizer = Tokenizer(models.BPE(vocab={letter: byte for byte, letter in enumerate(byte_letters())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    pictures = {"min_pixels": 56 * 56, "max_pixels": 200_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": fields["eos_token_id"]}))
    return folder


@torch.no_grad()
def randomize(model: torch.nn.Module, seed: int = 7) -> None:
    """Weights that make every part count, and replies that do not end at once."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0.0, 1.5 * parameter[0].numel() ** -0.5, generator=generator)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.3, generator=generator)
        else:
            parameter.uniform_(0.5, 1.5, generator=generator)
        if "lm_head" in name:
            parameter[LETTERS:] *= 0.1  # special tokens are seldom written


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Coarse noise, so that resizing leaves something to see."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def cases(checkpoint: Checkpoint, count: int = len(QUESTIONS)) -> list[Case]:
    """The first questions as prompts of different length, with no picture, one and two."""
    return [_case(checkpoint, text, sizes) for text, sizes in QUESTIONS[:count]]


def _case(checkpoint: Checkpoint, text: str, sizes: Sequence[tuple[int, int]]) -> Case:
    record = checkpoint.architecture
    rule = record.picture_rule(checkpoint.folder)
    prepared = [rule.patches(picture(*size, seed=number)) for number, size in enumerate(sizes)]
    content = [*({"type": "image"} for _ in sizes), {"type": "text", "text": text}]
    counts = [rule.size(*size).tokens for size in sizes]
    prompt = record.processor(checkpoint.folder).encode_turns([{"role": "user", "content": content}], counts)
    patches = [torch.from_numpy(array) for array, _ in prepared]
    return Case(ids=prompt.ids, patches=torch.cat(patches) if patches else None, grids=[grid for _, grid in prepared])


@torch.no_grad()
def reply(
    checkpoint: Checkpoint, model: VisionLanguageModel, case: Case, steps: int, script: Sequence[int] | None = None
) -> Reply:
    """What a model writes behind a prompt, alone in a cache of its own; stop ids do not end it.

    With a script these ids are fed instead, so that logits of two models can be compared.
    """
    features = None
    if case.patches is not None:
        rule = checkpoint.architecture.picture_rule(checkpoint.folder)
        features = model.image_features(case.patches.to(model.device), case.grids, prepare=rule.normalized)
    ids = torch.tensor([case.ids], device=model.device)
    embedded = model.embed(ids, features, case.grids)
    pool, table = model.new_pool(), PageTable(offset=embedded.next_position - len(case.ids))
    logits = model.forward_cached(embedded.embeds, PromptRows(pool, [table], [len(case.ids)], embedded.positions))
    rows, written, seen = StepRows(pool, [table]), [], []
    for step in range(steps):
        seen.append(logits[0].double().cpu() if model.device.type != "mps" else logits[0].cpu().double())
        written.append(int(seen[-1].argmax()))
        if step + 1 < steps:
            logits = decode_step(model, [written[-1] if script is None else script[step]], rows)
    return Reply(ids=written, logits=torch.stack(seen))


def requests(
    checkpoint: Checkpoint, generation: Generation, count: int = len(QUESTIONS), repeats: int = 1
) -> list[Request]:
    """The same questions for an engine, with as many repeats and a seed for each."""
    return [
        Request(
            key=f"q{number}",
            messages=(Message.user(*_pictures(sizes), text),),
            generation=generation,
            seeds=tuple(range(number, number + repeats)),
            repeats=tuple(range(repeats)),
            prefix=checkpoint.prefix,
        )
        for number, (text, sizes) in enumerate(QUESTIONS[:count])
    ]


def _pictures(sizes: Sequence[tuple[int, int]]) -> list[ImageRef]:
    return [
        ImageRef(name=f"picture {number}", data=_png(picture(*size, seed=number))) for number, size in enumerate(sizes)
    ]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def written(
    checkpoint: Checkpoint,
    asked: Sequence[Request],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    rows: int = 8,
) -> dict[Place, str]:
    """What the engine writes on a device, by request, repeat and budget."""
    settings = Settings.of(
        device=str(device), dtype=str(dtype).removeprefix("torch."), batch_size=rows, num_workers=0, kv_cache_gb=0.25
    )
    engine = TorchEngine(checkpoint.folder, settings, name="small", family=checkpoint.family)
    completions = answers(engine, asked)
    asyncio.run(engine.close())
    failed = {place: completion.message for place, completion in completions.items() if completion.status != "ok"}
    if failed:
        raise AssertionError(f"the engine did not answer {len(failed)} of {len(completions)}: {failed}")
    return {place: completion.raw_output for place, completion in completions.items()}
