"""Model arguments of the bundled engine, and their defaults by device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError
from kvl_eval.names import did_you_mean, suggestions


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArgs:
    """Prompt tokens of a step, tokens of a page of the cache, threads of a CPU; None means by device.

    On an accelerator a pass of many tokens costs little more than one of few, and every page costs the host time.
    """

    prefill_chunk: int | None = None
    page_size: int | None = None
    threads: int | None = None

    def chunk_on(self, device: str) -> int:
        """Most prompt tokens of a step."""
        return self.prefill_chunk or (2048 if device.startswith("cpu") else 8192)

    def page_on(self, device: str) -> int:
        """Tokens of a page."""
        return self.page_size or (64 if device.startswith("cpu") else 256)


def engine_args(values: Mapping[str, Json]) -> EngineArgs:
    """The arguments, checked. Raises: ConfigError."""
    names = [argument.name for argument in fields(EngineArgs)]
    counts: dict[str, int] = {}
    for name, value in values.items():
        if name not in names:
            near = suggestions(name, names)
            raise ConfigError(
                "config.model_args",
                f"unknown model argument {name!r}",
                why=f"supported arguments: {', '.join(names)}",
                fix=did_you_mean(near) or "omit the argument",
            )
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            message = f"{name} must be a positive integer, got {value!r}"
            raise ConfigError("config.model_args", message, fix=f"use for example -a {name}=64")
        counts[name] = value
    return EngineArgs(**counts)
