"""What a run was asked to do, everything resolved: options become one frozen `RunConfig`, stored in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from kvl_eval.backends import chosen_backend
from kvl_eval.backends.base import Settings
from kvl_eval.backends.chat_client import Server
from kvl_eval.decode import DecodeError, Json, decode, encode, encode_object, omitted
from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.families import ChosenFamily, FamilyRule, ModelFamily
from kvl_eval.model.registry import stored_family
from kvl_eval.options.limit import limit_error
from kvl_eval.run.episode_config import DESKTOPS, EpisodeConfig, agent_flags, check_agent_options, episode_config
from kvl_eval.run.options import Options, TaskOptions, judge_server, known_name, values_given
from kvl_eval.sources import Source
from kvl_eval.sources.own_columns import ColumnChoice
from kvl_eval.tasks.base import Task
from kvl_eval.types import Generation, Policy, ScoreView, StoredView, score_view, stored_view

SAMPLING = ("max_new_tokens", "temperature", "top_p", "top_k")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """One task of a run: which rows, which prompt (of a task of agents: which agent), how answers are produced."""

    task: str
    split: str
    prompt: str
    source: Source
    generation: Generation
    episode: EpisodeConfig | None = omitted()

    @property
    def budgets(self) -> tuple[int | None, ...]:
        """The thinking budgets, or None alone where none is set."""
        return self.generation.think_budgets or (None,)

    @property
    def policy(self) -> Policy | None:
        """What happens to a thought at its budget; None without one."""
        return self.generation.budget_policy if self.generation.think_budgets else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A whole run. `protocol` is a name, `all`, or None for each task's default; it never changes a prompt.

    `judge` reads the answers of tasks that have a judge's prompt; it concerns scoring alone.
    `allow_partial_data` lets rows that cannot be used fail one by one.
    `family_rule` is what decided the family; None in runs of earlier versions. `compress` packs long files of samples
    when the run has finished. `desktops` is how many episodes of agents are played at a time.
    """

    model: str
    family: str
    tasks: tuple[TaskConfig, ...]
    family_rule: FamilyRule | None = None
    settings: Settings = field(default_factory=Settings)
    limit: int | float | None = None
    sample_ids: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    repeats: int = 1
    seed: int = 0
    protocol: str | None = None
    thinking: StoredView = "split"
    system_prompt: str | None = None
    prompt_text: str | None = None
    output_dir: Path = Path("results")
    fail_on_error: int | float | None = None
    allow_partial_data: bool = omitted(False)
    compress: bool = False
    desktops: int = omitted(DESKTOPS)
    judge: Server | None = None

    @property
    def score_view(self) -> ScoreView:
        """What scorers see of an answer; `thinking` is the word that stored configurations have for it."""
        return score_view(self.thinking)

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError("config.repeats", f"--repeats is {self.repeats}", fix="give at least 1")
        if not self.tasks:
            raise ConfigError("config.task", "no task is named", fix="give --task NAME")
        if self.limit is not None and not _is_limit(self.limit):
            raise limit_error(self.limit)
        if self.shard is not None and not _is_shard(self.shard):
            message = "--shard must be I/N with I from 1 to N, for example 1/4"
            raise ConfigError("config.shard", message)
        if self.desktops < 1:
            raise ConfigError("config.desktops", f"--desktops is {self.desktops}", fix="give at least 1")
        if self.fail_on_error is not None and self.fail_on_error < 0:
            raise ConfigError("config.fail_on_error", f"--fail-on-error is {self.fail_on_error}", fix="0 or more")


def _with_backend(model: str, settings: Settings) -> Settings:
    """The settings with the chosen backend, so that a run continues with the one that it began with."""
    chosen = chosen_backend(model, settings).name
    return replace(settings, cluster=replace(settings.cluster, backend=chosen))


def _is_limit(value: object) -> bool:
    """Whether `value` is a count of samples or a fraction of them; callers and flags may give anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < 1 or (value >= 1 and value == value // 1)


def _is_shard(value: object) -> bool:
    """Whether `value` is a pair of whole numbers, place and count."""
    if not isinstance(value, tuple) or [type(part) for part in value] != [int, int]:
        return False
    return bool(1 <= value[0] <= value[1])


def resolve(
    model: str, family: ChosenFamily | str, tasks: Sequence[Task], options: Options | Mapping[str, object]
) -> RunConfig:
    """Options filled up with defaults.

    `family` is what `kvl_eval.backends.family_of` found, or the name of one as if it were registered.
    Raises: UsageError for an unknown option, split, prompt or protocol, with the nearest names; ConfigError.
    """
    options = options if isinstance(options, Options) else Options.of(options)
    chosen = ChosenFamily(stored_family(family), FamilyRule.REGISTERED) if isinstance(family, str) else family
    for task in tasks:
        if options.protocol not in (None, "all"):
            named = task.protocol_named(options.protocol) or options.protocol
            known_name("protocol", named, [*task.protocols, "all"], f"kvl-eval describe {task.name}")
    _check_fields(tasks, options)
    check_agent_options(tasks, options)
    plain = (
        *("repeats", "seed", "protocol", "system_prompt", "prompt_text", "fail_on_error"),
        *("allow_partial_data", "compress", "desktops"),
    )
    return RunConfig(
        model=model,
        family=chosen.family.name,
        family_rule=chosen.rule,
        tasks=tuple(_task_config(task, chosen.family, options) for task in tasks),
        settings=_with_backend(model, options.settings),
        limit=options.limit,
        sample_ids=tuple(options.sample_ids),
        shard=cast("tuple[int, int] | None", tuple(shard) if isinstance(shard := options.shard, list) else shard),
        output_dir=_path("output_dir", options.output_dir),
        judge=judge_server(options),
        thinking=stored_view(score_view(options.score_view or options.thinking)),
        **values_given(options, plain),
    )


def task_source(task: Task, options: Options) -> Source:
    """Where a task's data comes from, as the options `data_dir`, `data_repo` (also `task=owner/name`) and so on say."""
    _check_fields([task], options)
    return _source(task, options.of_task(task.name), options)


def _task_config(task: Task, family: ModelFamily, options: Options) -> TaskConfig:
    own = options.of_task(task.name)
    demo = answers_bundled(family, own)
    if demo and task.mini is None and task.repos:
        raise UsageError(
            "usage.split",
            f"{task.name} has no bundled split",
            why=f"{family.name} answers bundled splits unless a data set is named",
            fix=f"give --data-dir DIR, or --split {task.default_split} for {task.repos[0]}",
        )
    default_split = family.default_split if demo and task.mini else None
    split = own.split if own.split is not None else default_split or task.default_split
    agent = family.agent if task.episode is not None and family.agent in task.prompts else None
    prompt = own.prompt if own.prompt is not None else agent or task.default_prompt
    listing = f"kvl-eval describe {task.name}"
    known_name("split", split, task.split_names(), listing)
    known_name("prompt" if task.episode is None else "agent", prompt, list(task.prompts), listing)
    return TaskConfig(
        task=task.name,
        split=split,
        prompt=prompt,
        source=_source(task, own, options),
        generation=_generation(family.generation(task.max_new_tokens), own, options),
        episode=episode_config(task, prompt, options),
    )


def answers_bundled(family: ModelFamily, options: Options | TaskOptions) -> bool:
    """Whether the family's own split is meant: it has one, and neither a split nor a place of data is named."""
    return family.default_split is not None and not options.names_data


def _generation(base: Generation, own: TaskOptions, options: Options) -> Generation:
    changes = values_given(own, SAMPLING) | values_given(options, ("budget_policy", "answer_tokens"))
    if budgets := tuple(sorted(set(options.think_budget))):
        changes = {"max_new_tokens": None, **changes, "think_budgets": budgets}
    return replace(base, **changes)


def _source(task: Task, own: TaskOptions, options: Options) -> Source:
    """`data_dir` goes before `data_repo`, and that before the official data set."""
    settings = options.settings
    repo, _, revision = (own.data_repo or "").partition("@")
    return Source(
        repo=None if own.data_dir else repo or next(iter(task.repos), None),
        revision=revision or None,
        data_dir=_folder(str(own.data_dir)) if own.data_dir else None,
        cache_dir=None if settings.media.cache_dir is None else _path("cache_dir", settings.media.cache_dir),
        offline=settings.engine.offline,
        max_download=settings.engine.max_download,
        version=own.data_version,
        fields=_fields(options) if task.data.table is not None else (),
    )


def _check_fields(tasks: Sequence[Task], options: Options) -> None:
    """Raises: UsageError, where `fields` is given and no task is a table of the user's own."""
    if options.fields and not any(task.data.table for task in tasks):
        fix = "leave it out, or give --task file:PATH"
        raise UsageError("usage.fields", "--fields is for tables of your own", fix=fix)


def _fields(options: Options) -> tuple[str, ...]:
    """What `fields` says. Raises: UsageError, for what is not ROLE=COLUMN."""
    fields = options.fields
    if isinstance(fields, Mapping):
        fields = [f"{role}={column}" for role, column in fields.items()]
    texts = (fields,) if isinstance(fields, str) else tuple(map(str, fields))
    ColumnChoice.of(texts)
    return texts


def _path(option: str, text: str | Path) -> Path:
    """The path that an option gives. Raises: UsageError, for one that no file can have."""
    if "\0" in str(text):
        flag = f"--{option.replace('_', '-')}"
        raise UsageError(
            f"usage.{option}",
            f"{flag} is not a path: {str(text)!r}",
            why="it contains a NUL character",
            fix="type the path again",
        )
    return Path(text)


def _folder(text: str) -> Path:
    try:
        return _path("data_dir", text).expanduser().absolute()
    except RuntimeError as error:  # `~name` of nobody
        raise UsageError(
            "usage.data_dir",
            f"--data-dir: no such folder: {text}",
            why=str(error),
            fix="name the folder that holds the data set",
        ) from None


def to_json(config: RunConfig) -> dict[str, Json]:
    """The configuration as `run.json` holds it; `from_json` gives it back."""
    return encode_object(config)


def from_json(stored: Mapping[str, Json]) -> RunConfig:
    """The configuration of a stored run; what other versions wrote beside it is dropped.

    Raises: ConfigError naming the first field that cannot be read.
    """
    try:
        return decode(RunConfig, stored)
    except DecodeError as error:
        message, fix = "cannot read the stored configuration", "start a new run with --no-resume"
        raise ConfigError("config.stored", message, why=error.message, fix=fix) from error


def to_yaml(config: RunConfig, prompt_file: Path | None = None) -> str:
    """`config.yaml`: keys as flags, defaults filled in; `kvl-eval run --config` on it repeats the run.

    `prompt_file` is where the user's own prompt was put.
    """
    import yaml

    names = [task.task for task in config.tasks]
    is_split = not any(name.startswith("file:") for name in names)  # the name of a file may hold commas
    shared: dict[str, object] = {"model": config.model, "task": ",".join(names) if is_split else names}
    notes = []
    for name, value in _per_task(config).items():
        if len({repr(one) for one in value.values()}) == 1:
            shared[name] = next(iter(value.values()))
        else:
            notes.append(f"# {name}: " + ", ".join(f"{task} {one}" for task, one in value.items()))
    shared.update(_run_wide(config), prompt_file=prompt_file and prompt_file.absolute())
    shown = {name: value for name, value in shared.items() if value not in (None, (), [], {}, "")}
    text = yaml.safe_dump(encode(shown), sort_keys=False, allow_unicode=True, width=120)
    head = "# The options of this run; `kvl-eval run --config THIS_FILE` repeats it.\n"
    return head + "".join(f"{note} (tasks differ: their defaults)\n" for note in notes) + str(text)


def _per_task(config: RunConfig) -> dict[str, dict[str, object]]:
    read: dict[str, Callable[[TaskConfig], object]] = {
        "split": lambda task: task.split,
        "prompt": lambda task: task.prompt,
        "data_dir": lambda task: task.source.data_dir,
        "data_version": lambda task: task.source.version,
        "fields": lambda task: list(task.source.fields),
    }
    found = {name: {task.task: get(task) for task in config.tasks} for name, get in read.items()}
    found |= {name: {task.task: getattr(task.generation, name) for task in config.tasks} for name in SAMPLING}
    repos = [
        f"{task.task}={task.source.repo}" + (f"@{task.source.revision}" if task.source.revision else "")
        for task in config.tasks
        if task.source.repo and task.split != "mini"
    ]
    return {**found, "data_repo": dict.fromkeys(found["split"], repos)}


def _run_wide(config: RunConfig) -> dict[str, object]:
    generation, settings = config.tasks[0].generation, config.settings
    return {
        "limit": config.limit,
        "sample_ids": ",".join(config.sample_ids),
        "shard": "/".join(map(str, config.shard or ())),
        "repeats": config.repeats,
        "seed": config.seed,
        "think_budget": ",".join(map(str, generation.think_budgets)),
        "budget_policy": generation.budget_policy,
        "answer_tokens": generation.answer_tokens,
        "protocol": config.protocol,
        "thinking": config.thinking,
        "system_prompt": config.system_prompt,
        "output_dir": str(config.output_dir),
        "fail_on_error": config.fail_on_error,
        "allow_partial_data": config.allow_partial_data or None,
        "compress": config.compress or None,
        **agent_flags([task.episode for task in config.tasks if task.episode is not None], config.desktops),
        **_judge_flags(config.judge),
        **{
            name: value for name, value in encode_object(settings).items() if name not in ("model_args", "max_download")
        },
        "model_args": _model_args(settings),
        "batch_size": settings.engine.batch_size or "auto",
    }


def _model_args(settings: Settings) -> str | list[str]:
    """The model arguments as the flag has them; one text each where a comma stands in one."""
    texts = [f"{key}={value}" for key, value in settings.engine.model_args.items()]
    return texts if any("," in text for text in texts) else ",".join(texts)


def _judge_flags(judge: Server | None) -> dict[str, object]:
    if judge is None:
        return {}
    return {
        "judge": "endpoint",
        "judge_base_url": judge.base_url,
        "judge_model": judge.model,
        "judge_key_env": judge.key_env,
        "judge_connections": judge.max_connections,
    }
