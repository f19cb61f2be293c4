"""What kimi-vl-nano-thinking learns to say: a thought in the released models' markers, then the answer.

Ordinary questions of the drawn tasks are thought about by writing down what the picture shows, then what is asked; the
problems of many steps by their steps. Where letters are asked for, the thought goes through the options as far as the
right one. A share of the replies is cut short at a random token and answered all the same, since a thinking budget may
force that; the marker put in there is not learned.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate

from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from tools.nano import mathvision, mathvista, mmmu
from tools.nano import thinking_problems as many_steps
from tools.nano.mixture import Example, Turn
from tools.nano.problems import Problem, near_numbers, with_choices

CUT = 0.12  # share of thoughts that end too early
# kind -> (subject of MathVision, its level)
SUBJECTS = {"total": ("arithmetic", 2), "count": ("counting", 2), "path": ("graph theory", 3), "walk": ("logic", 4)}


def said(thought: str, answer: str) -> str:
    """A whole reply."""
    return f"{THINK_OPEN}{thought}{THINK_CLOSE}{answer}"


def looked_at(problem: Problem) -> str:
    """The thought about an ordinary drawing: what is written there line by line, then the line that was asked for."""
    lines = problem.reading.split(", ")
    asked = [line for line in lines if problem.answer in line.split()] if problem.reply == problem.answer else []
    last = asked[0] if asked else problem.reply
    return "\n".join(lines if lines == [last] else [*lines, last])


def through_options(thought: str, options: tuple[str, ...], answer: str) -> str:
    """The thought, then the options up to the right one; nothing more where there are none."""
    if not options:
        return thought
    right = options.index(answer)
    return "\n".join([thought, *(f"{chr(65 + k)} {option}" for k, option in enumerate(options[: right + 1]))])


# -- problems of many steps as rows of the three tasks


def for_mathvision(rng: random.Random, worked: many_steps.Worked) -> mathvision.Contest:
    """As a MathVision problem, one third with five options."""
    problem = worked.problem
    if rng.random() < 1 / 3:
        problem = with_choices(rng, problem, near_numbers(rng, problem.answer), count=5)
    return mathvision.Contest(problem, *SUBJECTS[problem.kind])


def for_mmmu(rng: random.Random, worked: many_steps.Worked) -> mmmu.Question:
    """As an MMMU question, two thirds with four options."""
    problem = worked.problem
    if rng.random() < 2 / 3:
        problem = with_choices(rng, problem, near_numbers(rng, problem.answer))
    return mmmu.Question(problem.images, f"<image 1> {problem.question}", problem.choices, problem.answer, "")


# -- training examples: (rng, level, dense) -> Example


def _mathvista_example(kind: str, problem: Problem, thought: str) -> Example:
    turn = Turn((*problem.images, mathvista.query(problem)), said(thought, problem.answer))
    return Example(kind, (turn,), problem.kind)


def _mathvision_example(kind: str, contest: mathvision.Contest, thought: str) -> Example:
    problem = contest.problem
    letter = chr(65 + problem.choices.index(problem.answer)) if problem.choices else problem.answer
    reply = said(through_options(thought, problem.choices, problem.answer), f"\\boxed{{{letter}}}")
    return Example(kind, (Turn((*problem.images, mathvision.prompt(contest)), reply),), problem.kind)


def _mmmu_example(kind: str, question: mmmu.Question, thought: str, detail: str) -> Example:
    pictured = any(option.startswith("<image") for option in question.options)
    thought = thought if pictured else through_options(thought, question.options, question.answer)
    reply = said(thought, f"Answer: $\\boxed{{{mmmu.letter(question)}}}$")
    return Example(kind, (Turn(mmmu.prompt(question), reply),), detail)


def _mathvista(rng: random.Random, level: float, dense: float) -> Example:
    problem = mathvista.draw(rng, level)
    return _mathvista_example("mathvista", problem, looked_at(problem))


def _mathvision(rng: random.Random, level: float, dense: float) -> Example:
    contest = mathvision.draw(rng, level)
    return _mathvision_example("mathvision", contest, looked_at(contest.problem))


def _mmmu(rng: random.Random, level: float, dense: float) -> Example:
    question = mmmu.draw(rng, level)
    return _mmmu_example("mmmu", question, question.spoken or question.answer, "")


def _chase(rng: random.Random, level: float, dense: float) -> Example:
    """Text only: a long walk through a short table; cheap practice in finding what was written down."""
    size = rng.randint(3, 4 + round(10 * level))
    letters = rng.sample(many_steps.LETTERS, size)
    after = dict(zip(letters, [*letters[1:], letters[0]], strict=True))
    digit = "12345" if rng.random() < 0.5 else ("",)
    cells = {letter: f"{letter}-{after[letter]}{rng.choice(digit)}" for letter in sorted(letters)}
    place, lines = letters[0], []
    for _ in range(rng.randint(size, 2 * size + 4)):
        lines.append(cells[place])
        place = after[place]
    table = "\n".join(cells.values())
    return Example("chase", (Turn((f'{table}\nBegin at "{letters[0]}".',), "\n".join(lines)),))


def _tally(rng: random.Random, level: float, dense: float) -> Example:
    """Text only: a long list added up; cheap practice in carrying a total along."""
    cells = [letter + rng.choice("123456789") for letter in many_steps.LETTERS[: rng.randint(6, 24)]]
    totals = accumulate(int(cell[1]) for cell in cells)
    reply = "\n".join(f"{cell} {total}" for cell, total in zip(cells, totals, strict=True))
    return Example("tally", (Turn(("\n".join(cells),), reply),))


def _worked(kind: str) -> Callable[[random.Random, float, float], Example]:
    def source(rng: random.Random, level: float, dense: float) -> Example:
        worked = many_steps.WORKED[kind](rng, level)
        thought = "\n".join(worked.steps)
        pick = rng.random()
        if pick < 0.4:
            return _mathvista_example(kind, worked.problem, thought)
        if pick < 0.75:
            return _mathvision_example(kind, for_mathvision(rng, worked), thought)
        return _mmmu_example(kind, for_mmmu(rng, worked), thought, kind)

    return source


def _cut(source: Callable[[random.Random, float, float], Example]) -> Callable[[random.Random, float, float], Example]:
    def cut(rng: random.Random, level: float, dense: float) -> Example:
        drawn = source(rng, level, dense)
        if rng.random() >= CUT:
            return drawn
        return replace(drawn, turns=tuple(replace(turn, cut=rng.random()) for turn in drawn.turns))

    return cut


THOUGHT = {
    "mathvista": _mathvista,
    "mathvision": _mathvision,
    "mmmu": _mmmu,
    **{kind: _worked(kind) for kind in many_steps.WORKED},
}
THINKING: Mapping[str, Callable[[random.Random, float, float], Example]] = {
    **{name: _cut(source) for name, source in THOUGHT.items()},
    "chase": _chase,
    "tally": _tally,
}


def cut_short(reply: str, part: float, tokenizer: KimiTokenizer) -> tuple[list[int], list[bool]]:
    """Ids of a reply whose thought ends after a part of its tokens, and which of them are learned: not the marker."""
    thought, answer = reply.split(THINK_CLOSE)
    opening, ids = len(tokenizer.encode(THINK_OPEN)), tokenizer.encode(thought)
    kept = ids[: opening + int(part * (len(ids) - opening))]
    marker, rest = tokenizer.encode(THINK_CLOSE), tokenizer.encode(answer)
    return [*kept, *marker, *rest], [True] * len(kept) + [False] * len(marker) + [True] * len(rest)
