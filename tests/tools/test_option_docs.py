from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.options import OPTIONS
from tools import option_docs


@pytest.mark.parametrize("path", option_docs.PAGES, ids=lambda path: path.name)
def test_the_page_is_current(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert path.read_text(encoding="utf-8") == option_docs.PAGES[path](), "run: python -m tools.option_docs"


def test_every_option_is_on_the_page_with_its_other_names() -> None:
    page = option_docs.options_page()
    for option in OPTIONS:
        assert option.hidden or all(f"`{name}`" in page for name in (option.flag, *option.aliases))
