"""Requests that begin alike share pages of the cache: no token changes, less is prefilled, nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kvl_eval.backends.base import Request
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.engine.batch import Batch
from kvl_eval.engine.prefixes import page_names
from kvl_eval.types import Generation, ImageRef, MediaInfo, Policy
from tests.backends.engine import CASES, GOLDEN, GREEDY, WARM, answers_at_once, ask, golden, texts

pytestmark = pytest.mark.slow

Make = Callable[..., TorchEngine]
PLACEHOLDER = 533
HEAD = CASES["one_image"]["input_ids"].index(PLACEHOLDER)  # tokens before a picture that comes first
TOKEN = 4 * (24 + 8) * 8  # bytes of a token in the tiny model's cache: layers, values, float64
NO_FULL_PAGE = {"page_size": 2048}


def picture(name: str) -> ImageRef:
    return ImageRef(name=name, path=f"images/{name}.png", root=str(GOLDEN))


def document(digits: str, generation: Generation = WARM, **options: Any) -> list[Request]:
    """Questions on one document of two pictures and some text; they differ in a digit."""
    parts = (picture("tall_30x170"), "Page two: ", picture("odd_100x61"), "and these are its last words. Is it ")
    return [ask(f"q{one}", *parts, f"{one}?", generation=generation, **options) for one in digits]


def prefilled(engine: TorchEngine, requests: list[Request]) -> int:
    answers_at_once(engine, requests)
    return engine.counts["prefill_tokens"]


# Names


def info(name: str, tokens: int) -> MediaInfo:
    return MediaInfo(sha256=name, kind="image", w=1, h=1, resized_to=(1, 1), tokens=tokens)


shown = st.lists(
    st.integers(0, 2) | st.builds(info, st.sampled_from("ab"), st.integers(1, 3)),
    max_size=12,
)


def spelled(content: list[int | MediaInfo]) -> tuple[list[int], list[MediaInfo]]:
    pictures = [one for one in content if isinstance(one, MediaInfo)]
    return [i for one in content for i in ([one] if isinstance(one, int) else [9] * one.tokens)], pictures


@given(shown, shown, st.integers(1, 4))
def test_pages_have_one_name_where_all_up_to_their_end_is_the_same(
    one: list[int | MediaInfo], two: list[int | MediaInfo], size: int
) -> None:
    names, tokens = [], []
    for content in (one, two):
        ids, pictures = spelled(content)
        names.append(page_names(ids, [place for place, token in enumerate(ids) if token == 9], pictures, size))
        tokens.append([i for part in content for i in ([part] if isinstance(part, int) else [part] * part.tokens)])
        assert len(names[-1]) == len(ids) // size
    for page, (a, b) in enumerate(zip(*names, strict=False), start=1):
        assert (a == b) == (tokens[0][: page * size] == tokens[1][: page * size])


# Sharing


@pytest.mark.parametrize("page_size", [4, 16])
def test_questions_on_one_document_prefill_its_full_pages_once(engine_with: Make, page_size: int) -> None:
    requests = document("12345", seeds=(1, 2), repeats=(0, 1))
    apart = engine_with(model_args=NO_FULL_PAGE)
    expected = texts(answers_at_once(apart, requests))
    total = apart.counts["prefill_tokens"]
    engine = engine_with(model_args={"page_size": page_size, "prefill_chunk": 50})
    assert texts(answers_at_once(engine, requests)) == expected
    assert len(set(expected.values())) > len(requests)
    common = (total - prefilled(engine_with(model_args={"page_size": 1}), requests)) // 4
    assert HEAD < common < total // 5
    assert engine.counts["prefill_tokens"] == total - 4 * (common // page_size) * page_size
    assert (engine.counts["prefills"], engine.counts["vision_calls"]) == (5, 1)


def test_a_picture_counts_by_its_content(engine_with: Make, tmp_path: Path) -> None:
    """Another picture of the same size ends what is shared; the same one under another name does not."""
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255)), ("again", (255, 0, 0))):
        Image.new("RGB", (112, 112), colour).save(tmp_path / f"{name}.png")
    requests = [
        ask(name, ImageRef(name=name, path=f"{name}.png", root=str(tmp_path)), "Which colour?")
        for name in ("red", "blue", "again")
    ]
    apart = engine_with(model_args=NO_FULL_PAGE)
    expected = answers_at_once(apart, requests)
    engine = engine_with(model_args={"page_size": 1})
    found = answers_at_once(engine, requests)
    assert texts(found) == texts(expected)
    assert found["red", 0, None].raw_output != found["blue", 0, None].raw_output
    length = found["red", 0, None].tokens.prompt
    assert found["red", 0, None].tokens == found["blue", 0, None].tokens
    assert engine.counts["prefill_tokens"] == length + (length - HEAD) + 1
    assert engine.counts["images"] == 2


@pytest.mark.parametrize("size", ["a page less one", "a page", "a page and one"])
def test_the_same_prompt_computes_its_last_token_for_each_request(engine_with: Make, size: str) -> None:
    """Whatever lies on the border of a page, something is left to compute, and it is as little as can be."""
    first = golden("one_image", WARM, seeds=(1,))
    length = len(CASES["one_image"]["input_ids"])
    page_size = length + {"a page less one": 1, "a page": 0, "a page and one": -1}[size]
    requests = [replace(first, key=f"{seed}", seeds=(seed,)) for seed in range(4)]
    engine = engine_with(model_args={"page_size": page_size})
    expected = texts(answers_at_once(engine_with(model_args=NO_FULL_PAGE), requests))
    assert texts(answers_at_once(engine, requests)) == expected
    assert engine.counts["prefill_tokens"] == length + 3 * (1 if page_size < length else length)


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_budgets_of_questions_on_one_document(engine_with: Make, thinker: Path, policy: Policy) -> None:
    """Branches cut their own pages back, never shared ones, in whatever order the requests come."""
    generation = Generation(
        max_new_tokens=None, think_budgets=(5, 12, 30), budget_policy=policy, answer_tokens=8, temperature=1.0
    )
    requests = document("1234", generation, prefix="◁think▷", seeds=(1, 2), repeats=(0, 1))
    requests[2:2] = [ask("other", "word " * 20, generation=generation, prefix="◁think▷", seeds=(5,))]
    expected = texts(answers_at_once(engine_with(thinker, model_args=NO_FULL_PAGE), requests))
    for backwards, settings in ((False, {}), (True, {"kv_cache_gb": (280 * TOKEN + 1) / 2**30})):
        engine = engine_with(thinker, model_args={"page_size": 4, "prefill_chunk": 13}, **settings)
        assert texts(answers_at_once(engine, requests[::-1] if backwards else requests)) == expected
        assert (engine.counts["preempted"] > 0) == backwards


# Little room


@pytest.mark.parametrize("generation", [GREEDY, WARM], ids=["greedy", "sampling"])
def test_a_small_cache_changes_no_answer_and_keeps_nothing(
    engine_with: Make, monkeypatch: pytest.MonkeyPatch, generation: Generation
) -> None:
    requests = document("123456", generation, seeds=(1, 2), repeats=(0, 1))
    expected = texts(answers_at_once(engine_with(model_args=NO_FULL_PAGE), requests))
    engine = engine_with(kv_cache_gb=(160 * TOKEN + 1) / 2**30, model_args={"page_size": 4})
    made: list[Batch] = []
    new_batch = engine._new_batch
    monkeypatch.setattr(engine, "_new_batch", lambda: made.append(new_batch()) or made[-1])
    most = 0

    def watch(module: Any, args: tuple[Any, ...]) -> None:
        nonlocal most
        most = max(most, args[3].pool.used)

    engine.load().language_model.model.register_forward_pre_hook(watch)
    assert texts(answers_at_once(engine, requests)) == expected
    (batch,) = made
    assert batch.counts.preempted > 0
    assert 30 <= most <= 40
    assert (batch.pool.used, len(batch.features), batch.busy) == (0, 0, False)


def test_more_questions_fit_where_they_share_their_document(engine_with: Make) -> None:
    """Room for one document and several answers: all run at once, nobody has to wait."""
    requests = document("123456")
    (length,) = {one.tokens.prompt for one in answers_at_once(engine_with(), requests).values()}
    engine = engine_with(kv_cache_gb=((length + 6 * 40) * TOKEN + 1) / 2**30, model_args={"page_size": 4})
    found = answers_at_once(engine, requests)
    assert len(found) == 6
    assert engine.counts["preempted"] == 0
    assert engine.counts["decode_steps"] <= 20 + 6, "each prefill is a step, and all decode together"
