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

from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
from kvl_eval.types import ImageRef
from tests.vllm.conftest import Server
from tests.vllm.margins import SURE, Margins, picture

pytestmark = pytest.mark.vllm
TASKS = {"mathvista": 16, "mmmu": 8, "infovqa": 8, "screenspot-v2": 4}


@pytest.fixture(scope="module")
def bundled() -> Margins:
    return Margins("kimi-vl-nano")


def questions() -> Iterator[tuple[str, list[str | Image.Image]]]:
    for name, count in TASKS.items():
        task = get_task(name)
        for _, sample in zip(range(count), open_split(task, Source(), "mini"), strict=False):
            (message,) = task.prompts[task.default_prompt](sample)
            parts = [picture(part) if isinstance(part, ImageRef) else str(part) for part in message.parts]
            yield f"{name}/{sample.id}", parts


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


def ours(bundled: Margins, parts: list[str | Image.Image]) -> tuple[Any, list[int]]:
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part} for part in parts
    ]
    images = [part for part in parts if isinstance(part, Image.Image)]
    inputs = bundled.processor.encode([{"role": "user", "content": content}], images)
    (answer,) = bundled.model.generate(**inputs, max_new_tokens=48)
    return inputs, answer


def test_ids_log_probabilities_and_greedy_answers_agree(server: Server, bundled: Margins) -> None:
    worst, sure = 0.0, 0
    for name, parts in questions():
        theirs = ask(server, parts)
        inputs, answer = ours(bundled, parts)
        ids = inputs["input_ids"][0].tolist()
        assert theirs["prompt_token_ids"] == ids, name
        if bundled.margin(inputs, [(token, True) for token in answer]) > SURE:
            assert theirs["choices"][0]["token_ids"] == answer, name
            sure += 1
        with torch.no_grad():
            logits = bundled.model(**inputs).logits[0].log_softmax(-1)
        stated = [next(iter(one.values()))["logprob"] for one in theirs["prompt_logprobs"][1:]]
        computed = [logits[place, token].item() for place, token in enumerate(ids[1:])]
        worst = max(worst, float(np.abs(np.subtract(stated, computed)).max()))
    assert worst < 1e-3
    assert sure > sum(TASKS.values()) / 2


def test_patches_are_the_same_floats(server: Server, bundled: Margins) -> None:
    before = set(server.pixels.iterdir())
    image = Image.effect_mandelbrot((333, 215), (-2, -1.5, 1, 1.5), 40).convert("RGB")
    ask(server, [image, "What is this?"])
    (made,) = set(server.pixels.iterdir()) - before
    expected = bundled.processor.image_tensors([image])["pixel_values"].numpy()
    assert np.array_equal(np.load(made), expected)
