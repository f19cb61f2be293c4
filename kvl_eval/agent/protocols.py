"""The agents by name."""

from __future__ import annotations

from kvl_eval.agent.base import Agent, AnyAgent
from kvl_eval.agent.figure10 import FIGURE10
from kvl_eval.agent.kimi import KIMI, KIMI_WITHOUT_THINKING
from kvl_eval.agent.one_click import ONE_CLICK
from kvl_eval.agent.scripted import GIVES_UP, IDLE, RANDOM, played
from kvl_eval.errors import unknown
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.episode import Episode

MODEL_AGENTS: dict[str, Agent] = {agent.name: agent for agent in (KIMI, KIMI_WITHOUT_THINKING, FIGURE10, ONE_CLICK)}
"""Those that ask a model."""


def agents_of(episode: Episode) -> dict[str, AnyAgent]:
    """{name: agent} of those that can play an episode, in the order that its task names them."""
    scripted = (IDLE, GIVES_UP, RANDOM, *(played(name, script) for name, script in episode.scripts.items()))
    known: dict[str, AnyAgent] = {**MODEL_AGENTS, **{agent.name: agent for agent in scripted}}
    return {name: known[name] for name in episode.agents if name in known}


def agent_named(task: Task, name: str) -> AnyAgent:
    """The agent of that name. Raises: UsageError `usage.agent`, where the task has none of that name."""
    agents = {} if task.episode is None else agents_of(task.episode)
    if name not in agents:
        raise unknown("agent", name, list(agents), f"kvl-eval describe {task.name}")
    return agents[name]
