"""A page in a headless Chromium whose console, requests and dialogs are watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.reports.test_browser import CONTRAST

if TYPE_CHECKING:
    from playwright import sync_api

__all__ = ["CONTRAST", "FITS", "Watched", "axe_violations"]

SLOW = 120_000  # milliseconds after which something hangs
FITS = "document.documentElement.scrollWidth <= innerWidth"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]


class Watched:
    """A page that remembers what goes wrong: console messages, script errors, dialogs, requests that leave."""

    def __init__(self, page: sync_api.Page, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._leaves(request.url))
        page.on("requestfailed", lambda request: self.problems.append(f"failed request: {request.url}"))

    @staticmethod
    @contextmanager
    def opened(
        browser: sync_api.Browser, folder: Path, *, width: int = 1440, theme: Any = "light"
    ) -> Iterator[Watched]:
        """A fresh page over a folder; closed at the end."""
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.set_default_timeout(SLOW)
        yield Watched(context.new_page(), folder)
        context.close()

    def _leaves(self, url: str) -> None:
        if not url.startswith((self.folder.as_uri() + "/", "about:")):
            self.problems.append(f"request: {url}")

    def open(self, name: str, **state: str) -> sync_api.Page:
        """The page, loaded; `state` goes behind its `#`."""
        self.page.goto("about:blank")
        self.page.goto(f"{(self.folder / name).as_uri()}#{urlencode(state)}")
        return self.page


def axe_violations(page: sync_api.Page) -> list[str]:
    """What axe-core finds on the page as it is shown now."""
    script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(script)  # by the debugger, which the policy of the page does not bind
    violations: list[str] = page.evaluate(
        "rules => axe.run(document, { runOnly: rules }).then((result) =>"
        " result.violations.map((one) => `${one.id} ${one.nodes[0].html.slice(0, 120)}`))",
        RULES,
    )
    return violations
