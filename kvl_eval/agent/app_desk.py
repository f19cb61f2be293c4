"""Real applications on a sandboxed X server; a task brings files, starts programs and names its evaluator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from kvl_eval.agent.actions import AgentAction, Done, Fail, ScreenSize, Sleep, Wait
from kvl_eval.agent.desk import ActResult, Evaluation, EvaluatorCheck, evaluator_failed, setup_failed
from kvl_eval.agent.evaluators import evaluate, words
from kvl_eval.agent.guest import Guest, GuestError
from kvl_eval.agent.sandboxed_desk import QUIET, SandboxedDesk
from kvl_eval.decode import Json
from kvl_eval.types import Sample

OPENS = 120.0  # seconds until a program must have its window
SETTLES = 60.0  # seconds in which a task that begins may become quiet
LOOK = 0.2  # seconds between two looks at the windows


class AppDesk(SandboxedDesk):
    """One task at a time. Reset: the sandbox is killed and started again.

    Attributes:
        is_over: a task never ends by itself.
    """

    is_over = False

    def __init__(self, size: ScreenSize) -> None:
        super().__init__(size)
        self._evaluator: Mapping[str, Json] = {}

    def reset(self, sample: Sample) -> None:
        """A fresh desktop with the task's files and programs. Raises: SetupFailed."""
        guest = self._started()
        self._evaluator = _object(sample.row.get("evaluator"))
        steps = sample.row.get("config")
        try:
            for step in steps if isinstance(steps, list) else []:
                self._prepare(guest, _object(step))
        except (GuestError, ValueError) as error:
            raise setup_failed(f"the task cannot begin: {error}") from error
        settled = guest.act(Wait(), quiet=2 * QUIET, limit=SETTLES)
        self._screen = None if isinstance(settled, str) else settled

    def _prepare(self, guest: Guest, step: Mapping[str, Json]) -> None:
        """One step of the setup. Raises: GuestError, ValueError for one that is not known."""
        values = _object(step.get("parameters"))
        command = values.get("command")
        match step.get("type"):
            case "upload":
                guest.upload(str(values["name"]), str(values["text"]).encode())
            case "launch" if isinstance(command, list):
                guest.launch(words(command))
            case "execute" if isinstance(command, list):
                guest.run(words(command))
            case "window":
                _wait_for(guest, str(values["title"]))
            case kind:
                raise ValueError(f"a step that is not known: {kind}")

    def act(self, action: AgentAction) -> ActResult:
        """Replay an action, once."""
        if isinstance(action, Done | Fail):
            return ActResult()
        if isinstance(action, Sleep):
            time.sleep(action.seconds)
            action = Wait()
        settled = self._guest.act(action, quiet=QUIET)
        self._screen = None if isinstance(settled, str) else settled
        return ActResult(code=1, stderr=settled) if isinstance(settled, str) else ActResult()

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        """What the task's evaluator gives; 0 where the agent gave up. Raises: EvaluatorFailed."""
        if self._sandbox is None:
            raise evaluator_failed("the desktop is closed")
        if isinstance(last, Fail):
            check = EvaluatorCheck(function="infeasible", expected="no FAIL", found="FAIL", value=0.0)
            return Evaluation(value=0.0, checks=(check,))
        return evaluate(self._guest, self._evaluator)


def _wait_for(guest: Guest, title: str) -> None:
    """Wait for a window whose title has this text. Raises: GuestError."""
    end = time.monotonic() + OPENS
    while time.monotonic() < end:
        if any(title in line for line in guest.run(["wmctrl", "-l"]).output.splitlines()):
            return
        time.sleep(LOOK)
    raise GuestError(f"no window {title!r} within {OPENS:.0f} s")


def _object(value: object) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}
