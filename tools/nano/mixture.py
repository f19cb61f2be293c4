"""The training mixture: seeded examples for every task, each a short conversation over its pictures.

Training example n is drawn from the seed `train/{n}`, mini row n of a task from `mini/{task}/{n}`; held-out checks use
`held-out/...`. A training picture that equals a mini picture is drawn again.
"""

import random
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from PIL import Image

from tools.nano import documents, infovqa, mathvision, mathvista, mmmu, ocrbench, screenspot, video
from tools.nano.draw import COLOURS, SHAPES
from tools.nano.png import digest
from tools.nano.words import GOODS, NAMES

Part = str | Image.Image
PAIR = re.compile(r"[A-Za-z]+ [\d.]+")


@dataclass(frozen=True)
class Turn:
    """A user turn and the reply to be learned.

    `cut` ends its thought after that part of the thought's tokens; of a reply with `learned` only tokens that are one
    of these characters are learned, the others being given.
    """

    parts: tuple[Part, ...]
    reply: str
    cut: float | None = None
    learned: str = ""


@dataclass(frozen=True)
class Example:
    """One conversation; pictures stand in the first turn."""

    kind: str
    turns: tuple[Turn, ...]
    detail: str = ""

    @property
    def images(self) -> tuple[Image.Image, ...]:
        return tuple(part for turn in self.turns for part in turn.parts if isinstance(part, Image.Image))


def _mathvista(rng: random.Random, level: float, dense: float) -> Example:
    problem = mathvista.draw(rng, level)
    turns = [Turn((*problem.images, mathvista.query(problem)), mathvista.reply(problem))]
    return Example("mathvista", _with_reading(rng, dense, turns, problem.reading), problem.kind)


def _infovqa(rng: random.Random, level: float, dense: float) -> Example:
    card = infovqa.draw(rng, level)
    turns = [Turn((card.image, infovqa.prompt(card)), card.answer)]
    return Example("infovqa", _with_reading(rng, dense, turns, card.reading))


def _ocrbench(rng: random.Random, level: float, dense: float) -> Example:
    reading = ocrbench.draw(rng, level)
    return Example("ocrbench", (Turn((reading.image, reading.question), reading.reply),))


def _screenspot(rng: random.Random, level: float, dense: float) -> Example:
    screen = screenspot.draw_pro(rng, level) if rng.random() < 0.25 * level else screenspot.draw(rng, level)
    target, *others = screen.elements
    turns = [Turn((screen.image, screenspot.prompt(target)), screenspot.reply(screen, target))]
    if rng.random() < 0.5 * dense:
        turns += [Turn((element.instruction,), screenspot.reply(screen, element)) for element in others[:2]]
    else:
        turns.append(Turn(("where?",), screenspot.listing(screen)))
    return Example("screenspot", tuple(turns), screen.platform)


def _mmmu(rng: random.Random, level: float, dense: float) -> Example:
    question = mmmu.draw(rng, level)
    return Example("mmmu", (Turn(mmmu.prompt(question), mmmu.reply(question)),))


def _mathvision(rng: random.Random, level: float, dense: float) -> Example:
    contest = mathvision.draw(rng, level)
    turns = [Turn((*contest.problem.images, mathvision.prompt(contest)), mathvision.reply(contest))]
    return Example("mathvision", _with_reading(rng, dense, turns, contest.problem.reading))


def _video(rng: random.Random, level: float, dense: float) -> Example:
    """A clip's frames and a question as one of the four video tasks asks it, sometimes further ones."""
    clip = video.draw(rng, level)
    task = rng.choices(("videomme", "videomme-subs", "longvideobench", "egoschema"), (0.5, 0.15, 0.2, 0.15))[0]
    count = {"longvideobench": rng.choice((4, 5)), "egoschema": 5}.get(task, 4)
    asked = video.ask(rng, clip, options=count, by_line=0.3 if task == "longvideobench" else 0.0)
    frames: tuple[Part, ...] = clip.sampled(rng)
    if task == "longvideobench":
        spoken = rng.random() < 0.7
        lines = [part for frame, word in zip(frames, clip.words, strict=True) for part in (frame, f"{word}\n")]
        parts: tuple[Part, ...] = (*(lines if spoken else frames), video.longvideobench_prompt(asked))
    elif task == "egoschema":
        parts = (*frames, video.egoschema_prompt(asked))
    else:
        parts = (*frames, video.videomme_prompt(asked, clip, subtitles=task == "videomme-subs"))
    kind = rng.choices(("number", "shape", "colour"), (0.5, 0.25, 0.25))[0]
    turns = [Turn(parts, asked.reply)]
    if rng.random() < dense:
        turns.append(Turn((f"{kind}?",), clip.readings()[kind]))
    else:
        further = (video.ask(rng, clip, options=count) for _ in range(3))
        turns += [Turn((one.question,), one.reply) for one in further]
    return Example("video", tuple(turns), task)


def _document(rng: random.Random, level: float, dense: float) -> Example:
    """A document's pages and a question, sometimes further ones."""
    document = documents.draw(rng, level)
    count = 3 if rng.random() < dense else 1
    first, *others = (documents.ask(rng, document) for _ in range(count))
    turns = [Turn((*document.pages, first.question), first.reply)]
    turns += [Turn((one.question,), one.reply) for one in others]
    return Example("document", tuple(turns), first.form)


def _letters(rng: random.Random, level: float, dense: float) -> Example:
    """Text only: a list of options and many values of it, each followed by its letter, which alone is learned."""
    digits, count = rng.choice((1, 1, 2) if level < 0.2 else (1, 2, 2)), rng.choice((3, 4, 4, 5, 5))
    pools = (
        [str(number) for number in range(10 ** (digits - 1), 10**digits)],
        [f"{number / 10:.1f}" for number in range(10, 100)],
        [*GOODS, *SHAPES, *COLOURS],
    )
    options = rng.sample(rng.choices(pools, (0.75, 0.1, 0.15))[0], count)
    mark, form = rng.choices(
        (("{}.", "{} ({})"), ("({})", "{} \\boxed{{{}}}"), ("{}.", "{} \\boxed{{{}}}")), (0.6, 0.2, 0.2)
    )[0]
    listed = "\n".join(f"{mark.format(chr(65 + k))} {option}" for k, option in enumerate(options))
    order = [rng.randrange(count) for _ in range(12)]
    reply = "\n".join(form.format(options[k], chr(65 + k)) for k in order)
    return Example("letters", (Turn((f"{listed}\nLetters?",), reply, learned="ABCDE"),))


def _read(rng: random.Random, level: float, dense: float) -> Example:
    """Dense reading: everything written in a picture of any task."""
    pick = rng.random()
    if pick < 0.45:
        problem = mathvista.draw(rng, level)
        image = problem.images[0]
        first, *rest = _with_reading(rng, 1.0, [], problem.reading)
        return Example("read", (Turn((image, *first.parts), first.reply), *rest))
    if pick < 0.55:
        card = infovqa.draw(rng, level)
        image, reading = card.image, card.reading
    else:
        line = rng.choices(
            (ocrbench.digits, ocrbench.letters, ocrbench.word, ocrbench.handwriting), (0.4, 0.15, 0.35, 0.1)
        )[0](rng, level)
        image, reading = line.image, line.reply
    return Example("read", (Turn((image, ocrbench.READ), reading),))


def _plain(rng: random.Random, level: float, dense: float) -> Example:
    """The simplest reading."""
    line = ocrbench.plain(rng, level)
    return Example("plain", (Turn((line.image, line.question), line.reply),))


def _match(rng: random.Random, level: float, dense: float) -> Example:
    """Text only: which option holds a value; two options at first."""
    count = rng.randint(2, 2 + round(3 * level))
    pool = list(NAMES) if rng.random() < 0.3 else [str(number) for number in range(2, 10 if level < 0.15 else 100)]
    options = rng.sample(pool, count)
    answer = rng.choice(options)
    letter = chr(65 + options.index(answer))
    mark, reply = rng.choices(
        (
            ("({})", f"{answer} ({letter})"),
            ("{}.", f"{answer}\nAnswer: $\\boxed{{{letter}}}$"),
            ("({})", f"{answer} \\boxed{{{letter}}}"),
        ),
        (0.6, 0.2, 0.2),
    )[0]
    lines = "\n".join(f"{mark.format(chr(65 + k))} {option}" for k, option in enumerate(options))
    form = {"(": "letter", "A": "Answer", "\\": "boxed"}[reply[len(answer) + 1]]
    text = f"Question: Which is {answer}?\nChoices:\n{lines}\nGive the {form}."
    return Example("match", (Turn((text,), reply),))


def _copy(rng: random.Random, level: float, dense: float) -> Example:
    """Text only: repeat a list, or look values up in it; cheap practice in finding what a question names."""
    names = rng.sample((*NAMES, *GOODS), rng.randint(2, 4))
    pairs = [f"{name} {rng.randint(2, 99)}" for name in names]
    listed = ", ".join(pairs)
    if rng.random() < 0.35:
        return Example("copy", (Turn((f"Question: What is written?\n{listed}",), listed),))
    asked = rng.sample(range(len(names)), rng.randint(1, len(names)))
    form = rng.choice(("What is the value of {}?", "What is the price of {}?", "What is the age of {}?"))
    turns = [Turn((form.format(names[k]),), pairs[k]) for k in asked]
    first = f"{listed}\nQuestion: {turns[0].parts[0]}"
    return Example("copy", (Turn((first,), turns[0].reply), *turns[1:]))


def _sums(rng: random.Random, level: float, dense: float) -> Example:
    """Text only: the sums, products and differences of the drawn problems, several in a row."""
    turns = []
    for _ in range(3):
        a, b = rng.randint(2, 9), rng.randint(2, 9)
        wide = rng.randint(10, 40) if rng.random() < 0.4 else a
        forms = (
            (f"{wide}+{b}=?", f"{wide}+{b}={wide + b}"),
            (f"{a + b}-{b}=?", f"{a + b}-{b}={a}"),
            (f"{a}x{b}=?", f"{a}x{b}={a * b}"),
            (f"width {a}, height {b}, perimeter?", f"{a} + {b} = {a + b}, perimeter {2 * (a + b)}"),
        )
        text, reply = rng.choice(forms)
        turns.append(Turn((text,), reply))
    return Example("sums", tuple(turns))


def _with_reading(rng: random.Random, dense: float, turns: list[Turn], reading: str) -> tuple[Turn, ...]:
    """The turns, sometimes followed by short ones: each key that was drawn, in any order, or everything written."""
    if rng.random() >= dense:
        return tuple(turns)
    pairs = reading.split(", ")
    if len(pairs) > 1 and all(PAIR.fullmatch(pair) for pair in pairs) and rng.random() < 0.75:
        keys = [(pair.split()[0], pair) for pair in rng.sample(pairs, len(pairs))]
        return (*turns, *(Turn((f"{key}?",), pair) for key, pair in keys))
    return (*turns, Turn((ocrbench.READ,), reading))


BRIEF = {
    **{f"{hint}\n": "" for hint in mathvista.HINTS.values()},
    screenspot.INSTRUCTION: "<instruction> ",
    video.SELECT: "Select.",
    video.DIRECTLY: "Directly.",
    mathvision.INSTRUCTION: 'put your answer in one "\\boxed{}".\n',
    mmmu.INSTRUCTION: "'Answer: $\\boxed{LETTER}$'",
    f"\n{infovqa.INSTRUCTION}": "",
}


def _shortened(drawn: Example) -> Example:
    """The same conversation with the constant instructions cut short."""
    return replace(drawn, turns=tuple(replace(turn, parts=tuple(map(_brief, turn.parts))) for turn in drawn.turns))


def _brief(part: Part) -> Part:
    if isinstance(part, str):
        for long, short in BRIEF.items():
            part = part.replace(long, short)
    return part


SOURCES: dict[str, Callable[[random.Random, float, float], Example]] = {
    "mathvista": _mathvista,
    "infovqa": _infovqa,
    "ocrbench": _ocrbench,
    "screenspot": _screenspot,
    "mmmu": _mmmu,
    "mathvision": _mathvision,
    "video": _video,
    "document": _document,
    "letters": _letters,
    "read": _read,
    "plain": _plain,
    "match": _match,
    "copy": _copy,
    "sums": _sums,
}


def example(
    seed: str,
    shares: Mapping[str, float],
    ceiling: float,
    dense: float = 0.0,
    forbidden: Collection[str] = (),
    brief: float = 0.0,
    sources: Mapping[str, Callable[[random.Random, float, float], Example]] = SOURCES,
) -> Example:
    """The example of a seed.

    `shares` weighs the sources, `ceiling` is the highest difficulty (simple ones stay), `dense` the share of
    conversations with a second, dense turn, `forbidden` the digests of pictures that may not occur, `brief` the share
    of prompts whose constant instructions are cut short (cheaper, and the skill is the same), `sources` what can be
    drawn.
    """
    for attempt in range(100):
        rng = random.Random(f"{seed}/{attempt}" if attempt else seed)
        kind = rng.choices(list(shares), list(shares.values()))[0]
        drawn = sources[kind](rng, ceiling * rng.random(), dense)
        if not forbidden or not any(digest(image) in forbidden for image in drawn.images):
            return _shortened(drawn) if rng.random() < brief else drawn
    raise RuntimeError(f"no allowed picture after 100 attempts for seed {seed}")
