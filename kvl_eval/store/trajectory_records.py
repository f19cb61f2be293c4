"""What the lines of an agent's journal hold, `trajectories/TASK/SAMPLE/REPEAT.jsonl`.

The first line is the head, one line follows for every reply, and the last line is the outcome; without it the episode
was abandoned. Types only, as in `records`: fields are only ever added. Screens are in `media/SHA256.png`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kvl_eval.decode import Count, Others, omitted, unknown_fields
from kvl_eval.store.records import SCHEMA
from kvl_eval.types import TokenCounts

ActionKind = Literal[
    "click",
    "move",
    "drag",
    "scroll",
    "button_down",
    "button_up",
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
Position = tuple[int, int]  # pixels of the screen


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAction:
    """One action of an agent.

    Attributes:
        kind:     what it is; the other fields are those that it needs.
        point:    where it acts; of a drag, where it ends.
        start:    where a drag begins.
        button:   left, right or middle.
        count:    clicks in a row.
        amount:   clicks of the wheel, above 0 up, or right where it turns sideways.
        sideways: whether the wheel turns sideways.
        text:     what is typed.
        keys:     names of keys.
        seconds:  of a pause.
        others:   fields of a later version.
    """

    kind: ActionKind
    point: Position | None = omitted()
    start: Position | None = omitted()
    button: str | None = omitted()
    count: Count | None = omitted()
    amount: int | None = omitted()
    sideways: bool = omitted(False)
    text: str | None = omitted()
    keys: tuple[str, ...] = omitted(tuple)
    seconds: float | None = omitted()
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What the desktop said of a step's actions: the first return code that is not 0, and texts of at most 4 kB."""

    code: int = 0
    stdout: str = omitted("")
    stderr: str = omitted("")
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryHead:
    """The first line.

    Attributes:
        schema:             1.
        task:               the task's name.
        sample_id:          the data set's own id.
        repeat:             from 0.
        instruction:        what the agent was to do.
        screen:             width and height in pixels.
        agent:              its name.
        agent_version:      of its prompt and its reading of replies.
        provider:           what the desktop is.
        task_sha256:        of the task: its row and its images.
        config_fingerprint: that of the run.
        started_at:         local time with offset.
        others:             fields of a later version.
    """

    schema: int = SCHEMA
    task: str
    sample_id: str
    repeat: Count
    instruction: str
    screen: Position
    agent: str
    agent_version: Count
    provider: str
    task_sha256: str
    config_fingerprint: str
    started_at: str
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryStep:
    """One reply and what was done with it.

    Attributes:
        n:                 number of the step, from 1.
        attempt:           number of the reply within the step, from 1: one that cannot be read is asked for again.
        screenshot_sha256: of the screen before the step.
        prompt_sha256:     of `prompt_text`.
        prompt_text:       what the model was given, images as marks; empty for an agent without a model.
        seed:              of the sampler.
        raw_output:        what the model wrote, special tokens included.
        thinking:          the thought, without markers.
        answer:            what follows the thought.
        tokens:            of prompt, images, thought and answer.
        actions:           what was done, in order.
        source:            the part of the reply that the actions come from.
        parse:             `ok`, `unsupported` (without effect) or `unparsable`.
        note:              why the reply was not read or not replayed.
        result:            what the desktop said.
        time:              seconds: model, act, settle, screenshot.
        others:            fields of a later version.
    """

    n: Count
    attempt: Count = omitted(1)
    screenshot_sha256: str
    prompt_sha256: str
    prompt_text: str
    seed: int
    raw_output: str
    thinking: str
    answer: str
    tokens: TokenCounts
    actions: tuple[StoredAction, ...]
    source: str
    parse: Literal["ok", "unsupported", "unparsable"]
    note: str = omitted("")
    result: StepResult
    time: Mapping[str, float | None]
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheck:
    """One function of the evaluator: what it expected and found, its value in [0, 1], or the error in its place.

    Attributes:
        function: its name.
        expected: what was to be found.
        found:    the beginning of what was found.
        value:    in [0, 1].
        error:    why there is none.
        seconds:  that it took.
        evidence: hash of all that was found, a file in `evidence/`.
        others:   fields of a later version.
    """

    function: str
    expected: str
    found: str
    value: float | None = omitted()
    error: str | None = omitted()
    seconds: float
    evidence: str | None = omitted()
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryOutcome:
    """The last line.

    Attributes:
        ended_by:          what ended the episode.
        steps:             that were taken.
        screenshot_sha256: of the last screen; null where there is none.
        evaluator:         its functions.
        value:             in [0, 1]; null where the episode failed.
        message:           a failure in one sentence.
        provider:          what the desktop was.
        versions:          of what it ran, {name: version}.
        time:              seconds: setup, evaluate, total.
        others:            fields of a later version.
    """

    ended_by: Literal["done", "fail", "max_steps", "unparsable", "time_limit", "desktop_died", "setup_failed"]
    steps: Count
    screenshot_sha256: str | None
    evaluator: tuple[StoredCheck, ...]
    value: float | None
    message: str | None = omitted()
    provider: str
    versions: Mapping[str, str]
    time: Mapping[str, float | None] = field(default_factory=dict)
    others: Others = unknown_fields()
