"""Five budgets in one pass against the longest run alone and five separate runs: `python -m benchmarks.sweep`.

By default the tiny random checkpoint of the tests, whose thoughts end by chance: once hardly any ends before the limit,
once half of them end within a quarter of it. With `--model`, besides, that model on bundled mini splits. Each way must
give the same tokens, which is checked first. Tokens are counted by the engine; seconds are CPU time, one thread.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import kvl_eval
from benchmarks.engine import Place, answers, default_model, engine, options, questions, random_checkpoint, texts
from benchmarks.measure import Row, Times, show
from kvl_eval.backends import family_of, make_backend
from kvl_eval.backends.base import EngineSettings
from kvl_eval.run.config import resolve
from kvl_eval.tasks import get_task
from kvl_eval.thinking import THINK_OPEN
from kvl_eval.types import Completion, Generation, Policy

BUDGETS = (16, 32, 64, 128, 256)
ANSWER = 2  # tokens after a thought closed by force: in proportion as 128 to 16k
VOCABULARY = 768  # of the random checkpoint


@dataclass(frozen=True, slots=True)
class Cost:
    """What some runs took, and what they gave."""

    decoded: int
    seconds: float
    texts: dict[Place, str]
    thoughts: Sequence[int] = ()


Way = Callable[[Sequence[int]], Cost]


def measure(tiny: bool = False, model: str | None = None, tasks: Sequence[str] = ("mathvista",)) -> Sequence[Row]:
    """Rows; raises AssertionError if a way gives other tokens."""
    budgets, count, rounds = ((4, 8, 16), 2, 1) if tiny else (BUDGETS, 16, 5)
    quarter = math.ceil(VOCABULARY * math.log(2) / (budgets[-1] / 4))
    rows: list[Row] = []
    for stops, goal in ((0, 0.6), (quarter, 0.4)):
        with random_checkpoint(stops) as folder:
            for policy in ("cut", "force"):
                rows += compared(random_way(folder, count, policy), budgets, rounds, policy, goal)
    if model is not None:
        for task in tasks:
            way = real_way(model, task, 2 if tiny else 16)
            rows += compared(way, budgets, 1 if tiny else 3, "cut", None, f"{model}, {task}: ")
    return rows


def random_way(folder: Any, count: int, policy: Policy) -> Way:
    """Budgets of the random checkpoint, decoded together."""

    def run(budgets: Sequence[int]) -> Cost:
        generation = Generation(
            max_new_tokens=None,
            think_budgets=tuple(budgets),
            budget_policy=policy,
            answer_tokens=ANSWER,
            temperature=1.0,
        )
        asked = engine(folder, batch_size=16)
        answers(asked, questions(1, Generation(max_new_tokens=1)))  # loads the weights
        before, begin = asked.counts["decoded_tokens"], time.process_time()
        found = answers(asked, questions(count, generation, prefix=THINK_OPEN))
        spent = time.process_time() - begin
        return Cost(asked.counts["decoded_tokens"] - before, spent, texts(found), thoughts(found, max(budgets)))

    return run


def real_way(model: str, name: str, limit: int) -> Way:
    """Budgets of a trained model on a mini split, through a whole run."""

    def run(budgets: Sequence[int]) -> Cost:
        with tempfile.TemporaryDirectory() as place:
            given = options([name], place, limit=limit, think_budget=tuple(budgets), model_args={"threads": 1})
            task = get_task(name)
            own = {option: value for option, value in given.items() if option != "tasks"}
            config = resolve(model, family_of(model, EngineSettings()).family.name, [task], own)
            backend: Any = make_backend(model, config.settings)
            begin = time.process_time()
            done = kvl_eval.evaluate(model, backend=backend, **given)
            spent = time.process_time() - begin
            records = list(done.folder.records(task.name))
        found = {(record.sample_id, record.repeat, record.budget): record.raw_output for record in records}
        lengths = [record.tokens.thinking for record in records if record.budget == max(budgets)]
        return Cost(backend.counts["decoded_tokens"], spent, found, lengths)

    return run


def compared(
    way: Way, budgets: Sequence[int], rounds: int, policy: str, goal: float | None, name: str = ""
) -> list[Row]:
    """Rows of one way of running: against the longest budget alone, and against one run for each."""
    together, longest, apart = [], [], []
    way(budgets[-1:])  # what only the first run of a process takes: imports, tables, memory
    for _ in range(rounds):
        together.append(way(budgets))
        separate = [way([budget]) for budget in budgets]
        longest.append(separate[-1])
        merged = {place: text for one in separate for place, text in one.texts.items()}
        assert together[-1].texts == merged, "a sweep gave other tokens than separate runs"
        apart.append(Cost(sum(one.decoded for one in separate), sum(one.seconds for one in separate), merged))
    median = statistics.median(together[0].thoughts)
    what = f"{name}{len(budgets)} budgets, {policy}, thoughts of {median:.0f} of {budgets[-1]} tokens (median)"
    return [
        *ratios(what, "the longest budget alone", together, longest, 1.15),
        *ratios(what, "a run for each budget", together, apart, goal),
    ]


def ratios(what: str, against: str, ours: list[Cost], theirs: list[Cost], goal: float | None) -> list[Row]:
    """One row for tokens, one for seconds."""
    mine, others = (Times(tuple(one.seconds for one in costs)) for costs in (ours, theirs))
    ratio, spread = mine.times(others)
    tokens = Row(
        what=f"{what}: decoded tokens",
        against=against,
        ours=f"{ours[0].decoded:,}",
        theirs=f"{theirs[0].decoded:,}",
        ratio=ours[0].decoded / theirs[0].decoded,
        at_most=goal,
    )
    seconds = Row(
        what=f"{what}: seconds",
        against=against,
        ours=mine.text(),
        theirs=others.text(),
        ratio=ratio,
        spread=spread,
        at_most=goal,
    )
    return [tokens, seconds]


def thoughts(found: dict[Place, Completion], budget: int) -> list[int]:
    """Lengths of the thoughts under one budget."""
    return [one.tokens.thinking for (_, _, of), one in found.items() if of == budget]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that results are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    parser.add_argument("--model", default=default_model(), help="a trained model to measure too, or none")
    parser.add_argument("--task", default="mathvista", help="its bundled splits, separated by commas")
    given = parser.parse_args()
    model = None if given.model == "none" else given.model
    show(measure(given.tiny, model, given.task.split(",")), as_json=given.json)


if __name__ == "__main__":
    main()
