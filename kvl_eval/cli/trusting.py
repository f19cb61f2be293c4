"""What this command line names, and what must be asked before anything else is contacted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable

import click
from click.core import ParameterSource

from kvl_eval.cli.terminal import note
from kvl_eval.errors import UsageError
from kvl_eval.options import MODEL_ARGUMENTS
from kvl_eval.printable import printable
from kvl_eval.run.contacts import PlaceOf
from kvl_eval.trust import AddressPlace, Contact, KnownServers, Trust

MOVED = {option.name for option in MODEL_ARGUMENTS}  # options that may also be given as model arguments
PLACES = {ParameterSource.COMMANDLINE: AddressPlace.COMMAND_LINE, ParameterSource.DEFAULT_MAP: AddressPlace.CONFIG_FILE}


def places(absent: AddressPlace) -> PlaceOf:
    """Where the value of an option stands; `absent` for one that neither command line nor configuration file names."""
    context = click.get_current_context()

    def place_of(option: str) -> AddressPlace:
        source = context.get_parameter_source(option)
        if source not in PLACES and option in MOVED:
            source = context.get_parameter_source("model_args")
        return absent if source is None else PLACES.get(source, absent)

    return place_of


def settle(contacts: Iterable[Contact], *, records: bool = False) -> None:
    """Come back if this command may contact all of that; with `records` remember what its command line names.

    Raises: UsageError `trust.server`, with the command that would confirm it.
    """
    listed = tuple(contacts)
    if not listed:
        return
    from kvl_eval.sources.media_files import cache_home

    servers = KnownServers(cache_home(None))
    is_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    Trust(servers, _command, _ask if is_terminal else None, records).settle(listed)
    if servers.problem:
        note(servers.problem)


def check_include(place_of: PlaceOf) -> None:
    """Raises UsageError `trust.include` for folders with code that a configuration file names."""
    if place_of("include_path") is AddressPlace.CONFIG_FILE:
        raise UsageError(
            "trust.include",
            "a configuration file cannot set include_path, because task files are code",
            fix="remove include_path from the file and use --include-path on the command line",
        )


def _command(words: tuple[str, ...]) -> str:
    typed = click.get_current_context().find_root().obj
    return shlex.join(["kvl-eval", *(typed if isinstance(typed, list) else sys.argv[1:]), *words])


def _ask(question: str) -> bool:
    return click.confirm(printable(question, keep=""), default=False, err=True)
