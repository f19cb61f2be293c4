"""The part of a run in which agents play episodes; their results are written down as answers are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from kvl_eval.agent.desk import prove_provider
from kvl_eval.agent.episode_plan import EpisodePlan
from kvl_eval.agent.episodes import play
from kvl_eval.agent.player import EpisodePlayer
from kvl_eval.agent.protocols import agent_named
from kvl_eval.backends.base import Backend
from kvl_eval.run.osworld_place import desks_of, is_osworld
from kvl_eval.run.plan import Plan, TaskPlan, sample_seed
from kvl_eval.run.prompts import prompt_text
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import Completion, Sample


class EpisodeSession(Protocol):
    """What knows which episodes are still to be played, and stores what became of them."""

    @property
    def is_stopping(self) -> bool:
        """Whether no new episode is to begin."""

    def episodes(self, task: TaskPlan) -> Iterator[tuple[Sample, int]]:
        """Samples and repeats that have no result yet, in the data set's order."""

    def count_step(self, task: TaskPlan) -> None:
        """One step more was taken."""

    def finish_episode(self, task: TaskPlan, sample: Sample, completion: Completion) -> None:
        """Write down a result. Raises StorageError."""


@dataclass(frozen=True, slots=True)
class EpisodeStage:
    """The episodes of a run: who plays what, and where it is stored."""

    session: EpisodeSession
    plan: Plan
    folder: RunFolder
    backend: Backend

    async def play(self) -> None:
        """Play what is pending, one task after the other. Raises what desktops, the backend or the disk raise."""
        for task in self.plan.tasks:
            episodes = self._plan_of(task)
            if episodes is not None:
                if not is_osworld(task.task):
                    await asyncio.to_thread(prove_provider, episodes.episode)
                players = (EpisodePlayer(episodes, *pending) for pending in self.session.episodes(task))
                finish = partial(self._finish, task)
                desktops = self.plan.config.desktops
                await play(players, self.backend, desktops, finish, lambda: self.session.is_stopping)

    def _plan_of(self, task: TaskPlan) -> EpisodePlan | None:
        """What the episodes of a task share; None for a task whose samples are one question each."""
        if task.task.episode is None or task.config.episode is None:
            return None
        return EpisodePlan(
            task=task.task,
            episode=task.config.episode.of(task.task.episode),
            agent=agent_named(task.task, task.config.prompt),
            generation=task.config.generation,
            fingerprint=self.plan.fingerprint,
            run=self.folder.path,
            disk=self.folder.disk,
            seed_of=partial(sample_seed, self.plan.config.seed, task.name),
            text_of=prompt_text,
            make_desk=desks_of(task.task, task.config.source.cache_dir),
            on_step=partial(self.session.count_step, task),
        )

    def _finish(self, task: TaskPlan, player: EpisodePlayer, completion: Completion) -> None:
        self.session.finish_episode(task, player.sample, completion)
