"""Attention over a cache equals plain attention, however sequences lie in pages; windows cover a picture once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kvl_eval.model.base import Packed, Pages
from kvl_eval.model.page_plan import row_entries
from kvl_eval.model.qwen2_5_vl import attention
from kvl_eval.model.qwen2_5_vl.attention import Attention, attend, attend_masked
from kvl_eval.model.qwen2_5_vl.config import TextConfig
from kvl_eval.model.qwen2_5_vl.vision import attend_within, cell_order, window_order

CONFIG = TextConfig(hidden_size=48, num_attention_heads=6, num_key_value_heads=3, mrope_section=(1, 2, 1))
HEADS, GROUPS, SIZE = 6, 3, 8


def plain(q_SAD: Tensor, k_TKD: Tensor, v_TKD: Tensor) -> Tensor:
    """(S, A * D): the last S of T tokens attend to all up to themselves, written out."""
    k, v = (x.repeat_interleave(HEADS // GROUPS, dim=1).transpose(0, 1) for x in (k_TKD, v_TKD))
    scores = q_SAD.transpose(0, 1) @ k.mT * SIZE**-0.5
    new, tokens = len(q_SAD), len(k_TKD)
    hidden = torch.arange(tokens) > torch.arange(tokens - new, tokens)[:, None]
    return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(0, 1).flatten(1)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer() -> Attention:
    return Attention(CONFIG).double()


def kept(k_TKD: Tensor, v_TKD: Tensor) -> Tensor:
    """What the cache holds of tokens, (T, W)."""
    return torch.cat([k_TKD.flatten(1), v_TKD.flatten(1)], dim=-1)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 9))
def test_new_tokens_see_older_ones_and_themselves(new: int, older: int, at_once: int) -> None:
    q, k, v = noise(1, new, HEADS, SIZE), noise(2, older + new, GROUPS, SIZE), noise(3, older + new, GROUPS, SIZE)
    whole, attention.QUERIES_AT_ONCE = attention.QUERIES_AT_ONCE, at_once
    try:
        masked = attend_masked(*(x[None].transpose(1, 2) for x in (q, k, v)))
    finally:
        attention.QUERIES_AT_ONCE = whole
    for found in (attend(q[None], k[None], v[None]), masked.transpose(1, 2).flatten(2)):
        torch.testing.assert_close(found[0], plain(q, k, v), atol=1e-12, rtol=0.0)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=5))
def test_packed_sequences_see_nothing_of_each_other(lengths: list[tuple[int, int]]) -> None:
    sequences = [
        (noise(n, new, HEADS, SIZE), *(noise(n + kind, older + new, GROUPS, SIZE) for kind in (10, 20)))
        for n, (new, older) in enumerate(lengths)
    ]
    held = Packed(
        [new for new, _ in lengths],
        [kept(k, v)[None] if older else None for (_, k, v), (_, older) in zip(sequences, lengths, strict=True)],
    )
    q = torch.cat([q for q, _, _ in sequences])[None]
    k, v = (torch.cat([s[i][-len(s[0]) :] for s in sequences])[None] for i in (1, 2))
    found = layer().packed(q, k, v, held)
    expected = torch.cat([plain(*sequence) for sequence in sequences])
    torch.testing.assert_close(found[0], expected, atol=1e-12, rtol=0.0)


@given(
    st.lists(st.integers(1, 23), min_size=1, max_size=5),
    st.integers(1, 7),
    st.integers(0, 9),
    st.sampled_from([0, 1, 3]),
    st.randoms(use_true_random=False),
)
def test_pages_in_any_order_give_plain_attention(
    lengths: list[int], page: int, shared: int, nobody: int, random: st.DataObject
) -> None:
    shared = shared // page * page  # tokens in full pages that all rows begin with
    beginning = noise(1, shared, GROUPS, SIZE), noise(2, shared, GROUPS, SIZE)
    own = [tuple(noise(n + kind, length, GROUPS, SIZE) for kind in (30, 60)) for n, length in enumerate(lengths)]
    q = noise(5, len(lengths), HEADS, SIZE)
    single: list[tuple[Tensor, int, Tensor]] = []
    for row, (k, v) in enumerate(own):
        values = F.pad(kept(k, v), (0, 0, 0, -len(k) % page), value=9.0)  # places without a token are finite
        hidden = torch.arange(len(values)) >= len(k)
        single += zip(values.split(page), [row] * len(values), hidden.split(page), strict=False)
    single += [(noise(7, page, 2 * GROUPS * SIZE), len(lengths), torch.zeros(page, dtype=torch.bool))] * nobody
    random.shuffle(single)  # type: ignore[attr-defined]
    values, owners, hidden = zip(*single, strict=True)
    parts = [(torch.stack(values), torch.tensor(owners)[:, None], torch.stack(hidden))]
    if shared:
        parts.append((kept(*beginning)[None], torch.arange(len(lengths))[None], None))
    by_index = layer().paged(q, Pages(len(lengths), parts))
    in_order = layer().paged(q, Pages(len(lengths), parts, row_entries([part[1] for part in parts], len(lengths))))
    for row, (k, v) in enumerate(own):
        expected = plain(q[row : row + 1], torch.cat([beginning[0], k]), torch.cat([beginning[1], v]))
        for found in (by_index, in_order):
            torch.testing.assert_close(found[row : row + 1], expected, atol=1e-12, rtol=0.0)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_every_cell_lies_in_one_window(rows: int, cols: int, side: int) -> None:
    order, spans = window_order(rows, cols, side)
    assert sorted(order.tolist()) == list(range(rows * cols))
    assert len({span.patches for span in spans}) == len(spans)
    windows = [list(window) for span in spans for window in _windows(order, spans, span)]
    corners = {(cell // cols // side, cell % cols // side) for cell in range(rows * cols)}
    assert len(windows) == len(corners)
    for window in windows:
        assert len({(cell // cols // side, cell % cols // side) for cell in window}) == 1


def _windows(order: Tensor, spans: list, span: tuple[int, int]) -> list[list[int]]:
    start = sum(windows * size for windows, size in spans[: spans.index(span)])
    return order[start : start + span[0] * span[1]].view(*span).tolist()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))
def test_windows_of_equal_pictures_are_attended_by_themselves(rows: int, cols: int, side: int, pictures: int) -> None:
    order, spans = window_order(rows, cols, side)
    q, k, v = (noise(kind, pictures, rows * cols, 2, 4) for kind in (1, 2, 3))
    found = attend_within([x[:, order] for x in (q, k, v)], spans).view(pictures, rows * cols, 2, 4)
    cell = torch.arange(rows * cols)
    window = cell // cols // side * cols + cell % cols // side
    other = window[:, None] != window[None]
    scores = (q.transpose(1, 2) @ k.transpose(1, 2).mT / 2).masked_fill(other, float("-inf"))
    expected = (scores.softmax(-1) @ v.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected[:, order], atol=1e-12, rtol=0.0)


def test_the_patches_of_a_cell_are_neighbours() -> None:
    raster = torch.arange(24).view(24, 1)  # 4 rows of 6
    cells = cell_order(raster, 4, 6, 2)[:, 0].tolist()
    assert cells == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 18, 19, 14, 15, 20, 21, 16, 17, 22, 23]
