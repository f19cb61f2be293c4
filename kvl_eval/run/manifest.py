"""What a run folder says of its run before the first answer."""

from __future__ import annotations

from datetime import datetime

from kvl_eval.decode import decode, encode, encode_object
from kvl_eval.model.registry import stored_family
from kvl_eval.run import provenance
from kvl_eval.run.config import RunConfig, to_json
from kvl_eval.run.plan import Plan, TaskPlan
from kvl_eval.store.manifest import AnswerCounts, Code, Manifest, ModelFacts, PlannedData, Seeds, TaskPrompt


def manifest_of(plan: Plan, created: datetime) -> Manifest:
    """What run.json says of a run before its first answer."""
    config = plan.config
    return Manifest(
        status="planned",
        created=created.isoformat(timespec="seconds"),
        demo=stored_family(config.family).is_demo,
        blind=config.settings.media.blind,
        command=tuple(provenance.command()),
        config_fingerprint=plan.fingerprint,
        identity=encode_object(plan.identity),
        selection=plan.selection,
        config=to_json(config),
        code=decode(Code, provenance.code()),
        model=decode(ModelFacts, encode(plan.model)),
        data={task.name: _data(task, plan) for task in plan.tasks},
        prompt={
            task.name: TaskPrompt(
                name=task.config.prompt, template_sha256=task.prompt_sha256, mean_tokens=task.prompt_tokens
            )
            for task in plan.tasks
        },
        generation={task.name: task.config.generation for task in plan.tasks},
        environment=provenance.environment(),
        seeds=Seeds(seed=config.seed, rule="sha256 of [seed, task, sample_id, repeat]"),
        counts=AnswerCounts(planned=plan.requests, pending=plan.requests),
    )


def _data(task: TaskPlan, plan: Plan) -> PlannedData:
    source = task.config.source
    bundled = task.config.split == "mini"
    return PlannedData(
        source="bundled" if bundled else str(source.data_dir) if source.data_dir else source.repo,
        revision=None if bundled else source.revision,
        version=source.version,
        split=task.config.split,
        n=task.n,
        total=task.total,
        media=task.media,
        fingerprint=task.data_sha256,
        other_data=task.other_data,
        partial=partial_note(task.n, task.total, plan.config),
    )


def partial_note(n: int, total: int | None, config: RunConfig) -> str | None:
    """`limit 20 of 1000`, `3 chosen samples of 1000`, `shard 1/2`; None where the whole split is planned."""
    of = f" of {total}" if total is not None else ""
    if config.shard is not None:
        return f"shard {config.shard[0]}/{config.shard[1]}: {n}{of}"
    if total == n:
        return None
    if config.sample_ids:
        return f"{n} chosen samples{of}"
    return f"limit {n}{of}" if config.limit is not None else None
