"""MMMU, a configuration for each subject, and MathVision from the hub."""

import pytest

from tests.hub.conftest import Run
from tests.hub.server import Hub, Repo
from tests.tasks.tables import png, write_parquet

pytestmark = pytest.mark.slow

LOAD = """
from kvl_eval.errors import KvlEvalError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
task = get_task({name!r})
try:
    samples = list(open_split(task, Source(repo={repo!r} or task.repos[0], {options}), task.default_split))
    result["ids"] = [one.id for one in samples]
    result["pictures"] = [len([read_bytes(picture) for picture in one.media]) for one in samples]
except KvlEvalError as error:
    result["code"] = error.code
"""
SUBJECTS = ("Art", "Accounting")
CARD = """---
configs:
{configs}---
"""
CONFIG = """- config_name: {name}
  data_files:
  - split: validation
    path: {name}/validation-*
  - split: test
    path: {name}/test-*
"""


def mmmu_row(name: str, pictures: int) -> dict[str, object]:
    cells = {f"image_{n}": {"bytes": png(n), "path": f"{n}.png"} if n <= pictures else None for n in range(1, 8)}
    texts = {"question": "<image 1> What?", "options": "['x', '<image 2>']", "answer": "B", "img_type": "['Maps']"}
    return {"id": name, "question_type": "multiple-choice", **texts, **cells}


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> list[Repo]:
    root = tmp_path_factory.mktemp("reasoning-tasks")
    (root / "mmmu").mkdir()
    (root / "mmmu" / "README.md").write_text(CARD.format(configs="".join(CONFIG.format(name=one) for one in SUBJECTS)))
    for subject in SUBJECTS:
        for split in ("validation", "test"):
            rows = [mmmu_row(f"{split}_{subject}_{number}", number) for number in (1, 2)]
            write_parquet(root / "mmmu" / subject / f"{split}-00000-of-00001.parquet", rows)
    merged = [mmmu_row("validation_Art_1", 2)]
    write_parquet(root / "merged" / "data" / "validation-00000-of-00001.parquet", merged)
    problem = {"question": "What? <image1>", "options": [], "image": "images/1.jpg", "answer": "3", "level": 1}
    picture = {"decoded_image": {"bytes": png(1), "path": "1.jpg"}, "solution": None, "subject": "logic"}
    for split, ids in (("test", "12"), ("testmini", "2")):
        path = root / "mathvision" / "data" / f"{split}-00000-of-00001.parquet"
        write_parquet(path, [{"id": one, **problem, **picture} for one in ids])
    names = {"mmmu": "MMMU/MMMU", "merged": "lmms-lab/MMMU", "mathvision": "MathLLMs/MathVision"}
    return [Repo("datasets", name, {"main": root / folder}) for folder, name in names.items()]


@pytest.mark.parametrize(
    ("name", "repo", "ids", "pictures"),
    [
        (
            *("mmmu", ""),
            ["validation_Accounting_1", "validation_Accounting_2", "validation_Art_1", "validation_Art_2"],
            [1, 2, 1, 2],
        ),
        ("mmmu", "lmms-lab/MMMU", ["validation_Art_1"], [2]),
        ("mathvision", "", ["1", "2"], [1, 1]),
    ],
    ids=["mmmu", "mmmu-merged", "mathvision"],
)
def test_the_data_set_online_and_from_the_cache(
    hub: Hub, run: Run, name: str, repo: str, ids: list[str], pictures: list[int]
) -> None:
    found = run(LOAD.format(name=name, repo=repo, options=""))
    assert found == {"ids": ids, "pictures": pictures}
    assert not hub.fetched("Art/test-") and not hub.fetched("testmini-"), "only the split that is asked for"
    hub.requests.clear()
    assert run(LOAD.format(name=name, repo=repo, options="offline=True")) == found
    assert hub.requests == []


def test_what_is_not_cached_says_so_offline(run: Run) -> None:
    assert run(LOAD.format(name="mmmu", repo="", options="offline=True"))["code"] == "data.offline"
