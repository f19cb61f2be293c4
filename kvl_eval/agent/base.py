"""What an agent is: how it asks a model for the next step, and how it reads the reply. Values and pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from kvl_eval.agent.actions import AgentAction, Pixel, ScreenSize
from kvl_eval.types import ImageRef, Message, Sample

ParseState = Literal["ok", "unsupported", "unparsable"]
PASSWORD = "password"  # of the account of every desktop


@dataclass(frozen=True, slots=True)
class Screenshot:
    """What a desktop showed: a PNG file and its size."""

    png: bytes = field(repr=False)
    size: ScreenSize

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return hashlib.sha256(self.png).hexdigest()

    def image(self, name: str) -> ImageRef:
        """The screenshot as a part of a message."""
        return ImageRef(name=name, data=self.png)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastStep:
    """A step that was taken: the screen before it, the thought, and the action in the model's words."""

    screen: Screenshot
    thought: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What an agent knows when it is asked.

    Attributes:
        instruction: what is to be done.
        screen:      what the desktop shows now.
        past:        the steps so far, the oldest first.
        pointer:     where the pointer is.
    """

    instruction: str
    screen: Screenshot
    past: tuple[PastStep, ...] = ()
    pointer: Pixel

    @property
    def number(self) -> int:
        """The number of the step to come, from 1."""
        return len(self.past) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMove:
    """What a reply asks for.

    Attributes:
        parse:   `ok`; `unsupported`: read, not replayed, without effect; `unparsable`: the model is asked again.
        actions: in order; none unless `ok`.
        source:  the part of the reply that says what to do.
        said:    the action in the model's words, for later prompts.
        thought: of the step, for later prompts.
        note:    why the reply was not read or is not replayed.
    """

    parse: ParseState
    actions: tuple[AgentAction, ...] = ()
    source: str = ""
    said: str = ""
    thought: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """How a model plays an episode.

    Attributes:
        name:           as `--prompt` and run folders call it.
        version:        of its prompt and its reading; a change gives other results.
        prompt:         (situation, screenshots a prompt may show) -> messages.
        read:           (thought, answer, situation) -> what the reply asks for.
        images:         screenshots that a prompt shows, the current one among them.
        attempts:       replies that are asked for a step, until one can be read.
        acts_fail:      at the last step every action becomes FAIL, DONE too, and so does the last unreadable reply.
        notes:          departures and faults reproduced on purpose; shown by `describe`.
        evidence:       what speaks for this agent being the report's.
    """

    name: str
    version: int
    prompt: Callable[[Situation, int], tuple[Message, ...]]
    read: Callable[[str, str, Situation], AgentMove]
    images: int = 1
    attempts: int = 1
    acts_fail: bool = False
    notes: tuple[str, ...] = ()
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedAgent:
    """An agent without a model, for checks of tasks and desktops.

    Attributes:
        name:    as `--prompt` and run folders call it.
        version: of its rule.
        reply:   (sample, number of the step from 1, seed, screen) -> code, `DONE` or `FAIL`.
    """

    name: str
    version: int
    reply: Callable[[Sample, int, int, ScreenSize], str]


AnyAgent = Agent | ScriptedAgent
