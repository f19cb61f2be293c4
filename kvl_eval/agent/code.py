"""Code of an agent, read and never run: what is understood becomes typed actions, anything else refuses the step.

Accepted: calls of `pyautogui.NAME` for the names in `SIGNATURES`, `time.sleep(n)`, `import pyautogui`, `import time`,
and `for ... in range(n)` around accepted statements. Arguments are constants.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kvl_eval.agent.actions import (
    KEYS,
    AgentAction,
    Button,
    ButtonDown,
    ButtonUp,
    Click,
    Drag,
    Hotkey,
    KeyDown,
    KeyUp,
    Move,
    Pixel,
    Press,
    ScreenSize,
    Scroll,
    Sleep,
    Write,
)

LONGEST_CODE = 50_000  # characters that are looked at
LONGEST_TEXT = 5_000  # characters of one text
MOST_ACTIONS = 200  # of one step, each click and each key counted
MOST_TURNS = 100  # of a loop
MOST_SLEEP = 10.0  # seconds of one step, all pauses together
MODULES = ("pyautogui", "time")

_CLICK = ("x", "y", "interval", "duration", "tween", "logScreenshot", "_pause")
_CLICKS = ("x", "y", "interval", "button", "duration", "tween", "logScreenshot", "_pause")
_BUTTON = ("x", "y", "button", "duration", "tween", "logScreenshot", "_pause")
_WHEEL = ("clicks", "x", "y", "logScreenshot", "_pause")
_TEXT = ("message", "interval", "logScreenshot", "_pause")
_KEY = ("key", "logScreenshot", "_pause")
_DRAG = ("duration", "tween", "button", "logScreenshot", "_pause", "mouseDownUp")
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "click": ("x", "y", "clicks", "interval", "button", "duration", "tween", "logScreenshot", "_pause"),
    "doubleClick": _CLICKS,
    "tripleClick": _CLICKS,
    "rightClick": _CLICK,
    "middleClick": _CLICK,
    "moveTo": ("x", "y", "duration", "tween", "logScreenshot", "_pause"),
    "moveRel": ("xOffset", "yOffset", "duration", "tween", "logScreenshot", "_pause"),
    "dragTo": ("x", "y", *_DRAG),
    "dragRel": ("xOffset", "yOffset", *_DRAG),
    "scroll": _WHEEL,
    "hscroll": _WHEEL,
    "write": _TEXT,
    "typewrite": _TEXT,
    "press": ("keys", "presses", "interval", "logScreenshot", "_pause"),
    "hotkey": ("interval", "logScreenshot", "_pause"),  # its keys are all positional
    "keyDown": _KEY,
    "keyUp": _KEY,
    "mouseDown": _BUTTON,
    "mouseUp": _BUTTON,
}
"""Parameters of pyautogui 0.9.54, in their order."""

BUTTONS: Mapping[object, Button] = {
    "left": "left",
    "primary": "left",
    "right": "right",
    "secondary": "right",
    "middle": "middle",
}
Constant = float | str | bool | None | tuple[str, ...]


class Unsupported(ValueError):
    """The code has something that is not replayed; the message says what."""


def read_code(code: str, screen: ScreenSize, pointer: Pixel) -> tuple[AgentAction, ...]:
    """The actions of pyautogui code, in order. Raises: Unsupported.

    `pointer` is where the pointer is before: what the code says relative to it, or leaves out, is filled in.
    """
    return _actions(code, _Statements(screen, pointer, prefix="pyautogui"))


def read_calls(code: str, screen: ScreenSize, pointer: Pixel) -> tuple[AgentAction, ...]:
    """The actions of bare calls such as `click(x=0.9, y=0.1)`, whose points are shares of the screen.

    Raises: Unsupported.
    """
    return _actions(code, _Statements(screen, pointer, prefix=None))


def tree_of(code: str) -> ast.Module:
    """What `ast.parse` gives, without its warnings. Raises: SyntaxError, ValueError, RecursionError, MemoryError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def parsed_code(code: str) -> ast.Module:
    """The code as a tree. Raises: Unsupported for what is too long, too deep or not Python."""
    if len(code) > LONGEST_CODE:
        raise Unsupported(f"more than {LONGEST_CODE:,} characters of code")
    try:
        return tree_of(code)
    except (SyntaxError, ValueError) as error:
        raise Unsupported(f"not Python: {str(error)[:200]}") from None
    except (RecursionError, MemoryError):
        raise Unsupported("the code is nested too deeply") from None


def _actions(code: str, reader: _Statements) -> tuple[AgentAction, ...]:
    try:
        reader.take(parsed_code(code).body)
    except RecursionError:
        raise Unsupported("the code is nested too deeply") from None
    return tuple(reader.actions)


@dataclass(slots=True)
class _Statements:
    """Walks statements and collects actions.

    Attributes:
        prefix:  the name before the dot of a call; None for bare calls with relative points.
        actions: so far.
        events:  clicks and keys so far.
        slept:   seconds of pauses so far.
    """

    screen: ScreenSize
    pointer: Pixel
    prefix: str | None
    actions: list[AgentAction] = field(default_factory=list)
    events: int = 0
    slept: float = 0.0

    def take(self, statements: Iterable[ast.stmt]) -> None:
        """Read statements in order. Raises: Unsupported."""
        for statement in statements:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                self._call(statement.value)
            elif isinstance(statement, ast.For):
                self._loop(statement)
            elif not _is_harmless(statement):
                raise Unsupported(f"line {statement.lineno}: {type(statement).__name__} is not replayed")

    def _loop(self, loop: ast.For) -> None:
        over = loop.iter
        turns = over.args[0] if isinstance(over, ast.Call) and len(over.args) == 1 and not over.keywords else None
        is_range = isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.func.id == "range"
        count = turns.value if isinstance(turns, ast.Constant) else None
        if not is_range or type(count) is not int or not isinstance(loop.target, ast.Name) or loop.orelse:
            raise Unsupported(f"line {loop.lineno}: a loop that is not over range(n)")
        if count > MOST_TURNS:
            raise Unsupported(f"line {loop.lineno}: a loop of more than {MOST_TURNS} turns")
        for _ in range(count):
            before = len(self.actions), self.slept
            self.take(loop.body)
            if (len(self.actions), self.slept) == before:
                return  # a turn without effect; so nested loops over nothing end at once

    def _call(self, call: ast.Call) -> None:
        module, name = _called(call.func)
        if self.prefix is not None and (module, name) == ("time", "sleep"):
            self._sleep(call)
        elif module == self.prefix and name in SIGNATURES:
            self._count(1)
            self._add(name, _bound(name, call))
        else:
            raise Unsupported(f"line {call.lineno}: {ast.unparse(call.func)[:80]} is not replayed")

    def _count(self, events: int) -> None:
        self.events += events
        if self.events > MOST_ACTIONS:
            raise Unsupported(f"more than {MOST_ACTIONS} actions in one step")

    def _sleep(self, call: ast.Call) -> None:
        values = [_constant(value) for value in call.args]
        seconds = _number(values[0], "time.sleep") if len(values) == 1 and not call.keywords else -1.0
        if seconds < 0:
            raise Unsupported(f"line {call.lineno}: time.sleep takes one number of at least 0")
        self._count(1)
        pause = min(seconds, MOST_SLEEP - self.slept)
        self.slept += pause
        self.actions.append(Sleep(pause))

    def _add(self, name: str, values: Mapping[str, Constant]) -> None:
        if values.get("tween") is not None:
            raise Unsupported(f"{name}: the argument tween is not replayed")
        if name in ("write", "typewrite", "press", "hotkey", "keyDown", "keyUp"):
            self._type(name, values)
        else:
            self._point(name, values)

    def _type(self, name: str, values: Mapping[str, Constant]) -> None:
        if name in ("write", "typewrite"):
            message = values.get("message")
            if not isinstance(message, str | tuple):
                raise Unsupported(f"{name}: takes a text")
            self.actions.append(Write(message) if isinstance(message, str) else self._pressed(message, 1))
        elif name == "press":
            self.actions.append(self._pressed(_keys(values.get("keys")), _whole(values.get("presses", 1), "presses")))
        elif name == "hotkey":
            keys = _keys(values["keys"])
            self._count(len(keys))
            self.actions.append(Hotkey(keys))
        else:
            (key,) = _keys(values.get("key"), most=1)
            self.actions.append(KeyDown(key) if name == "keyDown" else KeyUp(key))

    def _pressed(self, keys: tuple[str, ...], presses: int) -> Press:
        keys = _keys(keys)
        self._count(len(keys) * presses)
        return Press(keys * presses)

    def _point(self, name: str, values: Mapping[str, Constant]) -> None:
        point = self._place(name, values)
        button = BUTTONS.get(values.get("button", "left"))
        if button is None:
            raise Unsupported(f"{name}: unknown button")
        if name in CLICKS:
            default, count = CLICKS[name]
            count = _whole(values["clicks"], "clicks") if "clicks" in values else count
            self._count(count)
            self.actions.append(Click(point, default or button, count))
        elif name in ("scroll", "hscroll"):
            amount = int(_number(values.get("clicks"), name))
            self.actions.append(Scroll(point, amount, sideways=name == "hscroll"))
        elif name in ("dragTo", "dragRel"):
            self.actions.append(Drag(self.pointer, point, button))
        elif name in ("moveTo", "moveRel"):
            self.actions.append(Move(point))
        else:
            self.actions.append(ButtonDown(point, button) if name == "mouseDown" else ButtonUp(point, button))
        self.pointer = point

    def _place(self, name: str, values: Mapping[str, Constant]) -> Pixel:
        """Where a call acts; what it leaves out is that of the pointer."""
        across, down = ("xOffset", "yOffset") if name.endswith("Rel") else ("x", "y")
        x, y = (None if (value := values.get(key)) is None else _number(value, name) for key in (across, down))
        if self.prefix is None and x is not None and y is not None and not name.endswith("Rel"):
            x, y = self.screen.projected(x, y)
        if name.endswith("Rel"):
            return self.screen.inside(self.pointer[0] + (x or 0), self.pointer[1] + (y or 0))
        return self.screen.inside(self.pointer[0] if x is None else x, self.pointer[1] if y is None else y)


CLICKS: Mapping[str, tuple[Button | None, int]] = {
    "click": (None, 1),
    "doubleClick": (None, 2),
    "tripleClick": (None, 3),
    "rightClick": ("right", 1),
    "middleClick": ("middle", 1),
}
"""{function: its button where that is fixed, and its number of clicks}."""


def _is_harmless(statement: ast.stmt) -> bool:
    """Whether a statement imports one of the two modules under its own name."""
    return isinstance(statement, ast.Import) and all(
        alias.name in MODULES and alias.asname is None for alias in statement.names
    )


def _called(function: ast.expr) -> tuple[str | None, str]:
    """The module and the name of what is called; no name for anything but `NAME` and `MODULE.NAME`."""
    if isinstance(function, ast.Name):
        return None, function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id, function.attr
    return None, ""


def _bound(name: str, call: ast.Call) -> dict[str, Constant]:
    """The arguments of a call by name; those of `hotkey` are its `keys`. Raises: Unsupported."""
    positions = SIGNATURES[name]
    values = [_constant(value) for value in call.args]
    bound: dict[str, Constant] = {}
    if name == "hotkey":
        bound["keys"] = values[0] if len(values) == 1 else _texts(values)
    elif len(values) > len(positions):
        raise Unsupported(f"{name}: too many arguments")
    else:
        bound.update(zip(positions, values, strict=False))
    for keyword in call.keywords:
        if keyword.arg not in positions or keyword.arg in bound:
            raise Unsupported(f"{name}: unexpected argument {str(keyword.arg)[:40]}")
        bound[keyword.arg] = _constant(keyword.value)
    return bound


def _constant(node: ast.expr) -> Constant:
    """The value of a constant, a signed number, or a list of texts. Raises: Unsupported."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _number(_constant(node.operand) if isinstance(node.operand, ast.Constant) else None, "a sign")
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.List | ast.Tuple):
        return _texts([_constant(item) if isinstance(item, ast.Constant) else None for item in node.elts])
    if not isinstance(node, ast.Constant) or not isinstance(node.value, int | float | str | None):
        raise Unsupported(f"line {node.lineno}: an argument that is not a constant")
    if isinstance(node.value, str) and len(node.value) > LONGEST_TEXT:
        raise Unsupported(f"line {node.lineno}: a text of more than {LONGEST_TEXT:,} characters")
    return node.value


def _texts(values: Iterable[Constant]) -> tuple[str, ...]:
    texts = tuple(values)
    if not all(isinstance(text, str) for text in texts):
        raise Unsupported("a list of anything but texts")
    return tuple(str(text) for text in texts)


def _keys(value: Constant, most: int = MOST_ACTIONS) -> tuple[str, ...]:
    """Names of keys, in lower case where they are words. Raises: Unsupported for one that is not known."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, tuple) or not 0 < len(names) <= most:
        raise Unsupported("keys are a name, or a list of names")
    keys = tuple(name if len(name) == 1 else name.lower() for name in names)
    if unknown := [key for key in keys if key not in KEYS]:
        raise Unsupported(f"unknown key {unknown[0][:40]!r}")
    return keys


def _number(value: Constant, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unsupported(f"{where}: takes a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unsupported(f"{where}: takes a finite number")
    return number


def _whole(value: Constant, where: str) -> int:
    """A count of clicks or presses. Raises: Unsupported for what is none, or so large that no step may have it."""
    if type(value) is not int or not 0 <= value <= MOST_ACTIONS:
        raise Unsupported(f"{where}: takes a number from 0 to {MOST_ACTIONS}")
    return value
