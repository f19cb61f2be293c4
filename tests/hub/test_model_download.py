"""A checkpoint on the hub: planned without its weights, fetched within a limit, run to a score."""

from __future__ import annotations

import pytest

from tests.hub.conftest import DATA_SET, MODEL, Run

pytestmark = pytest.mark.slow

ENGINE = """
from kvl_eval.backends import make_backend
from kvl_eval.backends.base import Settings
"""


def test_a_plan_fetches_no_weights(run: Run) -> None:
    code = (
        ENGINE
        + f"""
import os, pathlib
facts = make_backend({MODEL!r}, Settings(), fetch=False).describe().identity
files = [path.name for path in pathlib.Path(os.environ["HF_HOME"]).rglob("*") if path.is_symlink()]
result = {{"bytes": facts["weights_bytes"], "files": files}}
"""
    )
    found = run(code)
    assert found["bytes"] == 0
    assert "config.json" in found["files"]
    assert not any(name.endswith(".safetensors") for name in found["files"])


def test_large_weights_need_a_yes(run: Run) -> None:
    code = (
        ENGINE
        + f"""
from kvl_eval.errors import CheckpointError
try:
    make_backend({MODEL!r}, Settings.of(max_download=1_000_000)).describe()
except CheckpointError as error:
    result = {{"code": error.code, "fix": error.fix}}
"""
    )
    found = run(code)
    assert found["code"] == "model.too_large"
    assert "--yes" in found["fix"]


def test_model_and_data_set_from_the_hub_give_a_score(run: Run, tmp_path: object) -> None:
    code = f"""
import kvl_eval
done = kvl_eval.evaluate(
    model={MODEL!r}, tasks=["mathvista"], data_repo={DATA_SET!r}, split="testmini", max_new_tokens=4,
    output_dir={str(tmp_path)!r},
)
result = {{"rows": done.results["rows"], "exit": done.exit_code}}
"""
    found = run(code)
    assert found["exit"] == 0
    assert [(row["n_planned"], row["n_scored"]) for row in found["rows"]] == [(3, 3)]
