"""The page that sets runs side by side, and what a run joined from shards says of itself."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from kvl_eval.evaluation import evaluate
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.write import write_report
from tests.reports.report_folders import make_run, report_verb
from tests.reports.test_html import Page, chunk_samples


def test_differing_settings_come_first_and_every_flip_has_two_links(pair: tuple[Path, list[Path]]) -> None:
    out, runs = pair
    page = Page(out / "compare.html")
    assert "seed 1 → 2" in page.text
    assert page.text.index("Settings that can change an answer") < page.text.index("McNemar p")
    links = [one["href"] for tag, one in page.elements if tag == "a" and "samples.html#" in (one.get("href") or "")]
    keys = [parse_qs(str(link).partition("#")[2])["sample"][0] for link in links]
    known = {sample["key"] for sample in chunk_samples(out)}
    assert keys and set(keys) <= known
    first = [key.partition("/")[2] for key in keys if key.startswith("0/")]
    second = [key.partition("/")[2] for key in keys if key.startswith("1/")]
    assert first == second
    scores = [{line.sample_id: line.score for line in run.folder.scores("mmmu", "reader")} for run in open_runs(runs)]
    flipped = {f"mmmu/{name}" for name in scores[0] if (scores[0][name] >= 1) != (scores[1][name] >= 1)}
    assert set(first) == flipped


def test_every_page_leads_there(pair: tuple[Path, list[Path]]) -> None:
    out, _ = pair
    for path in out.glob("*.html"):
        assert ("a", "compare.html") in {(tag, one.get("href")) for tag, one in Page(path).elements}, path.name


def test_runs_without_a_task_in_common_say_so(pair: tuple[Path, list[Path]], tmp_path: Path) -> None:
    _, runs = pair
    other = evaluate(model="fake", tasks=["infovqa"], limit=3, output_dir=str(tmp_path)).path
    assert report_verb(str(runs[0]), str(other), "--out", str(tmp_path / "out"), "--no-pictures") == 0
    assert "the runs have no task in common" in Page(tmp_path / "out" / "compare.html").text


def test_one_run_has_no_such_page(tmp_path: Path) -> None:
    write_report([make_run(tmp_path)], tmp_path / "out")
    assert not (tmp_path / "out" / "compare.html").exists()
    assert "compare.html" not in (tmp_path / "out" / "index.html").read_text()


def test_a_joined_run_says_where_its_parts_come_from(tmp_path: Path) -> None:
    common = {"created": "2026-08-11T14:22:33Z", "finished": "2026-08-11T14:40:00Z", "resumes": []}
    merged = [
        {"shard": "1/2", "run_id": "left", "device": "cuda", "code": {"version": "0.1.0"}, "lacking": 0, **common},
        {"shard": "2/2", "run_id": "right", "device": "cpu", "code": {"version": "0.1.0"}, "lacking": 3, **common},
    ]
    write_report([make_run(tmp_path, merged=merged)], tmp_path / "out")
    notes = Page(tmp_path / "out" / "index.html").text
    assert "its shards ran on different devices: cuda, cpu" in notes
    assert "merged from incomplete shards; missing samples: 2/2 (3)" in notes
    assert "incomplete shards" in (tmp_path / "out" / "report.md").read_text()
    table = Page(tmp_path / "out" / "provenance.html").text
    assert "Merged from 2 runs" in table
    assert "left" in table and "right" in table
