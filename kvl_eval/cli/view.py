"""The verb that opens a run in a browser."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from kvl_eval.cli.browser import open_page
from kvl_eval.cli.terminal import echo


def view_verb(path: Path | None, output_dir: Path, port: int, *, opens: bool = False) -> int:
    """Serve a run or a report until Ctrl-C, with `opens` also in the browser; returns 0."""
    from kvl_eval.view.session import RunView, newest_run

    place = newest_run(output_dir) if path is None else path
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # set here, since a background job starts with SIGINT ignored
        signal.signal(number, lambda *_: stopped.set())
    view = RunView(place, port)
    try:
        echo(view.url)
        if opens:
            open_page(view.url)
        echo(f"serving {place}{' (in progress)' if view.live else ''}; press Ctrl-C to stop", err=True)
        stopped.wait()
        echo("stopped", err=True)
    finally:
        view.close()
    return 0
