"""Pages opened in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser


def open_page(url: str) -> bool:
    """Open a page if there is a graphical session; whether a browser was started. Text browsers are never started."""
    is_graphical = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return is_graphical and webbrowser.open(url)
