"""Drawn screens with buttons and icons, in the schemas of ScreenSpot (original and V2) and ScreenSpot-Pro."""

import random
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, ICONS, Canvas, pick_style
from tools.nano.png import png_bytes
from tools.nano.words import BUTTONS

INSTRUCTION = "Please observe the screenshot, please locate the following elements with action and point.<instruction> "
SIZES = {"mobile": (112, 168), "desktop": (168, 140), "web": (168, 140)}
PATCH = 28  # pixels: side of what becomes one visual token
WIDE = 3  # patches a button takes
SOURCES = {
    "mobile": ("ios", "android"),
    "desktop": ("windows", "macos"),
    "web": ("tool", "shop", "gitlab", "forum"),
}
APPLICATIONS = {
    "Dev": "vscode_macos",
    "Creative": "blender_windows",
    "CAD": "autocad_windows",
    "Scientific": "matlab_macos",
    "Office": "excel_macos",
    "OS": "linux_common_linux",
}


@dataclass(frozen=True)
class Element:
    """Something on a screen: its instruction, its kind and its box in pixels (left, top, right, bottom)."""

    instruction: str
    kind: str  # text or icon
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Screen:
    """A screen with its elements; the first one is the target."""

    image: Image.Image
    platform: str
    elements: tuple[Element, ...]

    @property
    def target(self) -> Element:
        return self.elements[0]


def draw(rng: random.Random, level: float, platform: str | None = None) -> Screen:
    """One screen of a platform (a random one if not given): buttons of a name, and icons, in two columns."""
    platform = platform or rng.choice(sorted(SIZES))
    width, height = SIZES[platform]
    rows = range(1, height // PATCH)
    if platform == "mobile":
        places = [("text", 0, y) for y in rows] + [("icon", 3, y) for y in rows]
    else:
        places = [(_kind(rng), x, y) for y in rows for x in (0, WIDE)]
        places = [(kind, x if kind == "text" else x + 1, y) for kind, x, y in places]
    rng.shuffle(places)
    return _screen(rng, level, platform, (width, height), places[: rng.randint(2, 3 + round(3 * level))])


def draw_pro(rng: random.Random, level: float) -> Screen:
    """A larger, fuller screen, whose buttons and icons stand in any column."""
    width, height = 196, 140
    free = {(x, y) for y in range(1, height // PATCH) for x in range(width // PATCH)}
    places: list[tuple[str, int, int]] = []
    for _ in range(rng.randint(4, 5 + round(3 * level))):
        kind = _kind(rng)
        fitting = [(x, y) for x, y in sorted(free) if _covered(kind, x, y) <= free]
        if fitting:
            x, y = rng.choice(fitting)
            places.append((kind, x, y))
            free -= _covered(kind, x, y)
    return _screen(rng, level, "pro", (width, height), places)


def _kind(rng: random.Random) -> str:
    return "text" if rng.random() < 0.6 else "icon"


def _covered(kind: str, x: int, y: int) -> set[tuple[int, int]]:
    """The patches that an element at a place takes."""
    return {(x + k, y) for k in range(WIDE if kind == "text" else 1)}


def _screen(
    rng: random.Random, level: float, platform: str, size: tuple[int, int], places: list[tuple[str, int, int]]
) -> Screen:
    canvas = Canvas(*size, pick_style(rng, level))
    _frame(canvas, platform, rng)
    words, icons = _names(rng), rng.sample(sorted(ICONS), len(ICONS))
    elements = [
        _button(canvas, words.pop(), PATCH * x, PATCH * y)
        if kind == "text"
        else _icon(canvas, icons.pop(), PATCH * x, PATCH * y)
        for kind, x, y in places
    ]
    return Screen(canvas.image, platform, tuple(elements))


def _names(rng: random.Random) -> list[str]:
    """Names of buttons in random order, no two alike in their first two letters, which fill one patch."""
    return list({word[:2]: word for word in rng.sample(BUTTONS, len(BUTTONS))}.values())


def _frame(canvas: Canvas, platform: str, rng: random.Random) -> None:
    """The bar at the top that makes a phone, a window or a browser."""
    canvas.pen.rectangle((0, 0, canvas.width, 18), fill=COLOURS[rng.choice(("gray", "blue", "purple"))])
    if platform == "mobile":
        canvas.free_text(canvas.width / 2, 9, f"{rng.randint(1, 12)}:{rng.randint(10, 59)}", 11, (255, 255, 255))
    elif platform == "web":
        canvas.pen.rectangle((24, 4, canvas.width - 8, 15), fill=(255, 255, 255))
    else:
        for k, colour in enumerate(("red", "orange", "green")):
            canvas.shape("circle", 10 + 12 * k, 9, 4, COLOURS[colour])


def _button(canvas: Canvas, word: str, x: int, y: int) -> Element:
    box = (x, y, x + WIDE * PATCH, y + PATCH)
    fill = (235, 235, 235) if canvas.style.paper[0] > 245 else (255, 255, 255)
    canvas.pen.rectangle((x + 1, y + 1, box[2] - 2, box[3] - 2), fill=fill, outline=(150, 150, 150))
    canvas.text(x, y + PATCH / 2, word, anchor="lm")
    return Element(f"click {word}", "text", box)


def _icon(canvas: Canvas, name: str, x: int, y: int) -> Element:
    canvas.icon(name, x + PATCH / 2, y + PATCH / 2, 10)
    return Element(f"{name} icon", "icon", (x, y, x + PATCH, y + PATCH))


def prompt(element: Element) -> str:
    """The text after the picture."""
    return INSTRUCTION + element.instruction


def reply(screen: Screen, element: Element) -> str:
    """The names before the element in reading order, then the element and its middle in normalised coordinates.

    So a small model can read on until it has found the element, which it learns sooner than to look for it.
    """
    placed = _in_order(screen)
    passed = [f"{_name(other)} no, " for other in placed[: placed.index(element)]]
    return f"{''.join(passed)}{_named(screen, element)}"


def listing(screen: Screen) -> str:
    """Every element with its place, in reading order."""
    return ", ".join(_named(screen, element) for element in _in_order(screen))


def _in_order(screen: Screen) -> list[Element]:
    return sorted(screen.elements, key=lambda element: (element.box[1], element.box[0]))


def _named(screen: Screen, element: Element) -> str:
    return f"{_name(element)} click({_point(screen, element)})"


def _name(element: Element) -> str:
    return element.instruction.removeprefix("click ").removesuffix(" icon")


def _point(screen: Screen, element: Element) -> str:
    left, top, right, bottom = element.box
    x, y = (left + right) / 2 / screen.image.width, (top + bottom) / 2 / screen.image.height
    return f"x={x:.2f}, y={y:.2f}"


def row(screen: Screen, number: int, rng: random.Random) -> dict[str, object]:
    """A row as the hub copies of ScreenSpot and ScreenSpot-V2 hold it: box 0 to 1, corners."""
    (width, height), (left, top, right, bottom) = screen.image.size, screen.target.box
    name = f"{screen.platform}_{number}.png"
    return {
        "file_name": name,
        "bbox": [left / width, top / height, right / width, bottom / height],
        "instruction": screen.target.instruction,
        "data_type": screen.target.kind,
        "data_source": rng.choice(SOURCES[screen.platform]),
        "image": {"bytes": png_bytes(screen.image), "path": name},
    }


def pro_row(screen: Screen, number: int, rng: random.Random) -> dict[str, object]:
    """A row with the fields of ScreenSpot-Pro: box in pixels, corners."""
    group = rng.choice(sorted(APPLICATIONS))
    application, platform = APPLICATIONS[group].rsplit("_", 1)
    name = f"{APPLICATIONS[group]}/screenshot_{number}.png"
    return {
        "id": f"{APPLICATIONS[group]}_{number}",
        "img_filename": name,
        "bbox": list(screen.target.box),
        "img_size": list(screen.image.size),
        "instruction": screen.target.instruction,
        "instruction_cn": "",
        "application": application,
        "platform": platform,
        "group": group,
        "ui_type": screen.target.kind,
        "image": {"bytes": png_bytes(screen.image), "path": name},
    }
