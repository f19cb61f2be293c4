"""On an accelerator: what the CPU computes in float32, and the same twice where sums have no order of their own."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from benchmarks.engine import TINY
from benchmarks.gpu_check.small import Checkpoint, cases, reply, requests, written
from kvl_eval.engine.cache_budget import page_limit
from kvl_eval.model import KimiVL, KimiVLProcessor, TextConfig
from kvl_eval.model.base import VisionLanguageModel
from kvl_eval.model.generate import decode_step, prefill
from kvl_eval.model.kimi_vl.moe import Experts
from kvl_eval.model.memory import free_bytes
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import StepRows
from kvl_eval.model.sampling import sample_rows
from kvl_eval.types import Generation

pytestmark = pytest.mark.gpu

ARCHITECTURES = ("kimi_vl", "qwen2_5_vl")
TEXT_CASES = ("text_only", "text_multi_turn")  # of tests/data/kimi_vl: ids that other implementations write as well
EXPERTS = TextConfig(
    hidden_size=64, moe_intermediate_size=48, n_routed_experts=16, num_experts_per_tok=4, n_shared_experts=1
)
ROWS = 5


def test_golden_ids_are_written(device: torch.device) -> None:
    golden = json.loads((TINY.parent / "cases.json").read_text("utf-8"))
    model = KimiVL.from_pretrained(TINY, device=device, dtype="float32")
    processor = KimiVLProcessor.from_pretrained(TINY)
    for name in TEXT_CASES:
        inputs = processor.encode(golden[name]["messages"])
        (ids,) = model.generate(inputs["input_ids"], max_new_tokens=24, stop_token_ids=())
        assert ids == golden[name]["greedy_24"], name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_ids_in_float32_equal_those_of_the_cpu(
    small: dict[str, Checkpoint], device: torch.device, name: str
) -> None:
    checkpoint = small[name]
    here, there = (
        checkpoint.architecture.load(checkpoint.folder, dtype="float32", device=str(place)) for place in ("cpu", device)
    )
    compared = 0
    for case in cases(checkpoint, 3):
        expected = reply(checkpoint, here, case, 8)
        if expected.margin > 1e-3 * float(expected.logits.std()):  # a narrower choice may fall otherwise
            assert reply(checkpoint, there, case, 8).ids == expected.ids
            compared += 1
    assert compared >= 2


@torch.no_grad()
def grown(model: VisionLanguageModel, page_size: int) -> tuple[PagePool, list[PageTable]]:
    """Rows of different length, most of them with a common beginning, in a cache of scattered pages."""
    generator = torch.Generator().manual_seed(3)
    pool, first = model.new_pool(page_size=page_size), PageTable()
    gone = PageTable()
    for table, length in ((gone, 40), (first, 70)):
        ids = torch.randint(0, 500, (1, length), generator=generator).to(model.device)
        prefill(model, model.embed(ids).embeds, pool, table)
    tables = [first, *(pool.fork(first) for _ in range(ROWS - 1))]
    pool.release(gone)
    for number, table in enumerate(tables):
        pool.truncate(table, 70 - 3 * number)
        ids = torch.randint(0, 500, (1, 5 * number + 1), generator=generator).to(model.device)
        prefill(model, model.embed(ids).embeds, pool, table)
    return pool, tables


def steps(model: VisionLanguageModel, page_size: int, count: int = 3) -> Tensor:
    """Logits of some decode steps over shared pages."""
    pool, tables = grown(model, page_size)
    rows = StepRows(pool, tables)
    return torch.stack([decode_step(model, [7 * step + row for row in range(ROWS)], rows) for step in range(count)])


@pytest.mark.parametrize(("dtype", "page_size"), [("float32", 4), ("bfloat16", 4), ("bfloat16", 64)])
def test_decode_over_shared_pages_is_the_same_twice(device: torch.device, dtype: str, page_size: int) -> None:
    model = KimiVL.from_pretrained(TINY, device=device, dtype=dtype)
    first = steps(model, page_size)
    for _ in range(2):
        assert torch.equal(steps(model, page_size), first)


def test_decode_over_shared_pages_equals_the_cpus(device: torch.device) -> None:
    here, there = (KimiVL.from_pretrained(TINY, device=place, dtype="float32") for place in ("cpu", device))
    torch.testing.assert_close(steps(there, 4).cpu(), steps(here, 4), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("tokens", [1, 5, 64])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@torch.no_grad()
def test_experts_equal_a_loop_over_them_and_themselves(
    device: torch.device, tokens: int, dtype: torch.dtype, error: float
) -> None:
    generator = torch.Generator().manual_seed(tokens)
    layer = Experts(EXPERTS)
    for parameter in layer.parameters():
        parameter.normal_(0.0, parameter.shape[-1] ** -0.5, generator=generator)
    layer = layer.to(dtype)
    x = torch.randn(tokens, EXPERTS.hidden_size, generator=generator).to(dtype)
    chosen = torch.rand(tokens, 12, generator=generator).topk(4).indices  # the last four experts are never hit
    weights = torch.rand(tokens, 4, generator=generator)
    expected = summed(layer, x, chosen, weights)
    layer, inputs = layer.to(device), [tensor.to(device) for tensor in (x, chosen, weights)]
    computed = layer(*inputs)
    assert float((computed.cpu().double() - expected).norm() / expected.norm()) <= error
    for _ in range(3):
        assert torch.equal(layer(*inputs), computed)


def summed(layer: Experts, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Every token's experts one by one, in float64."""
    total = torch.zeros(x.shape, dtype=torch.float64)
    gate_up, down = layer.gate_up_proj.double(), layer.down_proj.double()
    for token, (experts, shares) in enumerate(zip(chosen.tolist(), weights.tolist(), strict=True)):
        for expert, share in zip(experts, shares, strict=True):
            gate, up = (gate_up[expert] @ x[token].double()).chunk(2)
            total[token] += share * (down[expert] @ (torch.nn.functional.silu(gate) * up))
    return total


def test_draws_are_those_of_the_cpu(device: torch.device) -> None:
    logits = 3 * torch.randn(6, 1280, generator=torch.Generator().manual_seed(5))
    settings = {
        "temperature": [0.0, 0.8, 1.0, 0.8, 0.3, 2.0],
        "top_p": [1.0, 1.0, 0.9, 0.5, 0.95, 1.0],
        "top_k": [0, 0, 0, 40, 5, 3],
    }
    for step in range(20):
        more = {"seed": list(range(6)), "step": [step] * 6}
        assert sample_rows(logits.to(device), **settings, **more) == sample_rows(logits, **settings, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batches_and_repeats_change_no_answer(small: dict[str, Checkpoint], device: torch.device, name: str) -> None:
    asked = requests(small[name], Generation(max_new_tokens=6), count=3, repeats=2)
    together = written(small[name], asked, device, rows=8)
    assert together == written(small[name], asked, device, rows=1)
    assert len(set(together.values())) >= 2, "answers say something"


def test_the_cache_is_sized_by_what_the_device_has_free(device: torch.device) -> None:
    model = KimiVL.from_pretrained(TINY, device=device, dtype="bfloat16")
    free = free_bytes(device)
    pool = model.new_pool()
    token = sum(layer.shape[-1] * layer.itemsize for layer in pool.layers)
    pages = page_limit(pool, context=2048)
    assert 0 < pages * pool.page_size * token <= free
