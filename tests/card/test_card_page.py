"""A result card in a browser, opened from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvl_eval.card.building import card_of
from kvl_eval.card.page import page
from kvl_eval.scoring.run_reader import RunReader
from tests.explanation.test_explain import answered, gold
from tests.tiny_task import tiny

if TYPE_CHECKING:
    from playwright import sync_api as playwright


@pytest.mark.browser
def test_a_card_opens_from_disk_and_fits_a_phone(chromium: playwright.Browser, tmp_path: Path) -> None:
    task = tiny()
    path = tmp_path / "card.html"
    path.write_text(page(card_of(RunReader(answered(tmp_path, gold(), task), [task]), "tiny")), encoding="utf-8")
    view = chromium.new_page(viewport={"width": 390, "height": 800}, java_script_enabled=True)
    faults: list[str] = []
    view.on("console", lambda message: faults.append(message.text))
    view.on("requestfailed", lambda request: faults.append(request.url))
    view.goto(path.as_uri())
    assert view.evaluate("document.documentElement.scrollWidth") <= 390
    assert view.locator(".score").inner_text() == "100.0"
    assert faults == []
    view.close()
