"""The page that says how numbers were made. Checks V2 and V4; V1 and V3 need a browser."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval.reports.pages.provenance import FACTS, duration_text, fact, provenance_page
from tests.reports.page_reports import PageText, context, write
from tests.reports.report_folders import make_run

SHA = "3f9a" * 15 + "71c0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("provenance")
    return [make_run(folder), make_run(folder, name="run-b", model="other", seeds={"seed": 2, "rule": ""})]


def test_report_v2_long_words_stand_in_code_alone(tmp_path: Path, runs: list[Path]) -> None:
    source = PageText(write(tmp_path / "out", *runs) / "provenance.html").source
    for cell in re.findall(r"<td[^>]*>(.*?)</td>", source, re.DOTALL):
        prose = re.sub(r"<code.*?</code>", "", cell, flags=re.DOTALL)
        assert all(len(word) <= 24 for word in re.sub(r"<[^>]*>", " ", prose).split()), cell


def test_report_v4_the_command_is_one_that_a_shell_reads(runs: list[Path]) -> None:
    page = provenance_page(context(*runs))
    for origin in page.runs:
        assert shlex.split(origin.command)[:2] == ["kvl-eval", "run"]
        assert shlex.split(origin.verify)[:2] == ["kvl-eval", "verify"]


def test_settings_that_differ_and_can_change_an_answer_are_tinted(runs: list[Path]) -> None:
    rows = {row.name: row for row in provenance_page(context(*runs)).facts}
    assert rows["seed"].differs and [cell.text for cell in rows["seed"].cells] == ["0", "2"]
    assert not rows["sampling"].differs and rows["sampling"].cells[0].text == "greedy"
    assert len(FACTS) <= 14


def test_a_hash_shows_both_ends_and_keeps_the_whole() -> None:
    assert (fact(SHA).text, fact(SHA).whole) == ("3f9a…71c0", SHA)
    assert (fact("greedy").text, fact("greedy").whole) == ("greedy", "")
    assert (fact(None).text, fact("x" * 30).is_code) == ("·", True)


def test_the_manifest_is_copied_beside_the_pages(tmp_path: Path, runs: list[Path]) -> None:
    out = write(tmp_path / "out", *runs)
    page = PageText(out / "provenance.html")
    files = [href for href in page.attributes("a", "href") if href.startswith("data/run-")]
    assert files == ["data/run-1.json", "data/run-2.json"]
    assert json.loads((out / files[1]).read_text())["seeds"]["seed"] == 2


@pytest.mark.parametrize(
    ("finished", "expected"),
    [("2026-08-11T16:14:33Z", "1 h 52 min"), ("2026-08-11T14:22:40Z", "less than a minute"), (None, "")],
)
def test_a_duration_is_said_in_hours_and_minutes(runs: list[Path], finished: str | None, expected: str) -> None:
    manifest = context(runs[0]).series[0].run.manifest
    assert duration_text(replace(manifest, finished=finished)) == expected


def test_a_merged_run_folds_its_shards(tmp_path: Path) -> None:
    merged = [{"shard": f"{n}/2", "run_id": f"part-{n}", "device": "cuda", "lacking": 0} for n in (1, 2)]
    text = PageText(write(tmp_path / "out", make_run(tmp_path, merged=merged)) / "provenance.html").source
    assert "Merged from 2 shards" in text and "<code>part-1</code>" in text
