"""MoonViT part by part, and the fast attention against the plain one."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kvl_eval.errors import PromptError
from kvl_eval.model import KimiVL
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.processor import normalize
from kvl_eval.model.kimi_vl.rope import rotate, rotate_apart, turn_of, vision_angles
from kvl_eval.model.kimi_vl.vision import Block, attend_per_image
from kvl_eval.model.precision import wide
from kvl_eval.pictures import Grid


@pytest.fixture(scope="module")
def parts(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "vision_parts.safetensors")


@torch.no_grad()
def test_patch_embedding_and_blocks(model: KimiVL, parts: dict[str, Tensor]) -> None:
    grids, tower = [(6, 8)], model.vision_tower
    x = tower.patch_embed(parts["pixel_values"], grids)
    torch.testing.assert_close(x, parts["patch_embed_plus_pos"], atol=2e-5, rtol=0)
    turn = turn_of(vision_angles(6, 8, tower.config.head_dim), x.dtype)
    for index, block in enumerate(tower.encoder.blocks):
        x = block(x, turn, grids)
        torch.testing.assert_close(x, parts[f"block{index}"], atol=2e-5, rtol=0)
    torch.testing.assert_close(tower.encoder.final_layernorm(x), parts["final_layernorm"], atol=2e-5, rtol=0)


def test_rotary_angles(model: KimiVL, parts: dict[str, Tensor]) -> None:
    angles = vision_angles(6, 8, model.config.vision_config.head_dim)
    torch.testing.assert_close(angles.cos(), parts["rope_cos"], atol=1e-6, rtol=0)
    torch.testing.assert_close(angles.sin(), parts["rope_sin"], atol=1e-6, rtol=0)


@torch.no_grad()
def test_interpolated_positions(model: KimiVL, parts: dict[str, Tensor]) -> None:
    table = model.vision_tower.patch_embed.pos_emb
    names = [name for name in parts if name.startswith("pos_interp_")]
    assert names
    for name in names:
        rows, cols = map(int, name.removeprefix("pos_interp_").split("x"))
        torch.testing.assert_close(table(rows, cols), parts[name], atol=2e-6, rtol=0)
        assert table(rows, cols) is table(rows, cols), "a grid is resized once"


def test_kept_positions_follow_the_weight(model: KimiVL) -> None:
    table = type(model.vision_tower.patch_embed.pos_emb)(model.config.vision_config)
    with torch.no_grad():
        table.weight.fill_(1.0)
        before = table(4, 6)
        table.weight.fill_(2.0)
        assert torch.equal(table(4, 6), 2 * before)
    assert table(4, 6).requires_grad, "with gradients nothing is taken from the store"


def attend_dense_mask(q_PAD: Tensor, k_PAD: Tensor, v_PAD: Tensor, grids: Sequence[Grid]) -> Tensor:
    """The plain form of `attend_per_image`: one attention over all patches under a (P, P) mask."""
    sizes = torch.tensor([rows * cols for rows, cols in grids])
    owner = torch.repeat_interleave(torch.arange(len(grids)), sizes).to(q_PAD.device)
    q, k, v = (wide(x.transpose(0, 1)) for x in (q_PAD, k_PAD, v_PAD))  # (A, P, D)
    scores = q @ k.mT * q.shape[-1] ** -0.5
    scores = scores.masked_fill(owner[:, None] != owner[None, :], float("-inf"))
    out_APD: Tensor = scores.softmax(-1) @ v
    return out_APD.transpose(0, 1).to(q_PAD.dtype)


@pytest.mark.parametrize("grids", [[(2, 2)], [(4, 6), (6, 4), (2, 2)], [(2, 10), (14, 4), (2, 10), (6, 8)]], ids=str)
def test_attention_per_image_equals_a_dense_mask(grids: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    patches = sum(rows * cols for rows, cols in grids)
    q, k, v = torch.randn(3, patches, 2, 12)
    torch.testing.assert_close(attend_per_image(q, k, v, grids), attend_dense_mask(q, k, v, grids), atol=1e-5, rtol=0)


@torch.no_grad()
def test_pictures_do_not_see_each_other_and_keep_their_order(model: KimiVL) -> None:
    torch.manual_seed(1)
    grids = [(6, 8), (4, 6), (6, 8), (2, 2), (8, 6), (4, 6)]
    pictures = [torch.randn(rows * cols, 3, 14, 14) for rows, cols in grids]
    alone = torch.cat([model.vision_tower(x, [grid]) for x, grid in zip(pictures, grids, strict=True)])
    together = model.vision_tower(torch.cat(pictures), torch.tensor(grids))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_many_pictures_go_through_the_tower_in_bounded_portions(
    model: KimiVL,
) -> None:
    torch.manual_seed(2)
    grids = [(6, 8), (4, 6), (6, 8), (2, 2)]
    pixels = torch.randn(sum(rows * cols for rows, cols in grids), 3, 14, 14)
    expected = model.image_features(pixels, grids)
    seen: list[int] = []
    hook = model.vision_tower.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    portions = model.image_features(pixels, grids, patches_at_once=50)
    hook.remove()
    assert seen == [48, 24, 48, 4]
    torch.testing.assert_close(portions, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("patches_at_once", [1, 48, 60, 10_000])
def test_patches_may_stay_bytes_until_their_portion_comes(model: KimiVL, patches_at_once: int) -> None:
    torch.manual_seed(3)
    grids = [(6, 8), (4, 6), (2, 2), (6, 8), (4, 6)]
    sizes = [rows * cols for rows, cols in grids]
    stored = torch.randint(0, 256, (sum(sizes), 3, 14, 14), dtype=torch.uint8)
    prepare = partial(normalize, config=PreprocessorConfig())
    made: list[int] = []

    def counted(portion: torch.Tensor) -> torch.Tensor:
        made.append(len(portion))
        return prepare(portion)

    expected = model.image_features(prepare(stored), grids)
    found = model.image_features(stored, grids, patches_at_once=patches_at_once, prepare=counted)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert sum(made) == sum(sizes)
    assert max(made) <= max(patches_at_once, max(sizes))
    assert all(one + other > patches_at_once for one, other in pairwise(made)), "no portion is smaller than it must be"


@torch.no_grad()
def test_by_default_64_frames_go_through_in_portions(model: KimiVL) -> None:
    """A tower that saw them all would hold gigabytes: 80 kB for each patch of the full model in float32."""
    frames, grid = 64, (18, 16)
    seen: list[int] = []
    hook = model.vision_tower.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    features = model.image_features(torch.zeros(frames * 288, 3, 14, 14), [grid] * frames)
    hook.remove()
    assert len(features) == frames * 288 // 4
    assert max(seen) <= 16_384 < sum(seen)


@torch.no_grad()
def test_no_tensor_grows_with_the_square_of_all_patches(model: KimiVL) -> None:
    """Scores are made per image: sixteen images need sixteen times the attention work of one, not 256 times."""
    block = model.vision_tower.encoder.blocks[0]
    assert isinstance(block, Block)

    def work(images: int) -> int:
        grids = [(8, 8)] * images
        counter = FlopCounterMode(display=False)
        with counter:
            block(torch.randn(64 * images, 72), torch.randn(64 * images, 2, 18), grids)
        return counter.get_total_flops()

    assert work(16) == 16 * work(1)


@pytest.mark.parametrize(
    ("grids", "patches", "message"),
    [
        ([(3, 4)], 12, "3 x 4"),
        ([(0, 4)], 0, "0 x 4"),
        ([(514, 2)], 1028, "514 x 2"),
        ([(4, 4)], 15, "describes 16 patches, but pixel_values has 15"),
        ([], 0, "describes 0 patches"),
    ],
)
def test_grids_that_cannot_be_are_refused(
    model: KimiVL, grids: list[tuple[int, int]], patches: int, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        model.vision_tower(torch.zeros(patches, 3, 14, 14), grids)


def test_rotation_keeps_lengths_and_dtype() -> None:
    x = torch.randn(5, 8, dtype=torch.bfloat16)
    turned = rotate(x, turn_of(torch.randn(5, 4), x.dtype))
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float().norm(dim=-1), x.float().norm(dim=-1), atol=3e-2, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_rotation_of_each_number_by_itself_is_the_same_in_every_bit(dtype: torch.dtype) -> None:
    x, turn = torch.randn(5, 3, 16).to(dtype), turn_of(100 * torch.randn(5, 1, 8), dtype)
    assert torch.equal(rotate_apart(x, turn), rotate(x, turn))
