"""The JSON files of a checkpoint. Imports no torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvl_eval.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a checkpoint file. Raises: CheckpointError, if it is absent, broken or not an object."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            "model.file",
            f"{path.name} is missing",
            where=str(path.parent),
            why="a Kimi-VL checkpoint folder holds config.json, preprocessor_config.json, tokenizer_config.json, "
            "tiktoken.model and *.safetensors",
            fix="download the checkpoint again, or name another folder",
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError("model.json", f"{path.name} cannot be read", where=str(path), why=str(error)) from None
    if not isinstance(values, dict):
        raise CheckpointError("model.json", f"{path.name} is not a JSON object", where=str(path))
    return values


def id_tuple(ids: int | Sequence[int] | None) -> tuple[int, ...]:
    """Token ids that a JSON file gives as one number, a list or null."""
    return (ids,) if isinstance(ids, int) else tuple(ids or ())
