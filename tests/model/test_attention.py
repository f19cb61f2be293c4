"""The two forms of latent attention, and what the cache holds."""

from dataclasses import replace

import pytest
import torch

from benchmarks.launches import MOST, MOST_READS, decode_step, full_model
from kvl_eval.model import KimiVL, KimiVLConfig, TextConfig
from kvl_eval.model.kimi_vl.attention import Attention
from kvl_eval.model.kimi_vl.rope import text_turn
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import PromptRows, StepRows
from kvl_eval.model.tensors import cache_mask

CONFIG = TextConfig(
    hidden_size=32,
    num_attention_heads=4,
    kv_lora_rank=24,
    qk_nope_head_dim=16,
    qk_rope_head_dim=8,
    v_head_dim=12,
    num_hidden_layers=2,
)


def random_attention(config: TextConfig) -> Attention:
    torch.manual_seed(0)
    attention = Attention(config)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return attention


@pytest.mark.parametrize(
    "config", [CONFIG, replace(CONFIG, q_lora_rank=20, attention_bias=True)], ids=["plain", "lora"]
)
@pytest.mark.parametrize("starts", [[5], [3, 0, 7], [4, 4]], ids=str)
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_absorbed_weights_equal_expanded_heads(config: TextConfig, starts: list[int], count: int) -> None:
    attention = random_attention(config)
    rows, held = len(starts), max(starts)
    x = torch.randn(rows, held + count, 32)
    turn = text_turn(torch.arange(held + count).expand(rows, -1), 8, config.rope_theta, x.dtype)
    queries, latents = attention.queries_and_latents(x, turn)
    new = torch.tensor(starts)[:, None] + torch.arange(count)
    q = torch.stack([queries[row, places] for row, places in enumerate(new)])
    mask = torch.arange(held + count) <= new[..., None]
    absorbed, expanded = attention.absorbed(q, latents, mask), attention.expanded(q, latents, mask)
    torch.testing.assert_close(absorbed, expanded, atol=1e-5, rtol=0)
    assert absorbed.shape == (rows, count, 4 * 12)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-13), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize(("rows", "held", "count"), [(1, 1, 17), (2, 31, 40), (1, 100, 1)])
@torch.no_grad()
def test_a_chunk_behind_others_needs_no_mask(
    rows: int, held: int, count: int, dtype: torch.dtype, close: float
) -> None:
    attention = random_attention(CONFIG).to(dtype)
    x = torch.randn(rows, held + count, 32, dtype=dtype)
    turn = text_turn(torch.arange(held + count).expand(rows, -1), 8, CONFIG.rope_theta, dtype)
    queries, latents = attention.queries_and_latents(x, turn)
    queries = queries[:, held:]
    mask = torch.arange(held + count) <= held + torch.arange(count)[:, None]
    expected = attention.expanded(queries, latents, mask.expand(rows, -1, -1))
    apart = attention.expanded_apart(queries, latents)
    assert (apart.dtype, apart.shape) == (dtype, (rows, count, 4 * 12))
    torch.testing.assert_close(apart, expected, atol=close, rtol=0)


@torch.no_grad()
def test_cached_attention_equals_attention_over_everything() -> None:
    attention = random_attention(CONFIG)
    x = torch.randn(1, 9, 32)
    turn = text_turn(torch.arange(9)[None], 8, CONFIG.rope_theta, x.dtype)
    expected = attention(x, turn)
    pool, table = PagePool(layers=1, width=CONFIG.latent_size, page_size=4), PageTable()
    found, start = [], 0
    for count in (4, 1, 3, 1):
        part = slice(start, start + count)
        rows: PromptRows | StepRows = StepRows(pool, [table])
        if count > 1:
            rows = PromptRows(pool, [table], [count], torch.arange(start, start + count)[None])
        assert rows.prepare().tolist() == [list(range(start, start + count))]
        found.append(attention.forward_cached(x[:, part], turn[:, part], rows, 0))
        rows.advance()
        start += count
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("outside", [0, 200], ids=["as it lies", "picked"])
@torch.no_grad()
def test_sums_in_a_fixed_order_equal_sums_by_index(outside: int, dtype: torch.dtype, close: float) -> None:
    """Rows that share pages, rows of one page; pages of nobody between them."""
    torch.manual_seed(0)
    attention = random_attention(CONFIG).to(dtype)
    pool = PagePool(layers=1, width=CONFIG.latent_size, page_size=4, dtype=dtype)
    tables = [PageTable() for _ in range(3)]
    for table, length in zip(tables, (70, 2, 9), strict=True):
        pool.extend([table], length)
        table.length = length
    tables.append(pool.fork(tables[0]))
    nobody = PageTable()
    pool.extend([nobody], outside + 3)
    pool.layers[0].normal_()
    positions = torch.tensor([table.length for table in tables])[:, None]
    x, turn = torch.randn(4, 1, 32, dtype=dtype), text_turn(positions, 8, CONFIG.rope_theta, dtype)
    found = []
    for in_order in (False, True):
        rows = StepRows(pool, tables, in_order=in_order)
        rows.prepare()
        found.append(attention.forward_cached(x, turn, rows, 0))
    torch.testing.assert_close(found[1], found[0], atol=close, rtol=0)


@pytest.mark.parametrize(
    ("starts", "count", "expected"),
    [
        ([0, 0], 3, None),
        ([4, 4], 1, None),
        ([1, 0], 1, [[[True, True]], [[True, False]]]),
        ([1], 2, [[[True, True, False], [True, True, True]]]),
    ],
)
def test_mask_over_the_cache(starts: list[int], count: int, expected: list[list[list[bool]]] | None) -> None:
    mask = cache_mask(starts, count, torch.device("cpu"))
    assert (mask is None) if expected is None else mask.tolist() == expected


def test_cache_of_the_released_model_takes_576_values_a_token_and_layer() -> None:
    with torch.device("meta"):
        pool = KimiVL(KimiVLConfig()).to(torch.bfloat16).new_pool()
    pool.reserve(131072 // pool.page_size)
    assert pool.nbytes == 131072 * 27 * 576 * 2 == 131072 * 31104
    assert len(pool.layers) == 27


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 64])
def test_a_decode_step_of_the_released_shapes_takes_few_launches_and_one_read(rows: int) -> None:
    """On the meta device; the one read is that of the drawn tokens."""
    step = decode_step(full_model(), rows)
    assert step.reads <= MOST_READS
    assert step.launches.total() <= MOST


def test_decoding_the_released_shapes_reads_nothing_back() -> None:
    """A decode step of the full-size model on the meta device: any value that the host wanted would raise."""
    with torch.device("meta"):
        model = KimiVL(KimiVLConfig()).to(torch.bfloat16)
    pool, tables = model.new_pool(), [PageTable() for _ in range(3)]
    for table, length in zip(tables, (60, 11, 33), strict=True):
        pool.extend([table], length)
        table.length = length
    rows = StepRows(pool, tables)
    logits = model.forward_cached(torch.empty(3, 1, 2048, dtype=torch.bfloat16, device="meta"), rows)
    assert logits.shape == (3, 163840)
    assert rows.lengths == [61, 12, 34]
    chunks = PromptRows(pool, tables, [16, 16, 16], torch.empty(1, 48, dtype=torch.long, device="meta"))
    model.forward_cached(torch.empty(1, 48, 2048, dtype=torch.bfloat16, device="meta"), chunks)
