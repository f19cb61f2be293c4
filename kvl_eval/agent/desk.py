"""Desktops: what an episode is played on.

`drawn` shows boards, the images of a sample, one after the other; it needs nothing but Pillow and runs on every
system. `xvfb` shows the same boards on an X server in a sandbox (`kvl_eval.agent.xvfb_desk`).

A desktop is called from one thread, and may block: `kvl_eval.agent.watch` gives it that thread and its time limits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import PIL
from PIL import Image

from kvl_eval.agent.actions import AgentAction, ButtonDown, Click, Drag, Fail, Pixel, ScreenSize
from kvl_eval.agent.base import Screenshot
from kvl_eval.errors import SampleError, unknown
from kvl_eval.media.images import open_image, read_bytes
from kvl_eval.tasks.boards import Corners, is_feasible, targets
from kvl_eval.tasks.episode import Episode
from kvl_eval.types import ImageRef, Sample

AGAIN = "`kvl-eval resume RUN --rerun failed` plays it again"
GRAY = (110, 110, 110)  # of the screen behind the boards


class DesktopDied(SampleError):
    """A desktop that answers no more, or answers nonsense; its episode failed, and no other one."""


class SetupFailed(SampleError):
    """A desktop could not be brought into the state that a task begins with."""


class EvaluatorFailed(SampleError):
    """The state that an episode left could not be judged."""


def desktop_died(message: str) -> DesktopDied:
    """The error of a desktop that is gone."""
    return DesktopDied("desktop.died", message, fix=AGAIN)


def setup_failed(message: str) -> SetupFailed:
    """The error of a task that could not begin."""
    return SetupFailed("setup.failed", message, fix=AGAIN)


def evaluator_failed(message: str) -> EvaluatorFailed:
    """The error of an episode that could not be judged."""
    return EvaluatorFailed("evaluator.error", message, fix=AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActResult:
    """What a desktop says of an action.

    Attributes:
        code:   0 where it was done; anything else is recorded, and the action is never repeated.
        stdout: what it printed, the same for `stderr`.
    """

    code: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorCheck:
    """One function of an evaluator: what it expected, what it found, and the value in [0, 1], or why it has none.

    `evidence` is what the value was computed from, where it can be computed again without the desktop.
    """

    function: str
    expected: str
    found: str
    value: float | None
    error: str | None = None
    seconds: float = 0.0
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What became of an episode: a value in [0, 1] and the checks that it comes from."""

    value: float
    checks: tuple[EvaluatorCheck, ...]


class Desk(Protocol):
    """A desktop, for one episode at a time. Every method may raise DesktopDied."""

    @property
    def is_instant(self) -> bool:
        """Whether the screen is settled as soon as an action is done."""

    @property
    def is_over(self) -> bool:
        """Whether the task itself ended the episode."""

    def reset(self, sample: Sample) -> None:
        """Bring it into the state that a task begins with. Raises SetupFailed."""

    def observe(self) -> Screenshot:
        """What it shows."""

    def act(self, action: AgentAction) -> ActResult:
        """Do one action, once."""

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        """Judge the state; `last` is the agent's last action. Raises EvaluatorFailed."""

    def versions(self) -> Mapping[str, str]:
        """What it runs, {name: version}."""

    def close(self) -> None:
        """Let go of it; may be called from any thread, at any time."""


@dataclass(slots=True)
class DrawnDesk:
    """Boards one after the other: every press of a button, wherever, leads to the next; after the last one the
    episode is over.

    Attributes:
        boards: screens of the current task.
        boxes:  where the named thing is on each; none where it is missing.
        hits:   whether each board so far was pressed on the named thing.
    """

    size: ScreenSize
    boards: tuple[Screenshot, ...] = ()
    boxes: Sequence[Corners] = ()
    hits: list[bool] = field(default_factory=list)
    feasible: bool = True
    is_instant: bool = True

    @property
    def is_over(self) -> bool:
        """Whether the last board was pressed."""
        return len(self.hits) >= len(self.boards)

    def reset(self, sample: Sample) -> None:
        """Show the first board of a sample. Raises SetupFailed for images that cannot be opened."""
        try:
            refs = [ref for ref in sample.media if isinstance(ref, ImageRef)]
            self.boards = tuple(_board(ref, self.size) for ref in refs)
        except SampleError as error:
            raise setup_failed(f"a board cannot be shown: {error.message}") from error
        if not self.boards:
            raise setup_failed("the sample has no board")
        self.boxes, self.feasible, self.hits = targets(sample.row), is_feasible(sample.row), []

    def observe(self) -> Screenshot:
        """The current board; after the last one an empty screen."""
        return _empty(self.size) if self.is_over else self.boards[len(self.hits)]

    def act(self, action: AgentAction) -> ActResult:
        """Presses lead on; everything else leaves a board as it is."""
        for point in presses(action):
            if not self.is_over:
                number = len(self.hits)
                self.hits.append(number < len(self.boxes) and _is_inside(point, self.boxes[number]))
        return ActResult()

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        """1 where every board was pressed on the named thing, or where that is missing and the last action is FAIL."""
        failed = isinstance(last, Fail)
        if not self.feasible:
            said = "FAIL" if failed else "no FAIL"
            return _evaluation("infeasible", "FAIL", said, failed)
        found = " ".join("hit" if hit else "miss" for hit in self.hits) or "no press"
        right = not failed and len(self.hits) == len(self.boards) and all(self.hits)
        return _evaluation("boards", " ".join(["hit"] * len(self.boards)), found, right)

    def versions(self) -> Mapping[str, str]:
        """Those of what draws."""
        return {"pillow": PIL.__version__}

    def close(self) -> None:
        """Nothing to let go of."""


def _evaluation(function: str, expected: str, found: str, right: bool) -> Evaluation:
    value = float(right)
    return Evaluation(
        value=value, checks=(EvaluatorCheck(function=function, expected=expected, found=found, value=value),)
    )


def presses(action: AgentAction) -> list[Pixel]:
    """Where an action presses a button, in order."""
    if isinstance(action, Click):
        return [action.point] * action.count
    if isinstance(action, Drag):
        return [action.start]
    return [action.point] if isinstance(action, ButtonDown) else []


def _is_inside(point: Pixel, box: Corners) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _board(ref: ImageRef, size: ScreenSize) -> Screenshot:
    """An image on the whole screen, or in its corner where it is of another size. Raises MediaError."""
    data = read_bytes(ref)
    image = open_image(data, ref.name).image
    if image.size == (size.width, size.height) and data.startswith(b"\x89PNG"):
        return Screenshot(data, size)
    screen = Image.new("RGB", (size.width, size.height), GRAY)
    screen.paste(image.convert("RGB"), (0, 0))
    return _screenshot(screen, size)


def _empty(size: ScreenSize) -> Screenshot:
    return _screenshot(Image.new("RGB", (size.width, size.height), GRAY), size)


def _screenshot(image: Image.Image, size: ScreenSize) -> Screenshot:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Screenshot(buffer.getvalue(), size)


def _drawn(episode: Episode) -> Desk:
    return DrawnDesk(ScreenSize(*episode.screen))


def _xvfb(episode: Episode) -> Desk:
    from kvl_eval.agent.app_desk import AppDesk
    from kvl_eval.agent.xvfb_desk import XvfbDesk

    size = ScreenSize(*episode.screen)
    return AppDesk(size) if episode.has_programs else XvfbDesk(size)


PROVIDERS: Mapping[str, Callable[[Episode], Desk]] = {"drawn": _drawn, "xvfb": _xvfb}
"""{`--provider`: (episode) -> a desktop}."""


def prove_provider(episode: Episode) -> None:
    """Do nothing where desktops of the kind that an episode wants can start. Raises: InputError `desktop.sandbox`."""
    if episode.provider == "xvfb":
        from kvl_eval.agent.sandbox import prove

        prove(with_programs=episode.has_programs)


def desk_of(episode: Episode) -> Desk:
    """A desktop of the kind that an episode wants. Raises: UsageError `usage.provider` for one that is not there."""
    if episode.provider not in PROVIDERS:
        raise unknown("provider", episode.provider, list(PROVIDERS), "docs/agents.md")
    return PROVIDERS[episode.provider](episode)
