"""Hooks of MkDocs: the navigation is docs/index.md, and links that leave `docs/` become names of files.

A page of the repository links to files beside `docs/` (`../SECURITY.md`). Those in OUTSIDE become pages of the site; of
other files the text of the link stays, with the path in parentheses.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
FENCED = re.compile(r"^([ \t]*)(```|~~~).*?^\1\2[ \t]*$", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^## (.+)$|^- \[([^\]]+)\]\(([^)]+\.md)\):", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)|!\[([^\]]*)\]\(([^)\s]+)\)")
OUTSIDE = {  # {file of the repository: its page}
    "README.md": "project/readme.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "tools/README.md": "project/training.md",
    "kvl_eval/references/README.md": "project/published_results.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of the sections and entries of docs/index.md."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    config.nav = [{"Home": "index.md"}, *navigation(index, lambda name: (ROOT / "docs" / name).is_file())]
    return config


def navigation(index: str, exists: Callable[[str], bool]) -> list[dict[str, list[dict[str, str]]]]:
    """The sections of the index with the pages that exist, and last the pages of files outside `docs/`."""
    sections: dict[str, list[dict[str, str]]] = {}
    for match in SECTION.finditer(index):
        heading, title, name = match.groups()
        if heading:
            sections[heading] = []
        elif exists(name):
            sections[list(sections)[-1]].append({title: name})
    sections["Project"] = [{Path(page).stem.replace("_", " ").capitalize(): page} for page in OUTSIDE.values()]
    return [{heading: pages} for heading, pages in sections.items()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of files outside `docs/`."""
    from mkdocs.structure.files import File

    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page with its links turned to what the site has."""
    uri = page.file.src_uri
    source = next((name for name, generated in OUTSIDE.items() if generated == uri), f"docs/{uri}")
    return relinked(markdown, source, uri, OUTSIDE | {f"docs/{file.src_uri}": file.src_uri for file in files})


def relinked(markdown: str, source: str, uri: str, pages: Mapping[str, str]) -> str:
    """`markdown` of the repository's file `source`, with links as its page `uri` needs them; code stays as it is."""
    parts, end = [], 0
    for fence in FENCED.finditer(markdown):
        parts += [LINK.sub(lambda match: link(match, source, uri, pages), markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, LINK.sub(lambda match: link(match, source, uri, pages), markdown[end:])])


def link(match: re.Match[str], source: str, uri: str, pages: Mapping[str, str]) -> str:
    """A link of `source` as its page `uri` has it."""
    text, target = (match[1], match[2]) if match[2] is not None else (match[3], match[4])
    name, _, anchor = target.partition("#")
    if not name or re.match(r"[a-z][a-z0-9+.-]*:", target):
        return match.group()
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
    if path in pages:
        where = posixpath.relpath(pages[path], posixpath.dirname(uri) or ".") + (f"#{anchor}" if anchor else "")
        return f"{'!' if match[4] is not None else ''}[{text}]({where})"
    return text if text.strip("`") == path else f"{text} (`{path}`)"
