"""Who may make kvl-eval contact an address and send a key: its user, never a file.

| where the address stands            | contacted                   | sent a key                         |
| ----------------------------------- | --------------------------- | ---------------------------------- |
| command line of this command        | yes                         | of the variable named there        |
| configuration file it names         | yes; a cluster as below     | if both are known or confirmed     |
| run folder                          | if it is known or confirmed | if both are known or confirmed     |
| server reply, data set, checkpoint  | never                       | never                              |

Options that a vLLM server is to be started with count as a cluster's address does: they can make it run code.

Known is what this user gave on a command line of this machine before: `servers.jsonl` in the cache folder. Confirmed is
what is given again on this command line, or answered with `y` at a terminal.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from kvl_eval.decode import ReadLimits, decode, encode, omitted, read_json
from kvl_eval.errors import ConfigError, DecodeError, UsageError

FILE = "servers.jsonl"
LARGEST = 4 << 20  # bytes of that file
LINE_LIMITS = ReadLimits(size=1 << 16)
PORTS = {"http": 80, "https": 443, "ray": 10001}
ContactKind = Literal["server", "cluster", "dataset", "model", "vllm_args"]


class AddressPlace(StrEnum):
    """Where an address or the name of a variable stands."""

    COMMAND_LINE = "command line"
    CONFIG_FILE = "configuration file"
    RUN_FOLDER = "run folder"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an address: what is trusted; the path behind them is not looked at."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, address: str) -> Origin:
        """The origin of an address. Raises ConfigError where it has none."""
        try:
            parts = urlsplit(address)
            port = parts.port if parts.port is not None else PORTS.get(parts.scheme)
        except ValueError:
            port, parts = None, urlsplit("")
        if not parts.hostname or port is None:
            raise ConfigError(
                "config.base_url",
                f"{address!r} is not a server address",
                fix="use an address such as http://127.0.0.1:8000/v1 or host:port",
            )
        return cls(parts.scheme, parts.hostname, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A line of `servers.jsonl`: what a user named on a command line.

    Attributes:
        kind:     what it is.
        name:     an origin, or the `owner/name` of a repository.
        variable: the environment variable whose value may be sent there; None: none.
    """

    kind: ContactKind
    name: str
    variable: str | None = omitted()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Something that a command would reach.

    Attributes:
        kind:           what it is.
        name:           an origin, or the `owner/name` of a repository.
        place:          where that stands.
        confirming:     the words of a command line that name it.
        variable:       the environment variable whose value would be sent; None where that is not set.
        variable_place: where its name stands.
        confirming_key: the words of a command line that name the variable.
    """

    kind: ContactKind
    name: str
    place: AddressPlace
    confirming: tuple[str, ...]
    variable: str | None = None
    variable_place: AddressPlace = AddressPlace.COMMAND_LINE
    confirming_key: tuple[str, ...] = ()

    @property
    def given(self) -> Named | None:
        """What the command line says of it, if it says anything."""
        if self.place is not AddressPlace.COMMAND_LINE:
            return None
        named = self.variable if self.variable_place is AddressPlace.COMMAND_LINE else None
        return Named(kind=self.kind, name=self.name, variable=named)

    def may_be_reached(self, known: Iterable[Named]) -> bool:
        """Whether the address may be contacted, the key aside."""
        if self.place is AddressPlace.COMMAND_LINE or (
            self.place is AddressPlace.CONFIG_FILE and self.kind not in ("cluster", "vllm_args")
        ):
            return True
        return any((named.kind, named.name) == (self.kind, self.name) for named in known)

    def may_get_key(self, known: Iterable[Named]) -> bool:
        """Whether the value of the variable may be sent there; true without one."""
        if self.variable is None or {self.place, self.variable_place} == {AddressPlace.COMMAND_LINE}:
            return True
        return Named(kind=self.kind, name=self.name, variable=self.variable) in known

    @property
    def source(self) -> str:
        """The file that asks for it, in words."""
        places = (self.place, self.variable_place if self.variable else self.place)
        return f"this {next((place for place in places if place is not AddressPlace.COMMAND_LINE), self.place)}"

    def request(self) -> str:
        """`asks to send the value of MY_VAR to https://host:443`."""
        if self.variable is not None:
            return f"asks to send the value of {self.variable} to {self.name}"
        return {
            "server": f"asks to contact {self.name}",
            "cluster": f"asks to join the Ray cluster at {self.name}",
            "dataset": f"asks to download the data set {self.name}",
            "model": f"asks to download the model {self.name}",
            "vllm_args": f"asks to start vLLM with {self.name!r}",
        }[self.kind]

    def question(self) -> str:
        """What a person at a terminal is asked."""
        if self.kind != "server":
            return f"{self.source} {self.request()}. Continue?"
        key = f" and would send it the value of {self.variable}" if self.variable else ""
        return f"{self.source} asks for answers from {self.name}{key}. Continue?"


class KnownServers:
    """`servers.jsonl`: what its user named on command lines of this machine.

    Attributes:
        problem: why the file is not believed, or could not be written; None where all is well.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is the cache folder of the user, never one that a file names."""
        self.path = folder / FILE
        self.problem: str | None = None

    def named(self) -> frozenset[Named]:
        """What the file holds; nothing where others may write it or it belongs to somebody else."""
        return frozenset(self._read())

    def _read(self) -> Iterator[Named]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            self.problem = _distrust(os.fstat(descriptor), self.path)
            text = b"" if self.problem else os.read(descriptor, LARGEST)
        finally:
            os.close(descriptor)
        for line in text.splitlines():
            with suppress(DecodeError):
                yield decode(Named, read_json(line, LINE_LIMITS))

    def add(self, named: Iterable[Named]) -> None:
        """Write down what was named, each thing once. A file that cannot be written is a `problem`, no error."""
        before = self.named()
        fresh = [one for one in dict.fromkeys(named) if one not in before]
        if self.problem or not fresh:
            return
        text = "".join(json.dumps(encode(one)) + "\n" for one in fresh)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            self.problem = f"cannot write {self.path} ({error.strerror}): this address is not remembered"


def _distrust(facts: os.stat_result, path: Path) -> str | None:
    """Why a file with these facts is not believed, or None."""
    if not stat.S_ISREG(facts.st_mode):
        return f"{path} is not a regular file and is ignored"
    if facts.st_uid != os.getuid():
        return f"{path} belongs to another user and is ignored"
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} is writable by other users and is ignored; check it, then run `chmod 600` on it"
    return None


@dataclass(slots=True)
class Trust:
    """Settles what a command may contact.

    Attributes:
        servers: what the user named before.
        command: words in, the command with these words added to what was typed out.
        ask:     puts a question to the user; None without a terminal.
        records: whether what the command line names is written down.
    """

    servers: KnownServers
    command: Callable[[tuple[str, ...]], str]
    ask: Callable[[str], bool] | None = None
    records: bool = False

    def settle(self, contacts: Iterable[Contact]) -> None:
        """Come back if everything may be contacted. Raises UsageError `trust.server`; nothing was sent then."""
        contacts = tuple(contacts)
        known = self.servers.named()
        refused = [one for one in contacts if not (one.may_be_reached(known) and one.may_get_key(known))]
        if refused and (self.ask is None or not all(self.ask(one.question()) for one in refused)):
            raise self._refusal(refused, known)
        if self.records:
            self.servers.add(one.given for one in contacts if one.given is not None)

    def _refusal(self, refused: list[Contact], known: frozenset[Named]) -> UsageError:
        words: list[str] = []
        for one in refused:
            words += one.confirming if one.place is not AddressPlace.COMMAND_LINE else ()
            words += one.confirming_key if one.variable and one.variable_place is not AddressPlace.COMMAND_LINE else ()
        first = refused[0]
        is_known = any((named.kind, named.name) == (first.kind, first.name) for named in known)
        together = " together with that variable" if is_known else ""
        more = f"; {len(refused) - 1} more such requests" if len(refused) > 1 else ""
        return UsageError(
            "trust.server",
            f"{first.source} {first.request()}, which was never named{together} on this machine",
            why=(self.servers.problem or "such a request needs your consent; nothing was sent") + more,
            fix=f"if you trust it, run {self.command(tuple(words))}",
        )
