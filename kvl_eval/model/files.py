"""The JSON files of a checkpoint. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

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


def read_json(path: Path) -> dict[str, Json]:
    """The JSON object in a checkpoint file. Raises: CheckpointError, if it is absent, broken or not an object."""
    try:
        values = decode.read_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(
            "model.file",
            f"{path.name} is missing",
            where=str(path.parent),
            why="a checkpoint folder holds config.json, preprocessor_config.json, the tokenizer's files and "
            "*.safetensors",
            fix="download the checkpoint again, or name another folder",
        ) from None
    except (DecodeError, OSError) as error:
        reason = error.message if isinstance(error, DecodeError) else str(error)
        raise CheckpointError("model.json", f"{path.name} cannot be read", where=str(path), why=reason) from None
    if not isinstance(values, dict):
        raise CheckpointError("model.json", f"{path.name} is not a JSON object", where=str(path))
    return values


def read_json_if_there(path: Path) -> dict[str, Json]:
    """The JSON object in a file that a checkpoint may lack; empty without it. Raises: CheckpointError, if broken."""
    return read_json(path) if path.is_file() else {}


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
            value, _, accepted = rest.rpartition(", wanted ")
            message = f"{name} is {value}"
            why = f"accepted: {accepted}"
            raise CheckpointError("model.config", message, where=self.file, why=why, fix=self.fix) from None

    def section(self, values: ConfigFields, name: str) -> dict[str, Json]:
        """An object inside another, empty where it is absent or null. Raises: CheckpointError, if it is no object."""
        section = values.get(name)
        if section is None:
            return {}
        if not isinstance(section, dict):
            raise self.refused(name, section, "an object")
        return section
