"""A decode step reads every token of every row once, however pages lie and whoever shares them."""

from collections import Counter
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.model import KimiVL, TextConfig
from kvl_eval.model.block_table import BlockTable
from kvl_eval.model.generate import decode_step, prefill
from kvl_eval.model.page_plan import plan_parts, row_entries
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import StepRows
from tests.model.latent_cache import decode_block, new_cache, prefill_block

SMALL = TextConfig(kv_lora_rank=1, qk_rope_head_dim=2, num_hidden_layers=1)


def grown(pool: PagePool, table: PageTable, count: int) -> PageTable:
    pool.extend([table], count)
    table.length += count
    return table


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 3))
def test_every_token_is_read_once_for_each_row(data: st.DataObject, page_size: int) -> None:
    pool = PagePool(layers=2, width=4, page_size=page_size)
    tables = [grown(pool, PageTable(), data.draw(st.integers(1, 30)))]
    for _ in range(data.draw(st.integers(0, 6))):
        other = data.draw(st.sampled_from(tables))
        tables.append(pool.fork(other))
        pool.truncate(tables[-1], data.draw(st.integers(0, other.length)))
        grown(pool, tables[-1], data.draw(st.integers(1, 12)))
    for gone in data.draw(st.lists(st.sampled_from(tables), unique_by=id, max_size=len(tables) - 1)):
        tables.remove(gone)
        pool.release(gone)
    rows = data.draw(st.permutations(tables))[: data.draw(st.integers(1, len(tables)))]
    pool.extend(rows, 1)  # as a step does: whoever shares the page that it writes to takes a copy
    store = torch.arange(pool.used * page_size).view(pool.used, page_size, 1)
    seen = torch.tensor([*(table.length + 1 for table in rows), 0])
    read: list[Counter[int]] = [Counter() for _ in (*rows, None)]
    for part in plan_parts(BlockTable(rows), pool.used, page_size, torch.device("cpu")):
        latents, hidden = part.latents(store)[..., 0], part.hidden(seen, page_size)
        assert latents.shape[0] == part.owners.shape[0]
        assert hidden is None or hidden.shape == latents.shape
        for page, owners in enumerate(part.owners.tolist()):
            kept = latents[page] if hidden is None else latents[page][~hidden[page]]
            for row in owners:
                read[row].update(kept.tolist())
    for table, found in zip(rows, read[:-1], strict=True):
        places = [table.pages[at // page_size] * page_size + at % page_size for at in range(table.length + 1)]
        assert found == Counter(places)
    assert not read[-1]


@torch.no_grad()
def test_a_long_row_beside_a_longer_prompt_sees_no_token_that_is_not_its_own(tiny: Path) -> None:
    """Most pages are those of the prompt on its way in, so that the row's own are read by themselves."""
    torch.manual_seed(0)
    model = KimiVL.from_pretrained(tiny, dtype="float64")
    hidden, pool = model.config.text_config.hidden_size, model.new_pool(page_size=4)
    prompt, other = torch.randn(1, 41, hidden).double(), torch.randn(1, 400, hidden).double()
    table, alone = PageTable(), new_cache(model, rows=1)
    prefill(model, other, pool, spent := PageTable())
    pool.release(spent)  # what the next pages hold at first is left over
    prefill(model, prompt, pool, table)
    prefill(model, other, pool, PageTable())
    prefill_block(model, prompt, alone)
    rows = StepRows(pool, [table])
    for token in (5, 6, 7, 8):
        found = decode_step(model, [token], rows)
        torch.testing.assert_close(found, decode_block(model, [token], alone), atol=1e-9, rtol=0)


def test_what_many_rows_share_is_read_once_for_all_of_them() -> None:
    """A document of 100 pages and ten questions: it is neither copied nor read ten times."""
    pool = PagePool(layers=2, width=4, page_size=4)
    first = grown(pool, PageTable(), 400)
    tables = [first, *(pool.fork(first) for _ in range(9))]
    pool.extend(tables, 3)
    parts = plan_parts(BlockTable(tables), pool.used, 4, torch.device("cpu"))
    assert sum(part.latents(pool.layers[0]).shape[:2].numel() for part in parts) == (pool.used + 100) * 4
    assert all(isinstance(part.pages, slice) for part in parts)


@torch.no_grad()
def test_rows_that_share_a_long_beginning_get_the_logits_of_one_block(tiny: Path) -> None:
    torch.manual_seed(0)
    model = KimiVL.from_pretrained(tiny, dtype="float64")
    hidden, pool = model.config.text_config.hidden_size, model.new_pool(page_size=4)
    document, others = torch.randn(1, 50, hidden).double(), torch.randn(1, 400, hidden).double()
    questions = [torch.randn(1, size, hidden).double() for size in (1, 6, 3, 9)]
    first, outside = PageTable(), PageTable()
    prefill(model, document, pool, first)
    tables, expected = [first, *(pool.fork(first) for _ in questions[1:])], []
    for table, question in zip(tables, questions, strict=True):
        prefill(model, question, pool, table)
        block = new_cache(model, rows=1)
        prefill_block(model, torch.cat([document, question], dim=1), block)
        expected.append([decode_block(model, [token], block) for token in (5, 6, 7, 8, 9, 10)])
    rows = StepRows(pool, tables)
    for step, token in enumerate((5, 6, 7, 8, 9, 10)):
        if step == 3:  # now most pages are those of others, so that none is read as it lies
            prefill(model, others, pool, outside)
        found = decode_step(model, [token] * len(tables), rows)
        torch.testing.assert_close(found, torch.cat([one[step] for one in expected]), atol=1e-9, rtol=0)


def test_a_step_in_which_one_row_takes_a_page_writes_one_row_of_the_table() -> None:
    """64 rows of 9,000 tokens: the work on the table is that of the rows whose pages changed."""
    pool = PagePool(layers=1, width=1)
    tables = [grown(pool, PageTable(), 9000 + row) for row in range(64)]
    rows = StepRows(pool, tables)
    touched, pages = [rows.block_table.touched], pool.used
    for _ in range(30):
        rows.prepare()
        rows.advance()
        touched.append(rows.block_table.touched)
    assert touched == list(range(64, 64 + 31)), "each step one row comes to the end of its last page"
    assert pool.used == pages + 30


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_entries_name_what_a_row_reads_in_the_order_of_the_parts(data: st.DataObject) -> None:
    pool = PagePool(layers=1, width=1, page_size=2)
    tables = [grown(pool, PageTable(), data.draw(st.integers(1, 40)))]
    for _ in range(data.draw(st.integers(0, 5))):
        tables.append(pool.fork(data.draw(st.sampled_from(tables))))
        grown(pool, tables[-1], data.draw(st.integers(1, 9)))
    rows = data.draw(st.permutations(tables))[: data.draw(st.integers(1, len(tables)))]
    parts = plan_parts(BlockTable(rows), pool.used, 2, torch.device("cpu"))
    owners = [part.owners for part in parts]
    for row, entries in enumerate(row_entries(owners, len(rows)).tolist()):
        expected = (torch.cat([part.flatten() for part in owners]) == row).nonzero()[:, 0].tolist()
        assert entries == expected + [-1] * (len(entries) - len(expected))
