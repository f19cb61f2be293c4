"""What worker processes import must not load torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".base",
        ".registry",
        ".hub",
        *(f".kimi_vl.{name}" for name in ("config", "image_processor", "tokenizer", "chat")),
    ],
)
def test_light_modules_load_no_torch(module: str) -> None:
    code = f"import sys, kvl_eval.model{module}; print(*sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_preparing_a_picture_loads_no_torch() -> None:
    code = """
import sys
from PIL import Image
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import preprocess_image
preprocess_image(Image.new("RGB", (50, 50)), PreprocessorConfig())
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_public_names_are_found() -> None:
    import kvl_eval.model

    for name in kvl_eval.model.__all__:
        assert getattr(kvl_eval.model, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kvl_eval.model.nothing
