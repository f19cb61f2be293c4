"""A whole report as files: every page beside the others, foreign text inert, images as small copies."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from kvl_eval.errors import StorageError, UsageError
from kvl_eval.reports.links import task_file
from kvl_eval.reports.write import ReportForm, write_report
from tests.refusals import refused
from tests.reports.page_reports import PageText
from tests.reports.report_folders import make_run, picture_shas
from tests.reports.report_rows import HOSTILE, make_row
from tests.reports.sample_reports import index_of, samples_of

EPISODES = Path(__file__).resolve().parent.parent / "data" / "trajectories"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"


def written(out: Path, *runs: Path, **form: Any) -> Path:
    """The folder of a report of these runs, without images unless they are asked for."""
    choice = ReportForm(**{"images": "none", "cache_dir": out.parent / "cache", **form})
    return write_report(runs, out, choice)[-1].parent


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two models."""
    folder = tmp_path_factory.mktemp("report")
    runs = [make_run(folder), make_run(folder, name="run-b", model="other", family="other", verdicts=("wrong",))]
    return written(folder / "out", *runs)


def test_every_page_of_a_report_is_there_once(out: Path) -> None:
    names = [path.name for path in sorted(out.glob("*.html"))]
    assert names == [
        *("compare.html", "index.html", "provenance.html", "published.html", "samples.html", "task-mathvista.html"),
    ]
    assert {path.name for path in out.iterdir() if path.suffix != ".html"} == {"assets", "data", "report.md"}


def test_report_a4_a5_pages_are_strict_and_every_link_leads_somewhere(out: Path) -> None:
    ids = {path.name: set(PageText(path).attributes_of_all("id")) for path in out.glob("*.html")}
    for path in out.glob("*.html"):
        page = PageText(path)
        assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in page.elements
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path.name, tag)
            assert tag != "script" or attributes.get("src"), "no script inside a page"
            for name in ("href", "src"):
                file, _, place = (attributes.get(name) or "").partition("#")
                assert not file or (out / file).is_file(), (path.name, file)
                if place and "=" not in place:
                    assert unquote(place) in ids[file or path.name], (path.name, place)


def test_causes_of_flips_are_filters_of_the_samples(out: Path) -> None:
    index = index_of(out)
    causes = [[index["names"][number] for number in numbers] for numbers in index["columns"]["causes"]]
    assert causes[0] and causes[1] == [], "the first sample flipped, the second did not"
    links = PageText(out / "compare.html").attributes("a", "href")
    assert any(f"cause={causes[0][0]}" in link for link in links)


def test_a_run_with_episodes_has_a_page_for_them(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in ("trajectories", "media"):
        shutil.copytree(EPISODES / name, run / name)
    out = written(tmp_path / "out", run)
    assert "trajectory.html" in PageText(out / "index.html").attributes("a", "href")
    assert "samples.html" in PageText(out / "trajectory.html").attributes("a", "href")
    assert not (out / "media").exists()


def test_pages_of_an_earlier_report_are_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    old, new = (make_run(tmp_path, name=task, task=task, n=n) for task, n in (("mathvista", 201), ("mmmu", 3)))
    out = written(tmp_path / "out", old, new)
    assert (out / "data/c1.js").is_file()
    for name in ("notes.html", "data/mine.json"):
        (out / name).write_text("mine")
    edited = next(path for path in (out / "data").iterdir() if path.name.startswith("run-"))
    edited.write_text("edited by hand")
    written(out, new)
    assert not (out / "data/c1.js").exists() and not (out / "task-mathvista.html").exists()
    assert (out / "notes.html").read_text() == (out / "data/mine.json").read_text() == "mine"
    pages = {path.name for path in out.glob("*.html")} - {"notes.html"}
    assert pages == {path.name for path in written(tmp_path / "alone", new).glob("*.html")}


def test_a_list_of_files_that_was_tampered_with_removes_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=3)
    out = written(tmp_path / "out", run)
    victim = tmp_path / "victim.html"
    victim.write_text("mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    (out / "keep.txt").write_text("mine")
    names = ("../victim.html", "keep.txt", "data/../../victim.html", str(victim))
    (out / "data/files.json").write_text(json.dumps(dict.fromkeys(names, digest)))
    written(out, run)
    assert victim.read_text() == (out / "keep.txt").read_text() == "mine"
    (out / "data/files.json").write_text("[" * 100_000)
    written(out, run)


def test_every_page_has_the_same_menu(out: Path) -> None:
    menus = {path.name: re.search(r"<nav.*?</nav>", path.read_text(), re.DOTALL) for path in out.glob("*.html")}
    bare = {
        re.sub(r' aria-current="page"|</?strong>', "", menu[0])
        for name, menu in menus.items()
        if menu is not None and not name.startswith("task-")
    }
    assert len(bare) == 1 and "samples.html" in bare.pop()


def test_hostile_text_stays_text_in_every_file(tmp_path: Path) -> None:
    row = make_row(categories={HOSTILE: {HOSTILE: {"n": 3, "score": 0.5, "ci95": [0.1, 0.9]}}}, failed={HOSTILE: 1})
    row = replace(row, label=HOSTILE, partial=HOSTILE, official={HOSTILE: HOSTILE}, complete=False, title=HOSTILE)
    run = make_run(tmp_path, model=HOSTILE, text=HOSTILE, rows=[row], failed=2, code={"commit": HOSTILE})
    out = written(tmp_path / "out", run, title=HOSTILE)
    for path in [*out.glob("*.html"), *out.glob("data/*"), out / "report.md"]:
        text = path.read_text(encoding="utf-8")
        assert not {"\x1b", "\x00", "\u202e"} & set(text), path.name
        if path.suffix in (".html", ".js"):
            assert "<script>alert" not in text and "<img src=x" not in text, path.name
    assert "<script>alert(1)</script>" in PageText(out / "index.html").text
    assert "x" not in PageText(out / "index.html").attributes("img", "src")


def test_a_hostile_task_name_makes_a_harmless_file_name(tmp_path: Path) -> None:
    name = "../../x/<b>.html#"
    assert re.fullmatch(r"task-[a-z0-9-]+\.html", task_file(name))
    assert task_file("mathvista") == "task-mathvista.html"
    assert task_file("a_b") != task_file("a-b")
    assert (written(tmp_path / "out", make_run(tmp_path, task=name)) / task_file(name)).is_file()


def test_chunks_stay_small(tmp_path: Path) -> None:
    out = written(tmp_path / "out", make_run(tmp_path, n=40, text="x" * 20_000))
    sizes = [path.stat().st_size for path in (out / "data").glob("c*.js")]
    assert len(sizes) > 5
    assert max(sizes) < 500_000
    assert len(samples_of(out)) == 40


def test_very_long_texts_are_cut_with_a_notice(tmp_path: Path) -> None:
    [sample] = samples_of(written(tmp_path / "out", make_run(tmp_path, n=1, text="y" * 300_000)))
    reply = sample["replies"]["0"]["text"]
    assert len(reply) < 201_000
    assert reply.endswith("more characters in the run folder]")


def test_images_are_small_copies_named_by_hash(tmp_path: Path) -> None:
    out = written(tmp_path / "out", make_run(tmp_path, n=3), images="small")
    assert sorted(path.stem for path in (out / "media").iterdir()) == sorted(picture_shas()[:3])
    assert all(path.read_bytes()[8:12] == b"WEBP" for path in (out / "media").iterdir())
    assert samples_of(out)[0]["media"][0]["file"] == f"{picture_shas()[0]}.webp"


def test_images_that_cannot_be_reached_are_boxes_and_the_front_page_says_so(tmp_path: Path) -> None:
    source = {"repo": None, "data_dir": str(tmp_path / "nowhere")}
    config = {"tasks": [{"task": "mathvista", "split": "testmini", "source": source}]}
    out = written(tmp_path / "out", make_run(tmp_path, n=3, config=config), images="small")
    assert not list((out / "media").iterdir())
    assert samples_of(out)[0]["media"][0]["file"] == ""
    assert "mathvista: images are not shown" in PageText(out / "index.html").text


def test_images_can_be_left_out(tmp_path: Path) -> None:
    assert not (written(tmp_path / "out", make_run(tmp_path, n=3)) / "media").exists()


def test_a_title_replaces_the_one_that_counts(tmp_path: Path) -> None:
    out = written(tmp_path / "out", make_run(tmp_path), title="Our new model")
    assert "Our new model" in PageText(out / "index.html").text
    assert (out / "report.md").read_text().startswith("# Our new model\n")


def test_demo_runs_are_marked_and_kept_out_of_the_published_tables(tmp_path: Path) -> None:
    reference = {"system": "x", "value": 0.687, "delta": None, "note": "demo model, not Kimi-VL-A3B"}
    rows = [make_row(split="mini", reference=reference)]
    run = make_run(tmp_path, model="kimi-vl-nano", demo=True, rows=rows)
    out = written(tmp_path / "out", run)
    assert "demo model: do not compare" in PageText(out / "index.html").text
    heads = [row[0] for row in PageText(out / "published.html").tables if row]
    assert heads and not any("kimi-vl-nano" in cell for head in heads for cell in head)
    assert "left out" in PageText(out / "published.html").text
    written(tmp_path / "out", run, include_demo=True)
    assert "left out" not in PageText(out / "published.html").text


def test_a_joined_run_says_where_its_parts_come_from(tmp_path: Path) -> None:
    common = {"created": "2026-08-11T14:22:33Z", "finished": "2026-08-11T14:40:00Z", "resumes": []}
    merged = [
        {"shard": "1/2", "run_id": "left", "device": "cuda", "code": {"version": "0.1.0"}, "lacking": 0, **common},
        {"shard": "2/2", "run_id": "right", "device": "cpu", "code": {"version": "0.1.0"}, "lacking": 3, **common},
    ]
    out = written(tmp_path / "out", make_run(tmp_path, merged=merged))
    notes = PageText(out / "index.html").text
    assert "its shards ran on different devices: cuda, cpu" in notes
    assert "merged from incomplete shards; missing samples: 2/2 (3)" in notes
    table = PageText(out / "provenance.html").text
    assert "left" in table and "right" in table


def test_default_place_is_the_first_run(tmp_path: Path) -> None:
    folder, form = make_run(tmp_path), ReportForm(images="none")
    assert write_report([folder], form=form) == [folder / "report" / "report.md", folder / "report" / "index.html"]
    assert write_report([folder], form=replace(form, formats=("markdown",))) == [folder / "report" / "report.md"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="cannot write the report"):
        write_report([make_run(tmp_path)], tmp_path / "out")


def test_no_run_is_a_usage_error(tmp_path: Path) -> None:
    with refused(UsageError, "usage.report"):
        write_report([], tmp_path)


@pytest.mark.slow
def test_markdown_needs_nothing_heavy(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    code = (
        "import sys; from pathlib import Path; from kvl_eval.reports.write import ReportForm, write_report;"
        f"write_report([Path({str(folder)!r})], form=ReportForm(formats=('markdown',)));"
        "assert not {'numpy', 'pandas', 'torch', 'PIL', 'datasets', 'jinja2', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
