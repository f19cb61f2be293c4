"""In the bundled engine: greedy ids equal transformers' alone, batched, in chunks, in few pages, under budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from kvl_eval.engine.batch import Batch
from kvl_eval.engine.requests import Prompt, Stream
from kvl_eval.engine.trajectory import Alphabet, Trajectory
from kvl_eval.model.qwen2_5_vl.architecture import ARCHITECTURE
from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import Generation, MediaInfo
from tests.model.qwen2_5_vl.prompts import SIZES, Case, make_case
from tests.model.qwen2_5_vl.tiny import Reference

pytestmark = pytest.mark.slow

NEW = 32
GREEDY = Generation(max_new_tokens=NEW)
BUDGETS = (8, 32)
ANSWER = 12

Ids = dict[tuple[int, int, int | None], list[int]]  # by number of the prompt, repeat and budget


@dataclass(slots=True)
class Bench:
    """A model with the facts around it."""

    folder: Path
    model: Qwen25VL
    counts: dict[str, int] = field(default_factory=dict)

    def prompt(self, number: int, case: Case, generation: Generation, repeats: int, prefix: str) -> Prompt:
        text, rule = ARCHITECTURE.processor(self.folder), ARCHITECTURE.picture_rule(self.folder)
        alphabet = Alphabet(text.token_bytes, text.encode, frozenset(ARCHITECTURE.stop_ids(self.folder)))
        patches = [torch.from_numpy(rule.patches(image)[0]) for image in case.images]
        pictures = tuple(
            MediaInfo(
                sha256=f"{image.size}",
                kind="image",
                w=image.width,
                h=image.height,
                resized_to=rule.size(*image.size).resized,
                tokens=rule.size(*image.size).tokens,
            )
            for image in case.images
        )
        prompt = Prompt(
            str(number),
            case.ids + text.encode(prefix),
            places=case.places,
            grids=case.grids,
            pictures=pictures,
            pixel_values=(lambda: torch.cat(patches)) if patches else None,
        )
        for repeat in range(repeats):
            prompt.streams.append(Stream(prompt, repeat, 0, Trajectory(generation, alphabet, prefix=prefix)))
        return prompt

    def answers(
        self,
        cases: Sequence[Case],
        generation: Generation = GREEDY,
        repeats: int = 1,
        prefix: str = "",
        **settings: Any,
    ) -> Ids:
        """What the engine writes; the last counts stay in `counts`."""
        prepare = ARCHITECTURE.picture_rule(self.folder).normalized
        batch = Batch(self.model, **{"rows": 8, "prepare": prepare, **settings})
        for number, case in enumerate(cases):
            batch.add(self.prompt(number, case, generation, repeats, prefix))
        found: Ids = {}
        while batch.busy:
            for event in batch.step():
                assert event.error is None and event.output is not None, event.error
                place = (int(event.stream.prompt.key), event.stream.repeat, event.output.budget)
                found[place] = list(event.output.ids)
        self.counts = {name: getattr(batch.counts, name) for name in ("preempted", "prefill_tokens", "images")}
        assert not batch.pool.used
        return found


@pytest.fixture(scope="module")
def bench(folder: Path) -> Bench:
    return Bench(folder, ARCHITECTURE.load(folder, dtype="float32"))


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    """Eight prompts of different length, with none, one and several pictures of odd sizes."""
    texts = [make_case(folder, (), "word " * (7 * count + 1) + "?") for count in range(2)]
    return [*(make_case(folder, sizes) for sizes in SIZES.values()), *texts]


@pytest.fixture(scope="module")
def expected(reference: Reference, cases: list[Case]) -> list[list[int]]:
    found = [reference.answer(case.ids, case.images, NEW) for case in cases]
    assert len({len(case.ids) for case in cases}) == 8
    assert sum(len(set(answer)) > 8 for answer in found) >= 6, "answers say something"
    return found


def single(found: Ids) -> list[list[int]]:
    return [found[number, 0, None] for number in range(len(found))]


def test_ids_equal_those_of_transformers_alone(bench: Bench, cases: list[Case], expected: list[list[int]]) -> None:
    assert [single(bench.answers([case]))[0] for case in cases] == expected


@pytest.mark.parametrize(
    "settings",
    [{}, {"chunk": 7}, {"chunk": 50, "page_size": 5, "rows": 3}, {"page_size": 1, "rows": 5}],
    ids=["batched", "small chunks", "small pages", "pages of one token"],
)
def test_ids_depend_neither_on_neighbours_nor_on_chunks_nor_on_pages(
    bench: Bench, cases: list[Case], expected: list[list[int]], settings: dict[str, int]
) -> None:
    assert single(bench.answers(cases, **settings)) == expected


def test_repeats_share_their_prompt(bench: Bench, cases: list[Case], expected: list[list[int]]) -> None:
    found = bench.answers(cases, repeats=3, page_size=8, rows=24)
    assert found == {(number, repeat, None): expected[number] for number in range(8) for repeat in range(3)}
    assert bench.counts["prefill_tokens"] <= sum(len(case.ids) for case in cases)


def test_preemption_changes_no_id(bench: Bench, cases: list[Case], expected: list[list[int]]) -> None:
    longest = max(len(case.ids) for case in cases)
    found = bench.answers(cases, repeats=2, page_size=4, pages=(longest + 2 * NEW) // 4 + 16, chunk=30)
    assert found == {(number, repeat, None): expected[number] for number in range(8) for repeat in range(2)}
    assert bench.counts["preempted"] >= 2
    assert bench.counts["images"] == sum(len(case.images) for case in cases), "what waits keeps its pictures"


@pytest.mark.parametrize("settings", [{}, {"chunk": 11, "page_size": 3, "rows": 3}], ids=["batched", "small pages"])
def test_a_thought_ends_at_its_budget_and_the_answer_goes_on(
    bench: Bench, cases: list[Case], reference: Reference, settings: dict[str, int]
) -> None:
    generation = Generation(
        max_new_tokens=None, think_budgets=BUDGETS, budget_policy="force", answer_tokens=ANSWER, temperature=0.0
    )
    found = bench.answers(cases, generation, prefix=THINK_OPEN, **settings)
    text = ARCHITECTURE.processor(bench.folder)
    opening, closing = text.encode(THINK_OPEN), text.encode(THINK_CLOSE)
    stops = ARCHITECTURE.stop_ids(bench.folder)
    forced = 0
    for number, case in enumerate(cases):
        thought = reference.answer(case.ids + opening, case.images, BUDGETS[-1])
        for budget in BUDGETS:
            if thought[:budget][-1] in stops:
                continue
            begun = thought[:budget] + closing
            answer = reference.answer(case.ids + opening + begun, case.images, ANSWER)
            assert found[number, 0, budget] == begun + answer
            forced += 1
    assert forced >= 12
