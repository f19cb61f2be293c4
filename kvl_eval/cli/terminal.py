"""The one door to the terminal: what verbs and logs say goes through `echo`, and is printable then."""

from __future__ import annotations

import logging

import click

from kvl_eval.printable import printable, visible


class _Written:
    """What was written since the command began."""

    output = False


_WRITTEN = _Written()


def begin() -> None:
    """A command begins: nothing was written yet."""
    _WRITTEN.output = False


def wrote_output() -> bool:
    """Whether anything was written to standard output since `begin`."""
    return _WRITTEN.output


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write `text` to standard output, or to standard error."""
    _WRITTEN.output |= not err
    click.echo(visible(text), err=err, nl=nl)


class LogHandler(logging.Handler):
    """Warnings of the package, one line each, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        echo(printable(record.getMessage(), keep=""), err=True)


def show_logs() -> None:
    """Warnings of the package go through `echo` from now on."""
    log = logging.getLogger("kvl_eval")
    if not any(isinstance(handler, LogHandler) for handler in log.handlers):
        log.addHandler(LogHandler(logging.WARNING))
