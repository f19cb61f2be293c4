"""The engine's memory: sweeps, neighbours, page size, tiny budgets and preemption change no token."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kvl_eval.backends.base import Request
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.engine.batch import Batch
from kvl_eval.engine.cache_budget import page_limit
from kvl_eval.engine.features import FeatureShelf
from kvl_eval.errors import ConfigError
from kvl_eval.model import KimiVL
from kvl_eval.model.kimi_vl.processor import normalize
from kvl_eval.model.memory import free_bytes
from kvl_eval.types import Completion, Generation, Policy
from tests.backends.engine import (
    CASES,
    GREEDY,
    TINY,
    WARM,
    Answers,
    answers,
    answers_at_once,
    ask,
    golden,
    only,
    texts,
    varied,
)

pytestmark = pytest.mark.slow

Make = Callable[..., TorchEngine]
BUDGETS = (5, 12, 24, 40, 64)
THINKING = "◁think▷"
TOKEN = 4 * (24 + 8) * 8  # bytes of a token in the tiny model's cache: layers, values, float64


def gib(tokens: int) -> float:
    """`--kv-cache-gb` that holds so many tokens."""
    return (tokens * TOKEN + 1) / 2**30


def thoughts(*budgets: int, policy: Policy = "cut", temperature: float = 1.0, repeats: int = 2) -> list[Request]:
    """Questions with and without pictures to a model that thinks."""
    generation = Generation(
        max_new_tokens=None,
        think_budgets=budgets,
        budget_policy=policy,
        answer_tokens=12,
        temperature=temperature,
    )
    numbers = tuple(range(repeats))

    def options(seed: int) -> dict[str, Any]:
        return {"prefix": THINKING, "repeats": numbers, "seeds": tuple(seed + 50 * n for n in numbers)}

    plain = [ask(f"q{i}", "word " * (3 * i + 1) + "?", generation=generation, **options(i)) for i in range(0, 8, 2)]
    return [*plain, *(golden(name, generation, **options(20)) for name in ("one_image", "two_images"))]


def facts(found: Answers) -> dict[tuple[str, int, int | None], tuple[Any, ...]]:
    """What a record says of each answer, times left out."""
    return {
        place: (
            *(one.raw_output, one.thinking, one.answer, one.finish_reason, one.think_closed, one.budget_forced),
            *(one.tokens.thinking, one.tokens.answer),
        )
        for place, one in found.items()
    }


# Sweeps over thoughts that close by themselves


@pytest.mark.parametrize(
    ("temperature", "policy"),
    [(0.0, "force"), (1.0, "cut"), (1.0, "force")],
    ids=["greedy-force", "sampling-cut", "sampling-force"],
)
def test_a_sweep_over_closing_thoughts_equals_separate_runs(
    engine_with: Make, thinker: Path, policy: Policy, temperature: float
) -> None:
    engine = engine_with(thinker)
    together = answers_at_once(engine, thoughts(*BUDGETS, policy=policy, temperature=temperature))
    counts = engine.counts
    assert (counts["prefills"], counts["images"], counts["vision_calls"]) == (6, 3, 1)
    apart: Answers = {}
    decoded = 0
    for budget in BUDGETS:
        alone = engine_with(thinker, batch_size=7, model_args={"page_size": 16})
        apart |= answers(alone, thoughts(budget, policy=policy, temperature=temperature))
        decoded += alone.counts["decoded_tokens"]
    assert facts(together) == facts(apart)
    assert counts["decoded_tokens"] < 0.7 * decoded
    look_at_the_mix(list(together.values()), policy)


def look_at_the_mix(found: list[Completion], policy: Policy) -> None:
    """The test is worth something: thoughts close before, between and behind the budgets, some never do."""
    largest = {(one.trajectory_id): one for one in found if one.budget == BUDGETS[-1]}
    free = [one for one in largest.values() if one.think_closed and not one.budget_forced]
    assert len({one.tokens.thinking for one in free}) >= 2
    ended = [one for one in found if (one.budget_forced if policy == "force" else one.finish_reason == "budget")]
    assert len(ended) >= 10


# Neighbours, batch size, order, page size


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_budgets_depend_neither_on_neighbours_nor_on_page_size(
    engine_with: Make, thinker: Path, policy: Policy
) -> None:
    requests = thoughts(8, 30, policy=policy)
    expected = facts(answers(engine_with(thinker, batch_size=1), requests))
    for rows, page_size, backwards in ((8, 1, False), (5, 7, True)):
        engine = engine_with(thinker, batch_size=rows, model_args={"page_size": page_size, "prefill_chunk": 11})
        assert facts(answers(engine, reversed(requests) if backwards else requests)) == expected
    alone = answers(engine, [requests[1]]) | answers(engine, [requests[-1]])
    assert facts(alone) == {place: fact for place, fact in expected.items() if place in alone}


# A tiny budget


@pytest.mark.parametrize(("page_size", "generation"), [(8, GREEDY), (1, WARM)], ids=["8-greedy", "1-sampling"])
def test_preemption_changes_no_answer(engine_with: Make, generation: Generation, page_size: int) -> None:
    requests = varied(generation)
    expected = texts(answers(engine_with(), requests))
    engine = engine_with(kv_cache_gb=gib(160), model_args={"page_size": page_size})
    assert texts(answers(engine, requests)) == expected
    assert engine.counts["preempted"] >= 3
    assert engine.counts["images"] == 3, "what waits keeps its pictures"


@pytest.mark.parametrize(
    ("temperature", "policy"), [(0.0, "cut"), (1.0, "force")], ids=["greedy-cut", "sampling-force"]
)
def test_preemption_changes_no_budget(engine_with: Make, thinker: Path, policy: Policy, temperature: float) -> None:
    requests = thoughts(8, 30, 64, policy=policy, temperature=temperature)
    expected = facts(answers(engine_with(thinker), requests))
    engine = engine_with(thinker, kv_cache_gb=gib(256), model_args={"page_size": 4, "prefill_chunk": 13})
    assert facts(answers(engine, requests)) == expected
    assert engine.counts["preempted"] >= 3
    assert engine.counts["out_of_memory"] == 0


def test_what_runs_fits_the_budget(engine_with: Make) -> None:
    engine = engine_with(kv_cache_gb=gib(160), model_args={"page_size": 4})
    most = 0

    def watch(module: Any, args: tuple[Any, ...]) -> None:
        nonlocal most
        most = max(most, args[3].pool.used)
        assert args[3].pool.nbytes <= 160 * TOKEN

    engine.load().language_model.model.register_forward_pre_hook(watch)
    assert {one.status for one in answers(engine, varied(WARM)).values()} == {"ok"}
    assert 30 <= most <= 40


def test_a_prompt_that_never_fits_fails_alone_and_unseen(engine_with: Make) -> None:
    engine = engine_with(kv_cache_gb=gib(128), model_args={"page_size": 16})
    small = [ask(f"q{i}", f"Number {i}?", generation=WARM) for i in range(6)]
    expected = texts(answers(engine_with(), small))
    large = ask("large", "word " * 150, generation=WARM, repeats=(0, 1), seeds=(0, 1))
    found = answers(engine, [*small[:3], large, *small[3:]])
    for repeat in (0, 1):
        failed = found["large", repeat, None]
        assert (failed.status, failed.reason) == ("failed", "context_overflow")
        assert "128 tokens" in str(failed.message)
        assert str(failed.tokens.prompt) in str(failed.message)
    assert {place: text for place, text in texts(found).items() if place[0] != "large"} == expected
    assert engine.counts["prefill_tokens"] <= sum(found[f"q{i}", 0, None].tokens.prompt for i in range(6))


def test_an_answer_that_outgrows_the_cache_fails_alone(engine_with: Make) -> None:
    """Only once it has all pages for itself; its neighbours, put off or not, say what they always say."""
    engine = engine_with(kv_cache_gb=gib(96), model_args={"page_size": 8})
    small = [ask(f"q{i}", f"Number {i}?", generation=WARM) for i in range(6)]
    expected = texts(answers(engine_with(), small))
    long = ask("long", "Go on.", generation=Generation(max_new_tokens=400, temperature=1.0), seeds=(3,))
    found = answers(engine, [*small[:2], long, *small[2:]])
    failed = found["long", 0, None]
    assert (failed.status, failed.reason) == ("failed", "context_overflow")
    assert "96 tokens" in str(failed.message)
    assert {place: text for place, text in texts(found).items() if place[0] != "long"} == expected


# Shared pages


def test_repeats_share_the_pages_of_their_prompt(engine_with: Make) -> None:
    """Eight repeats: one prefill, and one copied page for each but the last to write."""
    engine = engine_with(model_args={"page_size": 16})
    request = golden("two_images", WARM, seeds=tuple(range(8)), repeats=tuple(range(8)))
    most = 0

    def watch(module: Any, args: tuple[Any, ...]) -> None:
        nonlocal most
        most = max(most, args[3].pool.used)

    engine.load().language_model.model.register_forward_pre_hook(watch)
    found = answers(engine, [request])
    prompt = found["two_images", 0, None].tokens.prompt
    assert prompt % 16, "the last page of the prompt is shared in part"
    assert engine.counts["prefills"] == 1
    assert engine.counts["copied_pages"] == 7
    assert most <= prompt // 16 + 8 * (1 + -(-20 // 16)), "one prompt and eight answers"


def test_forced_budgets_copy_no_page(engine_with: Make, thinker: Path) -> None:
    engine = engine_with(thinker, model_args={"page_size": 4})
    answers(engine, thoughts(*BUDGETS, policy="force", repeats=1))
    assert (engine.counts["prefills"], engine.counts["copied_pages"]) == (6, 0)


def test_a_preempted_repeat_takes_its_prompt_from_another(engine_with: Make) -> None:
    """Two that had to wait compute their prompt once: the second finds the pages of the first."""
    request = ask("q", "word " * 40, generation=WARM, seeds=(1, 2, 3), repeats=(0, 1, 2))
    expected = answers(engine_with(), [request])
    prompt = expected["q", 0, None].tokens.prompt
    engine = engine_with(kv_cache_gb=gib(prompt + 36), model_args={"page_size": 4})
    assert texts(answers(engine, [request])) == texts(expected)
    assert engine.counts["preempted"] >= 2
    assert engine.counts["prefill_tokens"] < 2 * prompt + engine.counts["preempted"] * 21


# Pictures


def test_pictures_are_encoded_once_for_repeats_budgets_and_requests(engine_with: Make) -> None:
    """As after a crash: one sample asked for in two requests, besides repeats and budgets."""
    engine = engine_with()
    generation = Generation(max_new_tokens=None, think_budgets=(4, 9), budget_policy="force", answer_tokens=3)
    one = golden("two_images", generation, seeds=(1, 2), repeats=(0, 1), prefix=THINKING)
    two = replace(one, key="again", repeats=(2,), seeds=(3,))
    calls = 0

    def count(module: Any, args: tuple[Any, ...]) -> None:
        nonlocal calls
        calls += 1

    engine.load().vision_tower.register_forward_pre_hook(count)
    assert len(answers_at_once(engine, [one, two])) == 3 * 2
    assert calls == engine.counts["vision_calls"] == 1
    assert engine.counts["images"] == 2
    answers(engine, [one])
    assert calls == 2, "nothing is kept behind the last request"


def test_patches_stay_bytes_until_the_vision_tower_takes_their_portion(engine_with: Make) -> None:
    engine = engine_with(dtype="float32")
    model = engine.load()
    encode, config = model.image_features, engine.rule
    given: list[torch.Tensor] = []
    portions: list[tuple[torch.dtype, int]] = []

    def in_portions(pixel_values: torch.Tensor, grids: Any, **options: Any) -> torch.Tensor:
        given.append(pixel_values)
        return encode(pixel_values, grids, patches_at_once=1, **options)

    def compare(module: Any, args: tuple[Any, ...]) -> None:
        start = sum(count for _, count in portions)
        portions.append((args[0].dtype, len(args[0])))
        assert torch.equal(args[0], normalize(given[0], config)[start : start + len(args[0])])

    model.image_features = in_portions  # type: ignore[method-assign]
    model.vision_tower.register_forward_pre_hook(compare)
    completion = only(answers(engine, [golden("two_images")]))
    assert completion.raw_output == engine.text.tokenizer.decode(CASES["two_images"]["greedy_until_stop"])
    assert [one.dtype for one in given] == [torch.uint8]
    assert portions == [(torch.float32, 4 * info.tokens) for info in completion.media]


def test_features_go_with_the_last_that_needs_them() -> None:
    shelf = FeatureShelf()
    for _ in range(2):
        shelf.join("a")
    assert "a" not in shelf
    made = torch.zeros(3)
    shelf.put("a", made)
    assert "a" in shelf and shelf["a"] is made
    shelf.leave("a")
    assert len(shelf) == 1
    gone = weakref.ref(made)
    shelf.leave("a")
    del made
    gc.collect()
    assert (len(shelf), gone()) == (0, None)


def test_nothing_is_left_when_all_have_ended(engine_with: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures and preemptions included: no page in use, no features."""
    engine = engine_with(kv_cache_gb=gib(100), model_args={"page_size": 4})
    made: list[Batch] = []
    new_batch = engine._new_batch
    monkeypatch.setattr(engine, "_new_batch", lambda: made.append(new_batch()) or made[-1])
    found = answers(engine, [*varied(WARM), ask("large", "word " * 150, generation=WARM)])
    assert found["large", 0, None].reason == "context_overflow"
    (batch,) = made
    assert batch.counts.preempted > 0
    assert (batch.pool.used, len(batch.features), batch.busy) == (0, 0, False)


# The budget


def test_the_budget_is_a_share_of_free_memory_or_what_was_said() -> None:
    pool = KimiVL.from_pretrained(TINY, dtype="float64").new_pool(page_size=64)
    assert page_limit(pool, 2048, 1.0) == 2**30 // (64 * TOKEN)
    auto = page_limit(pool, 2048)
    assert auto <= free_bytes(torch.device("cpu")) * 0.6 // (64 * TOKEN)
    assert auto >= 2048 // 64, "a sequence as long as the context always fits"
    with pytest.raises(ConfigError, match="too small for one page") as caught:
        page_limit(pool, 2048, 1e-6)
    assert caught.value.code == "config.kv_cache_gb"


def test_a_budget_without_a_page_ends_before_anything_runs(engine_with: Make) -> None:
    with pytest.raises(ConfigError, match="too small for one page"):
        answers(engine_with(kv_cache_gb=1e-6), [ask("q", "?")])
