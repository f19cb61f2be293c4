"""The documentation is whole: links and anchors lead somewhere, pages are listed, and the README is a first screen."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from kvl_eval.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CODE = re.compile(r"^([ \t]*)(```|~~~).*?^\1\2|``.+?``|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
PAGE = re.compile(r"\b(?:docs|kvl_eval|tools|results)/[\w/.-]+\.md\b|\b[A-Z]{6,}\.md\b")


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in sorted(set(names)) if (ROOT / name).is_file()]


def without_code(text: str) -> str:
    return CODE.sub(lambda match: "\n" * match.group().count("\n"), text)


def links(path: Path) -> Iterator[tuple[str, str]]:
    """(path, anchor) of every relative link of a Markdown file; both may be empty."""
    for target in LINK.findall(without_code(path.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z][a-z0-9+.-]*:", target):
            name, _, anchor = target.partition("#")
            yield unquote(name), anchor


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a Markdown file, as GitHub makes them of its headings."""
    fenced = re.compile(r"^([ \t]*)(```|~~~).*?^\1\2", re.DOTALL | re.MULTILINE)
    slugs: dict[str, int] = {}
    for heading in HEADING.findall(fenced.sub("", path.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        slugs[slug] = slugs.get(slug, -1) + 1
    return {slug if not number else f"{slug}-{number}" for slug, most in slugs.items() for number in range(most + 1)}


def broken(path: Path) -> Iterator[str]:
    """The links of a file that lead nowhere."""
    for name, anchor in links(path):
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{path.relative_to(ROOT)}: {name} does not exist"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{path.relative_to(ROOT)}: {name}#{anchor} is not a heading"


def test_every_relative_link_and_anchor_exists() -> None:
    files = tracked("*.md")
    assert len(files) > 20
    assert not [text for path in files for text in broken(path)]


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "b.md").write_text("# A `b` heading\n\n```\n# no heading\n```\n")
    (tmp_path / "a.md").write_text(
        "[x](b.md#a-b-heading) [y](c.md) ![z](b.md#no-heading) `[code](d.md)` [w](https://x.y)"
    )
    assert list(broken(tmp_path / "a.md")) == ["a.md: c.md does not exist", "a.md: b.md#no-heading is not a heading"]


def test_every_page_that_code_names_exists() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked("kvl_eval", "tools", "benchmarks", "pyproject.toml", "Makefile", ".ci")
        if path.suffix in (".py", ".j2", ".html", ".toml", ".sh", "")
        for name in PAGE.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert not missing


def test_the_index_lists_every_page_once_with_a_line_of_its_own() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- \[[^\]]+\]\(([^)]+\.md)\): \S.*\.$", index, re.MULTILINE)
    pages = {path.relative_to(DOCS).as_posix() for path in tracked("docs/*.md")} - {"index.md"}
    assert sorted(entries) == sorted(pages)


def test_the_readme_begins_with_what_to_type() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    first = lines[:40]
    assert any(line.startswith("![") for line in first)
    assert first.count("```bash") == 2
    assert sum(line.startswith("Next:") for line in first) == 1


def test_numbers_of_the_readme_are_those_of_the_tasks_and_of_the_answers_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    benchmarks = {task.reference.benchmark for task in TASKS.values() if task.reference and "needle" not in task.groups}
    assert f"on {len(benchmarks)} published benchmarks" in readme
    answers = (DOCS / "answers.md").read_text(encoding="utf-8")
    readers = ("**this reader**", "VLMEvalKit can_infer", "lmms-eval extract_mcq_answer")
    agree = [re.search(rf"^\| {re.escape(reader)} \| 2500 \| ([\d.]+) ", answers, re.MULTILINE) for reader in readers]
    (row,) = re.findall(r"^\| \[letters read .*$", readme, re.MULTILINE)
    assert re.findall(r"([\d.]+)%", row) == [match[1] for match in agree if match]


def test_contributing_is_short_and_begins_with_the_generator() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 70
    _, _, section = text.partition("## Add a task in 10 minutes\n")
    assert section.split("```bash\n")[1].startswith("kvl-eval new-task NAME")


def test_pictures_of_the_readme_are_small() -> None:
    assert (DOCS / "images" / "report.png").stat().st_size < 300_000
