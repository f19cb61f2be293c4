"""The file that `kvl-eval watch` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from kvl_eval.decode import Between, DecodeError, Json, ReadLimits, decode, read_yaml
from kvl_eval.errors import ConfigError, unknown

LIMITS = ReadLimits(size=1 << 20, nesting=16, values=10_000)
RESERVED = ("output_dir", "o", "resume", "config", "sample_ids", "dry_run")  # set by `watch` itself
EXAMPLE = "runs: [{task: mathvista, model: kimi-vl-nano, name: main}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What the file says.

    Attributes:
        runs:       options of `kvl-eval run`, one mapping per run, with a `name` besides.
        output_dir: folder of the runs and of the page.
        baseline:   `pinned`, or the `last` night.
        pin:        the pinned run, a path or an id; None means the first night.
        min_drop:   points that matter.
        alpha:      level of the one-sided test.
        keep:       nights on the page.
        samples:    `all`, or the size of a stratified subset of the pinned run's samples.
    """

    runs: tuple[Mapping[str, Json], ...]
    output_dir: str = "nightly"
    baseline: Literal["pinned", "last"] = "pinned"
    pin: str | None = None
    min_drop: Annotated[float, Between(0, 100)] = 1.0
    alpha: Annotated[float, Between(0, 1)] = 0.01
    keep: Annotated[int, Between(1, 1000)] = 60
    samples: Literal["all"] | Annotated[int, Between(1, 1_000_000)] = "all"

    @property
    def folder(self) -> Path:
        """The folder of runs and page."""
        return Path(self.output_dir).expanduser()

    @property
    def drop(self) -> float:
        """`min_drop` as a fraction."""
        return self.min_drop / 100

    @property
    def names(self) -> list[str]:
        """The name of each run."""
        return [str(entry.get("name", "main")) for entry in self.runs]

    def runs_folder(self, name: str) -> Path:
        """Where the nights of a run are."""
        return self.folder / "runs" / name

    def options(self, number: int) -> dict[str, Json]:
        """The options of one run."""
        return {key: value for key, value in self.runs[number].items() if key != "name"}


def read_settings(path: Path) -> WatchSettings:
    """The settings in a file. Raises: ConfigError `watch.file`, `watch.value`, `watch.run`; UsageError `watch.key`."""
    try:
        content = read_yaml(path.read_bytes(), LIMITS)
    except OSError as error:
        raise ConfigError(
            "watch.file", f"cannot read {path}", why=str(error.strerror), fix="name a YAML file"
        ) from error
    except DecodeError as error:
        raise ConfigError("watch.file", f"cannot read {path}", why=error.message, fix="see docs/watch.md") from error
    if not isinstance(content, dict):
        raise ConfigError("watch.file", f"{path} has no keys", fix=f"begin with {EXAMPLE}")
    known = [field.name for field in fields(WatchSettings)]
    for key in content:
        if key not in known:
            raise unknown("key", str(key), known, "docs/watch.md", code="watch.key")
    try:
        settings = decode(WatchSettings, content, "")
    except DecodeError as error:
        raise ConfigError("watch.value", error.message[:100], where=str(path), fix="see docs/watch.md") from error
    _check(settings, path)
    return settings


def _check(settings: WatchSettings, path: Path) -> None:
    names, where = settings.names, str(path)
    if not names:
        raise ConfigError("watch.run", "the file lists no runs", where=where, fix=f"add {EXAMPLE}")
    if len(set(names)) < len(names):
        raise ConfigError("watch.run", "two runs have the same name", where=where, fix="give each its own name")
    for name, entry in zip(names, settings.runs, strict=True):
        if not name or not all(char.isalnum() or char in "-_" for char in name):
            raise ConfigError(
                "watch.run", f"invalid name of a run: {name!r}"[:100], where=where, fix="use letters, digits, - and _"
            )
        if odd := [key for key in entry if key.replace("-", "_") in RESERVED]:
            fix = "remove it; watch sets it itself"
            raise ConfigError("watch.run", f"a run of watch cannot set {odd[0]}", where=where, fix=fix)
    if settings.samples != "all" and settings.pin is None:
        fix = "add pin: RUN, whose plan the subset is drawn from"
        raise ConfigError("watch.run", "samples needs a pinned run", where=where, fix=fix)


def run_file_text(options: Mapping[str, Json]) -> str:
    """The options of one run as the YAML file that `kvl-eval run --config` reads."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in options.items())
