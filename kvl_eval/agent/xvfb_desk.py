"""The boards of a task on a sandboxed X server: the same states as drawn desktops, and the same screens."""

from __future__ import annotations

import time
from collections.abc import Mapping

from kvl_eval.agent.actions import AgentAction, Click, Done, Fail, Pixel, ScreenSize, Sleep, Wait
from kvl_eval.agent.base import Screenshot
from kvl_eval.agent.desk import ActResult, DrawnDesk, Evaluation, presses, setup_failed
from kvl_eval.agent.guest import Guest, GuestError
from kvl_eval.agent.sandbox import Sandbox
from kvl_eval.decode import Json, read_json
from kvl_eval.errors import DecodeError
from kvl_eval.types import Sample

QUIET = 0.5  # seconds without a change after which a screen counts as settled
PROGRAM = ("/usr/bin/python3", "-I", "/desk/kvl_eval/agent/guest_boards.py")


class XvfbDesk:
    """Boards shown by a program on an X server. Reset: the sandbox is killed and started again.

    Attributes:
        is_instant: the server waits until a screen is settled.
    """

    is_instant = True

    def __init__(self, size: ScreenSize) -> None:
        self._size = size
        self._boards = DrawnDesk(size)
        self._sandbox: Sandbox | None = None
        self._screen: Screenshot | None = None

    @property
    def is_over(self) -> bool:
        """Whether the last board was pressed."""
        return self._boards.is_over

    def reset(self, sample: Sample) -> None:
        """A fresh desktop that shows the first board. Raises: SetupFailed."""
        self.close()
        self._boards.reset(sample)
        sandbox = self._sandbox = Sandbox(self._size)
        names = [f"board-{number}.png" for number in range(1, len(self._boards.boards) + 1)]
        try:
            for name, board in zip(names, self._boards.boards, strict=True):
                sandbox.guest.upload(name, board.png)
            sandbox.guest.launch([*PROGRAM, *names])
        except GuestError as error:
            raise setup_failed(f"the boards cannot be shown: {error}") from error
        settled = sandbox.guest.act(Wait(), quiet=QUIET, least=0)
        if isinstance(settled, str):
            raise setup_failed(f"the boards cannot be shown: {settled}")
        self._screen = settled

    def observe(self) -> Screenshot:
        """What the desktop showed after the last action."""
        if self._screen is None:
            self._screen = self._guest.screenshot()
        return self._screen

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

    def versions(self) -> Mapping[str, str]:
        """Those of the X server and of the Python inside."""
        try:
            return self._guest.versions()
        except GuestError as error:
            raise setup_failed(f"the desktop does not say what it runs: {error}") from error

    def close(self) -> None:
        """Kill the sandbox."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            sandbox.stop()

    @property
    def _guest(self) -> Guest:
        if self._sandbox is None:
            raise setup_failed("the desktop was not started")
        return self._sandbox.guest


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
