"""The boards of a task on a sandboxed X server: the same states as drawn desktops, and the same screens."""

from __future__ import annotations

import time

from kvl_eval.agent.actions import AgentAction, Click, Done, Fail, Pixel, ScreenSize, Sleep, Wait
from kvl_eval.agent.desk import ActResult, DrawnDesk, Evaluation, presses, setup_failed
from kvl_eval.agent.guest import GuestError
from kvl_eval.agent.sandboxed_desk import QUIET, SandboxedDesk
from kvl_eval.decode import Json, read_json
from kvl_eval.errors import DecodeError
from kvl_eval.types import Sample

PROGRAM = ("/usr/bin/python3", "-I", "/desk/kvl_eval/agent/guest_boards.py")


class XvfbDesk(SandboxedDesk):
    """Boards shown by a program on an X server. Reset: the sandbox is killed and started again."""

    def __init__(self, size: ScreenSize) -> None:
        super().__init__(size)
        self._boards = DrawnDesk(size)

    @property
    def is_over(self) -> bool:
        """Whether the last board was pressed."""
        return self._boards.is_over

    def reset(self, sample: Sample) -> None:
        """A fresh desktop that shows the first board. Raises: SetupFailed."""
        self._boards.reset(sample)
        guest = self._started()
        names = [f"board-{number}.png" for number in range(1, len(self._boards.boards) + 1)]
        try:
            for name, board in zip(names, self._boards.boards, strict=True):
                guest.upload(name, board.png)
            guest.launch([*PROGRAM, *names])
        except GuestError as error:
            raise setup_failed(f"the boards cannot be shown: {error}") from error
        settled = guest.act(Wait(), quiet=QUIET, least=0)
        if isinstance(settled, str):
            raise setup_failed(f"the boards cannot be shown: {settled}")
        self._screen = settled

    def act(self, action: AgentAction) -> ActResult:
        """Replay an action, once."""
        if isinstance(action, Done | Fail):
            return ActResult()
        if isinstance(action, Sleep):
            time.sleep(action.seconds)
            action = Wait()
        before = len(self._boards.hits)
        least = min(len(self._boards.boards), before + len(presses(action)))
        settled = self._guest.act(action, quiet=QUIET, least=least)
        for point in _points(self._guest.state)[before:]:
            self._boards.act(Click(point))
        if isinstance(settled, str):
            self._screen = None
            return ActResult(code=1, stderr=settled)
        self._screen = settled
        return ActResult()

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        """As drawn desktops, from where buttons were pressed on the X server."""
        return self._boards.evaluate(last)


def _points(state: str) -> list[Pixel]:
    """Where buttons were pressed, as the program says; none where it says nonsense."""
    try:
        value: Json = read_json(state.encode())
    except DecodeError:
        return []
    points = value if isinstance(value, list) else []
    return [(x, y) for point in points if isinstance(point, list) and len(point) == 2 for x, y in [_pixel(point)]]


def _pixel(point: list[Json]) -> Pixel:
    x, y = (value if isinstance(value, int) else -1 for value in point)
    return x, y
