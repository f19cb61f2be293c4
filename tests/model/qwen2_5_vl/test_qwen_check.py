"""`kvl-eval check model` of a Qwen2.5-VL checkpoint."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.check_model import as_text, check


def test_a_sound_checkpoint_is_usable_and_described(folder: Path) -> None:
    report = check(folder)
    assert report.ok, as_text(report)
    text = as_text(report)
    assert "all finite" in text and "<|im_end|>" in text
    assert "qwen2.5-vl, not a known published model" in text


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    report = check(tmp_path)
    assert {finding.check for finding in report.findings if not finding.ok} == {"tokenizer", "stops", "processor"}
    assert not report.ok and "not usable" in as_text(report)
