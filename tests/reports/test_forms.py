"""The forms of a report that are one file: all pages in one document, a zip of the folder, Markdown alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import UsageError
from kvl_eval.reports import one_file
from kvl_eval.reports.write import ReportForm, write_report
from tests.refusals import refused
from tests.reports.page_reports import PageText
from tests.reports.report_folders import make_run, picture_shas, report_verb
from tests.reports.report_rows import HOSTILE

PAGES = ("index", "compare", "provenance", "published", "task-mathvista", "samples")


def written(out: Path, *runs: Path, **form: Any) -> list[Path]:
    """The files of a report of these runs."""
    return write_report(runs, out, ReportForm(**{"cache_dir": out.parent / "cache", **form}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ on some samples; their texts are hostile and long."""
    folder = tmp_path_factory.mktemp("forms")
    text = HOSTILE + "y" * 30_000
    first = make_run(folder, n=5, text=text, verdicts=("correct",))
    return [first, make_run(folder, name="run-b", model="other", n=5, text=text, verdicts=("correct", "wrong"))]


@pytest.fixture(scope="module")
def one(runs: list[Path]) -> PageText:
    """Their report in one file."""
    [path] = written(runs[0].parent / "one.html", *runs, formats=("file",))
    return PageText(path)


def test_all_pages_are_in_the_file(one: PageText) -> None:
    sheets = [found["data-page"] for tag, found in one.elements if tag == "section" and "data-page" in found]
    assert sorted(map(str, sheets)) == sorted(PAGES) and sheets[0] == "index"


def test_report_a9_an_id_stands_once_and_every_link_leads_to_a_sheet_and_an_id(one: PageText) -> None:
    ids = one.attributes_of_all("id")
    assert len(ids) == len(set(ids))
    for link in one.attributes("a", "href"):
        page, _, place = link.removeprefix("#/").partition("?")
        assert link == "#main" or page in PAGES, link
        assert not place or "=" in place or place in ids, link
    named = [name for tag, found in one.elements for name in str(found.get("aria-labelledby", "")).split()]
    assert set(named) <= set(ids)


def test_nothing_is_loaded_and_style_and_scripts_are_allowed_by_their_hashes(one: PageText) -> None:
    [policy] = [str(found["content"]) for tag, found in one.elements if found.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "img-src data:;" in policy
    for tag in ("script", "style"):
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", one.source, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert (
        not one.attributes("script", "src") and not one.attributes("link", "href") and not one.attributes("img", "src")
    )
    for tag, attributes in one.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
    assert "<script>alert(1)" not in one.source


def test_images_are_inside_and_long_replies_are_cut(one: PageText) -> None:
    assert all(f'"{sha}.webp":"data:image/webp;base64,' in one.source for sha in picture_shas()[:5])
    [chunk] = re.findall(r"kvl\.chunk\(0,(\[.*?\])\);\n", one.source)
    texts = [
        reply[name] for sample in json.loads(chunk) for reply in sample["replies"].values() for name in one_file.TEXTS
    ]
    assert max(map(len, texts)) < 20_100
    assert sum(text.endswith("more characters in the run folder]") for text in texts) == len(texts)


def test_images_of_samples_on_which_runs_differ_come_first(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_file, "IMAGE_BYTES", 0)
    order: list[str] = []
    names = one_file._image_names
    monkeypatch.setattr(one_file, "_image_names", lambda folder: order.extend(names(folder)) or order)
    [path] = written(tmp_path / "one.html", *runs, formats=("file",))
    assert order[:2] == [f"{picture_shas()[number]}.webp" for number in (1, 3)]
    assert "window.kvlMedia = {};" in path.read_text(encoding="utf-8")


def test_too_large_a_file_is_refused(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_file, "MOST_BYTES", 1000)
    with refused(UsageError, "report.size"):
        written(tmp_path / "one.html", runs[0], formats=("file",), images="none")
    assert not list(tmp_path.glob("*.html"))


def test_a_zip_holds_the_folder_and_is_equal_every_time(runs: list[Path], tmp_path: Path) -> None:
    first, second = (
        written(tmp_path / name, runs[0], formats=("zip",), images="none")[0] for name in ("a.zip", "b.zip")
    )
    assert first.read_bytes() == second.read_bytes()
    folder = tmp_path / "folder"
    written(folder, runs[0], images="none")
    with zipfile.ZipFile(first) as archive:
        held = {name.removeprefix("report/"): archive.read(name) for name in archive.namelist()}
    assert held == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_several_forms_lie_in_one_folder(runs: list[Path], tmp_path: Path) -> None:
    paths = written(tmp_path / "out", runs[0], formats=("file", "zip", "html"), images="none")
    assert [path.name for path in paths] == ["report.md", "report.zip", "report.html", "index.html"]
    assert {path.parent for path in paths} == {tmp_path / "out"}


def test_the_command_writes_one_file_where_it_is_told(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "mine.html"
    assert report_verb(str(runs[0]), "--format", "file", "-o", str(page), "--images", "none", "--title", "Ours") == 0
    assert f"report: {page}" in capsys.readouterr().out
    assert "<title>Ours · kvl-eval report</title>" in page.read_text(encoding="utf-8")
    assert not (runs[0] / "report").exists()
