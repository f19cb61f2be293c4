"""Pages of the latent cache: none is lost or shared wrongly, and they say what one block for each row says."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kvl_eval.model import KimiVL, KimiVLConfig, TextConfig
from kvl_eval.model.generate import decode_step, prefill
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import PromptRows, StepRows
from tests.model.latent_cache import LatentCache, decode_block, forward_block, new_cache, prefill_block

SMALL = TextConfig(kv_lora_rank=2, qk_rope_head_dim=2, num_hidden_layers=2)
LIMIT = 12


class Twin:
    """A sequence twice: in the pool, and as the plain list of the numbers that its tokens were written with."""

    def __init__(self, table: PageTable, tokens: list[int]) -> None:
        self.table = table
        self.tokens = tokens


def write(pool: PagePool, twins: list[Twin], tokens: list[list[int]]) -> None:
    """Append tokens: single ones as a decode step, else as prompts; in layer 1 they are negative."""
    tables, counts = [twin.table for twin in twins], [len(new) for new in tokens]
    values = torch.tensor([token for new in tokens for token in new]).view(1, -1)
    rows: PromptRows | StepRows = PromptRows(pool, tables, counts, values)
    if set(counts) == {1}:
        rows, values = StepRows(pool, tables), values.T
    rows.prepare()
    for layer, sign in ((0, 1.0), (1, -1.0)):
        rows.write(layer, sign * values[..., None].expand(-1, -1, 4).float())
    rows.advance()
    for twin, new in zip(twins, tokens, strict=True):
        twin.tokens += new


def held(pool: PagePool, table: PageTable, layer: int) -> Tensor:
    return pool.layers[layer][table.pages].flatten(0, 1)[: table.length, 0]


def check(pool: PagePool, twins: list[Twin]) -> None:
    for twin in twins:
        assert twin.table.length == len(twin.tokens)
        assert len(twin.table.pages) == pool.pages_for(len(twin.tokens)), "no page too many"
        assert held(pool, twin.table, 0).tolist() == twin.tokens
        assert held(pool, twin.table, 1).tolist() == [-token for token in twin.tokens]
    in_use = {page for twin in twins for page in twin.table.pages}
    assert in_use == set(range(pool.used)), "the first pages, without gaps and without leaks"
    assert pool.used <= LIMIT
    places: dict[int, set[int]] = {}
    for twin in twins:
        for place, page in enumerate(twin.table.pages):
            places.setdefault(page, set()).add(place)
    assert all(len(found) == 1 for found in places.values()), "shared at the same place or not at all"


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_no_page_is_lost_or_shared_wrongly(data: st.DataObject, page_size: int) -> None:
    pool = PagePool(layers=2, width=4, limit=LIMIT, page_size=page_size)
    twins: list[Twin] = []
    number = 0
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["admit", "append", "step", "branch", "cut", "free"]))
        if action == "admit" or not twins:
            twins.append(Twin(pool.fork(PageTable()), []))
            continue
        twin = data.draw(st.sampled_from(twins))
        if action in ("append", "step"):
            count = data.draw(st.integers(1, 7)) if action == "append" else 1
            chosen = [twin] if action == "append" else twins
            tokens = [[number := number + 1 for _ in range(count)] for _ in chosen]
            if pool.fits(pool.needed([one.table for one in chosen], count)):
                write(pool, chosen, tokens)
            else:
                before = [list(one.table.pages) for one in twins]
                with pytest.raises(MemoryError, match=f"of {LIMIT} in use"):
                    pool.extend([one.table for one in chosen], count)
                assert [one.table.pages for one in twins] == before
        elif action == "branch":
            twins.append(Twin(pool.fork(twin.table), list(twin.tokens)))
        elif action == "cut":
            length = data.draw(st.integers(0, len(twin.tokens)))
            pool.truncate(twin.table, length)
            twin.tokens = twin.tokens[:length]
        else:
            pool.release(twin.table)
            twins.remove(twin)
        check(pool, twins)
    for twin in twins:
        pool.release(twin.table)
    assert pool.used == 0
    pool.drop()
    assert pool.nbytes == 0


def test_branches_copy_one_page_each_and_only_when_they_go_on() -> None:
    pool = PagePool(layers=2, width=4, page_size=4)
    first = Twin(PageTable(), [])
    write(pool, [first], [list(range(1, 11))])
    branches = [Twin(pool.fork(first.table), list(first.tokens)) for _ in range(3)]
    assert (pool.used, pool.copied) == (3, 0)
    for number, twin in enumerate([first, *branches]):
        write(pool, [twin], [[100 + number]])
    assert (pool.used, pool.copied) == (2 + 4, 3), "two whole pages stay shared; the last one to go on writes in place"
    for twin in (first, *branches):
        assert held(pool, twin.table, 0).tolist() == twin.tokens


def test_a_branch_at_the_end_of_a_page_copies_nothing() -> None:
    pool = PagePool(layers=2, width=4, page_size=5)
    first = Twin(PageTable(), [])
    write(pool, [first], [list(range(10))])
    second = Twin(pool.fork(first.table), list(first.tokens))
    write(pool, [first, second], [[77], [88]])
    assert (pool.used, pool.copied) == (4, 0)
    assert held(pool, second.table, 0).tolist() == [*range(10), 88]


def test_new_pages_are_clean() -> None:
    """What a sequence with numbers that are none leaves behind reaches nobody."""
    pool = PagePool(layers=2, width=4, page_size=4)
    sick = PageTable()
    pool.extend([sick], 3)
    for layer in pool.layers:
        layer[sick.pages] = float("nan")
    pool.release(sick)
    pool.extend([well := PageTable()], 1)
    assert all(bool(layer[well.pages].isfinite().all()) for layer in pool.layers)


def test_a_cut_beyond_what_is_held_is_refused() -> None:
    pool = PagePool(layers=2, width=4, page_size=4)
    pool.extend([table := PageTable()], 3)
    table.length = 3
    with pytest.raises(ValueError, match="has 3 tokens"):
        pool.truncate(table, 4)
    with pytest.raises(ValueError, match="1 pages are in use"):
        pool.drop()


# The same as one block for each row


LENGTHS = (1, 9, 4, 23, 8)


def twin_logits(model: KimiVL, page_size: int, steps: int = 6) -> tuple[list[Tensor], list[Tensor]]:
    """Logits of prompts prefilled in chunks and decoded together: over pages, and over `LatentCache`."""
    embeds = [torch.randn(1, length, model.config.text_config.hidden_size) for length in LENGTHS]
    pool, tables, block = model.new_pool(page_size=page_size), [], new_cache(model)
    paged, plain = [], []
    for one in embeds:
        tables.append(PageTable())
        paged.append(prefill(model, one, pool, tables[-1], 7))
        row = new_cache(model, rows=1)
        plain.append(prefill_block(model, one, row, 7))
        block.join(row)
    rows = StepRows(pool, tables)
    for step in range(steps):
        tokens = [3 * step + row for row in range(len(tables))]
        paged.append(decode_step(model, tokens, rows))
        plain.append(decode_block(model, tokens, block))
        assert rows.lengths == block.lengths
    return paged, plain


@pytest.mark.parametrize("page_size", [1, 4, 7, 64])
def test_pages_give_the_logits_of_one_block(model: KimiVL, page_size: int) -> None:
    torch.manual_seed(page_size)
    paged, plain = twin_logits(model, page_size)
    for found, expected in zip(paged, plain, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("others", [5, 60], ids=["read as they lie", "picked"])
@torch.no_grad()
def test_rows_see_their_own_pages_whoever_else_is_there(model: KimiVL, others: int) -> None:
    """Shared beginnings, pages of sequences outside the batch, gaps that were closed: the logits stay the same."""
    torch.manual_seed(0)
    embeds = torch.randn(1, 10, model.config.text_config.hidden_size)
    alone = new_cache(model, rows=1)
    prefill_block(model, embeds, alone)
    expected = [decode_block(model, [token], alone) for token in (5, 6, 7)]
    pool = model.new_pool(page_size=4)
    gone, outside, first = PageTable(), PageTable(), PageTable()
    for table, size in ((gone, 9), (first, None), (outside, others)):
        given = embeds if size is None else torch.randn(1, size, embeds.shape[2])
        prefill(model, given, pool, table)
    second = pool.fork(first)
    pool.release(gone)
    rows = StepRows(pool, [first, second])
    for token, logits in zip((5, 6, 7), expected, strict=True):
        found = decode_step(model, [token, token], rows)
        torch.testing.assert_close(found, logits.expand(2, -1), atol=1e-4, rtol=0)
    pool.release(outside)
    assert pool.used == 2 + 2 * 2


@torch.no_grad()
def test_sequences_of_one_pass_may_differ_in_what_they_follow(model: KimiVL) -> None:
    """Chunks of different length behind beginnings of different length, packed behind each other."""
    torch.manual_seed(0)
    hidden = model.config.text_config.hidden_size
    pool, tables, block = model.new_pool(page_size=4), [PageTable(), PageTable()], new_cache(model, rows=2)
    for counts in ([6, 2], [3, 5], [1, 4]):
        embeds = torch.randn(2, max(counts), hidden)
        packed = torch.cat([row[:count] for row, count in zip(embeds, counts, strict=True)])[None]
        places = [torch.arange(table.length, table.length + count) for table, count in zip(tables, counts, strict=True)]
        found = model.forward_cached(packed, PromptRows(pool, tables, counts, torch.cat(places)[None]))
        torch.testing.assert_close(found, forward_block(model, embeds, block, counts), atol=1e-4, rtol=0)
    assert [table.length for table in tables] == block.lengths == [10, 11]


def test_a_sick_row_makes_nobody_else_sick(model: KimiVL) -> None:
    torch.manual_seed(0)
    pool, tables = model.new_pool(page_size=4), [PageTable(), PageTable()]
    for table, sick in zip(tables, (True, False), strict=True):
        embeds = torch.randn(1, 6, model.config.text_config.hidden_size)
        prefill(model, embeds * (float("nan") if sick else 1.0), pool, table)
    both = decode_step(model, [1, 1], StepRows(pool, tables))
    assert bool(both[0].isnan().all())
    assert bool(both[1].isfinite().all())
    alone = decode_step(model, [1], StepRows(pool, tables[1:]))
    assert bool(alone.isfinite().all()), "though the sick one's pages lie beside it"


# Size


def test_a_long_row_beside_short_ones_costs_its_own_tokens_only() -> None:
    pool = PagePool(layers=27, width=576, page_size=64, dtype=torch.bfloat16, device="meta")
    tables = [PageTable() for _ in range(32)]
    pool.extend(tables, 500)
    pool.extend(tables[:1], 16384)
    assert pool.used == 256 + 31 * 8
    assert pool.pages_for(16384) == 256
    block = LatentCache(TextConfig(), rows=32, dtype=torch.bfloat16, device="meta")
    block.reserve(16384)
    assert block.nbytes > 15 * pool.used * 64 * 27 * 576 * 2


def test_a_pool_grows_as_it_is_used_and_no_further_than_its_limit() -> None:
    pool = PagePool(layers=2, width=4, limit=100, page_size=4)
    assert pool.nbytes == 0
    pool.extend([table := PageTable()], 1)
    assert pool.capacity == 64
    table.length = 1
    pool.extend([table], 4 * 65)
    assert pool.capacity == 96
    pool.extend([table], 399)
    assert (pool.used, pool.capacity) == (100, 100)
    pool.reserve(100)
    assert pool.capacity == 100


def test_decoding_the_released_shapes_over_pages_reads_nothing_back(released: Callable[[], KimiVL]) -> None:
    """On the meta device any value that the host wanted would raise; so for shared pages and those of others."""
    model = released()
    pool = model.new_pool()
    first, other = PageTable(), PageTable()
    embeds = torch.empty(1, 100, 2048, dtype=torch.bfloat16, device="meta")
    prefill(model, embeds, pool, first)
    prefill(model, embeds, pool, other)
    rows = StepRows(pool, [first, pool.fork(first)])
    for _ in range(2):
        logits = decode_step(model, [1, 2], rows)
    assert logits.shape == (2, 163840)
    assert (rows.lengths, pool.copied) == ([102, 102], 1)
    prefill(model, embeds, pool, first)


@pytest.fixture
def released() -> Callable[[], KimiVL]:
    def make() -> KimiVL:
        with torch.device("meta"):
            config = KimiVLConfig()
            return KimiVL(replace(config, text_config=replace(config.text_config, num_hidden_layers=3))).to(
                torch.bfloat16
            )

    return make
