"""What an agent does on a desktop: typed actions, and nothing that a model wrote is ever run.

Points are pixels of the screen, (0, 0) at the top left; every action that needs one has one, so that a journal can
draw it without knowing what came before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pixel = tuple[int, int]
Button = Literal["left", "right", "middle"]

_KEY_NAMES = """
accept add alt altleft altright apps backspace browserback browserfavorites browserforward browserhome
browserrefresh browsersearch browserstop capslock clear command convert ctrl ctrlleft ctrlright decimal del delete
divide down end enter esc escape execute final fn help home insert junja kana kanji launchapp1 launchapp2
launchmail launchmediaselect left modechange multiply nexttrack nonconvert numlock option optionleft optionright
pagedown pageup pause pgdn pgup playpause prevtrack print printscreen prntscrn prtsc prtscr return right scrolllock
select separator shift shiftleft shiftright sleep space stop subtract super superleft superright tab up volumedown
volumemute volumeup win winleft winright yen
f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24
num0 num1 num2 num3 num4 num5 num6 num7 num8 num9
"""
KEYS = frozenset(_KEY_NAMES.split()) | {"\t", "\n", "\r", *map(chr, range(32, 127))}
"""Names of keys that may be pressed."""


@dataclass(frozen=True, slots=True)
class Click:
    """`count` clicks in a row at a point."""

    point: Pixel
    button: Button = "left"
    count: int = 1


@dataclass(frozen=True, slots=True)
class Move:
    """The pointer goes to a point."""

    point: Pixel


@dataclass(frozen=True, slots=True)
class Drag:
    """From one point to another with a button pressed."""

    start: Pixel
    point: Pixel
    button: Button = "left"


@dataclass(frozen=True, slots=True)
class Scroll:
    """The wheel over a point: `amount` clicks, up (or right, where `sideways`) above 0."""

    point: Pixel
    amount: int
    sideways: bool = False


@dataclass(frozen=True, slots=True)
class ButtonDown:
    """A button is pressed at a point, and stays so."""

    point: Pixel
    button: Button = "left"


@dataclass(frozen=True, slots=True)
class ButtonUp:
    """A button is let go at a point."""

    point: Pixel
    button: Button = "left"


@dataclass(frozen=True, slots=True)
class Write:
    """Text is typed as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Press:
    """Keys are pressed one after the other."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hotkey:
    """Keys are held together."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyDown:
    """A key is pressed, and stays so."""

    key: str


@dataclass(frozen=True, slots=True)
class KeyUp:
    """A key is let go."""

    key: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause of so many seconds that the agent's code asks for."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The agent waits for the screen."""


@dataclass(frozen=True, slots=True)
class Done:
    """The agent says that the task is done; ends the episode."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The agent says that the task cannot be done; ends the episode."""


Pointed = Click | Move | Drag | Scroll | ButtonDown | ButtonUp
Keyed = Write | Press | Hotkey | KeyDown | KeyUp
Ending = Done | Fail
AgentAction = Pointed | Keyed | Sleep | Wait | Ending


@dataclass(frozen=True, slots=True)
class ScreenSize:
    """A screen in pixels."""

    width: int
    height: int

    @property
    def center(self) -> Pixel:
        """Where the pointer is when a desktop starts."""
        return self.width // 2, self.height // 2

    def inside(self, x: float, y: float) -> Pixel:
        """The nearest pixel of the screen, as a window system would have it."""
        return max(0, min(int(x), self.width - 1)), max(0, min(int(y), self.height - 1))

    def projected(self, x: float, y: float) -> tuple[int, int]:
        """A point in pixels: both numbers are shares of the screen where neither is above 1, and pixels otherwise.

        So (1, 1) is the corner at the bottom right, and the point may lie beyond the screen.
        Raises: ValueError, OverflowError for what is not finite.
        Source: KimiAgent, `project_coordinate_to_absolute_scale` (see `kvl_eval.agent.kimi_reply`).
        """
        if x <= 1.0 and y <= 1.0:
            x, y = x * self.width, y * self.height
        return round(x), round(y)


def pointer_after(actions: tuple[AgentAction, ...], pointer: Pixel) -> Pixel:
    """Where the pointer is after these actions."""
    for action in actions:
        if isinstance(action, Pointed):
            pointer = action.point
    return pointer
