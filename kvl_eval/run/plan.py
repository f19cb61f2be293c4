"""The plan of a run: which samples, which requests, what identifies them. Fixed before the first answer.

Planning reads the data once and opens no picture beyond hashing its bytes; it loads no weights. The plan's lines wait
compressed until they go to `plan.jsonl`, so memory hardly grows with the number of samples.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from kvl_eval.backends.base import Backend, Limits, PromptSize
from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError, DataError, KvlEvalError, SampleError, UsageError
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.run.data_digest import canonical, data_fingerprint, sample_digest
from kvl_eval.run.plan_sizes import LongestPrompt, PlanPart, count_tokens, parts_of, plan_part
from kvl_eval.run.provenance import minor_version
from kvl_eval.store.records import PlanEntry, PlannedSample, text_sha256
from kvl_eval.store.run_folder import plan_line
from kvl_eval.tasks import open_split, task_named
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, MediaRef, Message, Sample, SubtitleRef, VideoRef

MODEL_IDENTITY = ("name", "weights", "config", "tokenizer", "dtype")  # facts whose names start so can change an answer
SAMPLED = ("frames", "fps", "max_pixels", "video_decoder")  # settings that choose and size pictures
EXACT_SIZES = 5  # prompts with videos or documents whose files are looked at
EXACT_TOKENS = 20  # prompts whose tokens are counted; the rest is extrapolated


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """What is planned for one task.

    Attributes:
        n:             samples chosen.
        questions:     questions they belong to: fewer where questions are asked several times.
        total:         samples of the split, where known.
        media:         pictures, videos and documents in all.
        data_sha256:   over sorted (id, question, options, gold, media hashes) of the chosen samples, all shards.
        prompt_sha256: over the rendered prompts of the same samples.
        prompt_tokens: mean tokens of the first prompts; None where the backend cannot tell.
        sizes:         of the first prompts with videos or documents, where the backend can tell.
        parts:         of a task whose figures were published by a category: its values in the data set's order.
    """

    task: Task
    config: TaskConfig
    n: int
    questions: int
    total: int | None
    media: int
    data_sha256: str
    prompt_sha256: str
    prompt_tokens: float | None
    sizes: tuple[PromptSize, ...] = ()
    parts: tuple[PlanPart, ...] = ()

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name


@dataclass(slots=True)
class PlanLines:
    """The lines of plan.jsonl, compressed. `size` and `sha256` speak of the lines themselves."""

    size: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)
    _packer: Any = field(default_factory=lambda: zlib.compressobj(1))
    _packed: list[bytes] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """One line more."""
        self.size += len(line)
        self._digest.update(line)
        if packed := self._packer.compress(line):
            self._packed.append(packed)

    @property
    def sha256(self) -> str:
        """The hash of plan.jsonl."""
        return str(self._digest.hexdigest())

    def chunks(self) -> Iterator[bytes]:
        """The bytes of plan.jsonl."""
        unpacker = zlib.decompressobj()
        for packed in (*self._packed, self._packer.copy().flush()):
            yield unpacker.decompress(packed)
        yield unpacker.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run will do. `identity` is what can change an answer, `fingerprint` its hash."""

    config: RunConfig
    tasks: tuple[TaskPlan, ...]
    model: Mapping[str, Any]
    identity: Mapping[str, Any]
    fingerprint: str
    lines: PlanLines

    @property
    def selection(self) -> dict[str, Any]:
        """Which samples were chosen; outside the fingerprint, so that shards share theirs."""
        config = self.config
        shard = None if config.shard is None else "/".join(map(str, config.shard))
        return {"limit": config.limit, "sample_ids": list(config.sample_ids), "shard": shard}

    @property
    def requests(self) -> int:
        """Answers wanted: samples x repeats x budgets."""
        return sum(task.n * len(task.config.budgets) for task in self.tasks) * self.config.repeats


def plan_run(config: RunConfig, backend: Backend, own: Sequence[Task] = ()) -> Plan:
    """Read the data and fix what will be asked; `own` tasks go before registered ones.

    Raises: DataError for unusable or duplicate samples, UsageError for sample ids nobody has or an empty choice.
    """
    lines = PlanLines()
    unseen = set(config.sample_ids)
    limits = backend.limits()
    tasks = tuple(
        _plan_task(_measured(task_named(one.task, own), limits), one, config, limits, lines, unseen)
        for one in config.tasks
    )
    if unseen and config.limit is None:  # with a limit, reading stopped before the others might have come
        raise UsageError(
            "usage.sample_ids",
            f"no sample is called {', '.join(sorted(unseen)[:5])}" + (" ..." if len(unseen) > 5 else ""),
            why=f"{len(unseen)} of {len(config.sample_ids)} ids were not found",
            fix="ids are the data set's own, or `task/id`; `kvl-eval describe TASK` names the column",
        )
    if not sum(task.n for task in tasks):
        raise UsageError("usage.empty", "no sample is left to run", why="limit, sample ids or shard leave none")
    model = dict(backend.describe())
    identity = _identity(config, tasks, {"name": backend.name, **model})
    return Plan(
        config=config,
        tasks=tasks,
        model={"name": backend.name, **_family(config), **model},
        identity=identity,
        fingerprint=fingerprint_of(identity),
        lines=lines,
    )


def _family(config: RunConfig) -> dict[str, str]:
    rule = {} if config.family_rule is None else {"family_rule": str(config.family_rule)}
    return {"family": config.family, **rule}


def _measured(task: Task, limits: Limits) -> Task:
    """The task, its samples as long as they are to be in the model's own tokens."""
    if task.data.measured is None:
        return task
    if limits.text_tokens is None:
        raise ConfigError(
            "config.tokens",
            f"{task.name}: nobody here can count the model's tokens",
            why="its samples are cut to lengths in tokens of the model that answers them",
            fix="of a server: --model-args checkpoint=FOLDER_OR_REPOSITORY names what it serves (docs/backends.md)",
        )
    return task.data.measured(limits.text_tokens)


def sample_seed(seed: int, task: str, sample_id: str, repeat: int) -> int:
    """The seed of one answer, in [0, 2**53): it depends on these four alone, never on budget, batch or order."""
    text = json.dumps([seed, task, sample_id, repeat], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11


def chosen_samples(task: Task, config: TaskConfig, run: RunConfig) -> Iterator[Sample]:
    """The samples of a run in the data set's order: split, then ids, then limit; `in_shard` picks a shard's.

    A limit is one of questions: those that are asked several times are never chosen in part.
    """
    wanted = set(run.sample_ids)
    limit = run.limit
    if isinstance(limit, float) and limit < 1:
        limit = max(1, round(limit * len({sample.question_id for sample in _matching(task, config, wanted)})))
    chosen: set[str] = set()
    for sample in _matching(task, config, wanted):
        if limit is not None and len(chosen) >= limit and sample.question_id not in chosen:
            if sample.group is None:
                return
            continue
        chosen.add(sample.question_id)
        yield sample


def _matching(task: Task, config: TaskConfig, wanted: set[str]) -> Iterator[Sample]:
    for sample in open_split(task, config.source, config.split):
        if not wanted or wanted & _names(task, sample):
            yield sample


def _names(task: Task, sample: Sample) -> set[str]:
    """By what `--sample-ids` may ask for a sample: its id or its question's, with or without the task."""
    own = {sample.id, sample.question_id}
    return own | {f"{task.name}/{name}" for name in own}


def in_shard(question_id: str, shard: tuple[int, int] | None) -> bool:
    """Whether a question belongs to shard i of n: by a hash of its id, so every order gives the same slice."""
    if shard is None:
        return True
    return int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:8]) % shard[1] == shard[0] - 1


def prompt_messages(task: Task, config: TaskConfig, run: RunConfig, sample: Sample) -> tuple[Message, ...]:
    """The prompt of one sample. Raises SampleError `prompt.failed` for whatever goes wrong with this sample."""
    try:
        messages = _own_prompt(run.prompt_text, sample) if run.prompt_text else task.prompts[config.prompt](sample)
    except KvlEvalError as error:
        raise SampleError(error.code, error.message, where=error.where, why=error.why, fix=error.fix) from error
    except Exception as error:  # the per-sample boundary: one odd row must not end the run
        raise SampleError("prompt.failed", f"{type(error).__name__}: {error}") from error
    return (*((Message.system(run.system_prompt),) if run.system_prompt else ()), *messages)


def _own_prompt(text: str, sample: Sample) -> list[Message]:
    """Pictures, question, options, then the user's text, unless that places `{question}` and `{choices}` itself."""
    choices = "\n".join(f"({chr(65 + number)}) {choice}" for number, choice in enumerate(sample.choices))
    if "{question}" in text:
        text = text.replace("{choices}", choices).replace("{question}", sample.question)
    else:
        text = "\n".join(part for part in (sample.question, choices, text.strip("\n")) if part)
    return [Message.user(*sample.media, text)]


def prompt_text(messages: Iterable[Message]) -> str:
    """A prompt as text: roles, and media as `<image:1>`, `<video:2>`, `<document:3>`, counted together."""
    shown, number = [], 0
    for message in messages:
        parts = []
        for part in message.parts:
            if isinstance(part, SubtitleRef):
                parts.append(f"<subtitles: {part.rule}>")
                continue
            number += not isinstance(part, str)
            parts.append(part if isinstance(part, str) else f"<{_kind(part)}:{number}{_woven(part)}>")
        shown.append(f"[{message.role}]\n" + "".join(parts))
    return "\n".join(shown)


def _woven(ref: MediaRef) -> str:
    """What to say of subtitles that stand among a video's frames."""
    lines = ref.subtitles if isinstance(ref, VideoRef) else None
    return f" with subtitles: {lines.rule}" if lines is not None else ""


def _kind(ref: MediaRef) -> str:
    return "image" if isinstance(ref, ImageRef) else "video" if isinstance(ref, VideoRef) else "document"


# -- one task ---------------------------------------------------------------------------------------------------


def _plan_task(
    task: Task, config: TaskConfig, run: RunConfig, limits: Limits, lines: PlanLines, unseen: set[str]
) -> TaskPlan:
    prompts, data = hashlib.sha256(), {}
    counted: list[int | PromptSize | None] = []
    parts: dict[str, LongestPrompt] = {}
    positions: dict[str, int] = {}
    questions: set[str] = set()
    n = media = 0
    for position, sample in enumerate(chosen_samples(task, config, run), 1):
        _check_new(task, sample.id, position, positions)
        unseen -= _names(task, sample)
        data[sample.id] = sample_digest(sample)
        rendered, messages = _render(task, config, run, sample)
        prompts.update(hashlib.sha256(rendered.encode("utf-8", "surrogatepass")).digest())
        if not in_shard(sample.question_id, run.shard):
            continue
        questions.add(sample.question_id)
        if n < (EXACT_SIZES if any(isinstance(one, PromptSize) for one in counted) else EXACT_TOKENS):
            counted.append(count_tokens(messages, rendered, limits, config))
        for part in parts_of(task, sample):
            parts.setdefault(part, LongestPrompt()).take(messages, rendered)
        n, media = n + 1, media + len(sample.media)
        for line in _plan_lines(config, run, sample, rendered, position):
            lines.add(line)
    sizes = tuple(one for one in counted if isinstance(one, PromptSize))
    known = [one.tokens if isinstance(one, PromptSize) else one for one in counted if one is not None]
    return TaskPlan(
        task=task,
        config=config,
        n=n,
        questions=len(questions),
        total=_total(task, config, run, len(positions)),
        media=media,
        data_sha256=data_fingerprint(data),
        prompt_sha256=prompts.hexdigest(),
        prompt_tokens=sum(known) / len(known) if known else None,
        sizes=sizes,
        parts=tuple(plan_part(name, part, limits, config) for name, part in parts.items()),
    )


def _check_new(task: Task, sample_id: str, position: int, positions: dict[str, int]) -> None:
    if positions.setdefault(sample_id, position) != position:
        raise DataError(
            "data.duplicate",
            f"{task.name}: two samples are called {sample_id[:200]!r}",
            where=f"samples {positions[sample_id]} and {position}",
            why="records are told apart by these ids",
            fix=f"`kvl-eval check data {task.name}` lists every bad row",
        )


def _render(task: Task, config: TaskConfig, run: RunConfig, sample: Sample) -> tuple[str, tuple[Message, ...]]:
    try:
        messages = prompt_messages(task, config, run, sample)
    except SampleError as error:  # it stays planned, and fails when its turn comes
        return no_prompt(error), ()
    return prompt_text(messages), messages


def no_prompt(error: SampleError) -> str:
    """What stands for the prompt of a sample that has none, in hashes over prompts."""
    return f"!{error.reason}"


def _plan_lines(config: TaskConfig, run: RunConfig, sample: Sample, rendered: str, position: int) -> Iterator[bytes]:
    """One line per repeat and budget; the first carries what all share, and in a shard where the sample stood."""
    shared = PlannedSample(
        question=sample.question,
        choices=sample.choices,
        gold=sample.answers,
        categories=sample.categories,
        cluster=sample.cluster,
        group=sample.group,
        media=len(sample.media),
        messages_sha256=text_sha256(rendered),
        row=cast(Mapping[str, Json], sample.row),  # `plan_line` refuses what is no JSON
        position=position if run.shard is not None else None,
    )
    wanted = [(repeat, budget) for repeat in range(run.repeats) for budget in config.budgets]
    for number, (repeat, budget) in enumerate(wanted):
        entry = PlanEntry(
            task=config.task,
            split=config.split,
            sample_id=sample.id,
            repeat=repeat,
            budget=budget,
            policy=config.policy,
            sample=shared,
        )
        try:
            yield plan_line(entry, first=number == 0)
        except TypeError as error:
            raise DataError(
                "data.row", f"{config.task}: a row holds a value that is no JSON", where=sample.id, why=str(error)
            ) from error


def _total(task: Task, config: TaskConfig, run: RunConfig, chosen: int) -> int | None:
    """Samples of the whole split; None where only part was read and the number is not declared."""
    if run.limit is None and not run.sample_ids:
        return chosen
    if config.split in task.splits and task.splits[config.split].rows is not None:
        return task.splits[config.split].rows
    if config.split == "mini" or run.sample_ids or isinstance(run.limit, float):
        return sum(1 for _ in open_split(task, config.source, config.split))
    return None


# -- fingerprints -----------------------------------------------------------------------------------------------


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """The `config_fingerprint` of an identity."""
    return hashlib.sha256(canonical(identity)).hexdigest()


def _identity(config: RunConfig, tasks: Iterable[TaskPlan], model: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that can change an answer, as a tree of plain values."""
    return {
        "kvl_eval": minor_version(),
        "model": {name: value for name, value in sorted(model.items()) if name.startswith(MODEL_IDENTITY)},
        "image_prep": config.settings.image_prep,
        "blind": config.settings.blind,
        **{name: getattr(config.settings, name) for name in SAMPLED},
        "seed": config.seed,
        "repeats": config.repeats,
        "system_prompt": config.system_prompt,
        "tasks": {task.name: _task_identity(task) for task in sorted(tasks, key=lambda task: task.name)},
    }


def _task_identity(plan: TaskPlan) -> dict[str, Any]:
    generation = plan.config.generation
    budgets = {
        "think_budgets": list(generation.think_budgets),
        "budget_policy": generation.budget_policy,
        "answer_tokens": generation.answer_tokens,
    }
    return {
        "split": plan.config.split,
        "data": plan.data_sha256,
        "prompt": plan.config.prompt,
        "prompt_text": plan.prompt_sha256,
        "max_new_tokens": generation.max_new_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        **(budgets if generation.think_budgets else {}),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`name old → new` for each value in which two identities differ."""
    found: list[str] = []
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name} {_short(before)} → {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:12]}..."


def without_media(sample: Sample) -> Sample:
    """The sample as a scorer sees it; pictures are let go."""
    return replace(sample, media=())
