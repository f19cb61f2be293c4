"""Drawn questions in the schemas of MMStar, RealWorldQA, AI2D, BLINK, V*, MMMU-Pro, MMBench and MM-Vet."""

import random
import textwrap
from collections.abc import Callable
from typing import Any

from PIL import Image

from tools.nano import mmmu
from tools.nano.draw import CELL, COLOURS, LINE, SHAPES, Canvas, pick_style
from tools.nano.mini_media import LEVEL
from tools.nano.png import png_bytes
from tools.nano.problems import PROBLEMS, Problem, near_numbers, with_choices

Row = dict[str, object]
Draw = Callable[[random.Random, int], Row]

TEXT, NUMBER = "string", "int64"
ABILITIES = {
    "badges": ("instance reasoning", "single-instance reasoning"),
    "legend": ("instance reasoning", "cross-instance attribute reasoning"),
    "counting": ("fine-grained perception", "object counting"),
    "table": ("logical reasoning", "diagram reasoning"),
    "bar chart": ("math", "statistical reasoning"),
    "triangle": ("math", "geometry"),
}
MMBENCH = {
    "badges": ("attribute_reasoning", "identity_reasoning"),
    "legend": ("finegrained_perception (instance-level)", "attribute_recognition"),
    "counting": ("finegrained_perception (instance-level)", "object_localization"),
    "table": ("logic_reasoning", "structuralized_imagetext_understanding"),
    "bar chart": ("finegrained_perception (cross-instance)", "attribute_comparison"),
    "triangle": ("relation_reasoning", "physical_relation"),
}
LETTER_ONLY = "Please answer directly with only the letter of the correct option and nothing else."
WORD_ONLY = "Please answer directly with a single word or number."
DIRECT = "Answer with the option's letter from the given choices directly."
BLINK_TASKS = (
    *("Art_Style", "Counting", "Forensic_Detection", "Functional_Correspondence", "IQ_Test", "Jigsaw"),
    *("Multi-view_Reasoning", "Object_Localization", "Relative_Depth", "Relative_Reflectance"),
    *("Semantic_Correspondence", "Spatial_Relation", "Visual_Correspondence", "Visual_Similarity"),
)


def problem(rng: random.Random, kind: str) -> Problem:
    """A drawn problem of a kind, without options."""
    while True:
        drawn = PROBLEMS[kind](rng, LEVEL * rng.random())
        if not drawn.choices:
            return drawn


def choice(rng: random.Random, kind: str, options: int = 4) -> Problem:
    """The same with options."""
    drawn = problem(rng, kind)
    return with_choices(rng, drawn, _others(rng, drawn.answer), options)


def _others(rng: random.Random, answer: str) -> list[str]:
    """More than enough wrong options; numbers of one digit get those of two for company."""
    return [*near_numbers(rng, answer), *near_numbers(rng, answer), *map(str, rng.sample(range(10, 100), 12))]


def letter(drawn: Problem) -> str:
    """The letter of the right option."""
    return chr(65 + drawn.choices.index(drawn.answer))


def cell(image: Image.Image, name: str) -> dict[str, object]:
    """A picture as the hub's tables hold it."""
    return {"bytes": png_bytes(image), "path": name}


def lettered(choices: tuple[str, ...], form: str, between: str) -> str:
    """Options with their letters, as `A. tea`."""
    return between.join(form.format(chr(65 + place), text) for place, text in enumerate(choices))


# Rows


def mmstar(rng: random.Random, number: int) -> Row:
    """A row of Lin-Chen/MMStar: the options stand in the question."""
    kind = sorted(ABILITIES)[number % len(ABILITIES)]
    drawn = choice(rng, kind)
    category, axis = ABILITIES[kind]
    return {
        "index": number,
        "question": f"{drawn.question}\nOptions: {lettered(drawn.choices, '{}: {}', ', ')}",
        "image": cell(drawn.images[0], f"{number}.png"),
        "answer": letter(drawn),
        "category": category,
        "l2_category": axis,
        "meta_info": {"source": "drawn", "split": "mini", "image_path": f"{number}.png"},
    }


def realworldqa(rng: random.Random, number: int) -> Row:
    """A row of RealWorldQA: a letter, or every third time a number."""
    kind = rng.choice(("counting", "table", "badges", "legend", "bar chart"))
    if number % 3 == 2:
        drawn = problem(rng, kind)
        question, answer = f"{drawn.question}\n{WORD_ONLY}", drawn.answer
    else:
        drawn = choice(rng, kind, rng.choice((2, 3, 4)))
        options = lettered(drawn.choices, "{}. {}", "\n")
        question, answer = f"{drawn.question}\n{options}\n{LETTER_ONLY}", letter(drawn)
    image = cell(drawn.images[0], f"{number}.png")
    return {"image_path": f"{number}.png", "image": image, "question": question, "answer": answer}


def ai2d(rng: random.Random, number: int) -> Row:
    """A row of AI2D: a list of options, the right one's place from 0 as text."""
    drawn = choice(rng, ("triangle", "legend", "table", "circle")[number % 4])
    return {
        "question": drawn.question,
        "options": list(drawn.choices),
        "answer": str(drawn.choices.index(drawn.answer)),
        "image": cell(drawn.images[0], f"{number}.png"),
    }


def blink(rng: random.Random, number: int) -> Row:
    """A row of BLINK: one to three pictures, a prompt with the options, the answer in parentheses."""
    if number % 2:
        made = rng.choice((mmmu.two_pictures, mmmu.picture_options))(rng, LEVEL * rng.random())
        images, question = made.images, made.question.replace("<image 1> <image 2> ", "")
        ordinals = {f"<image {k}>": f"the {name} picture" for k, name in enumerate(("first", "second", "third"), 1)}
        choices = tuple(ordinals.get(option, option) for option in made.options)
        answer = mmmu.letter(made)
    else:
        drawn = choice(rng, rng.choice(("counting", "legend", "table")), rng.choice((2, 3, 4)))
        images, question, choices, answer = drawn.images, drawn.question, drawn.choices, letter(drawn)
    task = BLINK_TASKS[number % len(BLINK_TASKS)]
    cells = [cell(image, f"{number}_{place}.png") for place, image in enumerate(images, 1)]
    return {
        "idx": f"val_{task}_{number // len(BLINK_TASKS) + 1}",
        "sub_task": task,
        "question": question,
        **{f"image_{place + 1}": cells[place] if place < len(cells) else None for place in range(4)},
        "choices": list(choices),
        "answer": f"({answer})",
        "prompt": f"{question}\nSelect from the following choices.\n{lettered(choices, '({}) {}', chr(10))}",
    }


def vstar(rng: random.Random, number: int) -> Row:
    """A row of V* Bench: small shapes on a wide picture; asks for a colour, or which of two lies to the left."""
    canvas = Canvas(280, 168, pick_style(rng, LEVEL))
    shapes = rng.sample(SHAPES, 3)
    colours = rng.sample(sorted(COLOURS), 4)
    places = rng.sample([(x, y) for x in range(10) for y in range(6)], 3)
    while places[0][0] == places[1][0]:
        places = rng.sample([(x, y) for x in range(10) for y in range(6)], 3)
    for shape, colour, (x, y) in zip(shapes, colours, places, strict=False):
        canvas.shape(shape, 28 * x + 14, 28 * y + 14, 9, COLOURS[colour])
    if number % 3 < 2:
        options, right = list(colours), colours[0]
        asked, category = f"What is the color of the {shapes[0]}?", "direct_attributes"
    else:
        options, right = ["left", "right"], "left" if places[0][0] < places[1][0] else "right"
        asked = f"Is the {shapes[0]} on the left or right side of the {shapes[1]}?"
        category = "relative_position"
    rng.shuffle(options)
    return {
        "image": cell(canvas.image, f"{number}.png"),
        "text": f"{asked}\n{lettered(tuple(options), '({}) {}', chr(10))}\n{DIRECT}",
        "label": chr(65 + options.index(right)),
        "category": category,
        "question_id": str(number),
    }


def mmmu_pro(rng: random.Random, number: int) -> Row:
    """A row of MMMU-Pro's standard set: up to ten options as text of a list, pictures at their tags."""
    if number % 5 == 4:
        made = mmmu.picture_options(rng, LEVEL * rng.random())
        images, question, options, answer = made.images, made.question, made.options, mmmu.letter(made)
    else:
        drawn = choice(rng, rng.choice(("bar chart", "table", "badges", "rectangle", "legend")), rng.choice((9, 10)))
        images, question, options, answer = drawn.images, f"<image 1> {drawn.question}", drawn.choices, letter(drawn)
    cells = [cell(image, f"{number}_{place}.png") for place, image in enumerate(images, 1)]
    return {
        **_subject(number),
        "question": question,
        "options": repr(list(options)),
        "explanation": "",
        **{f"image_{place + 1}": cells[place] if place < len(cells) else None for place in range(7)},
        "img_type": "['Charts']",
        "answer": answer,
        "topic_difficulty": ("Easy", "Medium", "Hard")[number % 3],
    }


def mmmu_pro_vision(rng: random.Random, number: int) -> Row:
    """A row of MMMU-Pro's vision set: the question and its options stand in the picture."""
    drawn = choice(rng, rng.choice(("arithmetic", "badges", "table")), rng.choice((9, 10)))
    figure = drawn.images[0]
    lines = textwrap.wrap(drawn.question, 336 // CELL)
    canvas = Canvas(336, figure.height + LINE * (len(lines) + (len(drawn.choices) + 2) // 3), pick_style(rng, LEVEL))
    for place, line in enumerate(lines):
        canvas.text(0, LINE * place + LINE // 2, line, anchor="lm")
    canvas.image.paste(figure, (0, LINE * len(lines)))
    for place, text in enumerate(drawn.choices):
        top = LINE * len(lines) + figure.height + LINE * (place // 3)
        canvas.text(112 * (place % 3), top + LINE // 2, f"{chr(65 + place)} {text}", anchor="lm")
    return {
        **_subject(number),
        "image": cell(canvas.image.quantize(8), f"{number}.png"),
        "options": repr(list(drawn.choices)),
        "answer": letter(drawn),
    }


def mmbench(rng: random.Random, number: int) -> Row:
    """A row of MMBench: six questions with four options in four rotations, then six with two."""
    del rng  # rotations of one question share its own
    question, turn, count = (number // 4, number % 4, 4) if number < 24 else (number // 2 - 6, number % 2, 2)
    kind = sorted(ABILITIES)[question % len(ABILITIES)]
    drawn = choice(random.Random(f"mini/mmbench-en-v11/question/{question}"), kind, count)
    texts = (*drawn.choices[turn:], *drawn.choices[:turn])
    l2, category = MMBENCH[kind]
    return {
        "index": question + 1_000_000 * turn,
        "question": drawn.question,
        "hint": "nan",
        **{chr(65 + place): texts[place] if place < count else None for place in range(4)},
        "answer": chr(65 + texts.index(drawn.answer)),
        "category": category,
        "image": cell(drawn.images[0], f"{question}.png"),
        "source": "drawn",
        "L2-category": l2,
        "comment": "nan",
        "split": "dev",
    }


def mmvet(rng: random.Random, number: int) -> Row:
    """A row of MM-Vet's hub copy: an open question, one or two facts as gold, capabilities joined by commas."""
    kind = ("bar chart", "table", "counting", "legend", "rectangle", "sequence")[number % 6]
    drawn = problem(rng, kind)
    needed = {"counting": "rec", "legend": "rec,ocr,spat", "rectangle": "ocr,math", "sequence": "ocr,spat"}
    gold = drawn.answer
    if kind == "sequence":
        gold = "<AND>".join(drawn.reading.split())
    return {
        "question_id": f"v1_{number}",
        "image": cell(drawn.images[0], f"{number}.png"),
        "question": drawn.question,
        "answer": gold,
        "image_source": "drawn",
        "capability": needed.get(kind, "ocr"),
    }


def _subject(number: int) -> Row:
    subject = mmmu.SUBJECTS[number % len(mmmu.SUBJECTS)]
    return {"id": f"test_{subject}_{number // len(mmmu.SUBJECTS) + 1}", "subject": subject}


SPLITS: dict[str, tuple[str, int, dict[str, Any], Draw]] = {
    "mmstar": (
        "val.parquet",
        30,
        {
            "index": NUMBER,
            "question": TEXT,
            "image": "image",
            "answer": TEXT,
            "category": TEXT,
            "l2_category": TEXT,
            "meta_info": {"source": TEXT, "split": TEXT, "image_path": TEXT},
        },
        mmstar,
    ),
    "mmbench-en-v11": (
        "dev.parquet",
        36,
        {
            "index": NUMBER,
            "question": TEXT,
            "hint": TEXT,
            **dict.fromkeys("ABCD", TEXT),
            "answer": TEXT,
            "category": TEXT,
            "image": "image",
            "source": TEXT,
            "L2-category": TEXT,
            "comment": TEXT,
            "split": TEXT,
        },
        mmbench,
    ),
    "mmvet": (
        "test.parquet",
        30,
        {
            "question_id": TEXT,
            "image": "image",
            "question": TEXT,
            "answer": TEXT,
            "image_source": TEXT,
            "capability": TEXT,
        },
        mmvet,
    ),
    "realworldqa": (
        "test.parquet",
        30,
        {"image_path": TEXT, "image": "image", "question": TEXT, "answer": TEXT},
        realworldqa,
    ),
    "ai2d": ("test.parquet", 32, {"question": TEXT, "options": [TEXT], "answer": TEXT, "image": "image"}, ai2d),
    "blink": (
        "val.parquet",
        42,
        {
            "idx": TEXT,
            "sub_task": TEXT,
            "question": TEXT,
            **{f"image_{place}": "image" for place in range(1, 5)},
            "choices": [TEXT],
            "answer": TEXT,
            "prompt": TEXT,
        },
        blink,
    ),
    "vstar": (
        "test.parquet",
        30,
        {"image": "image", "text": TEXT, "label": TEXT, "category": TEXT, "question_id": TEXT},
        vstar,
    ),
    "mmmu-pro": (
        "test.parquet",
        30,
        {
            "id": TEXT,
            "subject": TEXT,
            "question": TEXT,
            "options": TEXT,
            "explanation": TEXT,
            **{f"image_{place}": "image" for place in range(1, 8)},
            "img_type": TEXT,
            "answer": TEXT,
            "topic_difficulty": TEXT,
        },
        mmmu_pro,
    ),
    "mmmu-pro-vision": (
        "test.parquet",
        30,
        {"id": TEXT, "subject": TEXT, "image": "image", "options": TEXT, "answer": TEXT},
        mmmu_pro_vision,
    ),
}
"""{task: (file, rows, columns, how a row is drawn)}."""
