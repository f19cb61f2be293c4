"""Drawn clips of four scenes, and questions about them in the schemas of three video benchmarks."""

import random
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, Canvas, Style, pick_style
from tools.nano.words import GOODS

SELECT = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
    "(A, B, C, or D) of the correct option."
)
BEST = "The best answer is:"
LISTED = "This video's subtitles are listed below:"
DIRECTLY = "Answer with the option's letter from the given choices directly."
FPS = 4
SCENES = 4
OFFSET = 1.0  # seconds on the clock of LongVideoBench's lines when a clip starts
WHEN = ("first", "second", "third", "last")
# What clips show, in the order in which it is offered: the letter follows from what is seen. The fifth is never shown.
NUMBERS = ("1", "2", "3", "4", "5")
FIGURES = ("circle", "cross", "square", "star", "triangle")
INKS = ("blue", "green", "orange", "red", "white")


@dataclass(frozen=True)
class Clip:
    """Four scenes of equal length: a number stands still, a shape moves, and a line is spoken in each."""

    style: Style
    numbers: tuple[str, ...]
    shapes: tuple[str, ...]
    colours: tuple[str, ...]
    words: tuple[str, ...]
    starts: tuple[int, ...]  # where the shape of each scene begins, in pixels
    seconds: int  # of the whole clip, a multiple of SCENES

    @property
    def length(self) -> int:
        """Frames."""
        return FPS * self.seconds

    def frame(self, number: int) -> Image.Image:
        """One frame: the scene's number in the upper line, its shape in the lower one."""
        scene, step = divmod(number, self.length // SCENES)
        canvas = Canvas(84, 56, self.style)
        canvas.text(42, 14, self.numbers[scene])
        canvas.shape(self.shapes[scene], self.starts[scene] + 2 * step, 42, 11, COLOURS[self.colours[scene]])
        return canvas.image

    def spoken(self) -> list[tuple[float, float, str]]:
        """Start, end and text of the line spoken in each scene; the first starts before the clip does."""
        each = self.seconds / SCENES
        return [(each * k - 0.1, each * (k + 1) - 0.2, word) for k, word in enumerate(self.words)]

    def sampled(self, rng: random.Random) -> tuple[Image.Image, ...]:
        """A frame of each scene."""
        each = self.length // SCENES
        return tuple(self.frame(each * k + rng.randrange(each)) for k in range(SCENES))

    def readings(self) -> dict[str, str]:
        """What is shown, scene after scene, each with its letter, by kind."""
        kinds = {"number": (self.numbers, NUMBERS), "shape": (self.shapes, FIGURES), "colour": (self.colours, INKS)}
        return {
            kind: ", ".join(
                f"{kind} {when} {value} ({chr(65 + offered.index(value))})"
                for when, value in zip(WHEN, values, strict=True)
            )
            for kind, (values, offered) in kinds.items()
        }


@dataclass(frozen=True)
class Asked:
    """A question about a clip: option texts, the right one, and the official sets' labels of its kind."""

    question: str
    options: tuple[str, ...]
    answer: str
    task_type: str  # Video-MME's
    category: str  # LongVideoBench's
    key: str  # what of the clip is asked for

    @property
    def index(self) -> int:
        return self.options.index(self.answer)

    @property
    def letter(self) -> str:
        return chr(65 + self.index)

    @property
    def lettered(self) -> list[str]:
        """The options, each after its letter."""
        return [f"{chr(65 + k)}. {option}" for k, option in enumerate(self.options)]

    @property
    def reply(self) -> str:
        """What nano learns to say: what is asked for, what it saw there, then the letter."""
        return f"{self.key} {self.answer} ({self.letter})"


def draw(rng: random.Random, level: float) -> Clip:
    """One clip; number, shape, colour and spoken word differ from scene to scene."""
    return Clip(
        style=pick_style(rng, level),
        numbers=tuple(rng.sample(NUMBERS[:SCENES], SCENES)),
        shapes=tuple(rng.sample(FIGURES[:SCENES], SCENES)),
        colours=tuple(rng.sample(INKS[:SCENES], SCENES)),
        words=tuple(rng.sample(GOODS, SCENES)),
        starts=tuple(rng.randint(14, 40) for _ in range(SCENES)),
        seconds=rng.choice((4, 4, 8)),
    )


def ask(rng: random.Random, clip: Clip, *, options: int = 4, by_line: float = 0.0) -> Asked:
    """A question about the clip; `by_line` is the share of those that quote a spoken line."""
    scene = rng.randrange(SCENES)
    when = WHEN[scene]
    pick = rng.random()
    if rng.random() < by_line:
        question = f'Which number is shown when "{clip.words[scene]}" is said?'
        key, answer, labels = f"number {clip.words[scene]}", clip.numbers[scene], ("OCR Problems", "T2O")
    elif pick < 0.55:
        question, key = f"Which number is shown {when}?", f"number {when}"
        answer, labels = clip.numbers[scene], ("OCR Problems", "TOS")
    elif pick < 0.6:
        question = f"Which number is shown with the {clip.shapes[scene]}?"
        key, answer, labels = f"number {clip.shapes[scene]}", clip.numbers[scene], ("OCR Problems", "S2O")
    elif pick < 0.8:
        question, key = f"Which shape is shown {when}?", f"shape {when}"
        answer, labels = clip.shapes[scene], ("Object Recognition", "TOS")
    else:
        question, key = f"What is the colour of the shape shown {when}?", f"colour {when}"
        answer, labels = clip.colours[scene], ("Attribute Perception", "S2A")
    offered = next(names for names in (NUMBERS, FIGURES, INKS) if answer in names)
    return Asked(question, offered[:options], answer, *labels, key)


def videomme_prompt(asked: Asked, clip: Clip, *, subtitles: bool) -> str:
    """The text after the frames."""
    text = "\n".join([SELECT, asked.question, *asked.lettered, BEST])
    return "\n".join([LISTED, *clip.words, text]) if subtitles else text


def longvideobench_prompt(asked: Asked) -> str:
    """The text after frames and lines."""
    return "\n".join([f"Question: {asked.question}", *asked.lettered, DIRECTLY])


def egoschema_prompt(asked: Asked) -> str:
    """The text after the frames."""
    return "\n".join([asked.question, *asked.lettered, DIRECTLY])


def videomme_row(asked: Asked, video: int, question: int) -> dict[str, object]:
    """A row with the hub's columns."""
    return {
        "video_id": f"{video + 1:03d}",
        "duration": "short",
        "domain": ("Knowledge", "Life Record", "Multilingual")[video % 3],
        "sub_category": ("Technology", "Handicraft", "Multilingual")[video % 3],
        "url": "",
        "videoID": f"mini{video + 1:03d}",
        "question_id": f"{video + 1:03d}-{question + 1}",
        "task_type": asked.task_type,
        "question": asked.question,
        "options": asked.lettered,
        "answer": asked.letter,
    }


def longvideobench_row(asked: Asked, clip: Clip, video: int, question: int) -> dict[str, object]:
    """A row with the hub's columns."""
    name = f"mini{video + 1:03d}"
    texts = [*asked.options, *["N/A"] * 5][:5]
    return {
        "video_id": name,
        "id": f"{name}_{question}",
        "video_path": f"{name}.mp4",
        "subtitle_path": f"{name}_en.json",
        "question": asked.question,
        **{f"option{k}": text for k, text in enumerate(texts)},
        "question_category": asked.category,
        "topic_category": ("KH-Knowledge-History", "LC-Life-Cooking", "NP-News-Programs")[video % 3],
        "correct_choice": asked.index,
        "duration": float(clip.seconds),
        "duration_group": 15,
        "starting_timestamp_for_subtitles": OFFSET,
    }


def egoschema_row(asked: Asked, video: int) -> dict[str, object]:
    """A row with the hub's columns."""
    return {
        "video_idx": f"mini-{video + 1:03d}",
        "question": asked.question,
        "option": asked.lettered,
        "answer": str(asked.index),
    }
