"""Actions and evaluations as the journal of an episode holds them."""

from __future__ import annotations

import hashlib
import json

from kvl_eval.agent.actions import (
    AgentAction,
    ButtonDown,
    ButtonUp,
    Click,
    Done,
    Drag,
    Fail,
    Hotkey,
    KeyDown,
    KeyUp,
    Move,
    Press,
    Scroll,
    Sleep,
    Write,
)
from kvl_eval.agent.desk import ActResult, EvaluatorCheck
from kvl_eval.errors import MediaError
from kvl_eval.media.images import read_bytes
from kvl_eval.store.trajectory_records import StepResult, StoredAction, StoredCheck
from kvl_eval.types import ImageRef, Sample

MOST_OUTPUT = 4_000  # characters of what an action printed


def stored_action(action: AgentAction) -> StoredAction:
    """An action as a journal has it."""
    match action:
        case Click(point, button, count):
            return StoredAction(kind="click", point=point, button=button, count=count)
        case Move(point):
            return StoredAction(kind="move", point=point)
        case Drag(start, point, button):
            return StoredAction(kind="drag", start=start, point=point, button=button)
        case Scroll(point, amount, sideways):
            return StoredAction(kind="scroll", point=point, amount=amount, sideways=sideways)
        case ButtonDown(point, button):
            return StoredAction(kind="button_down", point=point, button=button)
        case ButtonUp(point, button):
            return StoredAction(kind="button_up", point=point, button=button)
        case _:
            return _without_point(action)


def _without_point(action: AgentAction) -> StoredAction:
    match action:
        case Write(text):
            return StoredAction(kind="write", text=text)
        case Press(keys):
            return StoredAction(kind="press", keys=keys)
        case Hotkey(keys):
            return StoredAction(kind="hotkey", keys=keys)
        case KeyDown(key):
            return StoredAction(kind="key_down", keys=(key,))
        case KeyUp(key):
            return StoredAction(kind="key_up", keys=(key,))
        case Sleep(seconds):
            return StoredAction(kind="sleep", seconds=seconds)
        case Done():
            return StoredAction(kind="done")
        case Fail():
            return StoredAction(kind="fail")
        case _:
            return StoredAction(kind="wait")


def stored_result(results: list[ActResult]) -> StepResult:
    """What the desktop said of a step's actions, the first that failed before all others."""
    code = next((result.code for result in results if result.code), 0)
    return StepResult(
        code=code,
        stdout="".join(result.stdout for result in results)[:MOST_OUTPUT],
        stderr="".join(result.stderr for result in results)[:MOST_OUTPUT],
    )


def stored_check(check: EvaluatorCheck, evidence: str | None = None) -> StoredCheck:
    """A function of an evaluator as a journal has it; `evidence` is the hash under which that was stored."""
    return StoredCheck(
        function=check.function,
        expected=check.expected,
        found=check.found,
        value=check.value,
        error=check.error,
        seconds=check.seconds,
        evidence=evidence,
    )


def task_sha256(sample: Sample) -> str:
    """The hash of a task: its instruction, its row and its images; one that cannot be read counts as its reason."""
    digest = hashlib.sha256()
    digest.update(json.dumps([sample.id, sample.question, sample.row], sort_keys=True, default=str).encode())
    for ref in sample.media:
        if isinstance(ref, ImageRef):
            try:
                digest.update(hashlib.sha256(read_bytes(ref)).digest())
            except MediaError as error:
                digest.update(error.reason.encode())
    return digest.hexdigest()
