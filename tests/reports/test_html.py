"""The HTML folder as files: self-contained, foreign text inert, marks present. Behaviour is in test_browser.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kvl_eval.errors import StorageError, UsageError
from kvl_eval.reports.links import task_file
from kvl_eval.reports.write import write_report
from tests.refusals import refused
from tests.reports.report_folders import make_run, picture_shas
from tests.reports.report_rows import HOSTILE, make_row

CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"


class Page(HTMLParser):
    """Elements with attributes, and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def chunk_samples(out: Path) -> list[dict[str, object]]:
    """All samples of the chunk files in order."""
    found: list[dict[str, object]] = []
    for number in range(len(list((out / "data").glob("c*.js")))):
        text = (out / "data" / f"c{number}.js").read_text(encoding="ascii")
        match = re.fullmatch(rf"kvl\.chunk\({number},(.*)\);\n", text, re.DOTALL)
        assert match
        found += json.loads(match[1])
    return found


def index_of(out: Path) -> dict[str, object]:
    text = (out / "data" / "index.js").read_text(encoding="ascii")
    quoted = text.removeprefix("kvl.index(JSON.parse('").removesuffix("'));\n")
    return json.loads(quoted.replace("\\'", "'").replace("\\\\", "\\"))


def test_every_page_is_self_contained_and_strict(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([make_run(tmp_path)], out)
    pages = sorted(out.glob("*.html"))
    assert [page.name for page in pages] == ["index.html", "provenance.html", "samples.html", "task-mathvista.html"]
    for path in pages:
        page = Page(path)
        assert ("meta", {"http-equiv": "Content-Security-Policy", "content": CSP}) in page.elements
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path.name, tag)
            for name in ("href", "src"):
                target = (attributes.get(name) or "").partition("#")[0]
                assert not target or (out / target).is_file(), (path.name, target)
            assert tag != "script" or attributes.get("src"), "no script inside a page"


def test_hostile_text_stays_text_in_every_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    row = make_row(categories={HOSTILE: {HOSTILE: {"n": 3, "score": 0.5, "ci95": [0.1, 0.9]}}}, failed={HOSTILE: 1})
    row = replace(row, label=HOSTILE, partial=HOSTILE, official={HOSTILE: HOSTILE}, complete=False, title=HOSTILE)
    write_report([make_run(tmp_path, model=HOSTILE, text=HOSTILE, rows=[row], failed=2, code={"commit": HOSTILE})], out)
    for path in [*out.glob("*.html"), *out.glob("data/*.js"), out / "report.md"]:
        text = path.read_text(encoding="utf-8")
        assert not {"\x1b", "\x00", "\u202e"} & set(text), path.name
        assert "<script>alert" not in text, path.name
        assert "<img src=x" not in text, path.name
    shown = Page(out / "index.html").text
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7*7 }}" in shown
    assert "\\x1b[31mred" in shown
    assert not any(attributes.get("src") == "x" for _, attributes in Page(out / "index.html").elements)


def test_a_hostile_task_name_makes_a_harmless_file_name(tmp_path: Path) -> None:
    name = "../../x/<b>.html#"
    assert re.fullmatch(r"task-[a-z0-9-]+\.html", task_file(name))
    assert task_file("mathvista") == "task-mathvista.html"
    assert task_file("a_b") != task_file("a-b")
    out = tmp_path / "out"
    write_report([make_run(tmp_path, task=name)], out)
    assert (out / task_file(name)).is_file()


def test_samples_hold_everything_the_browser_shows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([make_run(tmp_path, n=6, missing=1, failed=1)], out)
    samples = chunk_samples(out)
    assert len(samples) == 6
    first = next(sample for sample in samples if sample["key"] == "0/mathvista/1")
    assert first["answer"] == "The answer is 0. "
    assert first["thinking"] == "Let me look. "
    assert first["gold"] == "0"
    assert [(score["protocol"], score["verdict"]) for score in first["scores"]] == [  # type: ignore[attr-defined]
        ("official", "correct"),
        ("vlmevalkit", "correct"),
    ]
    assert first["media"][0]["seen"] == [112, 84]  # type: ignore[index]
    index = index_of(out)
    rows = [dict(zip(index["columns"], row, strict=True)) for row in index["rows"]]  # type: ignore[call-overload]
    verdicts = [index["names"][row["verdict"]] for row in rows]  # type: ignore[index]
    assert verdicts == ["correct", "wrong", "no_answer", "correct", "failed", "pending"]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]


def test_flips_between_two_runs_are_marked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = make_run(tmp_path, n=4, verdicts=("correct", "wrong", "correct", "wrong"))
    second = make_run(tmp_path, name="run-b", n=4, verdicts=("correct", "correct", "correct", "wrong"))
    write_report([first, second], out)
    index = index_of(out)
    rows = [dict(zip(index["columns"], row, strict=True)) for row in index["rows"]]  # type: ignore[call-overload]
    assert [row["flipped"] for row in rows] == [0, 1, 0, 0] * 2


def test_chunks_stay_small(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([make_run(tmp_path, n=40, text="x" * 20_000)], out)
    sizes = [path.stat().st_size for path in (out / "data").glob("c*.js")]
    assert len(sizes) > 5
    assert max(sizes) < 500_000
    assert len(chunk_samples(out)) == 40


def test_very_long_texts_are_cut_with_a_notice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([make_run(tmp_path, n=1, text="y" * 300_000)], out)
    answer = str(chunk_samples(out)[0]["answer"])
    assert len(answer) < 201_000
    assert answer.endswith("more characters in the run folder]")


def test_pictures_are_reencoded_thumbnails_named_by_hash(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([make_run(tmp_path, n=3)], out)
    assert sorted(path.stem for path in (out / "media").iterdir()) == sorted(picture_shas()[:3])
    assert all(path.read_bytes()[8:12] == b"WEBP" for path in (out / "media").iterdir())
    assert chunk_samples(out)[0]["media"][0]["file"] == picture_shas()[0]  # type: ignore[index]


def test_pictures_that_cannot_be_reached_are_placeholders_and_said(tmp_path: Path) -> None:
    source = {"repo": None, "data_dir": str(tmp_path / "nowhere")}
    config = {"tasks": [{"task": "mathvista", "split": "testmini", "source": source}]}
    out = tmp_path / "out"
    write_report([make_run(tmp_path, n=3, config=config)], out)
    assert not (out / "media").exists()
    assert chunk_samples(out)[0]["media"][0]["file"] == ""  # type: ignore[index]
    assert "mathvista: images are not shown" in Page(out / "index.html").text


def test_pictures_can_be_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([make_run(tmp_path, n=3)], out, pictures=False)
    assert not (out / "media").exists()


def test_demo_runs_are_marked_on_every_page_and_kept_out_of_the_published_table(tmp_path: Path) -> None:
    out = tmp_path / "out"
    reference = {"system": "x", "value": 0.687, "delta": None, "note": "demo model, not Kimi-VL-A3B"}
    rows = [make_row(split="mini", reference=reference)]
    write_report([make_run(tmp_path, model="kimi-vl-nano", demo=True, rows=rows)], out)
    for path in out.glob("*.html"):
        assert "demo model, not Kimi-VL-A3B" in Page(path).text, path.name
    page = Page(out / "index.html")
    assert "ours: kimi-vl-nano" not in page.text
    assert "left out" in page.text
    write_report([tmp_path / "run-a"], out, include_demo=True)
    assert "ours: kimi-vl-nano" in Page(out / "index.html").text


def test_task_page_shows_sub_scores_verdicts_lengths_and_protocols(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [make_row(), make_row(protocol="vlmevalkit", label="vlmevalkit", score=0.7, reference=None)]
    write_report([make_run(tmp_path, n=20, rows=rows)], out)
    text = Page(out / "task-mathvista.html").text
    assert "geometry problem solving 208 62.5 [55.8, 68.8]" in text
    assert "figure question answering 12 few" in text
    assert "nothing_found 4" in text
    assert "Answer tokens" in text
    assert "vlmevalkit gives 4 different verdicts" in text
    assert "no_answer → correct" in text


def test_what_a_task_shows_beside_its_score_stands_on_every_page(tmp_path: Path) -> None:
    out = tmp_path / "out"
    place = {"task": "mmmu", "title": "MMMU", "split": "validation", "ci95": [0.3, 0.6], "reference": None}
    scores = {"official": 0.35, "reader": 0.57}
    rows = [make_row(**place, protocol=name, label=name, score=score) for name, score in scores.items()]
    write_report([make_run(tmp_path, task="mmmu", rows=rows)], out)
    index, page = Page(out / "index.html").text, Page(out / "task-mmmu.html").text
    results, board = index.split("Comparison with published results", 1)
    assert "57.0" in results and "35.0" in results
    assert "official 35.0 [30.0, 60.0]" in board
    assert "also scored under official 35.0 [30.0, 60.0]" in page


def test_default_place_is_the_first_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    assert write_report([folder]) == [folder / "report" / "report.md", folder / "report" / "index.html"]
    assert write_report([folder], formats=("markdown",)) == [folder / "report" / "report.md"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="cannot write the report"):
        write_report([make_run(tmp_path)], tmp_path / "out")


def test_no_run_is_a_usage_error(tmp_path: Path) -> None:
    with refused(UsageError, "usage.report"):
        write_report([], tmp_path)


def test_markdown_needs_nothing_heavy(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    code = (
        "import sys; from pathlib import Path; from kvl_eval.reports.write import write_report;"
        f"write_report([Path({str(folder)!r})], formats=('markdown',));"
        "assert not {'numpy', 'pandas', 'torch', 'PIL', 'datasets', 'jinja2', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
