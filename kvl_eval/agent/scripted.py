"""Agents without a model: they show that tasks, desktops and evaluators do what they should.

`oracle` and `wrong` play the task's own scripts, `idle` says DONE at once, `fail` says FAIL at once, `random` clicks
anywhere, by the seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from kvl_eval.agent.actions import AgentAction, Done, Fail, Pixel, ScreenSize
from kvl_eval.agent.base import AgentMove, ScriptedAgent
from kvl_eval.agent.code import Unsupported, read_code
from kvl_eval.tasks.episode import Script
from kvl_eval.types import Sample

DONE, FAIL = "DONE", "FAIL"
_ENDS: Mapping[str, AgentAction] = {DONE: Done(), FAIL: Fail()}


def played(name: str, script: Script) -> ScriptedAgent:
    """The agent of a task's script."""
    return ScriptedAgent(name=name, version=1, reply=lambda sample, number, seed, screen: script(sample, number))


def _random_click(sample: Sample, number: int, seed: int, screen: ScreenSize) -> str:
    del sample, number
    draw = random.Random(seed)
    return f"pyautogui.click({draw.randrange(screen.width)}, {draw.randrange(screen.height)})"


IDLE = ScriptedAgent(name="idle", version=1, reply=lambda sample, number, seed, screen: DONE)
GIVES_UP = ScriptedAgent(name="fail", version=1, reply=lambda sample, number, seed, screen: FAIL)
RANDOM = ScriptedAgent(name="random", version=1, reply=_random_click)


def read_script(code: str, screen: ScreenSize, pointer: Pixel) -> AgentMove:
    """What a script's step does: the code is read as that of a model."""
    if code in _ENDS:
        return AgentMove(parse="ok", actions=(_ENDS[code],), source=code, said=code)
    try:
        return AgentMove(parse="ok", actions=read_code(code, screen, pointer), source=code, said=code)
    except Unsupported as error:
        return AgentMove(parse="unsupported", source=code, said=code, note=str(error))
