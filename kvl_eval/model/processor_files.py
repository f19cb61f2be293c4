"""The image processor's settings, in the file of any version of transformers. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from kvl_eval.decode import Json
from kvl_eval.errors import CheckpointError
from kvl_eval.model.files import ConfigFields, ConfigReader, is_there, read_json_if_there

OWN, WHOLE = "preprocessor_config.json", "processor_config.json"


def image_processor(folder: Path, names: Iterable[str]) -> ConfigFields:
    """Fields of `preprocessor_config.json`, or those that `processor_config.json` has in its place.

    The newer file has them in its section `image_processor`, or beside its own; where both files are there, the fields
    called `names` must agree.
    Raises: CheckpointError, where both are missing, one is unusable, or they contradict each other.
    """
    whole = read_json_if_there(folder / WHOLE)
    nested = ConfigReader("", file=WHOLE).section(whole, "image_processor") or whole
    newer = {name: value for name, value in nested.items() if name in set(names)}
    if is_there(folder / OWN):
        own = read_json_if_there(folder / OWN)
        for name in newer.keys() & own.keys():
            _require_equal(folder, name, own[name], newer[name])
        return own
    if newer:
        return newer
    raise CheckpointError(
        "model.file",
        "the settings of the image processor are missing",
        where=str(folder),
        why=f"{OWN} is missing, and so is the same in {WHOLE}",
        fix=f"copy {OWN} from the base model",
    )


def _require_equal(folder: Path, name: str, own: Json, newer: Json) -> None:
    if own != newer:
        raise CheckpointError(
            "model.config",
            f"{name} is {json.dumps(own)} in {OWN} and {json.dumps(newer)} in {WHOLE}",
            where=str(folder),
            fix="remove the wrong file",
        )
