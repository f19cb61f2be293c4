from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import UsageError
from kvl_eval.evaluation import evaluate
from tests.refusals import refused
from tests.tiny_task import gold_answer, tiny


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    found = evaluate("fake", [tiny()], limit=4, output_dir=tmp_path, backend=FakeBackend(answer=gold_answer))
    assert found.exit_code == 0
    [row] = found.results["rows"]
    assert (row["task"], row["n_ok"], row["partial"]) == ("tiny", 4, "limit 4 of 10")
    assert found.path.parent == tmp_path
    assert "tiny" in found.table()


def test_a_model_by_name(tmp_path: Path) -> None:
    found = evaluate(model="fake", tasks=[tiny()], model_args={"answers": "constant:A"}, output_dir=tmp_path)
    assert found.results["rows"][0]["score"] == 0.5


def test_unknown_options_are_answered_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate("fake", [tiny()], temprature=1.0, output_dir=tmp_path)
    assert "did you mean 'temperature'?" in str(caught.value)


def test_where_it_runs_is_an_option_like_the_others(tmp_path: Path) -> None:
    result = evaluate("fake", ["mathvista"], backend="local", limit=2, output_dir=str(tmp_path))
    assert result.folder.manifest.config["settings"]["backend"] == "local"
    with refused(UsageError, "usage.backend") as caught:
        evaluate("fake", ["mathvista"], backend="vlm", limit=2, output_dir=str(tmp_path))
    assert caught.value.suggestions == ("vllm",)
