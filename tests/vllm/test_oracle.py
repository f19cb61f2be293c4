"""The bundled model against genuine vLLM over the same checkpoint: ids, patches, log-probabilities, greedy answers."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kvl_eval.backends import MODELS
from kvl_eval.media.images import read_bytes
from kvl_eval.model import KimiVL, KimiVLProcessor
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
from kvl_eval.types import ImageRef
from tests.vllm.conftest import Server

pytestmark = pytest.mark.vllm
TASKS = {"mathvista": 16, "mmmu": 8, "infovqa": 8, "screenspot-v2": 4}


@pytest.fixture(scope="module")
def bundled() -> tuple[KimiVL, KimiVLProcessor]:
    return KimiVL.from_pretrained(MODELS["kimi-vl-nano"].location, dtype="float32"), KimiVLProcessor.from_pretrained(
        MODELS["kimi-vl-nano"].location
    )


def questions() -> Iterator[tuple[str, list[str | Image.Image]]]:
    for name, count in TASKS.items():
        task = get_task(name)
        for _, sample in zip(range(count), open_split(task, Source(), "mini"), strict=False):
            (message,) = task.prompts[task.default_prompt](sample)
            parts = [picture(part) if isinstance(part, ImageRef) else str(part) for part in message.parts]
            yield f"{name}/{sample.id}", parts


def picture(ref: ImageRef) -> Image.Image:
    return Image.open(io.BytesIO(read_bytes(ref))).convert("RGB")


def ask(server: Server, parts: list[str | Image.Image]) -> dict[str, Any]:
    """VLLM's greedy answer with the log-probability of every token of prompt and answer."""
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": uri(part)}}
        for part in parts
    ]
    asked = {
        "model": "nano",
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 48,
        "logprobs": True,
        "prompt_logprobs": 0,
        "return_token_ids": True,
    }
    request = urllib.request.Request(
        f"{server.url}/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        return json.load(reply)


def uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def ours(bundled: tuple[KimiVL, KimiVLProcessor], parts: list[str | Image.Image]) -> tuple[Any, list[int]]:
    model, processor = bundled
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part} for part in parts
    ]
    images = [part for part in parts if isinstance(part, Image.Image)]
    inputs = processor.encode([{"role": "user", "content": content}], images)
    (answer,) = model.generate(**inputs, max_new_tokens=48)
    return inputs, answer


def test_ids_log_probabilities_and_greedy_answers_agree(
    server: Server, bundled: tuple[KimiVL, KimiVLProcessor]
) -> None:
    worst = 0.0
    for name, parts in questions():
        theirs = ask(server, parts)
        inputs, answer = ours(bundled, parts)
        ids = inputs["input_ids"][0].tolist()
        assert theirs["prompt_token_ids"] == ids, name
        assert theirs["choices"][0]["token_ids"] == answer, name
        with torch.no_grad():
            logits = bundled[0](**inputs).logits[0].log_softmax(-1)
        stated = [next(iter(one.values()))["logprob"] for one in theirs["prompt_logprobs"][1:]]
        computed = [logits[place, token].item() for place, token in enumerate(ids[1:])]
        worst = max(worst, float(np.abs(np.subtract(stated, computed)).max()))
    assert worst < 1e-3


def test_patches_are_the_same_floats(server: Server, bundled: tuple[KimiVL, KimiVLProcessor]) -> None:
    before = set(server.pixels.iterdir())
    image = Image.effect_mandelbrot((333, 215), (-2, -1.5, 1, 1.5), 40).convert("RGB")
    ask(server, [image, "What is this?"])
    (made,) = set(server.pixels.iterdir()) - before
    expected = bundled[1].image_tensors([image])["pixel_values"].numpy()
    assert np.array_equal(np.load(made), expected)
