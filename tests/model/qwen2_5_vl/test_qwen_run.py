"""A checkpoint folder answers a benchmark from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvl_eval.errors import CheckpointError
from kvl_eval.model.registry import architecture, architecture_of

pytestmark = pytest.mark.slow


def test_a_folder_answers_mathvista(folder: Path, tmp_path: Path) -> None:
    command = f"run --task mathvista --split mini --limit 3 --temperature 0 --max-new-tokens 6 -o {tmp_path} --model"
    done = subprocess.run(
        [sys.executable, "-m", "kvl_eval", *command.split(), str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (samples,) = tmp_path.glob("*/samples/mathvista.jsonl")
    records = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    assert [record["status"] for record in records] == ["ok"] * 3
    (manifest,) = tmp_path.glob("*/run.json")
    assert "latent" not in json.loads(manifest.read_text("utf-8"))["model"]["attention"]
    rule = architecture_of(folder).picture_rule(folder)
    for record in records:
        (image,) = record["media"]
        assert "<|im_start|>user\n<|vision_start|><image:1><|vision_end|>" in record["prompt_text"]
        assert record["tokens"]["image"] == rule.size(image["w"], image["h"]).tokens
        assert record["tokens"]["answer"] + (record["finish_reason"] == "stop") <= 6


@pytest.mark.parametrize("model_type", ["qwen2_vl", "qwen3_vl"])
def test_relatives_are_refused_by_name(model_type: str) -> None:
    with pytest.raises(CheckpointError, match=model_type) as caught:
        architecture(model_type)
    assert "qwen2_5_vl" in str(caught.value.why)
