"""The plan of a run: which requests will be made, and the totals. Fixed before the first answer.

Planning reads the data once, twice where the limit is a share of it. It reads each picture's bytes once, for hash and
header together, and loads no weights. Of a sample only its id and a hash stay in memory; the lines for `plan.jsonl`
wait in a file.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from kvl_eval.backends.base import Backend, Limits, Managed, MemoryNeed, PromptSize
from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError, DataError, SampleError, UsageError
from kvl_eval.printable import one_line
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.run.data_digest import data_fingerprint, media_facts, sample_digest
from kvl_eval.run.draft import ChosenSamples, PlanLines
from kvl_eval.run.fingerprint import fingerprint_of, identity_of, task_identity
from kvl_eval.run.plan_sizes import (
    LargestPrompt,
    LongestPrompt,
    PlannedPrompt,
    PlanPart,
    count_tokens,
    parts_of,
    plan_part,
    server_needs,
)
from kvl_eval.run.prompts import no_prompt, prompt_messages, prompt_text
from kvl_eval.run.selection import Walk, has_share, in_shard, names_of, question_limit
from kvl_eval.store.manifest import Selection
from kvl_eval.store.plan_file import plan_line
from kvl_eval.store.records import PlanEntry, PlannedSample, text_sha256
from kvl_eval.tasks import task_named
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.expected import other_data
from kvl_eval.types import Sample

STEPS = logging.getLogger("kvl_eval.steps")
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
        limit:         most questions, all shards; None for all.
        chosen:        the samples, where choosing them has taken two passes over the data.
        largest:       bounds of its prompts.
        other_data:    in what a whole split differs from the published one; None where it does not.
        notes:         what is to be said of the data: lines that begin `note: ` or `warning: `.
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
    limit: int | None = None
    chosen: ChosenSamples | None = None
    notes: tuple[str, ...] = ()
    other_data: str | None = None
    largest: LargestPrompt = field(default_factory=LargestPrompt)

    def samples(self, run: RunConfig) -> Iterator[Sample]:
        """The planned samples in the data set's order, read again unless they were put aside."""
        if self.chosen is not None and self.chosen.is_complete:
            yield from self.chosen
            return
        for sample in Walk(self.task, self.config, run, self.limit):
            if in_shard(sample.question_id, run.shard):
                yield sample

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run will do.

    `identity` is what can change an answer, `fingerprint` its hash, `memory` what the model needs and finds.
    """

    config: RunConfig
    tasks: tuple[TaskPlan, ...]
    model: Mapping[str, Json]
    identity: Mapping[str, Json]
    fingerprint: str
    lines: PlanLines
    memory: MemoryNeed | None = None

    @property
    def selection(self) -> Selection:
        """Which samples were chosen; outside the fingerprint, so that shards share theirs."""
        config = self.config
        shard = None if config.shard is None else "/".join(map(str, config.shard))
        return Selection(limit=config.limit, sample_ids=config.sample_ids, shard=shard)

    @property
    def requests(self) -> int:
        """Answers wanted: samples x repeats x budgets."""
        return sum(task.n * len(task.config.budgets) for task in self.tasks) * self.config.repeats


@dataclass(frozen=True, slots=True)
class PlannedTasks:
    """What the data says of a plan: everything but the model. `lines` are those of plan.jsonl."""

    tasks: tuple[TaskPlan, ...]
    lines: PlanLines

    def identities(self) -> dict[str, dict[str, Json]]:
        """{task: what of it can change an answer}."""
        return {task.name: task_identity(task.config, task.data_sha256, task.prompt_sha256) for task in self.tasks}


def plan_tasks(
    config: RunConfig, limits: Limits, own: Sequence[Task] = (), *, draft_dir: Path | None = None
) -> PlannedTasks:
    """Read the data and fix the prompts, for any backend; arguments and errors as of `plan_run`."""
    lines = PlanLines(draft_dir or config.output_dir)
    unseen = set(config.sample_ids)
    tasks = tuple(
        _Planner(measured_task(task_named(one.task, own), limits), one, config, limits).plan(lines, unseen)
        for one in config.tasks
    )
    if unseen and config.limit is None:  # with a limit, reading stopped before the others might have come
        raise UsageError(
            "usage.sample_ids",
            f"unknown sample id: {', '.join(sorted(unseen)[:5])}" + (" ..." if len(unseen) > 5 else ""),
            why=f"{len(unseen)} of {len(config.sample_ids)} ids were not found",
            fix="use ids of the data set, or `task/id`; `kvl-eval describe TASK` names the column",
        )
    if not sum(task.n for task in tasks):
        message = "nothing to run: --limit, --sample-ids and --shard select no samples"
        raise UsageError("usage.empty", message, fix="change --limit, --sample-ids or --shard")
    return PlannedTasks(tasks, lines)


def plan_run(config: RunConfig, backend: Backend, own: Sequence[Task] = (), *, draft_dir: Path | None = None) -> Plan:
    """Read the data and fix what will be asked; `own` tasks go before registered ones.

    What waits in files does so in `draft_dir`, or near the output folder.

    Raises: DataError for unusable or duplicate samples, UsageError for unknown sample ids or an empty choice.
    """
    return answered_by(backend, config, plan_tasks(config, backend.limits(), own, draft_dir=draft_dir))


def answered_by(backend: Backend, config: RunConfig, planned: PlannedTasks) -> Plan:
    """The whole plan: the tasks, and the model that answers them."""
    if isinstance(backend, Managed):
        backend.take_plan(server_needs([task.largest for task in planned.tasks], config))
    model = backend.describe()
    _check_policy(planned, model.facts)
    identity = identity_of(config, {"name": backend.name, **model.identity}, planned.identities())
    return Plan(
        config=config,
        tasks=planned.tasks,
        model={"name": backend.name, **_family(config), **model.identity, **model.facts},
        identity=identity,
        fingerprint=fingerprint_of(identity),
        lines=planned.lines,
        memory=model.memory,
    )


def _check_policy(planned: PlannedTasks, facts: Mapping[str, Json]) -> None:
    """Raises: ConfigError for approximate budgets where tokens can be counted."""
    generations = [task.config.generation for task in planned.tasks]
    is_asked = any(generation.think_budgets and generation.budget_policy == "approximate" for generation in generations)
    if is_asked and facts.get("device") != "server" and not facts.get("scripted"):
        raise ConfigError(
            "config.budget_policy",
            "--budget-policy approximate is for servers; this model's tokens can be counted",
            fix="--budget-policy cut",
        )


def _family(config: RunConfig) -> dict[str, str]:
    rule = {} if config.family_rule is None else {"family_rule": str(config.family_rule)}
    return {"family": config.family, **rule}


def measured_task(task: Task, limits: Limits) -> Task:
    """The task, its samples as long as they are to be in the model's own tokens."""
    if task.data.measured is None:
        return task
    if limits.text_tokens is None:
        raise ConfigError(
            "config.tokens",
            f"{task.name} needs token counts, which the backend does not provide",
            why="its samples are cut to lengths in tokens of the model",
            fix="for a server, pass --model-args checkpoint=PATH_OR_REPO (docs/backends.md)",
        )
    return task.data.measured(limits.text_tokens)


def sample_seed(seed: int, task: str, sample_id: str, repeat: int) -> int:
    """The seed of one answer, in [0, 2**53): it depends on these four alone, never on budget, batch or order."""
    text = json.dumps([seed, task, sample_id, repeat], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11


# -- one task ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Planner:
    """Plans one task in one pass over its chosen samples, and counts what it meets."""

    task: Task
    config: TaskConfig
    run: RunConfig
    limits: Limits
    n: int = 0
    media: int = 0
    questions: set[str] = field(default_factory=set)
    digests: dict[str, bytes] = field(default_factory=dict)
    counted: list[int | PromptSize | None] = field(default_factory=list)
    parts: dict[str, LongestPrompt] = field(default_factory=dict)
    largest: LargestPrompt = field(default_factory=LargestPrompt)
    unreadable: Counter[str] = field(default_factory=Counter)  # samples by why their media cannot be had

    def plan(self, lines: PlanLines, unseen: set[str]) -> TaskPlan:
        """The plan; its lines go to `lines`, the names of its samples out of `unseen`."""
        run = self.run
        STEPS.info("reading %s", one_line(self.task.name))
        limit, split_size = question_limit(self.task, self.config, run)
        chosen = ChosenSamples(lines.folder) if has_share(run) else None
        walk = Walk(self.task, self.config, run, limit)
        prompts = hashlib.sha256()
        for position, sample in enumerate(walk, 1):
            unseen -= names_of(self.task, sample)
            prompt, fault = self._prompt(sample)
            prompts.update(bytes.fromhex(text_sha256(prompt.text)))
            if in_shard(sample.question_id, run.shard):
                self._take(sample, prompt)
                self.unreadable.update([fault] if fault else [])
                for line in _plan_lines(self.config, run, sample, prompt.text, position):
                    lines.add(line)
                if chosen is not None:
                    chosen.add(sample)
        total = self._total(walk, split_size)
        different = other_data(self.task, self.config.split, walk.labels) if walk.is_whole else None
        known = [one.tokens if isinstance(one, PromptSize) else one for one in self.counted if one is not None]
        return TaskPlan(
            task=self.task,
            config=self.config,
            n=self.n,
            questions=len(self.questions),
            total=total,
            media=self.media,
            data_sha256=data_fingerprint(self.digests),
            prompt_sha256=prompts.hexdigest(),
            prompt_tokens=sum(known) / len(known) if known else None,
            sizes=tuple(one for one in self.counted if isinstance(one, PromptSize)),
            parts=tuple(plan_part(name, part, self.limits, self.config) for name, part in self.parts.items()),
            limit=limit,
            chosen=chosen,
            notes=(*walk.notes, *self._warnings(different)),
            other_data=different,
            largest=self.largest,
        )

    def _warnings(self, different: str | None) -> Iterator[str]:
        """What is known of the data, and of the samples that will fail."""
        if different is not None:
            yield f"warning: {self.task.name}: {different}"
        if self.unreadable:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.unreadable.items()))
            failing = f"{self.unreadable.total():,} of {self.n:,} samples will fail: {reasons}"
            yield f"warning: {self.task.title if self.task.data.table else self.task.name}: {failing}"

    def _prompt(self, sample: Sample) -> tuple[PlannedPrompt, str | None]:
        """The prompt of a sample, and why its media cannot be had; their bytes are read here, once."""
        self._check_new(sample.id)
        sized = self._counts_tokens() or bool(parts_of(self.task, sample))
        facts = [media_facts(ref, sized=sized) for ref in sample.media]
        self.digests[sample.id] = sample_digest(sample, [one.digest for one in facts])
        sizes = {ref: one.size for ref, one in zip(sample.media, facts, strict=True)} if sized else {}
        fault = next((one.fault for one in facts if one.fault is not None), None)
        try:
            messages = prompt_messages(self.task, self.config, self.run, sample)
        except SampleError as error:  # it stays planned, and fails when its turn comes
            return PlannedPrompt((), no_prompt(error), sizes), fault or error.reason
        return PlannedPrompt(messages, prompt_text(messages), sizes), fault

    def _check_new(self, sample_id: str) -> None:
        if sample_id in self.digests:
            raise DataError(
                "data.duplicate",
                f"{self.task.name}: two samples have the id {sample_id[:200]!r}",
                where=f"samples {list(self.digests).index(sample_id) + 1} and {len(self.digests) + 1}",
                why="sample ids must be unique",
                fix=f"run `kvl-eval check data {self.task.name}` to list every bad row",
            )

    def _counts_tokens(self) -> bool:
        """Whether the next prompt is one of the first, whose tokens are counted."""
        return self.n < (EXACT_SIZES if any(isinstance(one, PromptSize) for one in self.counted) else EXACT_TOKENS)

    def _take(self, sample: Sample, prompt: PlannedPrompt) -> None:
        """Count one sample of the shard."""
        self.questions.add(sample.question_id)
        if self._counts_tokens():
            self.counted.append(count_tokens(prompt, self.limits, self.config))
        self.largest.take(prompt, self.run.settings.media.frames)
        for part in parts_of(self.task, sample):
            self.parts.setdefault(part, LongestPrompt()).take(prompt)
        self.n += 1
        self.media += len(sample.media)

    def _total(self, walk: Walk, split_size: int | None) -> int | None:
        """Samples of the whole split; None where only part was read and the number is not declared."""
        run, config = self.run, self.config
        if run.limit is None and not run.sample_ids:
            return walk.samples_read
        split = self.task.splits.get(config.split)
        if split is not None and split.rows is not None:
            return split.rows
        if split_size is not None:
            return split_size
        if config.split == "mini" or run.sample_ids or isinstance(run.limit, float):
            return walk.read_on()
        return None


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
                "data.row",
                f"{config.task}: a row has a value that is not valid in JSON",
                where=sample.id,
                why=str(error),
                fix="convert it to text or a number",
            ) from error
