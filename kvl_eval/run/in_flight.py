"""A request under way, and the record that its answer becomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from kvl_eval.backends.jobs import unstorable
from kvl_eval.decode import Json, decode, encode_object
from kvl_eval.errors import DecodeError
from kvl_eval.run.plan import Plan, TaskPlan
from kvl_eval.store.records import Extra, Record, text_sha256
from kvl_eval.types import Completion, Sample


@dataclass(slots=True)
class InFlight:
    """A request under way: what it answers, and which answers are still to come."""

    task: TaskPlan
    sample: Sample
    prompt: str
    messages_sha256: str
    wanted: set[tuple[int, int | None]]
    weight: float = field(default=1.0)


class StorableAnswer(NamedTuple):
    """An answer, its record, and the fields of the record's line."""

    completion: Completion
    record: Record
    fields: dict[str, Json]


def storable(plan: Plan, entry: InFlight, completion: Completion) -> StorableAnswer:
    """An answer and its record; a failure in its place where the record could not be read again."""
    try:
        record = _record(plan, entry, completion)
        return StorableAnswer(completion, record, encode_object(record))
    except DecodeError as error:
        failure = unstorable(completion, error)
        record = _record(plan, entry, failure)
        return StorableAnswer(failure, record, encode_object(record))


def _record(plan: Plan, entry: InFlight, completion: Completion) -> Record:
    """One line of samples/<task>.jsonl."""
    config = entry.task.config
    prompt = completion.prompt_text or entry.prompt
    return Record(
        task=config.task,
        split=config.split,
        sample_id=entry.sample.id,
        repeat=completion.repeat,
        budget=completion.budget,
        policy=config.policy,
        status=completion.status,
        reason=completion.reason,
        message=completion.message,
        attempt=completion.attempt,
        config_fingerprint=plan.fingerprint,
        messages_sha256=entry.messages_sha256,
        prompt_sha256=text_sha256(prompt),
        prompt_text=prompt,
        image_prep=plan.config.settings.media.image_prep,
        media=completion.media,
        raw_output=completion.raw_output,
        thinking=completion.thinking,
        answer=completion.answer,
        think_closed=completion.think_closed,
        budget_forced=completion.budget_forced,
        finish_reason=completion.finish_reason,
        trajectory_id=completion.trajectory_id and f"{config.task}/{entry.sample.id}/{completion.repeat}",
        tokens=completion.tokens,
        seed=completion.seed,
        time=completion.time,
        worker=completion.worker,
        ended_at=datetime.now().astimezone().isoformat(timespec="milliseconds"),
        extra=replace(decode(Extra, dict(completion.extra)), thought=completion.thought),
    )
