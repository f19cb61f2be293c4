"""`kvl-eval export` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.cli.main import main
from kvl_eval.exports import FORMATS


def export(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    return int(ended.value.code or 0)


def test_it_prints_what_it_wrote_below_the_run(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(str(sweep), "--format", "csv") == 3  # a request had failed
    out, err = capsys.readouterr()
    assert out.split() == [str(sweep / "export" / "csv" / "samples.csv")]
    assert "mathvista" in err
    assert Path(out.strip()).is_file()


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "osworld"])
def test_every_format_can_be_asked_for(
    form: str, hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(str(hostile), "--format", form, "--out", str(tmp_path), "--json") == 3
    written = json.loads(capsys.readouterr().out)
    assert written
    assert all(Path(name).stat().st_size and tmp_path in Path(name).parents for name in written)


def test_a_run_without_agents_has_no_result_folder(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(str(hostile), "--format", "osworld") == 2
    assert "export.osworld" in capsys.readouterr().err


def test_an_unknown_format_is_a_usage_error(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(str(hostile), "--format", "xlsx") == 2
    assert "xlsx" in capsys.readouterr().err
