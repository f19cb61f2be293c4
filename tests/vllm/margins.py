"""By how much the demo model was sure of what it wrote: another order of sums may turn a near-tie, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from kvl_eval.backends import MODELS
from kvl_eval.media.images import read_bytes
from kvl_eval.model import KimiVL, KimiVLProcessor
from kvl_eval.sources import Source
from kvl_eval.store.records import Record
from kvl_eval.tasks import get_task, open_split
from kvl_eval.thinking import THINK_CLOSE
from kvl_eval.types import ImageRef, Message

SURE = 0.01  # logits between the best token and the next one; sums differ by some 1e-5


class Margins:
    """The margins of a demo model's outputs, in float32.

    Attributes:
        model, processor: the checkpoint in the bundled implementation.
    """

    def __init__(self, name: str) -> None:
        location = MODELS[name].location
        self.model = KimiVL.from_pretrained(location, dtype="float32")
        self.processor = KimiVLProcessor.from_pretrained(location)
        self._inputs: dict[tuple[str, str], Mapping[str, Any]] = {}

    def sure(self, task: str, record: Record, least: float = SURE) -> bool:
        """Whether every token of a record was chosen by at least that margin; a forced marker was not chosen."""
        thought, marker, answer = record.raw_output.partition(THINK_CLOSE)
        parts = [(thought, True), (marker, not record.budget_forced), (answer, True)]
        encode = self.processor.tokenizer.encode
        written = [(token, chosen) for text, chosen in parts for token in encode(text, allow_special=True)]
        return self.margin(self._prompt(task, record.sample_id), written) > least

    @torch.no_grad()
    def margin(self, inputs: Mapping[str, Any], written: Sequence[tuple[int, bool]]) -> float:
        """The smallest margin of the (token, whether it was chosen); negative where others would have been chosen."""
        ids = torch.tensor([[*inputs["input_ids"][0].tolist(), *(token for token, _ in written)]])
        logits = self.model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0]
        margins = []
        for (token, chosen), step in zip(written, logits[-len(written) - 1 : -1], strict=True):
            others = step.clone()
            others[token] = -torch.inf
            margins += [float(step[token] - others.max())] if chosen else []
        return min(margins, default=-1.0)

    def _prompt(self, name: str, sample_id: str) -> Mapping[str, Any]:
        if (name, sample_id) not in self._inputs:
            task = get_task(name)
            for sample in open_split(task, Source(), "mini"):
                if sample.id == sample_id:
                    (message,) = task.prompts[task.default_prompt](sample)
                    self._inputs[name, sample_id] = self._encoded(message)
                    break
        return self._inputs[name, sample_id]

    def _encoded(self, message: Message) -> Mapping[str, Any]:
        parts = [picture(part) if isinstance(part, ImageRef) else str(part) for part in message.parts]
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part}
            for part in parts
        ]
        images = [part for part in parts if isinstance(part, Image.Image)]
        return dict(self.processor.encode([{"role": "user", "content": content}], images))


def picture(ref: ImageRef) -> Image.Image:
    """A picture as the model's processor takes it."""
    return Image.open(io.BytesIO(read_bytes(ref))).convert("RGB")
