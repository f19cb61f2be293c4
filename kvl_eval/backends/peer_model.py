"""A checkpoint of any architecture that transformers knows, asked in batches. Imports torch and transformers.

Sampling is ours: a logits processor draws the n-th token of a row by (the row's seed, n), as the bundled engine does,
so that neither batch nor order changes an answer beyond rounding. A checkpoint's own sampling defaults, repetition
penalties included, are not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from kvl_eval.errors import CheckpointError
from kvl_eval.model.base import Turn
from kvl_eval.model.sampling import sample_rows
from kvl_eval.types import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """One answer wanted: the turns for the chat template, its pictures in order, and how it is sampled."""

    turns: Sequence[Turn]
    pictures: Sequence[Image.Image]
    generation: Generation
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerOutput:
    """What a row became: ids without padding, whether a stop id ended them, and the prompt's counts.

    `failed` is `nan` or `context_overflow` where there is no answer.
    """

    ids: tuple[int, ...] = ()
    stopped: bool = False
    prompt_tokens: int = 0
    image_tokens: int = 0
    prompt: str = ""
    failed: str | None = None


class PeerModel:
    """Model and processor of a folder. Raises: CheckpointError, if transformers cannot load them as they are."""

    def __init__(self, folder: Path, dtype: str, device: str) -> None:
        try:
            here = {"local_files_only": True, "trust_remote_code": False}
            self.processor: Any = AutoProcessor.from_pretrained(folder, **here)  # type: ignore[no-untyped-call]
            self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=getattr(torch, dtype), **here)
        except (ImportError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise unusable(folder, error) from error
        self.model.to(device).eval()  # type: ignore[arg-type]
        self.tokenizer = self.processor.tokenizer
        self.tokenizer.padding_side = "left"
        config = self.model.config.to_dict()
        self.context: int | None = self.model.config.get_text_config().to_dict().get("max_position_embeddings")
        self.image_id = config.get("image_token_id", config.get("image_token_index"))
        self.stop_ids = _stop_ids(self.model.generation_config, self.tokenizer)
        self._generation = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            eos_token_id=sorted(self.stop_ids),
            pad_token_id=next(token for token in (self.tokenizer.pad_token_id, *self.stop_ids) if token is not None),
        )

    @torch.no_grad()
    def answer(self, rows: Sequence[PeerRow], halted: Callable[[], bool]) -> list[PeerOutput]:
        """The rows' outputs, computed together; all have the same limit, and all pictures or none.

        Raises: whatever processor and model raise for rows they cannot take; torch.OutOfMemoryError.
        """
        texts = [self.processor.apply_chat_template(row.turns, add_generation_prompt=True) for row in rows]
        pictures = [list(row.pictures) for row in rows] if rows[0].pictures else None
        batch = self.processor(text=texts, images=pictures, return_tensors="pt", padding=True)
        batch = batch.to(self.model.device, dtype=self.model.dtype)
        ids, lengths = batch["input_ids"], batch["attention_mask"].sum(-1).tolist()
        limit = rows[0].generation.limit
        if self.context is not None and max(lengths) + limit > self.context:
            return self._within_context(rows, lengths, halted)
        draws = _Draws(rows, ids.shape[1], min(self.stop_ids))
        written = self.model.generate(
            **batch,
            generation_config=self._generation,
            max_new_tokens=limit,
            logits_processor=LogitsProcessorList([draws]),
            stopping_criteria=StoppingCriteriaList([_Halt(halted)]),
        )
        images = [0] * len(rows) if self.image_id is None else (ids == self.image_id).sum(-1).tolist()
        return [
            self._output(new, draws.broken[number], lengths[number], images[number], texts[number])
            for number, new in enumerate(written[:, ids.shape[1] :].tolist())
        ]

    def _within_context(
        self, rows: Sequence[PeerRow], lengths: Sequence[int], halted: Callable[[], bool]
    ) -> list[PeerOutput]:
        """The outputs of rows that fit, failures for the others."""
        assert self.context is not None
        fits = [length + row.generation.limit <= self.context for row, length in zip(rows, lengths, strict=True)]
        fitting = [row for row, fit in zip(rows, fits, strict=True) if fit]
        answered = iter(self.answer(fitting, halted) if fitting else ())
        return [
            next(answered) if fit else PeerOutput(failed="context_overflow", prompt_tokens=length)
            for fit, length in zip(fits, lengths, strict=True)
        ]

    def _output(self, new: list[int], broken: bool, length: int, images: int, text: str) -> PeerOutput:
        end = next((place for place, token in enumerate(new) if token in self.stop_ids), None)
        return PeerOutput(
            ids=tuple(new if end is None else new[: end + 1]),
            stopped=end is not None,
            prompt_tokens=length,
            image_tokens=images,
            prompt=text,
            failed="nan" if broken else None,
        )

    def text(self, ids: Sequence[int], *, special: bool) -> str:
        """The text of ids, with special tokens or without."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False))


@dataclass(slots=True)
class _Draws(LogitsProcessor):
    """Leaves each row one token: the one that its own seed draws, or the likeliest. `broken` rows had no numbers."""

    rows: Sequence[PeerRow]
    width: int
    stop: int
    broken: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        self.broken = [False] * len(self.rows)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores in which the chosen token alone is possible."""
        generations = [row.generation for row in self.rows]
        tokens = sample_rows(
            scores,
            temperature=[generation.temperature for generation in generations],
            top_p=[generation.top_p for generation in generations],
            top_k=[generation.top_k for generation in generations],
            seed=[row.seed for row in self.rows],
            step=[input_ids.shape[1] - self.width] * len(self.rows),
        )
        self.broken = [was or token is None for was, token in zip(self.broken, tokens, strict=True)]
        chosen = torch.tensor([self.stop if token is None else token for token in tokens], device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


@dataclass(slots=True)
class _Halt(StoppingCriteria):
    """Ends a batch whose answers are no longer needed."""

    halted: Callable[[], bool]

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Whether each row is to end."""
        return torch.full((len(input_ids),), self.halted(), device=input_ids.device, dtype=torch.bool)


def _stop_ids(config: GenerationConfig, tokenizer: Any) -> frozenset[int]:
    stated = config.eos_token_id
    listed = stated if isinstance(stated, list) else [stated]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


def unusable(folder: Path, error: Exception) -> CheckpointError:
    """The error for a checkpoint that transformers cannot load; a missing library is named, with what installs it."""
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) and "torchvision" in text.lower():
        return CheckpointError(
            "model.torchvision",
            f"the processor of {folder.name} needs torchvision",
            where=str(folder),
            why="parts of the processor (often the one for videos) need torchvision",
            fix=f"install the torchvision that matches torch {torch.__version__}, from the same index as torch; or "
            "serve the model and use --model endpoint",
        )
    return CheckpointError(
        "model.peer",
        f"transformers cannot load {folder.name} as an image-text model",
        where=str(folder),
        why=f"{type(error).__name__}: {text[:300]}",
        fix="kvl-eval never runs code from checkpoints; serve the model and use --model endpoint",
    )
