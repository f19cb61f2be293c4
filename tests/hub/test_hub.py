"""Checkpoints and data sets through the genuine hub clients, against a stand-in."""

import shutil
from pathlib import Path

import pytest

from tests.hub.conftest import DATA_SET, GATED, MODEL, PLAIN, Run
from tests.hub.server import Hub

LOAD = """
from kvl_eval.errors import KvlEvalError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
try:
    samples = list(open_split(get_task("mathvista"), Source(repo={repo!r}, {options}), {split!r}))
    result["ids"] = [one.id for one in samples]
    result["answers"] = sorted({{one.answers[0] for one in samples}})
    result["picture"] = read_bytes(samples[0].media[0])[:4].hex()
except KvlEvalError as error:
    result["code"], result["shown"] = error.code, error.render()
"""


def load(repo: str = DATA_SET, options: str = "", split: str = "testmini") -> str:
    return LOAD.format(repo=repo, options=options, split=split)


def test_a_data_set_of_the_hub(hub: Hub, run: Run) -> None:
    found = run(load())
    assert found == {"ids": ["1", "2", "3"], "answers": ["14"], "picture": "89504e47"}
    assert hub.fetched("testmini-") and not hub.fetched("test-0"), "only the split that was asked for is fetched"


@pytest.mark.slow
def test_a_data_set_without_a_card(run: Run) -> None:
    assert run(load(PLAIN))["ids"] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_revision_of_a_data_set(run: Run) -> None:
    assert run(load(options="revision='v2'"))["answers"] == ["15"]
    assert run(load())["answers"] == ["14"]


@pytest.mark.slow
@pytest.mark.parametrize("repo", [DATA_SET, PLAIN])
def test_offline_after_caching(hub: Hub, run: Run, repo: str) -> None:
    online = run(load(repo))
    hub.requests.clear()
    assert run(load(repo, "offline=True")) == online
    assert run(load(repo), HF_HUB_OFFLINE="1") == online
    assert hub.requests == []


@pytest.mark.slow
def test_offline_keeps_revisions_apart(run: Run) -> None:
    run(load(options="revision='v2'"))
    run(load())
    assert run(load(options="revision='v2', offline=True"))["answers"] == ["15"]
    assert run(load(options="offline=True"))["answers"] == ["14"]


@pytest.mark.slow
def test_offline_the_cache_of_datasets_serves_too(hub: Hub, run: Run, tmp_path: Path) -> None:
    run(f"import datasets\ndatasets.load_dataset({DATA_SET!r}, split='testmini')")
    shutil.rmtree(tmp_path / "hf" / "hub")
    hub.requests.clear()
    found = run(load(), HF_HUB_OFFLINE="1")
    assert found == {"ids": ["1", "2", "3"], "answers": ["14"], "picture": "89504e47"}
    assert hub.requests == []


@pytest.mark.slow
def test_a_cache_folder_of_ones_own(run: Run, tmp_path: Path) -> None:
    options = f"cache_dir=__import__('pathlib').Path({str(tmp_path / 'cache')!r})"
    online = run(load(options=options))
    assert list((tmp_path / "cache" / "hub").rglob("testmini-*.parquet"))
    assert run(load(options=f"{options}, offline=True")) == online


@pytest.mark.slow
def test_the_second_load_fetches_no_content(hub: Hub, run: Run) -> None:
    run(load())
    hub.requests.clear()
    run(load())
    assert hub.fetched("parquet") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "wanted", "told"),
    [
        pytest.param(load("nobody/nothing"), "data.missing", "nobody/nothing", id="no-repository"),
        pytest.param(load(GATED), "data.gated", GATED, id="gated"),
        pytest.param(load(options="revision='v9'"), "data.missing", "v9", id="no-revision"),
        pytest.param(load(options="offline=True"), "data.offline", DATA_SET, id="offline-and-empty-cache"),
        pytest.param(load(options="revision='v2', offline=True"), "data.offline", "v2", id="offline-revision"),
        pytest.param(load(options="max_download=100"), "data.too_large", "GB", id="too-large"),
    ],
)
def test_one_clear_error(run: Run, code: str, wanted: str, told: str) -> None:
    found = run(code)
    assert found["code"] == wanted
    assert told in found["shown"] and "Traceback" not in found["shown"] and "fix:" in found["shown"]


@pytest.mark.slow
def test_what_the_cache_holds_does_not_count_as_a_download(run: Run) -> None:
    online = run(load())
    assert run(load(options="max_download=100")) == online


@pytest.mark.slow
def test_a_hub_that_is_not_there(run: Run) -> None:
    found = run(load(), HF_ENDPOINT="http://127.0.0.1:9")
    assert found["code"] in ("data.unreachable", "data.offline")


def test_a_split_the_repository_has_not(run: Run) -> None:
    found = run(
        """
from kvl_eval.errors import DataError
from kvl_eval.sources import Source, Tables, read_rows
try:
    list(read_rows(Source(repo="demo/MathVista"), "train", Tables(task="demo")))
except DataError as error:
    result["shown"] = error.render()
"""
    )
    assert "'train' not found" in found["shown"] and "it contains test, testmini" in found["shown"]


MODEL_CODE = f"""
import torch
from kvl_eval.model import KimiVL, KimiVLProcessor
model = KimiVL.from_pretrained("{MODEL}")
processor = KimiVLProcessor.from_pretrained("{MODEL}")
ids = processor.tokenizer.encode("How many dots?", allow_special=False)
with torch.inference_mode():
    result["logits"] = model(torch.tensor([ids])).logits[0, -1, :8].tolist()
"""


@pytest.mark.slow
def test_a_checkpoint_of_the_hub(hub: Hub, run: Run, data: Path) -> None:
    online = run(MODEL_CODE)
    assert hub.fetched("model-00002-of-00002.safetensors")
    local = run(MODEL_CODE.replace(MODEL, str(data / "kimi_vl" / "tiny_checkpoint")))
    assert online == local
    hub.requests.clear()
    assert run(MODEL_CODE, HF_HUB_OFFLINE="1") == online
    assert hub.requests == []


@pytest.mark.slow
def test_a_model_nobody_has(run: Run) -> None:
    found = run(
        """
from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL
try:
    KimiVL.from_pretrained("nobody/nothing")
except CheckpointError as error:
    result["shown"] = error.render()
"""
    )
    assert "nobody/nothing" in found["shown"]


LIMITED = """
from kvl_eval.errors import CheckpointError
from kvl_eval.model.hub import checkpoint_folder
sizes = []
def refuse(files, size):
    sizes.append(size)
    raise LookupError
try:
    checkpoint_folder({model!r}, weights=False, announce=refuse)
except LookupError:
    pass
try:
    checkpoint_folder({model!r}, weights=False, max_download=sizes[0] - 1)
except CheckpointError as error:
    result["code"] = error.code
result["files"] = [path.name for path in checkpoint_folder({model!r}, weights=False, max_download=sizes[0]).iterdir()]
"""


def test_a_checkpoint_of_exactly_the_limit_is_fetched_and_one_byte_more_is_not(run: Run) -> None:
    found = run(LIMITED.format(model=MODEL))
    assert found["code"] == "model.too_large"
    assert "config.json" in found["files"]
