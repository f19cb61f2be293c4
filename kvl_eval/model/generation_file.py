"""`generation_config.json` of a checkpoint, with a type. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from kvl_eval.decode import Between
from kvl_eval.model.files import ConfigReader, NotNegative, id_tuple, read_json_if_there

READER = ConfigReader("correct the field, or remove generation_config.json", file="generation_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFile:
    """What is used of the file; all None without it."""

    eos_token_id: NotNegative | tuple[NotNegative, ...] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Between(0, 1000)] | None = None
    max_new_tokens: Annotated[int, Between(0, 2**31)] | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Of a checkpoint folder. Raises: CheckpointError, if the file is there and cannot be used."""
        return READER.decoded(cls, read_json_if_there(folder / READER.file))

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a reply."""
        return id_tuple(self.eos_token_id)

    @property
    def sampling_temperature(self) -> float | None:
        """None unless the checkpoint samples; 1 where it does not say how."""
        if not self.do_sample:
            return None
        return 1.0 if self.temperature is None else self.temperature
