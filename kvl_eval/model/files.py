"""The JSON files of a checkpoint. Imports no torch."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from kvl_eval import decode
from kvl_eval.decode import Between, Json
from kvl_eval.errors import CheckpointError, DecodeError

T = TypeVar("T")
ConfigFields = Mapping[str, Json]
"""What a JSON file of a checkpoint holds."""
Positive = Annotated[int, Between(1)]
"""A whole number that cannot be 0."""
NotNegative = Annotated[int, Between(0)]
"""A whole number, such as an id."""


POINTER = b"version https://git-lfs."
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))


class Oddity(NamedTuple):
    """Why a path is not a readable file, and what can be done about it."""

    message: str
    fix: str | None = None


class CheckWarning(NamedTuple):
    """What a check found that does not keep a checkpoint from being used."""

    text: str
    why: str


def is_there(path: Path) -> bool:
    """Whether a folder has an entry of that name, readable or not."""
    return os.path.lexists(path)


def require_file(path: Path, *, why: str | None = None, fix: str | None = None) -> None:
    """Raise CheckpointError `model.file` unless the path is a regular file that can be read.

    `why` and `fix` are said of a file that is not there at all.
    """
    if not is_there(path):
        fix = fix or "use a folder with the whole checkpoint"
        raise CheckpointError("model.file", f"{path.name} is missing", where=str(path.parent), why=why, fix=fix)
    oddity = _oddity(path)
    if oddity is not None:
        raise CheckpointError("model.file", f"{path.name} {oddity.message}", where=str(path.parent), fix=oddity.fix)


def _oddity(path: Path) -> Oddity | None:
    """What is odd about an entry of a folder. Opens regular files only."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for is_kind, name in KINDS if is_kind(mode)), "a device")
            return Oddity(f"is {kind}, expected a file", "replace it with the file")
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                return Oddity("is a git-lfs pointer, not the file", "run `git lfs pull` in that folder")
    except OSError as error:
        return _unreadable(path, error)
    return None


def _unreadable(path: Path, error: OSError) -> Oddity:
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return Oddity(f"is a broken link to {os.readlink(path)}", "put the file at the target of the link")
    if error.errno == errno.ELOOP:
        return Oddity("is a link to itself", "replace it with the file")
    if isinstance(error, PermissionError):
        return Oddity("cannot be read: no permission", "make it readable (chmod u+r)")
    return Oddity(f"cannot be read: {error.strerror or error}", "check the disk and the permissions")


def read_file(path: Path, *, why: str | None = None, fix: str | None = None) -> bytes:
    """The content of a checkpoint's file. Raises: CheckpointError as `require_file` does."""
    require_file(path, why=why, fix=fix)
    try:
        return path.read_bytes()
    except OSError as error:
        oddity = _unreadable(path, error)
        message = f"{path.name} {oddity.message}"
        raise CheckpointError("model.file", message, where=str(path.parent), fix=oddity.fix) from None


def read_text(path: Path, *, why: str | None = None, fix: str | None = None) -> str:
    """The same as text in UTF-8, with or without a byte-order mark; invalid UTF-8 becomes U+FFFD."""
    return read_file(path, why=why, fix=fix).decode("utf-8-sig", errors="replace")


def read_json(path: Path, *, fix: str | None = None) -> dict[str, Json]:
    """The JSON object in a checkpoint file; `fix` is said of one that is missing.

    Raises: CheckpointError, if it is absent, no regular file, broken or not an object.
    """
    why = "a checkpoint folder contains config.json, preprocessor_config.json, tokenizer files and *.safetensors"
    try:
        values = decode.read_json(read_file(path, why=why, fix=fix))
    except DecodeError as error:
        fix = "download the file again"
        raise CheckpointError(
            "model.json", f"cannot read {path.name}", where=str(path), why=error.message, fix=fix
        ) from None
    if not isinstance(values, dict):
        fix = "download the file again"
        raise CheckpointError("model.json", f"{path.name} is not a JSON object", where=str(path), fix=fix)
    return values


def read_json_if_there(path: Path) -> dict[str, Json]:
    """The JSON object in a file that a checkpoint may lack; empty without it. Raises: CheckpointError, if broken."""
    return read_json(path) if is_there(path) else {}


def id_tuple(ids: Json | tuple[int, ...]) -> tuple[int, ...]:
    """Token ids that a JSON file gives as one number, a list or null."""
    values = ids if isinstance(ids, list | tuple) else [ids]
    return tuple(number for number in values if type(number) is int)


@dataclass(frozen=True, slots=True)
class ConfigReader:
    """Reads the fields of one architecture's configuration files.

    Attributes:
        file: name of the file, for errors.
        fix:  what to do about a field that is refused.
    """

    fix: str
    file: str = "config.json"

    def refused(self, name: str, value: object, accepted: str) -> CheckpointError:
        """The error of a field that is not computed."""
        return CheckpointError(
            "model.config",
            f"{name} is {json.dumps(value, default=str)}",
            where=self.file,
            why=f"accepted: {accepted}",
            fix=self.fix,
        )

    def decoded(self, kind: type[T], values: ConfigFields, path: str = "") -> T:
        """Fields as the type has them; `path` is what the object is called. Raises: CheckpointError."""
        try:
            return decode.decode(kind, dict(values), path)
        except DecodeError as error:
            name, _, rest = error.message.partition(": ")
            value, _, accepted = rest.rpartition(", expected ")
            message = f"{name} is {value}"
            why = f"accepted: {accepted}"
            raise CheckpointError("model.config", message, where=self.file, why=why, fix=self.fix) from None

    def section(self, values: ConfigFields, name: str) -> dict[str, Json]:
        """An object inside another, empty if it is absent or null. Raises: CheckpointError, if it is not an object."""
        section = values.get(name)
        if section is None:
            return {}
        if not isinstance(section, dict):
            raise self.refused(name, section, "an object")
        return section
