"""The verb that shows a run in a browser."""

from __future__ import annotations

import threading
from pathlib import Path

import click


def view_verb(path: Path | None, output_dir: Path, port: int) -> int:
    """Serve a run or a report until Ctrl-C, which is how one stops looking and no fault."""
    from kvl_eval.view.session import View, newest_run

    shown = newest_run(output_dir) if path is None else path
    view = View(shown, port)
    try:
        click.echo(view.url)
        click.echo(f"showing {shown}{', which is going on' if view.live else ''}; Ctrl-C stops", err=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    finally:
        view.close()
    return 0
