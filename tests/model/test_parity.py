"""Parity with the reference run, from pixels to tokens, and every way of running equal to every other."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kvl_eval.errors import PromptError
from kvl_eval.model import KimiVL
from kvl_eval.model.generate import decode_step, prefill
from kvl_eval.model.pages import PageTable
from kvl_eval.model.rows import PromptRows, StepRows

CASES = ["text_only", "text_multi_turn", "one_image", "two_images", "over_limit"]
WITH_IMAGES = CASES[2:]
Inputs = dict[str, Tensor]


def vectors(golden: Path, name: str) -> dict[str, Tensor]:
    return load_file(golden / f"case_{name}.safetensors")


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_logits(golden: Path, model: KimiVL, inputs: dict[str, Inputs], name: str) -> None:
    logits = model(**inputs[name]).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits[0], vectors(golden, name)["logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", WITH_IMAGES)
@torch.no_grad()
def test_tower_projector_and_embeddings(golden: Path, model: KimiVL, inputs: dict[str, Inputs], name: str) -> None:
    expected, given = vectors(golden, name), inputs[name]
    tower = model.vision_tower(given["pixel_values"], given["image_grid_hws"])
    torch.testing.assert_close(tower, expected["vision_tower_out"], atol=2e-5, rtol=0)
    features = model.multi_modal_projector(tower)
    torch.testing.assert_close(features, expected["projector_out"], atol=2e-5, rtol=0)
    embeds = model.embeddings(given["input_ids"], features)
    torch.testing.assert_close(embeds[0], expected["inputs_embeds"], atol=2e-5, rtol=0)


@torch.no_grad()
def test_hidden_states_of_every_layer(golden: Path, model: KimiVL, inputs: dict[str, Inputs]) -> None:
    seen: list[Tensor] = []
    decoder = model.language_model.model
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0][0])) for layer in decoder.layers]
    hooks.append(decoder.norm.register_forward_hook(lambda _, __, out: seen.append(out[0])))
    model(**inputs["text_only"])
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(torch.stack(seen), vectors(golden, "text_only")["hidden_states"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_router_choices_and_weights(golden: Path, model: KimiVL, inputs: dict[str, Inputs]) -> None:
    expected, chosen = vectors(golden, "text_only"), []
    gates = [layer.mlp.gate for layer in model.language_model.model.layers if hasattr(layer.mlp, "gate")]
    hooks = [gate.register_forward_hook(lambda _, __, out: chosen.append(out)) for gate in gates]
    model(**inputs["text_only"])
    for hook in hooks:
        hook.remove()
    assert len(chosen) == len(expected["router_topk_idx_sorted"])
    for layer, (experts, weights) in enumerate(chosen):
        order = experts.argsort(-1)
        assert torch.equal(experts.gather(1, order), expected["router_topk_idx_sorted"][layer].long())
        torch.testing.assert_close(
            weights.gather(1, order), expected["router_topk_weight_sorted"][layer], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("chunk", [1, 7, 20, 2048])
def test_greedy_tokens_also_prefilled_in_chunks(
    model: KimiVL, cases: dict[str, Any], inputs: dict[str, Inputs], name: str, chunk: int
) -> None:
    ids = model.generate(**inputs[name], max_new_tokens=24, stop_token_ids=(), prefill_chunk=chunk)
    assert ids == [cases[name]["greedy_24"]]


@pytest.mark.parametrize("name", CASES)
def test_generation_ends_with_the_stop_token(
    model: KimiVL, cases: dict[str, Any], inputs: dict[str, Inputs], name: str
) -> None:
    assert model.generate(**inputs[name], max_new_tokens=24) == [cases[name]["greedy_until_stop"]]


@pytest.mark.parametrize("stop_at", [2, 5])
def test_own_stop_tokens_end_a_row_while_others_go_on(
    model: KimiVL, cases: dict[str, Any], inputs: dict[str, Inputs], stop_at: int
) -> None:
    names = ["text_only", "one_image"]
    expected = [cases[name]["greedy_24"] for name in names]
    stop = expected[0][stop_at]
    results = model.generate(**joined([inputs[name] for name in names]), max_new_tokens=24, stop_token_ids=[stop])
    assert results == [ids[: ids.index(stop) + 1] if stop in ids else ids for ids in expected]


def joined(encoded: list[Inputs]) -> Inputs:
    """Several prompts as one left-padded batch."""
    size = max(one["input_ids"].shape[1] for one in encoded)
    batch = {}
    for key, filler in (("input_ids", 767), ("attention_mask", 0)):
        rows = [torch.nn.functional.pad(one[key], (size - one[key].shape[1], 0), value=filler) for one in encoded]
        batch[key] = torch.cat(rows)
    for key in ("pixel_values", "image_grid_hws"):
        parts = [one[key] for one in encoded if key in one]
        if parts:
            batch[key] = torch.cat(parts)
    return batch


@pytest.mark.parametrize("names", [CASES, CASES[::-1], ["one_image", "text_only", "one_image"]], ids=str)
@pytest.mark.parametrize("chunk", [16, 2048])
def test_a_batch_gives_each_prompt_its_own_tokens(
    model: KimiVL, cases: dict[str, Any], inputs: dict[str, Inputs], names: list[str], chunk: int
) -> None:
    batch = joined([inputs[name] for name in names])
    results = model.generate(**batch, max_new_tokens=24, stop_token_ids=[], prefill_chunk=chunk)
    assert results == [cases[name]["greedy_24"] for name in names]


@torch.no_grad()
def test_padding_at_the_left_changes_no_logit(golden: Path, model: KimiVL, inputs: dict[str, Inputs]) -> None:
    names = ["two_images", "text_only"]
    batch = joined([inputs[name] for name in names])
    logits = model(**batch).logits
    assert logits.isfinite().all()
    for row, name in enumerate(names):
        expected = vectors(golden, name)["logits"]
        torch.testing.assert_close(logits[row, -len(expected) :], expected, atol=1e-4, rtol=0)


def test_sampling_in_a_batch_equals_sampling_alone(tiny: Path, inputs: dict[str, Inputs]) -> None:
    model = KimiVL.from_pretrained(tiny, dtype="float64")
    names = ["text_only", "two_images", "text_multi_turn"]
    settings = {"max_new_tokens": 16, "temperature": 0.9, "top_p": 0.95, "top_k": 50, "stop_token_ids": ()}
    alone = [model.generate(**inputs[name], **settings, seed=seed)[0] for seed, name in enumerate(names)]
    together = model.generate(**joined([inputs[name] for name in names]), **settings, seed=[0, 1, 2])
    assert together == alone
    again = model.generate(**inputs["text_only"], **{**settings, "max_new_tokens": 8}, seed=0)
    assert again == [alone[0][:8]]


@torch.no_grad()
def test_rows_join_and_leave_a_running_batch(model: KimiVL, cases: dict[str, Any], inputs: dict[str, Inputs]) -> None:
    """Prompts are admitted and retired in the middle of decoding, and every row still says the same."""
    embeds = {name: model.embeddings(inputs[name]["input_ids"], features(model, inputs[name])) for name in CASES}
    expected = {name: cases[name]["greedy_24"] for name in CASES}
    pool, tables, said = model.new_pool(page_size=8), {}, {name: [] for name in CASES}
    waiting = list(CASES)
    for step in range(60):
        if waiting and step % 3 == 0:
            name = waiting.pop(0)
            tables[name] = PageTable()
            said[name].append(int(prefill(model, embeds[name], pool, tables[name], 10).argmax()))
        rows = StepRows(pool, list(tables.values()))
        tokens = decode_step(model, [said[name][-1] for name in tables], rows).argmax(-1).tolist()
        for name, token in zip(list(tables), tokens, strict=True):
            said[name].append(token)
            if len(said[name]) == 24:
                pool.release(tables.pop(name))
        if not tables and not waiting:
            break
    assert said == expected
    assert pool.used == 0


def features(model: KimiVL, given: Inputs) -> Tensor | None:
    return model.image_features(given["pixel_values"], given["image_grid_hws"]) if "pixel_values" in given else None


@torch.no_grad()
def test_a_cut_row_goes_on_as_if_nothing_had_followed(
    model: KimiVL, cases: dict[str, Any], inputs: dict[str, Inputs]
) -> None:
    ids, expected = inputs["text_only"]["input_ids"], cases["text_only"]["greedy_24"]
    pool, table = model.new_pool(page_size=8), PageTable()
    logits, rows = prefill(model, model.embeddings(ids), pool, table), StepRows(pool, [table])
    for token in [700, 701, 702]:
        decode_step(model, [token], rows)
    pool.truncate(table, ids.shape[1])
    said = [int(logits.argmax())]
    for _ in range(7):
        said.append(int(decode_step(model, said[-1:], rows).argmax()))
    assert said == expected[:8]


@torch.no_grad()
def test_prompts_of_different_length_prefill_together(golden: Path, model: KimiVL, inputs: dict[str, Inputs]) -> None:
    names = ["text_only", "text_multi_turn"]
    rows = [model.embeddings(inputs[name]["input_ids"])[0] for name in names]
    pool, tables, counts = model.new_pool(), [PageTable(), PageTable()], [len(row) for row in rows]
    positions = torch.cat([torch.arange(count) for count in counts])[None]
    logits = model.forward_cached(torch.cat(rows)[None], PromptRows(pool, tables, counts, positions))
    assert [table.length for table in tables] == counts
    for row, name in enumerate(names):
        torch.testing.assert_close(logits[row], vectors(golden, name)["logits"][-1], atol=1e-4, rtol=0)


def test_wrong_numbers_of_images_are_refused(model: KimiVL, inputs: dict[str, Inputs]) -> None:
    two, one = inputs["two_images"], inputs["one_image"]
    with pytest.raises(PromptError, match="20 image tokens, but the images give 12"):
        model(two["input_ids"], one["pixel_values"], one["image_grid_hws"])
    with pytest.raises(PromptError, match="12 image tokens, but the images give 0"):
        model(one["input_ids"])
    with pytest.raises(PromptError, match="0 image tokens, but the images give 12"):
        model(inputs["text_only"]["input_ids"], one["pixel_values"], one["image_grid_hws"])
    with pytest.raises(PromptError, match="needs image_grid_hws"):
        model(one["input_ids"], one["pixel_values"])


def test_a_prompt_beyond_the_context_is_refused(model: KimiVL) -> None:
    limit = model.config.text_config.max_position_embeddings
    with pytest.raises(PromptError, match=f"{limit + 1} tokens") as caught:
        model.generate(torch.zeros(1, limit + 1, dtype=torch.long))
    assert caught.value.reason == "context_overflow"


@pytest.mark.parametrize("name", ["text_only", "two_images"])
@torch.no_grad()
def test_bfloat16_says_nearly_the_same(tiny: Path, golden: Path, inputs: dict[str, Inputs], name: str) -> None:
    model = KimiVL.from_pretrained(tiny, dtype="bfloat16")
    logits = model(**inputs[name]).logits
    assert logits.dtype == torch.float32
    alike = torch.nn.functional.cosine_similarity(logits[0], vectors(golden, name)["logits"], dim=-1)
    assert alike.median() > 0.99
    assert model.new_pool().layers[0].dtype == torch.bfloat16
    assert len(model.generate(**inputs[name], max_new_tokens=6, stop_token_ids=())[0]) == 6


@torch.no_grad()
def test_float64_stays_in_float64_from_pixels_to_logits(tiny: Path, golden: Path, inputs: dict[str, Inputs]) -> None:
    """A batch of another shape, and pages in place of whole rows, move logits by the rounding of float64 alone."""
    model = KimiVL.from_pretrained(tiny, dtype="float64")
    names = ["two_images", "text_only"]
    batch = joined([inputs[name] for name in names])
    logits = model(**batch).logits
    assert logits.dtype == torch.float64
    for row, name in enumerate(names):
        alone = model(**inputs[name]).logits[0]
        torch.testing.assert_close(alone, vectors(golden, name)["logits"].double(), atol=1e-4, rtol=0)
        torch.testing.assert_close(logits[row, -len(alone) :], alone, atol=1e-12, rtol=0)
    embeds = model.embeddings(inputs["text_only"]["input_ids"])
    chunked = prefill(model, embeds, model.new_pool(), PageTable(), chunk=5)
    torch.testing.assert_close(chunked[0], logits[1, -1], atol=1e-12, rtol=0)
