"""Screens and typed actions of an X server, through Xlib and XTest. Runs inside a sandbox on Debian's Python alone."""

from __future__ import annotations

import ctypes
import struct
import time
import zlib
from typing import TypedDict

SPARE_KEYS = 8  # at the end of a keyboard
LOOK = 0.05  # seconds between two looks at a screen
ALL_PLANES, Z_PIXMAP = 0xFFFFFFFF, 2
BUTTONS = {"left": 1, "middle": 2, "right": 3}
WHEEL = {(False, True): 4, (False, False): 5, (True, False): 6, (True, True): 7}  # (sideways, above 0)
KEYSYMS = {
    **{"alt": "Alt_L", "altleft": "Alt_L", "altright": "Alt_R", "ctrl": "Control_L", "ctrlleft": "Control_L"},
    **{"ctrlright": "Control_R", "shift": "Shift_L", "shiftleft": "Shift_L", "shiftright": "Shift_R"},
    **{"win": "Super_L", "winleft": "Super_L", "winright": "Super_R", "super": "Super_L", "superleft": "Super_L"},
    **{"superright": "Super_R", "command": "Super_L", "option": "Alt_L", "optionleft": "Alt_L"},
    **{"optionright": "Alt_R", "enter": "Return", "return": "Return", "\n": "Return", "\r": "Return", "\t": "Tab"},
    **{"tab": "Tab", "esc": "Escape", "escape": "Escape", "space": "space", "backspace": "BackSpace"},
    **{"del": "Delete", "delete": "Delete", "insert": "Insert", "home": "Home", "end": "End", "pageup": "Prior"},
    **{"pgup": "Prior", "pagedown": "Next", "pgdn": "Next", "up": "Up", "down": "Down", "left": "Left"},
    **{"right": "Right", "capslock": "Caps_Lock", "numlock": "Num_Lock", "scrolllock": "Scroll_Lock"},
    **{"pause": "Pause", "prtsc": "Print", "prtscr": "Print", "printscreen": "Print", "prntscrn": "Print"},
    **{"print": "Print", "apps": "Menu", "help": "Help", "add": "KP_Add", "subtract": "KP_Subtract"},
    **{"multiply": "KP_Multiply", "divide": "KP_Divide", "decimal": "KP_Decimal"},
    **{f"f{number}": f"F{number}" for number in range(1, 25)},
    **{f"num{number}": f"KP_{number}" for number in range(10)},
}
"""{name of a key in pyautogui: its name in X}."""


class GuestAction(TypedDict, total=False):
    """An action as journals store it."""

    kind: str
    point: tuple[int, int]
    start: tuple[int, int]
    button: str
    count: int
    amount: int
    sideways: bool
    text: str
    keys: list[str]


class XImage(ctypes.Structure):
    """The head of Xlib's record of that name."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("width", "height", "xoffset", "format")),
        ("data", ctypes.c_void_p),
        *(
            (name, ctypes.c_int)
            for name in (
                *("byte_order", "bitmap_unit", "bitmap_bit_order", "bitmap_pad"),
                *("depth", "bytes_per_line", "bits_per_pixel"),
            )
        ),
    ]


class Display:
    """The X server, through Xlib and XTest."""

    def __init__(self) -> None:
        self._x = ctypes.CDLL("libX11.so.6")
        self._test = ctypes.CDLL("libXtst.so.6")
        self._lent = 0
        self._x.XOpenDisplay.restype = ctypes.c_void_p
        self._x.XDefaultRootWindow.restype = ctypes.c_ulong
        self._x.XGetImage.restype = ctypes.POINTER(XImage)
        self._x.XStringToKeysym.restype = ctypes.c_ulong
        self._x.XKeysymToKeycode.argtypes = (ctypes.c_void_p, ctypes.c_ulong)
        self._x.XKeysymToKeycode.restype = ctypes.c_ubyte
        self._x.XkbKeycodeToKeysym.restype = ctypes.c_ulong
        pointer = self._x.XOpenDisplay(None)
        if not pointer:
            raise OSError("no X server")
        self._display = ctypes.c_void_p(pointer)
        self._root = ctypes.c_ulong(self._x.XDefaultRootWindow(self._display))
        self.size = self._x.XDisplayWidth(self._display, 0), self._x.XDisplayHeight(self._display, 0)
        self.release = str(self._x.XVendorRelease(self._display))

    def pixels(self) -> bytes:
        """The screen as RGB, row by row. Raises: OSError."""
        width, height = self.size
        planes = ctypes.c_ulong(ALL_PLANES)
        image = self._x.XGetImage(self._display, self._root, 0, 0, width, height, planes, Z_PIXMAP)
        if not image or image.contents.bits_per_pixel != 32:
            raise OSError("the screen cannot be read")
        line = image.contents.bytes_per_line
        data = ctypes.string_at(image.contents.data, line * height)
        self._x.XDestroyImage(image)
        rgb = bytearray(width * height * 3)
        for channel in range(3):  # stored as blue, green, red, unused; lines have no padding at 32 bits
            rgb[channel::3] = data[2 - channel :: 4]
        return bytes(rgb)

    def move(self, x: int, y: int) -> None:
        """The pointer goes to a pixel."""
        self._test.XTestFakeMotionEvent(self._display, -1, x, y, ctypes.c_ulong(0))

    def button(self, number: int, *, down: bool) -> None:
        """A button is pressed or let go."""
        self._test.XTestFakeButtonEvent(self._display, number, int(down), ctypes.c_ulong(0))

    def key(self, keysym: int, *, down: bool) -> None:
        """A key is pressed or let go. Raises: ValueError for one that the keyboard does not have."""
        code = self._x.XKeysymToKeycode(self._display, keysym) or self._lend(keysym)
        self._test.XTestFakeKeyEvent(self._display, ctypes.c_uint(code), int(down), ctypes.c_ulong(0))

    def needs_shift(self, keysym: int) -> bool:
        """Whether a character is the upper one of its key."""
        code = self._x.XKeysymToKeycode(self._display, keysym)
        lower = self._x.XkbKeycodeToKeysym(self._display, ctypes.c_ubyte(code), 0, 0)
        return bool(code) and int(lower) != keysym

    def keysym(self, name: str) -> int:
        """The number of a key or a character. Raises: ValueError."""
        if len(name) == 1 and name not in KEYSYMS:
            point = ord(name)
            return point if 32 <= point < 127 or 160 <= point < 256 else 0x0100_0000 + point
        number = int(self._x.XStringToKeysym(KEYSYMS.get(name, name).encode()))
        if not number:
            raise ValueError(f"the keyboard has no key {name!r}")
        return number

    def sync(self) -> None:
        """Wait until the X server has taken everything."""
        self._x.XSync(self._display, 0)

    def _lend(self, keysym: int) -> int:
        """Give a character to one of the last keys, which have none of their own, and return that.

        They take turns, since a program may look up a key only after the next one was typed.
        """
        low, high = ctypes.c_int(), ctypes.c_int()
        self._x.XDisplayKeycodes(self._display, ctypes.byref(low), ctypes.byref(high))
        both = (ctypes.c_ulong * 2)(keysym, keysym)
        code = high.value - self._lent % SPARE_KEYS
        self._lent += 1
        self._x.XChangeKeyboardMapping(self._display, code, 2, both, 1)
        self.sync()
        time.sleep(LOOK)  # programs read the new table
        return code


def png(pixels: bytes, width: int, height: int) -> bytes:
    """A PNG file of RGB rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[start : start + width * 3] for start in range(0, len(pixels), width * 3))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows, 4)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


# -- actions --------------------------------------------------------------------------------------------------------


def replay(display: Display, action: GuestAction) -> None:
    """Do one stored action. Raises: ValueError for a key or character that cannot be typed."""
    kind, keys = action["kind"], [str(key) for key in action.get("keys", ())]
    if action.get("start") is not None:
        display.move(*action["start"])
        _buttons(display, action, down=True)
    if action.get("point") is not None:
        display.move(*action["point"])
    if kind == "click":
        for _ in range(action.get("count", 1)):
            _buttons(display, action, down=True)
            _buttons(display, action, down=False)
    elif kind in ("drag", "button_up"):
        _buttons(display, action, down=False)
    elif kind == "button_down":
        _buttons(display, action, down=True)
    elif kind == "scroll":
        button = WHEEL[bool(action.get("sideways")), action["amount"] > 0]
        for _ in range(min(200, abs(action["amount"]))):
            display.button(button, down=True)
            display.button(button, down=False)
    elif kind in ("write", "press"):
        for key in action.get("text") or keys:
            _typed(display, key)
    elif kind in ("hotkey", "key_down", "key_up"):
        for key in keys if kind != "key_up" else ():
            display.key(display.keysym(key), down=True)
        for key in reversed(keys) if kind != "key_down" else ():
            display.key(display.keysym(key), down=False)
    display.sync()


def _buttons(display: Display, action: GuestAction, *, down: bool) -> None:
    display.button(BUTTONS[action.get("button") or "left"], down=down)


def _typed(display: Display, name: str) -> None:
    """One key or character, with Shift where it needs that."""
    keysym = display.keysym(name)
    shift = display.keysym("shift") if display.needs_shift(keysym) else None
    if shift is not None:
        display.key(shift, down=True)
    display.key(keysym, down=True)
    display.key(keysym, down=False)
    if shift is not None:
        display.key(shift, down=False)
    display.sync()
