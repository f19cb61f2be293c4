"""What an episode of an agent leaves: `trajectories/TASK/SAMPLE/REPEAT.jsonl`, one journal for each episode.

The first line is the head, the last one the outcome, between them one line for each step. A journal without its outcome
belongs to an episode that was stopped. Types only, as in `records.py`; `trajectories` knows the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kvl_eval.decode import Count, Json, Others, unknown_fields
from kvl_eval.store.records import SCHEMA
from kvl_eval.types import TokenCounts

ScreenPoint = tuple[float, float]  # in pixels of the screen
ActionKind = Literal[
    "click",
    "move",
    "drag",
    "scroll",
    "write",
    "press",
    "hotkey",
    "key_down",
    "key_up",
    "sleep",
    "wait",
    "done",
    "fail",
]
EndedBy = Literal["done", "fail", "max_steps", "unparsable", "time_limit", "desktop_died", "setup_failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryHead:
    """What an episode began with.

    Attributes:
        schema:      1.
        instruction: what the agent was asked to do.
        screen:      width and height in pixels.
        agent:       the agent's name.
        task_sha256: of the task file.
        others:      fields of a later version.
    """

    schema: int = SCHEMA
    instruction: str
    screen: tuple[Count, Count]
    agent: str
    task_sha256: str
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryAction:
    """One thing that a step did.

    Attributes:
        kind:    what.
        point:   where; of a drag where it began. Null where it has no place.
        to:      where a drag ended.
        button:  `left`, `middle` or `right`.
        clicks:  how often.
        amount:  how far a scroll went; negative is down.
        text:    what was typed.
        keys:    which keys were pressed.
        seconds: how long a pause was.
        others:  fields of a later version.
    """

    kind: ActionKind
    point: ScreenPoint | None = None
    to: ScreenPoint | None = None
    button: str = "left"
    clicks: Count = 1
    amount: float | None = None
    text: str = ""
    keys: tuple[str, ...] = ()
    seconds: float | None = None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What a call returned; its texts are cut at 4 kB."""

    return_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryStep:
    """One step: what the model saw, said and did.

    Attributes:
        n:                 from 1.
        screenshot_sha256: of the screen that it saw, in `media/`.
        prompt_sha256:     of `prompt_text`.
        prompt_text:       what the model was given, screens as marks.
        seed:              of the sampler.
        raw_output:        what the model wrote.
        thinking:          the thought.
        answer:            what follows it.
        tokens:            of prompt, images, thought and answer.
        actions:           what was understood.
        source:            the call as it was written.
        parse:             `ok`, `unsupported` (nothing was done) or `unparsable`.
        result:            what the call returned.
        time:              seconds: model, act, settle, screenshot.
        others:            fields of a later version.
    """

    n: Count
    screenshot_sha256: str
    prompt_sha256: str = ""
    prompt_text: str = ""
    seed: int = 0
    raw_output: str = ""
    thinking: str = ""
    answer: str = ""
    tokens: TokenCounts | None = None
    actions: tuple[TrajectoryAction, ...] = ()
    source: str = ""
    parse: Literal["ok", "unsupported", "unparsable"] = "ok"
    result: CallResult | None = None
    time: Mapping[str, float] = field(default_factory=dict)
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorResult:
    """What one evaluator function found.

    Attributes:
        function: its name.
        expected: what it looked for.
        found:    what it saw.
        value:    from 0 to 1; null where it failed.
        error:    why it failed.
        seconds:  how long it took.
        others:   fields of a later version.
    """

    function: str
    expected: Json = None
    found: Json = None
    value: float | None = None
    error: str | None = None
    seconds: float | None = None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryOutcome:
    """How an episode ended.

    Attributes:
        ended_by:          what ended it.
        screenshot_sha256: of the last screen.
        evaluator:         what the evaluator's functions found; empty where none ran.
        value:             from 0 to 1; null where nothing was evaluated.
        provider:          what the desktop was.
        versions:          {program: version}.
        others:            fields of a later version.
    """

    ended_by: EndedBy
    screenshot_sha256: str = ""
    evaluator: tuple[EvaluatorResult, ...] = ()
    value: float | None = None
    provider: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    others: Others = unknown_fields()
