"""Many prompts prefilled in one pass, pictures of many samples encoded in one call, and what happens without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from kvl_eval.backends.base import Request
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.engine.batch import Batch
from kvl_eval.model import KimiVL
from kvl_eval.types import Generation
from tests.backends.engine import GREEDY, WARM, all_golden, answers, answers_at_once, ask, golden, texts

pytestmark = pytest.mark.slow

Make = Callable[..., TorchEngine]
SEEDED = Generation(max_new_tokens=16, temperature=1.0, top_p=0.9)
PICTURES = ("one_image", "two_images")


def short(count: int, generation: Generation = GREEDY) -> list[Request]:
    """Prompts of different length, the last two with pictures."""
    plain = [
        ask(f"q{i}", f"{i} " + "word " * (2 * i), generation=generation, seeds=(i,))
        for i in range(count - len(PICTURES))
    ]
    return [*plain, *(golden(name, generation, seeds=(7,)) for name in PICTURES)]


def kept_batches(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Every batch that the engine makes from now on."""
    batches: list[Batch] = []
    new_batch = engine._new_batch

    def make() -> Batch:
        batches.append(new_batch())
        return batches[-1]

    monkeypatch.setattr(engine, "_new_batch", make)
    return batches


def test_sixteen_short_prompts_take_one_pass_and_one_call_of_the_tower(engine_with: Make) -> None:
    engine = engine_with(batch_size=16)
    answers_at_once(engine, short(16))
    counts = engine.counts
    assert (counts["prefills"], counts["prefill_passes"], counts["vision_calls"]) == (16, 1, 1)


@pytest.mark.parametrize("generation", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("chunk", [7, 2048])
def test_answers_depend_on_no_neighbour_in_the_pass(engine_with: Make, generation: Generation, chunk: int) -> None:
    requests = short(12, generation)
    apart, alone = engine_with(batch_size=1), {}
    for request in requests:
        alone |= texts(answers(apart, [request]))
    together = engine_with(batch_size=16, model_args={"prefill_chunk": chunk, "page_size": 4})
    assert texts(answers_at_once(together, requests)) == alone
    if chunk >= 64:
        assert together.counts["prefill_passes"] < len(requests)


@contextmanager
def full_memory(monkeypatch: pytest.MonkeyPatch, method: str, wanted: Callable[..., bool]) -> Iterator[list[int]]:
    """Calls of a method of the model for which `wanted` is true run out of memory; their number."""
    failures: list[int] = []
    original = getattr(KimiVL, method)

    def limited(model: KimiVL, *args: object, **options: object) -> torch.Tensor:
        result = original(model, *args, **options)  # memory runs out late, when pages are written
        if wanted(*args):
            failures.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(KimiVL, method, limited)
        yield failures


@pytest.mark.parametrize("generation", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_a_pass_that_memory_does_not_hold_is_done_one_by_one(
    engine_with: Make, monkeypatch: pytest.MonkeyPatch, generation: Generation
) -> None:
    requests = [*short(10, generation), ask("twice", "two of it", generation=generation, seeds=(1, 2), repeats=(0, 1))]
    expected = texts(answers_at_once(engine_with(batch_size=16), requests))
    engine = engine_with(batch_size=16)
    batches = kept_batches(engine, monkeypatch)
    with full_memory(monkeypatch, "forward_cached", lambda embeds, rows: len(getattr(rows, "counts", ())) > 1) as full:
        found = texts(answers_at_once(engine, requests))
    assert found == expected
    (batch,) = batches
    assert len(full) == engine.counts["out_of_memory"] == 1
    assert (batch.pool.used, len(batch.features), batch.busy) == (0, 0, False)


def test_pictures_that_memory_does_not_hold_together_are_encoded_apart(
    engine_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [*short(6), *all_golden(WARM)]
    requests = list({request.key: request for request in requests}.values())
    expected = texts(answers_at_once(engine_with(batch_size=16), requests))
    engine = engine_with(batch_size=16)
    batches = kept_batches(engine, monkeypatch)
    most = max(sum(len(message.media) for message in request.messages) for request in requests)
    with full_memory(monkeypatch, "image_features", lambda pixels, grids: len(grids) > most) as full:
        assert texts(answers_at_once(engine, requests)) == expected
    assert len(full) == engine.counts["out_of_memory"] == 1
    assert (batches[0].pool.used, len(batches[0].features)) == (0, 0)


def test_prompts_that_begin_alike_are_not_prefilled_in_the_same_pass(engine_with: Make) -> None:
    document = "page " * 40
    requests = [ask(f"q{i}", document, f"{i}") for i in range(4)]
    engine = engine_with(batch_size=8, model_args={"page_size": 4})
    shared = texts(answers_at_once(engine, requests))
    assert engine.counts["prefill_passes"] == 2
    apart = engine_with(batch_size=1)
    assert shared == {place: text for one in requests for place, text in texts(answers(apart, [one])).items()}
    assert engine.counts["prefill_tokens"] < 2 * apart.counts["prefill_tokens"]
