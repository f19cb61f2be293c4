"""What every desktop in a sandbox does alike; each kind has its own setup, actions and evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from kvl_eval.agent.actions import ScreenSize
from kvl_eval.agent.base import Screenshot
from kvl_eval.agent.desk import setup_failed
from kvl_eval.agent.guest import Guest, GuestError
from kvl_eval.agent.sandbox import Sandbox

QUIET = 0.5  # seconds without a change after which a screen counts as settled


class SandboxedDesk:
    """A sandbox, and the screen after the last action.

    Attributes:
        is_instant: the server waits until a screen is settled.
    """

    is_instant = True

    def __init__(self, size: ScreenSize) -> None:
        self._size = size
        self._sandbox: Sandbox | None = None
        self._screen: Screenshot | None = None

    def observe(self) -> Screenshot:
        """What the desktop showed after the last action."""
        if self._screen is None:
            self._screen = self._guest.screenshot()
        return self._screen

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

    def _started(self) -> Guest:
        """The guest of a fresh sandbox; an earlier one is killed. Raises: SetupFailed."""
        self.close()
        sandbox = self._sandbox = Sandbox(self._size)
        return sandbox.guest

    @property
    def _guest(self) -> Guest:
        if self._sandbox is None:
            raise setup_failed("the desktop was not started")
        return self._sandbox.guest
