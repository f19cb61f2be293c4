"""How a task of agents is played: facts alone. `kvl_eval.agent` has the agents, the desktops and the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kvl_eval.types import Message, Sample

Settling = Literal["official", "stable"]

Script = Callable[[Sample, int], str]
"""(sample, number of the step from 1) -> pyautogui code, `DONE` or `FAIL`."""

MODEL_AGENT_NAMES = ("kimi-figure10", "kimi", "kimi-no-thinking", "one-click")
SCRIPTED_NAMES = ("oracle", "wrong", "idle", "fail", "random")
IMAGES = {"kimi": 3, "kimi-no-thinking": 3}  # screens of a prompt, where there is more than one


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """How a task is played on a desktop.

    Attributes:
        agents:     names of those that can play it, the default first; a model's family may name another default.
        max_steps:  steps until an episode ends.
        screen:     width and height of the desktop in pixels.
        provider:   what the desktop is: `drawn` (boards of the task's own images); others need the operating system.
        providers:  what else the desktop may be (`--provider`).
        environment: whose code sets the desktop up and judges it: `own`, or `osworld`, in an interpreter of the user's.
        pause:      seconds after an action, before the desktop is looked at.
        settling:   when the screen counts as settled: after the `official` waits, or when it is `stable`.
        waits:      seconds after a reset and before an evaluation, in which programs start and write their files.
        images:     screenshots that a prompt shows; None: as many as the agent's own.
        time_limit: seconds until an episode ends; None: no limit.
        has_programs: whether tasks start real applications, rather than show boards.
        scripts:    {name: script} of the task's own scripted agents.
    """

    agents: tuple[str, ...] = (*MODEL_AGENT_NAMES, *SCRIPTED_NAMES)
    max_steps: int
    screen: tuple[int, int]
    provider: str = "drawn"
    providers: tuple[str, ...] = ("drawn", "xvfb")
    environment: Literal["own", "osworld"] = "own"
    pause: float = 0.0
    settling: Settling = "stable"
    waits: tuple[float, float] = (0.0, 0.0)
    images: int | None = None
    time_limit: float | None = None
    has_programs: bool = False
    scripts: Mapping[str, Script] = field(default_factory=dict)

    @property
    def needs_more(self) -> bool:
        """Whether a task needs a sandbox, or an environment of the user's."""
        return self.has_programs or self.environment != "own"


@dataclass(frozen=True, slots=True)
class EpisodePrompt:
    """What stands in a plan for the prompts of an episode, whose later ones cannot be known: agent and instruction,
    and as many images as a prompt of that agent shows at most.
    """

    agent: str

    def __call__(self, sample: Sample) -> list[Message]:
        """The sample's stand-in prompt."""
        images = sample.media[:1] * IMAGES.get(self.agent, 1)
        return [Message.user(*images, f"agent: {self.agent}\n{sample.question}")]
