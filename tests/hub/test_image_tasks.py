"""InfoVQA, OCRBench and ScreenSpot from the hub: tables that hold pictures, and tables that name files beside them."""

import pytest

from tests.hub.conftest import Run
from tests.hub.server import Hub, Repo
from tests.tasks.tables import png, write_json, write_parquet, write_pictures, write_zip

pytestmark = pytest.mark.slow

SCREEN = (100, 50)
TARGET = {"img_filename": "a.png", "bbox": [40, 10, 20, 10], "instruction": "close"}
KIND = {"data_type": "icon", "data_source": "windows"}
PRO = {"id": "x_macos_0", "application": "x", "platform": "macos", "group": "Dev", "ui_type": "text"}
DOCVQA = """---
configs:
- config_name: DocVQA
  data_files:
  - split: validation
    path: DocVQA/validation-*
- config_name: InfographicVQA
  data_files:
  - split: validation
    path: InfographicVQA/validation-*
  - split: test
    path: InfographicVQA/test-*
---
"""
LOAD = """
from kvl_eval.errors import KvlEvalError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
task = get_task({name!r})
try:
    samples = list(open_split(task, Source(repo=task.repos[0], {options}), task.default_split))
    result["ids"] = [one.id for one in samples]
    result["sizes"] = [one.row.get("img_size") for one in samples]
    result["pictures"] = all(read_bytes(one.media[0])[:4] == bytes.fromhex("89504e47") for one in samples)
except KvlEvalError as error:
    result["code"] = error.code
"""


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> list[Repo]:
    root = tmp_path_factory.mktemp("image-tasks")
    picture = {"bytes": png(1), "path": "1.png"}
    question = {"question": "What?", "image": picture}
    info = {**question, "questionId": "7", "answers": ["a"], "answer_type": ["image span"], "image_url": "u"}
    (root / "info").mkdir()
    (root / "info" / "README.md").write_text(DOCVQA)
    for part in ("DocVQA/validation", "InfographicVQA/validation", "InfographicVQA/test"):
        write_parquet(root / "info" / f"{part}-00000-of-00001.parquet", [info])
    ocr = {**question, "dataset": "IIIT5K", "question_type": "Regular Text Recognition", "answer": ["a"]}
    write_parquet(root / "ocr" / "data" / "test-00000-of-00001.parquet", [ocr, ocr])
    for platform in ("mobile", "desktop", "web"):
        write_json(root / "v2" / f"screenspot_{platform}_v2.json", [{**TARGET, **KIND}])
    write_zip(root / "v2" / "screenspotv2_image.zip", ["screenspotv2_image/a.png"], SCREEN)
    write_json(root / "pro" / "annotations" / "x_macos.json", [{**TARGET, **PRO, "img_size": [100, 50]}])
    write_pictures(root / "pro" / "images", ["a.png"], SCREEN)
    names = {
        "info": "lmms-lab/DocVQA",
        "ocr": "echo840/OCRBench",
        "v2": "OS-Copilot/ScreenSpot-v2",
        "pro": "likaixin/ScreenSpot-Pro",
    }
    return [Repo("datasets", name, {"main": root / folder}) for folder, name in names.items()]


@pytest.mark.parametrize(
    ("name", "ids", "size"),
    [
        ("infovqa", ["7"], None),
        ("ocrbench", ["row-0", "row-1"], None),
        ("screenspot-v2", ["desktop/0", "mobile/0", "web/0"], [100, 50]),
        ("screenspot-pro", ["x_macos_0"], [100, 50]),
    ],
)
def test_the_official_data_set_online_and_from_the_cache(
    hub: Hub, run: Run, name: str, ids: list[str], size: list[int] | None
) -> None:
    found = run(LOAD.format(name=name, options=""))
    assert found == {"ids": ids, "sizes": [size] * len(ids), "pictures": True}
    assert not hub.fetched("DocVQA/validation") and not hub.fetched("InfographicVQA/test"), "only what is needed"
    hub.requests.clear()
    assert run(LOAD.format(name=name, options="offline=True")) == found
    assert hub.requests == []


def test_named_files_are_not_fetched_above_the_limit(hub: Hub, run: Run) -> None:
    assert run(LOAD.format(name="screenspot-v2", options="max_download=100"))["code"] == "data.too_large"
    assert not hub.fetched(".zip")


def test_named_files_that_are_not_cached_say_so_offline(run: Run) -> None:
    assert run(LOAD.format(name="screenspot-pro", options="offline=True"))["code"] == "data.offline"
