"""The tiny golden checkpoint, its processor and its vectors."""

import json
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
def inputs(golden: Path, cases: dict[str, Any], processor: KimiVLProcessor) -> dict[str, Inputs]:
    """Encoded prompt of every case."""
    encoded = {}
    for name, case in cases.items():
        images = [Image.open(golden / "images" / image_file(image)) for image in case["images"]]
        encoded[name] = processor.encode(case["messages"], images)
    return encoded


def image_file(name: str) -> str:
    return name if name.endswith(".png") else f"{name}.png"
