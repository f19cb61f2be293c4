"""The options of a run: those of the whole run, those that may differ between tasks, and those of the backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kvl_eval.backends.base import SETTINGS, Settings
from kvl_eval.backends.chat_client import CONNECTIONS, Server
from kvl_eval.errors import UsageError, unknown
from kvl_eval.options import MODEL_ARGUMENTS, Scope
from kvl_eval.options import OPTIONS as TABLE
from kvl_eval.options.values import checked, file_text
from kvl_eval.types import Policy, ScoreView


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of one task. None: not given."""

    split: str | None = None
    prompt: str | None = None
    data_dir: str | Path | None = None
    data_repo: str | None = None  # owner/name, @revision behind it
    data_version: str | None = None
    max_new_tokens: int | None = None
    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None

    @property
    def names_data(self) -> bool:
        """Whether a split or a place of data is named."""
        return bool(self.split or self.data_dir or self.data_repo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a run, named as the flags with underscores. None, an empty mapping or list: not given.

    Attributes:
        thinking:    `score_view` by its older name.
        prompt_text: what `--prompt-file` holds.
        fields:      `ROLE=COLUMN` texts, or {role: column}: which columns of own tables are read as what.
        by_task:     {option of `TaskOptions`: value, {task: value}, or a list of texts, some of them `task=value`}.
        settings:    of the backend.
    """

    model: str | None = None
    task: str | None = None
    limit: int | float | None = None
    sample_ids: Sequence[str] = ()
    shard: Sequence[int] | None = None
    repeats: int | None = None
    seed: int | None = None
    protocol: str | None = None
    score_view: ScoreView | None = None
    thinking: str | None = None
    think_budget: Sequence[int] = ()
    budget_policy: Policy | None = None
    answer_tokens: int | None = None
    max_steps: int | None = None
    provider: str | None = None
    desktops: int | None = None
    system_prompt: str | None = None
    prompt_text: str | None = None
    output_dir: str | Path = "results"
    fail_on_error: int | float | None = None
    allow_partial_data: bool | None = None
    compress: bool | None = None
    judge: str | None = None
    judge_base_url: str | None = None
    judge_model: str | None = None
    judge_key_env: str | None = None
    judge_connections: int | None = None
    fields: str | Sequence[str] | Mapping[str, str] = ()
    by_task: Mapping[str, object] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Options:
        """`values` by their names, as flags or Python give them; None means unset.

        Raises: UsageError for an unknown name, with similar ones; ConfigError for a value that an option cannot have.
        """
        for name in values:
            known_name("option", name, OPTIONS, "kvl-eval run --help")
        read: dict[str, Any] = _read({name: value for name, value in values.items() if value is not None})
        by_task = {name: value for name, value in read.items() if name in BY_TASK}
        settings = Settings.of(**{name: value for name, value in read.items() if name in BACKEND})
        rest = {name: value for name, value in read.items() if name not in by_task and name not in BACKEND}
        return cls(by_task=by_task, settings=settings, **rest)

    @property
    def names_data(self) -> bool:
        """Whether a split or a place of data is named, for one task at least."""
        return any(self.by_task.get(name) for name in ("split", "data_dir", "data_repo"))

    def of_task(self, task: str) -> TaskOptions:
        """The options of that task."""
        return TaskOptions(**{name: _of_task(value, task) for name, value in self.by_task.items()})


BACKEND = SETTINGS
BY_TASK = tuple(option.name for option in fields(TaskOptions))
WHOLE_RUN = tuple(option.name for option in fields(Options) if option.name not in ("by_task", "settings"))
OPTIONS = (*WHOLE_RUN, *BY_TASK, *BACKEND, "prompt_file")
"""Every option that `evaluate` and `run.config.resolve` know, named as the flag with underscores."""
RUN_TABLE = {option.name: option for option in TABLE if option.scope is not Scope.COMMAND and "run" in option.commands}
"""{name: row of the option table}."""


def _read(values: Mapping[str, object]) -> dict[str, object]:
    """Values checked by the table; model arguments that are settings become those. Raises: UsageError, ConfigError."""
    read = {name: checked(RUN_TABLE[name], value) if name in RUN_TABLE else value for name, value in values.items()}
    if isinstance(arguments := read.get("model_args"), Mapping):
        moved = {option.name: option for option in MODEL_ARGUMENTS if option.name in arguments}
        read = {name: checked(option, arguments[name]) for name, option in moved.items()} | read
        read["model_args"] = {name: value for name, value in arguments.items() if name not in moved}
    if "prompt_file" in read:
        read["prompt_text"] = file_text(read.pop("prompt_file"))
    return {name: value for name, value in read.items() if value is not None}


def options_among(values: Mapping[str, object], names: Sequence[str] = OPTIONS) -> Options:
    """The options among other flags; what is empty counts as not given."""
    return Options.of({name: value for name, value in values.items() if value and name in names})


def values_given(record: Options | TaskOptions, names: Iterable[str]) -> dict[str, Any]:
    """Those of the named options that are given."""
    values = {name: getattr(record, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def known_name(kind: str, name: str, known: Sequence[str], listing: str) -> None:
    """Raises: UsageError `usage.KIND` with the nearest names, unless `name` is known."""
    if name not in known:
        raise unknown(kind, name, known, listing)


def judge_server(options: Options) -> Server | None:
    """The judge that `--judge endpoint` and its companions name, or None. Raises UsageError, ConfigError."""
    companions = [name for name in WHOLE_RUN if name.startswith("judge_") and getattr(options, name) is not None]
    kind = options.judge or "none"
    known_name("judge", kind, ("endpoint", "none"), "kvl-eval run --help")
    if kind == "none":
        if companions:
            raise UsageError(
                "usage.judge", f"{_flags(companions)} without --judge endpoint", fix="add --judge endpoint"
            )
        return None
    if options.judge_base_url is None or options.judge_model is None:
        missing = [name for name in ("judge_base_url", "judge_model") if name not in companions]
        needed = " and ".join(map(_flag, missing))
        raise UsageError("usage.judge", f"--judge endpoint needs {needed}", fix="see docs/guide/judge.md")
    return Server(
        base_url=options.judge_base_url,
        model=options.judge_model,
        key_env=options.judge_key_env,
        max_connections=CONNECTIONS if options.judge_connections is None else options.judge_connections,
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _flags(names: Sequence[str]) -> str:
    return ", ".join(map(_flag, names))


def _of_task(value: object, task: str) -> Any:
    """A task's value. Texts such as `mathvista=owner/name` in a list speak for their task, others for all."""
    if isinstance(value, Mapping):
        return value.get(task)
    if not isinstance(value, list | tuple):
        return value
    general = [text for text in value if "=" not in text]
    named = [text.partition("=")[2] for text in value if text.partition("=")[0].replace("_", "-") == task]
    return (named or general or [None])[-1]
