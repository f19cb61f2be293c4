"""The site's navigation and links: docs/index.md decides, and no link leaves the site broken."""

from __future__ import annotations

import pytest

from tools.site_pages import OUTSIDE, ROOT, navigation, relinked

INDEX = """\
# Title

## Guide

- [Quick start](guide/quick.md): install.
- [Later](later.md): to come.

## Reference
"""


def test_the_navigation_has_the_pages_of_the_index_that_exist() -> None:
    guide, reference, project = navigation(INDEX, lambda name: name != "later.md")
    assert guide == {"Guide": [{"Quick start": "guide/quick.md"}]}
    assert reference == {"Reference": []}
    assert list(project["Project"][0].values()) == ["project/readme.md"]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](../a.md#x)", "[a](../a.md#x)"),
        ("[s](../../SECURITY.md)", "[s](../project/security.md)"),
        ("![i](../images/i.png)", "![i](../images/i.png)"),
        ("[`docs/no.md`](../no.md)", "`docs/no.md`"),
        ("[r](../../results/x.md)", "r (`results/x.md`)"),
        ("[w](https://w.org/y) [h](#z)", "[w](https://w.org/y) [h](#z)"),
    ],
)
def test_a_link_leads_to_a_page_or_names_its_file(link: str, expected: str) -> None:
    pages = {"docs/a.md": "a.md", "docs/images/i.png": "images/i.png", "SECURITY.md": "project/security.md"}
    assert relinked(link, "docs/guide/b.md", "guide/b.md", pages) == expected


def test_code_keeps_what_looks_like_a_link() -> None:
    text = "```text\n[a](../SECURITY.md)\n```\n"
    assert relinked(text, "docs/a.md", "a.md", {"SECURITY.md": "project/security.md"}) == text


def test_files_beside_the_documentation_exist() -> None:
    assert all((ROOT / name).is_file() for name in OUTSIDE)
