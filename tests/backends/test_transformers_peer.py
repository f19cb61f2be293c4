"""Models through transformers: two architectures in their genuine format, answers that depend on nothing but seeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kvl_eval.backends import make_backend, resolve_model
from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.transformers_peer import TransformersPeer
from kvl_eval.errors import CheckpointError, ConfigError
from kvl_eval.evaluation import evaluate
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.tasks import get_task
from kvl_eval.types import Completion, Generation, ImageRef, Message
from tests.backends.peers import MAKERS, llava

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers, about what its next version will do


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("peers")
    return {name: make(home / name) for name, make in MAKERS.items()}


def picture(colour: str) -> ImageRef:
    buffer = BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return ImageRef(name=colour, data=buffer.getvalue())


def asking(key: str, *parts: Any, seeds: Sequence[int] = (0,), **generation: Any) -> Request:
    return Request(
        key=key,
        messages=(Message.user(*parts),),
        generation=Generation(**{"max_new_tokens": 6, **generation}),
        seeds=tuple(seeds),
        repeats=tuple(range(len(seeds))),
    )


def answers(folder: Path, requests: Sequence[Request], **settings: Any) -> dict[tuple[str, int], Completion]:
    async def collect() -> dict[tuple[str, int], Completion]:
        backend = make_backend(f"hf:{folder}", Settings.of(num_workers=0, device="cpu", **settings))
        try:
            return {(key, one.repeat): one async for key, one in backend.generate(requests)}
        finally:
            await backend.close()

    return asyncio.run(collect())


@pytest.mark.parametrize("name", MAKERS)
def test_answers_depend_neither_on_batch_nor_on_order(checkpoints: dict[str, Path], name: str) -> None:
    requests = [
        asking("t/a", picture("red"), "What is it?", seeds=(1, 2), temperature=1.0),
        asking("t/b", "No picture at all, but a longer question."),
        asking("t/c", picture("blue"), picture("red"), "Which?", seeds=(3,), temperature=0.7, top_p=0.9, top_k=20),
        asking("t/d", picture("red"), "Greedy?"),
    ]
    alone = answers(checkpoints[name], requests, batch_size=1)
    together = answers(checkpoints[name], requests[::-1], batch_size=8)
    assert len(alone) == 5 and all(one.status == "ok" for one in alone.values()), alone
    for key, one in alone.items():
        assert (one.raw_output, one.tokens) == (together[key].raw_output, together[key].tokens), key
    assert [one.tokens.image for one in alone.values()] == [4, 4, 0, 8, 4]
    assert alone["t/a", 0].raw_output != alone["t/a", 1].raw_output, "repeats have draws of their own"
    assert alone["t/d", 0].tokens.answer <= 6 and alone["t/d", 0].finish_reason in ("length", "stop")
    assert alone["t/d", 0].prompt_text.startswith("user: ")


def test_greedy_answers_are_those_of_transformers_itself(checkpoints: dict[str, Path]) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = checkpoints["llava"]
    [found] = answers(folder, [asking("t/a", picture("red"), "What is it?")]).values()
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    batch = processor(text=found.prompt_text, images=Image.new("RGB", (40, 30), "red"), return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**batch, max_new_tokens=6, do_sample=False)[0, batch["input_ids"].shape[1] :]
    assert found.raw_output == processor.tokenizer.decode(ids)
    assert found.tokens.prompt == batch["input_ids"].shape[1]


def test_samples_that_cannot_be_answered_fail_alone(checkpoints: dict[str, Path]) -> None:
    broken = ImageRef(name="x", data=b"nothing")
    requests = [
        asking("t/a", broken, "?"),
        asking("t/b", "fine"),
        asking("t/c", "long " * 3000),
    ]
    found = answers(checkpoints["llava"], requests, batch_size=3)
    reasons = {key: one.reason for (key, _), one in found.items()}
    assert reasons == {"t/a": "media_corrupt", "t/b": None, "t/c": "context_overflow"}


def test_budgets_are_refused(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="does not support thinking budgets"):
        answers(checkpoints["llava"], [asking("t/a", "?", max_new_tokens=None, think_budgets=(4,))])


def test_a_reply_that_the_prompt_begins_is_refused(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="prefilled reply"):
        answers(checkpoints["llava"], [replace(asking("t/a", "?"), prefix="Best: (")])


def test_names_behind_hf(checkpoints: dict[str, Path]) -> None:
    entry = resolve_model("hf:Qwen/Qwen2.5-VL-7B-Instruct")
    assert (entry.name, entry.location, entry.kind) == (
        "Qwen2.5-VL-7B-Instruct",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "peer",
    )
    first, second = (
        TransformersPeer(str(checkpoints[name]), Settings.of(device="cpu", num_workers=0), name=name)
        .describe()
        .identity
        for name in ("llava", "gemma3")
    )
    for fact in ("weights_sha256", "config_sha256", "tokenizer_sha256"):
        assert first[fact] != second[fact]


def test_a_processor_that_needs_torchvision_says_so(tmp_path: Path) -> None:
    folder = llava(tmp_path / "qwen")
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Qwen2VLImageProcessor"}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "processor_class": "Qwen2_5_VLProcessor"}))
    with pytest.raises(CheckpointError) as caught:
        answers(folder, [asking("t/a", "?")])
    assert (caught.value.code, caught.value.exit_code) == ("model.torchvision", 4)
    assert "install the torchvision" in (caught.value.fix or "")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nobody-knows"}')
    with pytest.raises(CheckpointError) as caught:
        answers(tmp_path, [asking("t/a", "?")])
    assert caught.value.code == "model.peer"


def test_mini_splits_from_end_to_end(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    model = f"hf:{checkpoints['llava']}"
    tasks = [get_task("mathvista"), get_task("screenspot-v2")]
    given = {"split": "mini", "limit": 2, "output_dir": str(tmp_path), "num_workers": 0, "device": "cpu"}
    config = resolve(model, "other", tasks, {**given, "max_new_tokens": 4})
    backend = make_backend(model, config.settings)
    outcome = start_run(plan_run(config, backend), backend)
    assert outcome.exit_code == 0, outcome.message
    rows = {row.task: row for row in outcome.results.rows}
    assert rows["mathvista"].n_ok == rows["screenspot-v2"].n_ok == 2
    assert outcome.folder.manifest.model.name == "llava"


@pytest.mark.parametrize(
    ("name", "task", "kind", "more"),
    [("llava", "videomme", "frame", {"frames": 5}), ("gemma3", "mmlongbench-doc", "page", {"max_pixels": 50_000})],
)
def test_videos_and_documents_are_pictures(
    checkpoints: dict[str, Path], tmp_path: Path, name: str, task: str, kind: str, more: dict[str, Any]
) -> None:
    done = evaluate(
        f"hf:{checkpoints[name]}",
        [task],
        split="mini",
        limit=3,
        output_dir=tmp_path,
        max_new_tokens=4,
        num_workers=0,
        device="cpu",
        batch_size=2,
        **more,
    )
    records = list(done.folder.records(task))
    assert (done.exit_code, len(records)) == (0, 3), [record.message for record in records]
    for record in records:
        assert {one.kind for one in record.media} == {kind}
        assert record.tokens.image == 4 * len(record.media), "each picture takes 4 tokens of these models"
        assert record.prompt_text.count({"llava": "<image>", "gemma3": "<start_of_image>"}[name]) >= len(record.media)
    if kind == "frame":
        assert {len(record.media) for record in records} == {5}
