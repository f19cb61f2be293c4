"""What an agent did on a screen, drawn over it and said in words.

Drawings are SVG in pixels of the screen, so that they fit every size it is shown at; colors are the style sheet's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kvl_eval.reports.numbers import plain
from kvl_eval.store.trajectory_records import Position, StoredAction

SHOWN = 40  # characters of a typed text
WORDS = {"wait": "wait", "done": "done", "fail": "fail"}
KEYS = ("press", "hotkey", "key_down", "key_up")
TYPED = ("write", *KEYS)
TIMES = (("model", "t1"), ("act", "t2"), ("settle", "t3"), ("screenshot", "t4"))
TIME_NAMES = {"screenshot": "image"}
LABEL = 17  # pixels of a label beside a mark on a screen of `WIDTH`
WIDTH = 960
SMALL = 480  # pixels of a screen's longest side up to which it is shown no wider than this
DIGIT = 0.62  # width of a character, in its height


@dataclass(slots=True)
class ActionDrawer:
    """Draws the steps of one episode in order; typed texts stand at the last point.

    Attributes:
        screen: width and height in pixels.
        last:   the last point of a step before.
    """

    screen: tuple[int, int]
    last: Position | None = None

    def drawn(self, actions: Sequence[StoredAction]) -> tuple[Markup, Markup]:
        """The actions over a small and over a large screen; empty where there is nothing to draw."""
        scale = max(self.screen) / WIDTH
        small = self._svg(actions, scale * 40, scale * 64, self.last)
        scale *= 2 if is_small(self.screen) else 1
        large = self._svg(actions, scale * 16, scale * LABEL, self.last)
        for action in actions:
            self.last = action.point or self.last
        return small, large

    def _svg(self, actions: Sequence[StoredAction], radius: float, font: float, last: Position | None) -> Markup:
        """All marks: what is drawn by lines as one path, then labels."""
        lines: list[str] = []
        labels: list[tuple[StoredAction, str, Position | None]] = []
        for action in actions:
            lines += _lines(action, radius)
            if text := _label(action):
                if labels and action.kind in TYPED and labels[-1][0].kind in TYPED:
                    text = short_text(f"{labels.pop()[1]}, {text}")  # both stand at the same point
                labels.append((action, text, action.point or last))
            last = action.point or last
        if not lines and not labels:
            return Markup("")
        shapes = Markup('<path class="said-point" d="{}"/>').format("".join(lines)) if lines else Markup("")
        width, height = self.screen
        words = "; ".join(map(said, actions))
        svg = '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>'
        return Markup(svg).format(
            width, height, plain(words), shapes, Markup("").join(self._text(*label, font) for label in labels)
        )

    def _text(self, action: StoredAction, text: str, point: Position | None, font: float) -> Markup:
        """A label: typed texts and keys in a box below a point, how the episode ended in the lower left corner."""
        width, height = self.screen
        room = (len(text) * DIGIT + 1) * font
        if action.kind in WORDS or point is None:
            x, y = 0.02 * width, 0.96 * height
        else:
            x = min(point[0] + font, max(0.0, width - room))
            y = min(max(point[1] + 2.5 * font, 1.5 * font), height - font)
        words = Markup('<text class="mark-label" x="{}" y="{}" font-size="{}" stroke-width="{}">{}</text>').format(
            *map(_number, (x + font / 2, y, font, font / 4)), plain(text)
        )
        if action.kind not in TYPED:
            return words
        box = '<rect class="mark-box" x="{}" y="{}" width="{}" height="{}"/>'
        return Markup(box).format(*map(_number, (x, y - 1.2 * font, room, 1.7 * font))) + words


def _lines(action: StoredAction, radius: float) -> list[str]:
    """Pieces of a path: circles and cross of a click, the arrow of a drag or scroll."""
    if action.point is None:
        return []
    x, y = action.point
    if action.kind == "click":
        circles = [_circle(x, y, radius * (1 + 0.5 * ring)) for ring in range(min(3, action.count or 1))]
        return [*circles, _cross(x, y, radius * (1 + 0.5 * (len(circles) - 1)))]
    if action.kind in ("button_down", "button_up"):
        return [_circle(x, y, radius / 2), _cross(x, y, radius)]
    if action.kind == "move":
        return [_cross(x, y, radius)]
    if action.kind == "drag" and action.start is not None:
        return [_circle(*action.start, radius / 2), _arrow(action.start, action.point, radius)]
    if action.kind == "scroll":
        far = (2 if (action.amount or 0) > 0 else -2) * radius
        dx, dy = (far, 0.0) if action.sideways else (0.0, -far)
        return [_arrow((x - dx, y - dy), (x + dx, y + dy), radius)]
    return []


def _circle(x: float, y: float, radius: float) -> str:
    r, two = _number(radius), _number(2 * radius)
    return f"M{_number(x - radius)} {_number(y)}a{r} {r} 0 1 0 {two} 0a{r} {r} 0 1 0 -{two} 0"


def _cross(x: float, y: float, radius: float) -> str:
    arm, far = _number(1.2 * radius), 2.2 * radius
    return (
        f"M{_number(x - far)} {_number(y)}h{arm}M{_number(x + radius)} {_number(y)}h{arm}"
        f"M{_number(x)} {_number(y - far)}v{arm}M{_number(x)} {_number(y + radius)}v{arm}"
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], size: float) -> str:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / length * size, dy / length * size
    left = (end[0] - ux - 0.6 * uy, end[1] - uy + 0.6 * ux)
    right = (end[0] - ux + 0.6 * uy, end[1] - uy - 0.6 * ux)
    return f"M{_pair(start)}L{_pair(end)}M{_pair(left)}L{_pair(end)}L{_pair(right)}"


def _pair(point: tuple[float, float]) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    """`820`, `12.5`: at most one digit, so that pages stay small and equal."""
    return f"{value:.1f}".removesuffix(".0")


def _label(action: StoredAction) -> str:
    """What is written beside a mark."""
    if action.kind in WORDS:
        return WORDS[action.kind]
    if action.kind == "write":
        return short_text(action.text or "")
    if action.kind in KEYS:
        return "+".join(action.keys)
    if action.kind == "scroll":
        return str(action.amount or 0)
    return _button(action).strip() if action.kind == "click" else ""


def _button(action: StoredAction) -> str:
    """`right `; empty for the left button."""
    return "" if action.button in (None, "left") else f"{action.button} "


def said(action: StoredAction) -> str:
    """An action in words: `click at 820, 114`, `type "abc"`, `press ctrl+s`."""
    at = "" if action.point is None else f" at {_comma(action.point)}"
    match action.kind:
        case "click":
            count = action.count or 1
            times = {1: "", 2: "double ", 3: "triple "}.get(count, f"{count} times ")
            return f"{times}{_button(action)}click{at}"
        case "button_down" | "button_up":
            return f"{'hold' if action.kind == 'button_down' else 'release'} {action.button or 'left'} button{at}"
        case "drag" if action.start is not None and action.point is not None:
            return f"{_button(action)}drag from {_comma(action.start)} to {_comma(action.point)}"
        case "scroll":
            amount = action.amount or 0
            less, more = ("left", "right") if action.sideways else ("down", "up")
            return f"scroll {less if amount < 0 else more} {abs(amount)}{at}"
        case "write":
            return f'type "{short_text(action.text or "")}"'
        case "press" | "hotkey" | "key_down" | "key_up":
            verb = {"key_down": "hold", "key_up": "release"}.get(action.kind, "press")
            return f"{verb} {'+'.join(action.keys)}"
        case "sleep":
            return f"pause {action.seconds or 0:g} s"
        case _:
            return f"{action.kind}{at}"


def _comma(point: Position) -> str:
    return f"{point[0]}, {point[1]}"


def short_text(text: str) -> str:
    """A typed text in one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def is_small(screen: tuple[int, int]) -> bool:
    """Whether a screen would be blurred by the width of the page."""
    return max(screen) <= SMALL


def time_bar(time: Mapping[str, float | None]) -> Markup:
    """The time of a step as a stacked bar with its legend; empty where nothing is known."""
    parts = [(TIME_NAMES.get(name, name), css, max(0.0, time[name] or 0.0)) for name, css in TIMES if time.get(name)]
    total = sum(seconds for _, _, seconds in parts)
    if not total:
        return Markup("")
    words = ", ".join(f"{name} {seconds:.1f} s" for name, _, seconds in parts)
    bars, keys, left = [], [], 0.0
    for name, css, seconds in parts:
        share = 100 * seconds / total
        bars.append(f'<rect class="part {css}" x="{left:.2f}%" y="0" width="{share:.2f}%" height="12"/>')
        keys.append(f'<span class="of-{css}">{name} {seconds:.1f} s</span>')
        left += share
    svg = f'<svg class="row-chart stacked" height="12" role="img" aria-label="{words}">{"".join(bars)}</svg>'
    return Markup(f'{svg}<p class="legend keys">{"".join(keys)}</p>')
