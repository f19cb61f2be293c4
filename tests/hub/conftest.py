"""The hub stand-in, and a way to run code against it: the clients read their environment when they are imported."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import DATA, ROOT
from tests.forks import python
from tests.hub.server import Hub, Repo, serving

PICTURE = DATA / "kimi_vl" / "images"
MODEL, DATA_SET, PLAIN, GATED = "demo/kimi-tiny", "demo/MathVista", "demo/plain", "demo/gated"
CARD = """---
configs:
- config_name: default
  data_files:
  - split: testmini
    path: data/testmini-*
  - split: test
    path: data/test-*
---
A small data set in MathVista's schema.
"""

Run = Callable[..., dict[str, Any]]
Kvl = Callable[..., subprocess.CompletedProcess[str]]


def data_set(folder: Path, answer: str = "14", rows: int = 3) -> Path:
    """A folder in the layout of AI4Math/MathVista."""
    picture = next(path for path in sorted(PICTURE.iterdir()) if path.suffix == ".png").read_bytes()
    table = [
        {
            "pid": str(number),
            "question": f"How many dots are in picture {number}?",
            "image": f"images/{number}.png",
            "decoded_image": {"bytes": picture, "path": f"{number}.png"},
            "choices": None,
            "unit": None,
            "precision": None,
            "answer": answer,
            "question_type": "free_form",
            "answer_type": "integer",
            "metadata": {"task": "visual question answering", "skills": ["arithmetic reasoning"]},
            "query": f"How many dots are in picture {number}?",
        }
        for number in range(1, rows + 1)
    ]
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    for split in ("testmini", "test"):
        pq.write_table(pa.Table.from_pylist(table), folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="session")
def repos(tmp_path_factory: pytest.TempPathFactory) -> list[Repo]:
    root = tmp_path_factory.mktemp("repos")
    plain = data_set(root / "plain")
    (plain / "README.md").unlink()
    return [
        Repo("models", MODEL, {"main": DATA / "kimi_vl" / "tiny_checkpoint"}),
        Repo("datasets", DATA_SET, {"main": data_set(root / "main"), "v2": data_set(root / "v2", answer="15")}),
        Repo("datasets", PLAIN, {"main": plain}),
        Repo("datasets", GATED, {"main": plain}, gated=True),
    ]


@pytest.fixture
def hub(repos: list[Repo]) -> Iterator[Hub]:
    with serving(repos) as running:
        yield running


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Variables under which the clients ask the stand-in and keep their caches below `tmp_path`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def kvl(environment: dict[str, str], tmp_path: Path) -> Kvl:
    """Runs `kvl-eval ARGUMENTS` in `tmp_path`."""

    def kvl(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return python("-m", "kvl_eval", *arguments, env={**environment, "PYTHONPATH": str(ROOT), **more}, cwd=tmp_path)

    return kvl


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Runs code in a process with its own caches; gives back what it put into `result`."""

    def run(code: str, **more: str) -> dict[str, Any]:
        script = f"import json\nresult = {{}}\n{code}\nprint('\\n' + json.dumps(result))"
        done = python("-c", script, env={**environment, **more})
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run
