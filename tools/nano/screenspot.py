"""Drawn screens with buttons and icons, in the schemas of ScreenSpot (original and V2) and ScreenSpot-Pro."""

import random
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, ICONS, Canvas, Style, pick_style
from tools.nano.png import png_bytes
from tools.nano.words import BUTTONS

INSTRUCTION = "Please observe the screenshot, please locate the following elements with action and point.<instruction> "
SIZES = {"mobile": (84, 168), "desktop": (168, 112), "web": (168, 112)}
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
    """One screen of a platform (a random one if not given)."""
    platform = platform or rng.choice(sorted(SIZES))
    return _screen(rng, level, platform, *SIZES[platform], most=rng.randint(2, 3 + round(3 * level)))


def draw_pro(rng: random.Random, level: float) -> Screen:
    """A larger, fuller screen with smaller targets."""
    return _screen(rng, level, "pro", 196, 140, most=rng.randint(4, 6 + round(3 * level)))


def _screen(rng: random.Random, level: float, platform: str, width: int, height: int, most: int) -> Screen:
    style = pick_style(rng, level, (12, 11, 13))
    canvas = Canvas(width, height, style)
    _frame(canvas, platform, rng)
    slots = [(x, y) for y in range(1, height // 28) for x in range(width // 28)]
    rng.shuffle(slots)
    words, icons = rng.sample(BUTTONS, len(BUTTONS)), rng.sample(sorted(ICONS), len(ICONS))
    elements: list[Element] = []
    for x, y in slots:
        if len(elements) == most or (x, y) not in slots:
            continue
        wide = (x + 1, y) in slots
        if wide and words and rng.random() < 0.65:
            slots = [slot for slot in slots if slot not in ((x, y), (x + 1, y))]
            elements.append(_button(canvas, words.pop(), 28 * x, 28 * y))
        elif icons:
            slots = [slot for slot in slots if slot != (x, y)]
            elements.append(_icon(canvas, icons.pop(), 28 * x, 28 * y, rng))
    rng.shuffle(elements)
    return Screen(canvas.image, platform, tuple(elements))


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
    box = (x + 1, y + 3, x + 54, y + 25)
    style: Style = canvas.style
    fill = (235, 235, 235) if style.paper[0] > 245 else (255, 255, 255)
    canvas.pen.rounded_rectangle(box, 4, fill=fill, outline=(120, 120, 120))
    canvas.free_text(x + 28, y + 14, word, canvas.fit(word, 50))
    return Element(f"click {word}", "text", box)


def _icon(canvas: Canvas, name: str, x: int, y: int, rng: random.Random) -> Element:
    cx, cy = x + 14 + rng.randint(-1, 1), y + 14 + rng.randint(-1, 1)
    canvas.icon(name, cx, cy, 8)
    return Element(f"{name} icon", "icon", (cx - 12, cy - 12, cx + 12, cy + 12))


def prompt(element: Element) -> str:
    """The text after the picture."""
    return INSTRUCTION + element.instruction


def reply(screen: Screen, element: Element) -> str:
    """The click on the middle of an element, in normalised coordinates."""
    left, top, right, bottom = element.box
    x, y = (left + right) / 2 / screen.image.width, (top + bottom) / 2 / screen.image.height
    return f"click(x={x:.2f}, y={y:.2f})"


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
