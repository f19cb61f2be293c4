"""How a run plays a task of agents: what of it can change a result, stored with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kvl_eval.agent.protocols import agent_named
from kvl_eval.decode import omitted
from kvl_eval.errors import UsageError, unknown
from kvl_eval.run.options import Options
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.episode import Episode, Settling

DESKTOPS = 4  # at a time, unless the run says otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig:
    """The episode of a task, and the version of the agent that plays it; the agent's name is the task's prompt.

    Attributes:
        agent_version: of its prompt and its reading of replies.
        max_steps:     steps until an episode ends.
        screen:        width and height in pixels.
        provider:      what the desktop is.
        pause:         seconds after an action.
        settling:      when the screen counts as settled.
        images:        screenshots that a prompt shows; null: the agent's own number.
        time_limit:    seconds until an episode ends; null: no limit.
    """

    agent_version: int
    max_steps: int
    screen: tuple[int, int]
    provider: str
    pause: float
    settling: Settling
    images: int | None = omitted()
    time_limit: float | None = omitted()

    def of(self, episode: Episode) -> Episode:
        """The task's episode with what this run changes of it."""
        return replace(
            episode,
            max_steps=self.max_steps,
            screen=self.screen,
            provider=self.provider,
            pause=self.pause,
            settling=self.settling,
            images=self.images,
            time_limit=self.time_limit,
        )


def check_agent_options(tasks: Sequence[Task], options: Options) -> None:
    """Raises: UsageError `usage.agent`, where an option of agents is given and no task is one of agents."""
    flags = {"--max-steps": options.max_steps, "--provider": options.provider, "--desktops": options.desktops}
    unusable = [flag for flag, value in flags.items() if value is not None]
    if unusable and all(task.episode is None for task in tasks):
        raise UsageError(
            "usage.agent",
            f"{unusable[0]} is for tasks that agents play",
            why="each sample of these tasks is one question",
            fix=f"omit {unusable[0]}, or add --task desktop-mini",
        )


def agent_flags(episodes: Sequence[EpisodeConfig], desktops: int) -> Mapping[str, int | str]:
    """The options of agents as `config.yaml` has them; none in which tasks differ: those are their defaults."""
    steps = {episode.max_steps for episode in episodes}
    providers = {episode.provider for episode in episodes}
    shared: dict[str, int | str] = {"max_steps": steps.pop()} if len(steps) == 1 else {}
    shared |= {"provider": providers.pop()} if len(providers) == 1 else {}
    return {**shared, "desktops": desktops} if episodes else {}


def episode_config(task: Task, agent: str, options: Options) -> EpisodeConfig | None:
    """How a task is played; None where a sample is one question. Raises: UsageError for options it cannot take."""
    episode = task.episode
    if episode is None:
        return None
    options_of_prompts = {
        "--think-budget": options.think_budget,
        "--system-prompt": options.system_prompt,
        "--prompt-file": options.prompt_text,
    }
    if unusable := [flag for flag, value in options_of_prompts.items() if value]:
        raise UsageError(
            "usage.agent",
            f"{task.name} does not take {unusable[0]}",
            why="its agents write their own prompts and set no budget",
            fix=f"omit {unusable[0]}",
        )
    if options.provider not in (None, *episode.providers):
        raise unknown("provider", str(options.provider), episode.providers, "docs/agents.md")
    return EpisodeConfig(
        agent_version=agent_named(task, agent).version,
        max_steps=episode.max_steps if options.max_steps is None else options.max_steps,
        screen=episode.screen,
        provider=episode.provider if options.provider is None else options.provider,
        pause=episode.pause,
        settling=episode.settling,
        images=episode.images,
        time_limit=episode.time_limit,
    )
