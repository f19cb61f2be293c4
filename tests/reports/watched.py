"""A page in a headless Chromium whose console, requests and dialogs are watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from playwright import sync_api

SLOW = 120_000  # milliseconds after which something hangs
FITS = "document.documentElement.scrollWidth <= innerWidth"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${node.tagName}.${node.className}: ${node.textContent.slice(0, 30)}`);
  }
  return [...new Set(poor)];
}"""


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
