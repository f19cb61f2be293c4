"""Files of others beside the pages: as published, with version and license; only they make nodes of HTML texts."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import kvl_eval.reports

ASSETS = Path(kvl_eval.reports.__path__[0]) / "assets"
VENDOR = ASSETS / "vendor"
HTML_TEXTS = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment")


def described() -> dict[str, dict[str, str]]:
    """{file: its other fields} of the README's blocks."""
    blocks = re.findall(r"^file +(\S+)\n((?:\w[\w ]*? {2,}.+\n|used for .+\n)+)", README, re.MULTILINE)
    return {file: dict(re.findall(r"^(\w+) +(.+)$", fields, re.MULTILINE)) for file, fields in blocks}


README = (VENDOR / "README").read_text(encoding="utf-8")


def test_every_vendored_file_has_the_hash_of_its_publisher() -> None:
    files = {path.name for path in VENDOR.iterdir()} - {"README"}
    fields = described()
    assert set(fields) == files
    for name in files:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == fields[name]["sha256"], name
        assert re.search(r"\d+\.\d+\.\d+", fields[name]["version"]) and "MIT" in fields[name]["licence"]


def test_the_licence_text_is_there() -> None:
    words = " ".join(README.split())
    assert "The above copyright notice and this permission notice shall be included in all copies" in words
    assert "Ron Kok" in words and "MarkedJS" in words


def test_no_asset_of_ours_makes_nodes_of_html_texts() -> None:
    scripts = [path for path in ASSETS.rglob("*.js") if VENDOR not in path.parents]
    assert scripts
    used = [(path.name, word) for path in scripts for word in HTML_TEXTS if word in path.read_text(encoding="utf-8")]
    assert used == []
