"""The bundled engine over the tiny golden checkpoint: right tokens, whoever shares the batch, and honest failures."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.errors import CheckpointError, ConfigError
from kvl_eval.model import KimiVL, KimiVLProcessor
from kvl_eval.model.rows import PromptRows
from kvl_eval.request import RequestQueue
from kvl_eval.types import Completion, Generation, ImageRef
from tests.backends.engine import (
    CASES,
    GOLDEN,
    GREEDY,
    TINY,
    WARM,
    Answers,
    all_golden,
    answers,
    ask,
    golden,
    only,
    texts,
    varied,
)

# Right tokens


@pytest.mark.parametrize("settings", [{}, {"batch_size": 1}, {"batch_size": 2, "model_args": {"prefill_chunk": 7}}])
def test_greedy_answers_are_the_golden_ones(engine_with: Callable[..., TorchEngine], settings: dict[str, Any]) -> None:
    engine = engine_with(**settings)
    found = answers(engine, all_golden())
    for name, case in CASES.items():
        completion = found[name, 0, None]
        ids = case["greedy_until_stop"]
        stopped = len(ids) < 24 or ids[-1] in engine.text.tokenizer.stop_ids
        assert completion.status == "ok"
        assert completion.raw_output == engine.text.tokenizer.decode(ids)
        assert completion.finish_reason == ("stop" if stopped else "length")
        assert completion.answer == engine.text.tokenizer.decode(ids[:-1] if stopped else ids)
        assert completion.tokens.answer == len(ids) - stopped
        assert (completion.tokens.prompt, completion.tokens.image) == (len(case["input_ids"]), case["n_image_tokens"])
        assert (completion.think_closed, completion.thinking, completion.tokens.thinking) == (None, "", 0)
        assert {"queue", "load", "prefill", "decode", "total"} == set(completion.time)


def test_records_say_what_the_model_saw(engine_with: Callable[..., TorchEngine]) -> None:
    completion = only(answers(engine_with(), [golden("two_images")]))
    assert completion.prompt_text == CASES["two_images"]["rendered"].replace("<|media_pad|>", "<image:1>", 1).replace(
        "<|media_pad|>", "<image:2>", 1
    )
    assert [(info.w, info.h, info.tokens) for info in completion.media] == [(30, 170, 14), (64, 48, 6)]


def test_worker_processes_prepare_the_same_pictures(engine_with: Callable[..., TorchEngine]) -> None:
    here, there = (answers(engine_with(num_workers=n), all_golden()) for n in (0, 2))
    assert texts(here) == texts(there)
    assert {place: one.media for place, one in here.items()} == {place: one.media for place, one in there.items()}


def test_sampling_draws_what_the_library_draws(engine_with: Callable[..., TorchEngine]) -> None:
    model, processor = KimiVL.from_pretrained(TINY), KimiVLProcessor.from_pretrained(TINY)
    found = answers(engine_with(), [ask("q", "Compute the sum.", generation=WARM, seeds=(11, 12), repeats=(0, 1))])
    inputs = processor.encode([{"role": "user", "content": "Compute the sum."}])
    for repeat, seed in ((0, 11), (1, 12)):
        (ids,) = model.generate(
            inputs["input_ids"], max_new_tokens=20, temperature=0.9, top_p=0.95, seed=seed, stop_token_ids=None
        )
        assert found["q", repeat, None].raw_output == processor.tokenizer.decode(ids)
        assert found["q", repeat, None].seed == seed


# Neighbours, batch size, order


@pytest.mark.parametrize("generation", [GREEDY, pytest.param(WARM, marks=pytest.mark.slow)], ids=["greedy", "sampling"])
def test_answers_depend_neither_on_batch_nor_order_nor_neighbours(
    engine_with: Callable[..., TorchEngine], generation: Generation
) -> None:
    requests = varied(generation)
    if generation is GREEDY:  # whose repeats are all the same
        requests = [replace(request, seeds=request.seeds[:1], repeats=(0,)) for request in requests]
    expected = texts(answers(engine_with(batch_size=1), requests))
    assert len(set(expected.values())) > len(requests) // 2
    assert texts(answers(engine_with(batch_size=8), requests)) == expected
    assert texts(answers(engine_with(batch_size=3), reversed(requests))) == expected
    small = engine_with(model_args={"prefill_chunk": 5})
    assert texts(answers(small, requests)) == expected
    alone = answers(small, [requests[3]]) | answers(small, [requests[8]])
    assert texts(alone) == {place: text for place, text in expected.items() if place in alone}


def test_one_repeat_alone_is_the_same_as_among_others(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    among = answers(engine, [ask("q", "How many?", generation=WARM, seeds=(3, 4, 5), repeats=(0, 1, 2))])
    alone = answers(engine, [ask("q", "How many?", generation=WARM, seeds=(4,), repeats=(1,))])
    assert alone["q", 1, None].raw_output == among["q", 1, None].raw_output


def test_repeats_share_pictures_and_prefill(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    found = answers(engine, [golden("two_images", WARM, seeds=tuple(range(6)), repeats=tuple(range(6)))])
    assert len(found) == 6
    assert engine.counts["prefills"] == 1
    assert engine.counts["images"] == 2
    assert engine.counts["prefill_tokens"] == len(CASES["two_images"]["input_ids"])


def test_rows_are_refilled_in_mid_flight(engine_with: Callable[..., TorchEngine]) -> None:
    """Twelve short answers and one long one need no more steps than the long one in a batch of four."""
    engine = engine_with(batch_size=4)
    requests = [ask("long", "Go on.", generation=Generation(max_new_tokens=60, temperature=1.0))]
    requests += [ask(f"s{i}", f"Number {i}?", generation=Generation(max_new_tokens=4)) for i in range(12)]
    answers(engine, requests)
    assert engine.counts["decode_steps"] <= 60


def test_requests_that_arrive_join_the_running_batch(
    engine_with: Callable[..., TorchEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each short request is put in when the one before it is answered; the long one among them is as it is alone."""
    monkeypatch.setattr("kvl_eval.backends.torch_engine._run_a_while", lambda batch: batch.step())
    engine = engine_with(batch_size=4)
    long = ask("long", "Go on.", generation=Generation(max_new_tokens=60, temperature=1.0))
    short = [ask(f"s{i}", f"Number {i}?", generation=Generation(max_new_tokens=2)) for i in range(4)]
    alone = {key: answer.raw_output for key, answer in answers(engine, [long, *short]).items()}

    async def live() -> dict[tuple[str, int, int | None], str]:
        queue, found, rest = RequestQueue(), {}, iter(short)
        queue.put(long)
        queue.put(next(rest))
        async for key, completion in engine.answer_queue(queue):
            found[key, completion.repeat, completion.budget] = completion.raw_output
            following = next(rest, None)
            if following is None:
                queue.close()
            else:
                queue.put(following)
        return found

    found = asyncio.run(live())
    assert found == alone
    assert list(found)[-1][0] == "long"
    assert engine.counts["decode_steps"] <= 60


# Budgets


SWEEP = (4, 9, 17, 30)
THINKING = "◁think▷"


@pytest.mark.parametrize(
    ("policy", "temperature"), [("cut", 0.0), ("force", 0.8)], ids=["greedy-cut", "sampling-force"]
)
def test_a_sweep_equals_separate_runs(engine_with: Callable[..., TorchEngine], policy: Any, temperature: float) -> None:
    def requests(*budgets: int) -> list[Request]:
        generation = Generation(
            max_new_tokens=None,
            think_budgets=budgets,
            budget_policy=policy,
            answer_tokens=6,
            temperature=temperature,
        )
        options = {"prefix": THINKING, "seeds": (1, 2), "repeats": (0, 1)}
        return [
            ask("text", "Think about it.", generation=generation, **options),
            golden("one_image", generation, **options),
        ]

    engine = engine_with()
    together = answers(engine, requests(*SWEEP))
    assert engine.counts["prefills"] == 2
    assert engine.counts["images"] == 1
    apart: Answers = {}
    for budget in SWEEP:
        apart |= answers(engine_with(batch_size=1), requests(budget))
    assert texts(together) == texts(apart)
    for place, completion in together.items():
        other = apart[place]
        assert (completion.tokens, completion.answer, completion.finish_reason) == (
            other.tokens,
            other.answer,
            other.finish_reason,
        )
        assert completion.policy == policy
        assert completion.trajectory_id == f"{place[0]}/{place[1]}"
        check_budget(completion)


def check_budget(completion: Completion) -> None:
    """The tiny model never closes a thought by itself."""
    assert completion.budget is not None
    assert completion.tokens.thinking <= completion.budget
    if completion.policy == "force" and completion.finish_reason != "error" and completion.budget_forced:
        assert completion.think_closed is True
        assert "◁/think▷" in completion.raw_output
        assert completion.tokens.answer <= 6
    else:
        assert completion.think_closed is False
        assert completion.answer == ""
        assert completion.finish_reason in ("budget", "stop")


def test_cut_budgets_decode_no_more_than_the_largest(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    generation = Generation(max_new_tokens=None, think_budgets=SWEEP, answer_tokens=6, temperature=0.7)
    answers(engine, [ask("q", "Think.", generation=generation, prefix=THINKING)])
    assert engine.counts["decoded_tokens"] < max(SWEEP)


def test_forced_answers_branch_without_a_second_prefill(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    generation = Generation(
        max_new_tokens=None, think_budgets=SWEEP, budget_policy="force", answer_tokens=6, temperature=0.7
    )
    found = answers(engine, [ask("q", "Think.", generation=generation, prefix=THINKING, seeds=(8,))])
    marker = len(engine.text.tokenizer.encode("◁/think▷"))
    assert len(found) == len(SWEEP)
    assert engine.counts["prefills"] == 1
    assert engine.counts["decoded_tokens"] <= max(SWEEP) + len(SWEEP) * (marker + 6 + 1)


# Questions that look like markup


def test_special_tokens_in_a_question_are_plain_text(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    question = "Is <|im_end|><|im_assistant|> or <|media_pad|> or ◁/think▷ a [EOS]?"
    completion = only(answers(engine, [ask("q", question)]))
    empty = only(answers(engine, [ask("q", "")]))
    assert completion.status == "ok"
    assert completion.tokens.image == 0
    assert completion.tokens.prompt - empty.tokens.prompt == len(engine.text.tokenizer.encode(question))
    assert question in completion.prompt_text


def test_a_placeholder_beside_a_picture_takes_no_slot(engine_with: Callable[..., TorchEngine]) -> None:
    picture = ImageRef(name="p", path="images/odd_100x61.png", root=str(GOLDEN))
    completion = only(answers(engine_with(), [ask("q", picture, "What is <|media_pad|>?")]))
    assert (completion.status, completion.tokens.image) == ("ok", 12)


def test_a_prefix_is_continued(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    whole = only(answers(engine, [ask("q", "Count.")]))
    start = engine.text.tokenizer.decode(engine.text.tokenizer.encode("The answer is"))
    begun = only(answers(engine, [ask("q", "Count.", prefix=start)]))
    assert begun.raw_output.startswith(start)
    assert begun.raw_output != whole.raw_output
    assert begun.tokens.answer <= 24


# Failures stay with their sample


def test_broken_media_fail_their_sample_and_nobody_else(
    engine_with: Callable[..., TorchEngine], tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes((GOLDEN / "images" / "odd_100x61.png").read_bytes()[:200])
    (tmp_path / "empty.png").write_bytes(b"")
    broken = {
        "cut": ImageRef(name="cut.png", path="cut.png", root=str(tmp_path)),
        "empty": ImageRef(name="empty.png", path="empty.png", root=str(tmp_path)),
        "gone": ImageRef(name="gone.png", path="gone.png", root=str(tmp_path)),
        "outside": ImageRef(name="x.png", path="../../etc/passwd", root=str(tmp_path)),
    }
    requests = [ask(key, ref, "What?", repeats=(0, 1), seeds=(0, 1)) for key, ref in broken.items()]
    found = answers(engine_with(num_workers=2), [*requests[:2], *all_golden(), *requests[2:]])
    reasons = {key: {found[key, repeat, None].reason for repeat in (0, 1)} for key in broken}
    assert reasons == {
        "cut": {"media_corrupt"},
        "empty": {"media_corrupt"},
        "gone": {"media_missing"},
        "outside": {"media_path_outside"},
    }
    assert all(found[name, 0, None].status == "ok" for name in CASES)
    failed = found["gone", 0, None]
    assert (failed.status, failed.finish_reason, failed.raw_output) == ("failed", "error", "")
    assert failed.message is not None
    assert "gone.png" in failed.message


def test_a_prompt_beyond_the_context_fails_with_its_counts(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    context = engine.context
    assert context == 2048
    long = Generation(max_new_tokens=context - 41 + 1)
    fits = Generation(max_new_tokens=context - 41)
    found = answers(engine, [golden("one_image", long), golden("text_only", fits)])
    overflow = found["one_image", 0, None]
    assert overflow.reason == "context_overflow"
    assert overflow.message is not None
    assert {"41", "12", "2008", "2048"} <= set(overflow.message.replace(",", " ").replace("(", " ").split())
    assert found["text_only", 0, None].status == "ok"


def test_pictures_shrink_until_the_prompt_fits(engine_with: Callable[..., TorchEngine], tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(TINY, folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "in_token_limit": 1024}))
    picture = ImageRef(name="picture", path="images/over_limit_500x300.png", root=str(GOLDEN))
    small = ImageRef(name="small", path="images/rgba_64x48.png", root=str(GOLDEN))
    found = answers(
        engine_with(folder), [ask("one", picture), ask("many", *[picture] * 11, small), ask("never", *[picture] * 40)]
    )
    one, many, never = (found[name, 0, None] for name in ("one", "many", "never"))
    assert (one.media[0].limit, one.media[0].tokens) == (None, 198)
    assert {info.limit for info in many.media} == {512}
    assert all(info.tokens < 150 for info in many.media)
    assert many.media[-1].tokens == 6
    assert (many.status, never.status, never.reason) == ("ok", "failed", "context_overflow")
    assert len(many.media) == 12


def test_budgets_that_fail_fail_one_by_one(engine_with: Callable[..., TorchEngine]) -> None:
    generation = Generation(max_new_tokens=None, think_budgets=(8, 4000), answer_tokens=6)
    found = answers(engine_with(), [ask("q", "Think.", generation=generation, repeats=(0, 1), seeds=(1, 2))])
    assert {(place[1], place[2]) for place in found} == {(0, 8), (0, 4000), (1, 8), (1, 4000)}
    assert {completion.reason for completion in found.values()} == {"context_overflow"}
    assert {completion.policy for completion in found.values()} == {"cut"}


def test_nan_fails_its_sample_only(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    expected = texts(answers(engine, all_golden()))
    poison = next(
        i for i in range(512) if not any(i in case["input_ids"] + case["greedy_24"] for case in CASES.values())
    )
    engine.load().language_model.model.embed_tokens.weight.data[poison] = float("nan")
    bad = next(text for text in map(chr, range(32, 127)) if engine.text.tokenizer.encode(text) == [poison])
    found = answers(engine, [ask("bad", bad), *all_golden()])
    assert found["bad", 0, None].reason == "nan"
    assert {place: text for place, text in texts(found).items() if place[0] != "bad"} == expected


def test_nan_in_mid_answer_fails_its_sample_only(engine_with: Callable[..., TorchEngine]) -> None:
    """The model turns sick by what it wrote itself; its row is reused by others."""
    engine = engine_with(batch_size=2)
    expected = texts(answers(engine, all_golden()))
    used = {i for case in CASES.values() for i in case["input_ids"]}
    used |= {i for name, case in CASES.items() if name != "text_only" for i in case["greedy_24"]}
    written = next(i for i in CASES["text_only"]["greedy_24"] if i not in used)
    engine.load().language_model.model.embed_tokens.weight.data[written] = float("nan")
    found = answers(engine, all_golden())
    assert found["text_only", 0, None].reason == "nan"
    others = {place for place in expected if place[0] != "text_only"}
    assert {place: texts(found)[place] for place in others} == {place: expected[place] for place in others}


# Memory


def fail_above(model: KimiVL, rows: int) -> Callable[[], None]:
    """Decoding more than `rows` rows together runs out of memory. Returns what removes the limit."""

    def check(module: Any, args: tuple[Any, ...]) -> None:
        if args[0].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return model.language_model.model.register_forward_pre_hook(check).remove


def fail_behind(model: KimiVL, length: int) -> Callable[[], None]:
    """Any step that involves a row of more than `length` tokens runs out of memory."""

    def check(module: Any, args: tuple[Any, ...]) -> None:
        rows = args[3]
        new = rows.counts if isinstance(rows, PromptRows) else [args[0].shape[1]] * len(rows.tables)
        if max(table.length + count for table, count in zip(rows.tables, new, strict=True)) > length:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )

    return model.language_model.model.register_forward_pre_hook(check).remove


@pytest.mark.slow
def test_batches_are_split_where_memory_runs_out(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with(batch_size=8)
    expected = texts(answers(engine, varied(WARM)))
    fail_above(engine.load(), rows=3)
    found = answers(engine, varied(WARM))
    assert texts(found) == expected
    assert 0 < engine.counts["out_of_memory"] <= 4


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_sample_too_large_for_memory_fails_alone(engine_with: Callable[..., TorchEngine], batch_size: int) -> None:
    engine = engine_with(batch_size=batch_size)
    small = [ask(f"q{i}", f"Number {i}?", generation=WARM) for i in range(6)]
    expected = texts(answers(engine, small))
    fail_behind(engine.load(), length=150)
    prefill = ask("prefill", "word " * 200, generation=WARM)
    decode = ask("decode", "word " * 55, generation=Generation(max_new_tokens=60, temperature=1.0), seeds=(3,))
    found = answers(engine, [*small[:2], prefill, *small[2:4], decode, *small[4:]])
    assert found["prefill", 0, None].reason == "oom"
    assert found["decode", 0, None].reason == "oom"
    assert {place: text for place, text in texts(found).items() if place[0].startswith("q")} == expected


@pytest.mark.slow
def test_memory_errors_of_the_vision_tower_are_failures_too(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()

    def check(module: Any, args: tuple[Any, ...]) -> None:
        raise MemoryError

    engine.load().vision_tower.register_forward_pre_hook(check)
    found = answers(engine, all_golden())
    assert {name: found[name, 0, None].reason for name in CASES if CASES[name]["images"]} == {
        "one_image": "oom",
        "two_images": "oom",
        "over_limit": "oom",
    }
    assert found["text_only", 0, None].status == "ok"


# Blind, lazy requests, ending early


def test_blind_answers_without_looking(engine_with: Callable[..., TorchEngine]) -> None:
    seeing = answers(engine_with(), [golden("one_image"), golden("text_only")])
    blind = answers(engine_with(blind=True), [golden("one_image"), golden("text_only")])
    one, two = seeing["one_image", 0, None], blind["one_image", 0, None]
    assert (one.tokens.prompt, one.media[0].sha256) == (two.tokens.prompt, two.media[0].sha256)
    assert one.raw_output != two.raw_output
    assert seeing["text_only", 0, None].raw_output == blind["text_only", 0, None].raw_output


def test_requests_are_pulled_as_there_is_room(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with(batch_size=2)
    pulled = 0

    def requests() -> Iterator[Request]:
        nonlocal pulled
        for i in range(50):
            pulled += 1
            yield ask(f"q{i}", "Hm?", generation=Generation(max_new_tokens=2, temperature=1.0))

    async def watch() -> list[int]:
        return [pulled async for _ in engine.generate(requests())]

    seen = asyncio.run(watch())
    assert len(seen) == 50
    assert all(taken - done <= 10 for done, taken in enumerate(seen))


def test_a_run_that_is_left_early_can_be_followed_by_another(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()

    async def first() -> str:
        stream = engine.generate(all_golden())
        async for key, _ in stream:
            await stream.aclose()  # type: ignore[attr-defined]
            return key
        raise AssertionError

    assert asyncio.run(first()) in CASES
    assert len(answers(engine, all_golden())) == len(CASES)


def test_nothing_to_do_is_no_answer(engine_with: Callable[..., TorchEngine]) -> None:
    assert answers(engine_with(), []) == {}


# Facts


def test_facts_name_the_checkpoint_by_content(engine_with: Callable[..., TorchEngine], tmp_path: Path) -> None:
    copy = tmp_path / "renamed"
    shutil.copytree(TINY, copy)
    description, same = engine_with(dtype=None).describe(), engine_with(copy, dtype=None).describe()
    original = description.identity
    assert original == same.identity
    assert set(original) >= {"weights_sha256", "config_sha256", "tokenizer_sha256"}
    assert (original["dtype"], original["weights_hashed"]) == ("float32", "whole")
    assert (description.facts["device"], description.facts["path"]) == ("cpu", TINY.name)
    shard = copy / "model-00002-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    (copy / "generation_config.json").write_text("{}")
    changed = engine_with(copy).describe().identity
    assert changed["weights_sha256"] != original["weights_sha256"]
    assert changed["config_sha256"] != original["config_sha256"]
    assert changed["tokenizer_sha256"] == original["tokenizer_sha256"]


def test_limits_count_as_the_engine_does(engine_with: Callable[..., TorchEngine]) -> None:
    limits = engine_with().limits()
    assert limits.image_tokens is not None
    assert limits.text_tokens is not None
    assert limits.image_tokens(100, 61) == 12
    assert limits.image_tokens(100_000, 20) > 0
    assert limits.text_tokens("<|im_end|>") > 1


def test_unknown_model_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="prefil_chunk") as caught:
        TorchEngine(TINY, Settings.of(model_args={"prefil_chunk": 3}), name="tiny", family="instruct")
    assert caught.value.fix == "did you mean prefill_chunk?"
    with pytest.raises(ConfigError, match="threads"):
        TorchEngine(TINY, Settings.of(model_args={"threads": "many"}), name="tiny", family="instruct")


def test_an_unusable_folder_is_one_clear_error(engine_with: Callable[..., TorchEngine], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        engine_with(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(TINY, copy)
    (copy / "model-00001-of-00002.safetensors").unlink()
    engine = engine_with(copy)
    with pytest.raises(CheckpointError, match="model-00001"):
        engine.describe()
    with pytest.raises(CheckpointError, match="model-00001"):
        answers(engine, all_golden())


def test_stopping_does_not_wait_for_a_step_of_the_model(engine_with: Callable[..., TorchEngine]) -> None:
    engine = engine_with()
    begun, go_on = threading.Event(), threading.Event()

    def block(module: Any, args: tuple[Any, ...]) -> None:
        begun.set()
        go_on.wait(60)

    engine.load().vision_tower.register_forward_pre_hook(block)

    async def stop_in_the_middle() -> None:
        async def consume() -> None:
            async for _ in engine.generate([golden("one_image")]):
                pass

        work = asyncio.create_task(consume())
        await asyncio.to_thread(begun.wait, 60)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await engine.close()

    asyncio.run(stop_in_the_middle())
    assert not go_on.is_set()
    go_on.set()
