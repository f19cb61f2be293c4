"""`run.json`: how a run was made. Types only, as in `records.py`; the file is replaced as a whole when it changes.

Everything has a default, so that a folder whose manifest is lost or damaged still has one: status `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kvl_eval.decode import Count, Json, Others, omitted, renamed, unknown_fields
from kvl_eval.store.records import SCHEMA
from kvl_eval.types import Generation

Status = Literal["planned", "running", "interrupted", "finished", "unknown"]
ProbeArm = Literal["probe", "control", "joint"]
ProbeEvidence = Literal["option", "read", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model. What of it can change an answer is repeated in `identity.model`.

    Attributes:
        name:    as the user named it.
        family:  whose settings were used.
        path:    the checkpoint's folder, without what lies above it.
        dtype:   of the weights in memory.
        device:  `cpu`, `cuda`, `server`, ...
        others:  what the backend says of itself: hashes, sizes, versions, threads.
    """

    name: str = "unknown"
    family: str = omitted("")
    path: str | None = None
    dtype: str | None = None
    device: str | None = None
    others: Others = unknown_fields()

    @property
    def weights(self) -> str | None:
        """`int8` or `int4` where weights were packed."""
        value = self.others.get("weights")
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What ran.

    Attributes:
        version:      of kvl-eval.
        commit:       of the checkout; null outside one.
        dirty:        whether tracked files differed from the commit.
        files_sha256: over the package's Python files.
        others:       fields of a later version.
    """

    version: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    files_sha256: str | None = None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which samples were chosen; outside the fingerprint.

    Attributes:
        limit:      most questions, or the share of them where below 1; null for all.
        sample_ids: those asked for by name; empty for all.
        shard:      `1/2`; null for all.
        others:     fields of a later version.
    """

    limit: int | float | None = None
    sample_ids: tuple[str, ...] = ()
    shard: str | None = None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedData:
    """The data of one task.

    Attributes:
        source:      `bundled`, a folder, or a hub repository; null for generated samples.
        revision:    of the repository.
        version:     of the data, where a task has several.
        split:       the split's name.
        n:           samples planned.
        total:       samples of the split, where known.
        media:       images, videos and documents in all.
        fingerprint: over ids, questions, options, gold and media of the samples chosen, all shards.
        partial:     why less than the whole split was planned; null where it was whole.
        other_data:  in what a whole split differs from the published one, as a sentence.
        others:      fields of a later version.
    """

    source: str | None = None
    revision: str | None = None
    version: str | None = None
    split: str | None = None
    n: Count = 0
    total: Count | None = None
    media: Count = 0
    fingerprint: str | None = None
    partial: str | None = None
    other_data: str | None = omitted(None)
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPrompt:
    """The prompt of one task.

    Attributes:
        name:            the prompt's name.
        template_sha256: over the prompts of all samples chosen, as messages, in order.
        mean_tokens:     of the first prompts; null where the backend cannot tell.
        others:          fields of a later version.
    """

    name: str = ""
    template_sha256: str | None = renamed("sha256", None)
    mean_tokens: float | None = None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """How the seed of an answer follows from the run's.

    Attributes:
        seed: the run's.
        rule: in words.
    """

    seed: int = 0
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCounts:
    """Answers over all tasks and budgets.

    Attributes:
        planned: in all.
        ok:      answered.
        failed:  {reason: answers}.
        pending: not answered yet.
    """

    planned: Count = 0
    ok: Count = 0
    failed: Mapping[str, Count] = field(default_factory=dict)
    pending: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A later session of a run.

    Attributes:
        time:   local time with offset.
        host:   the machine's name.
        code:   what ran.
        others: fields of a later version.
    """

    time: str | None = None
    host: str | None = None
    code: Code = Code()
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedShard:
    """Where a part of a merged run came from; fields as in that run's manifest.

    Attributes:
        shard:       `1/2`.
        run_id:      the folder's name.
        created:     when it began.
        finished:    when it ended; null where it did not.
        command:     its command line.
        code:        what ran.
        environment: where it ran.
        plan_sha256: of its plan.
        resumes:     its later sessions.
        device:      of its model.
        lacking:     samples that lacked an answer.
        others:      fields of a later version.
    """

    shard: str = "no shard"
    run_id: str | None = None
    created: str | None = None
    finished: str | None = None
    command: tuple[str, ...] | None = None
    code: Code | None = None
    environment: Mapping[str, Json] | None = None
    plan_sha256: str | None = None
    resumes: tuple[Resume, ...] | None = None
    device: str | None = None
    lacking: Count = 0
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeParent:
    """Of a run that asks samples of another run again, for `kvl-eval explain RUN --probe`.

    Attributes:
        run:      id of the run that is explained.
        probe:    what is changed, such as `prompt=vlmevalkit`; several joined by commas; empty for the control.
        arm:      `probe`, `control` (nothing is changed) or `joint` (everything is changed at once).
        plan:     `plan_sha256` of the run that is explained.
        looks:    how often the answers are looked at, the last time when all are there.
        evidence: why this value: `option`, `read` of the reference, or `default`.
        others:   fields of a later version.
    """

    run: str
    probe: str = ""
    arm: ProbeArm = "probe"
    plan: str | None = None
    looks: Count = 4
    evidence: ProbeEvidence = "option"
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`run.json`.

    Attributes:
        schema:             1.
        run_id:             the folder's name.
        status:             `planned`, `running`, `interrupted` or `finished`; `unknown` where the file is lost.
        created:            local time with offset.
        finished:           local time with offset; null until then.
        demo:               whether the model is a demo model.
        blind:              whether images were replaced with gray ones.
        command:            the command line, secrets hidden.
        config_fingerprint: hash of `identity`.
        identity:           everything that can change an answer.
        selection:          which samples were chosen.
        config:             all options of the run, as `run.config` reads them; empty where the file is lost.
        code:               what ran.
        model:              what answers.
        data:               {task: data}, in the plan's order.
        prompt:             {task: prompt}.
        generation:         {task: how answers are produced}.
        environment:        Python, libraries, system, processor.
        seeds:              how the seed of an answer follows from the run's.
        counts:             answers as of the last session's end.
        resumes:            later sessions.
        merged:             of a merged run: its parts.
        parent:             of a probe: the run whose samples it asks again.
        plan_sha256:        of `plan.jsonl`.
        config_sha256:      of `config.yaml`; null in runs of earlier versions.
        others:             fields of a later version.
        sha256:             of the file with this field empty.
    """

    schema: int = SCHEMA
    run_id: str = ""
    status: Status = "unknown"
    created: str | None = None
    finished: str | None = None
    demo: bool = False
    blind: bool = False
    command: tuple[str, ...] = ()
    config_fingerprint: str | None = None
    identity: Mapping[str, Json] = field(default_factory=dict)
    selection: Selection = Selection()
    config: Mapping[str, Json] = field(default_factory=dict)
    code: Code = Code()
    model: ModelFacts = ModelFacts()
    data: Mapping[str, PlannedData] = field(default_factory=dict)
    prompt: Mapping[str, TaskPrompt] = field(default_factory=dict)
    generation: Mapping[str, Generation] = field(default_factory=dict)
    environment: Mapping[str, Json] = field(default_factory=dict)
    seeds: Seeds = Seeds()
    counts: AnswerCounts | None = None
    resumes: tuple[Resume, ...] = ()
    merged: tuple[MergedShard, ...] = omitted(tuple)
    parent: ProbeParent | None = omitted()
    plan_sha256: str | None = None
    config_sha256: str | None = omitted()
    others: Others = unknown_fields()
    sha256: str = ""

    @property
    def model_identity(self) -> Mapping[str, Json]:
        """What of the model can change an answer."""
        identity = self.identity.get("model")
        return identity if isinstance(identity, dict) else {}
