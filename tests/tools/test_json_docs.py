"""docs/json.md is what the types of `--json` say."""

from __future__ import annotations

from tools.json_docs import PAGE, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tools.json_docs`"
