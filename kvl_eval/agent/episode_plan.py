"""What the episodes of one task share, and the seeds of their steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.agent.base import AnyAgent
from kvl_eval.agent.desk import Desk
from kvl_eval.store.journal import Disk
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.episode import Episode
from kvl_eval.types import Generation, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodePlan:
    """What the episodes of one task share.

    Attributes:
        task:        the task.
        episode:     how it is played.
        agent:       what plays it.
        generation:  how replies are sampled.
        fingerprint: of the run.
        run:         the run folder.
        disk:        what is written through.
        seed_of:     (sample id, repeat) -> the seed of an answer.
        text_of:     messages -> the same as text.
        make_desk:   (episode) -> a desktop.
        on_step:     called after every step.
    """

    task: Task
    episode: Episode
    agent: AnyAgent
    generation: Generation
    fingerprint: str
    run: Path
    disk: Disk
    seed_of: Callable[[str, int], int]
    text_of: Callable[[Iterable[Message]], str]
    make_desk: Callable[[Episode], Desk]
    on_step: Callable[[], None] = lambda: None


def step_seed(seed: int, number: int, attempt: int) -> int:
    """The seed of one reply, in [0, 2**53): it depends on the seed of the answer, the step and the attempt alone."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, number, attempt]).encode()).digest()[:8]) >> 11
