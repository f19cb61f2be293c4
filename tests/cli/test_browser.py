"""Pages are opened where a person can see them, and only if that is wanted."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from kvl_eval.cli import browser, report
from kvl_eval.cli.main import main
from kvl_eval.reports.write import ReportForm


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pages that were opened, in a graphical session."""
    pages: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: pages.append(url) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    return pages


def test_no_browser_starts_without_a_graphical_session(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert browser.open_page("http://127.0.0.1:1/") and opened == ["http://127.0.0.1:1/"]
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not browser.open_page("http://127.0.0.1:2/") and len(opened) == 1


@pytest.mark.parametrize(("words", "images", "count"), [((), "small", 0), (("--open", "--images", "none"), "none", 1)])
def test_a_report_is_opened_on_request(
    opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], images: str, count: int
) -> None:
    forms: list[ReportForm] = []
    page = tmp_path / "index.html"

    def written(_: object, __: object, form: ReportForm, *, opens: bool, as_json: bool) -> int:
        forms.append(form)
        return 0 if not opens or browser.open_page(page.as_uri()) else 1

    monkeypatch.setattr(report, "report_verb", written)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "run"), *words])
    assert ended.value.code == 0
    assert [form.images for form in forms] == [images]
    assert len(opened) == count
