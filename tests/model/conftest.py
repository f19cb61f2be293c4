"""The tiny golden checkpoint, its processor and its vectors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from kvl_eval.model import KimiVL, KimiVLProcessor

Inputs = dict[str, Tensor]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden(data: Path) -> Path:
    return data / "kimi_vl"


@pytest.fixture(scope="session")
def tiny(golden: Path) -> Path:
    return golden / "tiny_checkpoint"


@pytest.fixture(scope="session")
def model(tiny: Path) -> KimiVL:
    return KimiVL.from_pretrained(tiny)


@pytest.fixture(scope="session")
def processor(tiny: Path) -> KimiVLProcessor:
    return KimiVLProcessor.from_pretrained(tiny)


@pytest.fixture(scope="session")
def cases(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "cases.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def open_images(golden: Path) -> Callable[[list[str]], list[Image.Image]]:
    """Decodes named golden pictures and closes their files."""

    def opened(name: str) -> Image.Image:
        with Image.open(golden / "images" / (name if name.endswith(".png") else f"{name}.png")) as image:
            image.load()
            return image

    return lambda names: [opened(name) for name in names]


@pytest.fixture(scope="session")
def inputs(
    cases: dict[str, Any], processor: KimiVLProcessor, open_images: Callable[[list[str]], list[Image.Image]]
) -> dict[str, Inputs]:
    """Encoded prompt of every case."""
    return {name: processor.encode(case["messages"], open_images(case["images"])) for name, case in cases.items()}
