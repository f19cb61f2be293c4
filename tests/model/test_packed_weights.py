"""Weights in int8 and int4: products, experts, the files that keep them, and a whole model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from kvl_eval.errors import CheckpointError, StorageError
from kvl_eval.model import KimiVL, TextConfig
from kvl_eval.model.base import PackedPlace
from kvl_eval.model.kimi_vl import packed
from kvl_eval.model.kimi_vl.moe import Experts, Router
from kvl_eval.model.kimi_vl.packed import PackedExperts
from kvl_eval.model.packed_files import Matrix, put_packed
from kvl_eval.model.packed_linear import PackedLinear
from kvl_eval.model.packed_matrix import Int4Form, PackedForm, PackedValues, int4_block, int4_form, int8_form

FORMS = {"int4": int4_form, "int8": int8_form}
SHAPES = [(64, 128), (96, 40), (130, 192), (7, 32)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def distance(ours: Tensor, other: Tensor) -> float:
    """Relative to the other's length."""
    return float((ours.float() - other.float()).norm() / other.float().norm())


@pytest.mark.parametrize("rows", [1, 8, 9, 100])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", FORMS)
def test_a_product_is_that_of_the_unpacked_matrix(kind: str, shape: tuple[int, int], rows: int) -> None:
    form = FORMS[kind](*shape)
    matrix = form.pack(torch.randn(shape))
    x = torch.randn(rows, shape[1]).bfloat16()
    assert distance(form.product(x, matrix), x.float() @ form.unpacked(matrix).float().T) < 1e-2


@pytest.mark.parametrize("block", [64, 32])
def test_both_layouts_of_int4_hold_the_same_matrix(block: int) -> None:
    weight = torch.randn(128, 64)
    usual = Int4Form(128, 64, 64)
    other = Int4Form(128, 64, block)
    assert torch.equal(usual.unpacked(usual.pack(weight)), other.unpacked(other.pack(weight)))


@pytest.mark.skipif(int4_block() is None, reason="no int4 kernel here")
def test_the_layout_is_the_kernels_own() -> None:
    form = int4_form(64, 64)
    levels = torch.randint(0, 16, (64, 64), dtype=torch.int32)
    levels[:, 0], levels[:, 1] = 0, 15
    converted = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)
    assert torch.equal(form.pack(levels.float()).values, converted)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_value_moves_by_more_than_half_a_level(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    eight, four = int8_form(*shape), int4_form(*shape)
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((eight.unpacked(eight.pack(weight)).float() - weight).abs() <= 0.6 * step + weight.abs() / 128).all()
    widest = weight.amax() - weight.amin()
    assert ((four.unpacked(four.pack(weight)).float() - weight).abs() <= 0.6 * widest / 15 + weight.abs() / 128).all()


@pytest.mark.parametrize(("columns", "group"), [(2048, 128), (1408, 128), (192, 64), (96, 32), (40, 64), (24, 32)])
def test_groups_are_128_or_a_divisor_where_the_width_asks_for_it(columns: int, group: int) -> None:
    assert int4_form(8, columns).group == group


@pytest.mark.parametrize("kind", FORMS)
def test_packed_experts_answer_as_plain_ones_of_the_same_values(kind: str) -> None:
    config = TextConfig(hidden_size=64, moe_intermediate_size=40, n_routed_experts=4, num_experts_per_tok=2)
    plain = Experts(config).requires_grad_(False)
    ours = PackedExperts(plain, kind)
    for expert in range(4):
        for form, weights, matrices in (
            (ours.gate_up_form, plain.gate_up_proj, ours.gate_up),
            (ours.down_form, plain.down_proj, ours.down),
        ):
            matrix = matrices[expert] = form.pack(torch.randn(weights.shape[1:]))
            weights[expert] = form.unpacked(matrix).float()
    chosen = torch.tensor([[0, 2], [2, 3], [0, 3]] * 40)  # the second expert has no token
    x, shares = torch.randn(120, 64), torch.rand(120, 2)
    for count in (1, 120):
        expected = plain(x[:count], chosen[:count], shares[:count])
        assert distance(ours(x[:count], chosen[:count], shares[:count]), expected) < 2e-2


# -- files


class Store:
    """Two matrices in two files, and which of them were packed."""

    def __init__(self, home: Path, fingerprint: str = "abc") -> None:
        self.place = PackedPlace(home=home, fingerprint=fingerprint, kind="int8")
        self.form: PackedForm = int8_form(32, 64)
        self.weights = {name: torch.randn(32, 64) for name in ("layer-00", "rest")}
        self.read: list[str] = []
        self.values: dict[str, PackedValues] = {}

    def put(self) -> list[str]:
        """Names of the matrices that had to be packed."""
        self.read.clear()
        put_packed(self.place, {name: [self._matrix(name)] for name in self.weights})
        for name, weight in self.weights.items():
            assert all(map(torch.equal, self.values[name], self.form.pack(weight)))
        return self.read

    def _matrix(self, name: str) -> Matrix:
        def read() -> Tensor:
            self.read.append(name)
            return self.weights[name]

        return Matrix(name, self.form, read, lambda values: self.values.update({name: values}))

    def path(self, name: str) -> Path:
        return self.place.folder / f"{name}.safetensors"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield Store(tmp_path)


def test_weights_are_packed_once(store: Store) -> None:
    assert store.put() == ["layer-00", "rest"]
    assert store.put() == []
    assert store.place.folder.name == "abc-int8"
    assert {path.name for path in store.place.folder.iterdir()} == {"layer-00.safetensors", "rest.safetensors", "lock"}


@pytest.mark.parametrize("place", [0, 4, 20, 200, -1])
def test_a_damaged_byte_is_noticed_and_the_file_made_again(store: Store, place: int) -> None:
    store.put()
    content = bytearray(store.path("rest").read_bytes())
    content[place] ^= 1
    store.path("rest").write_bytes(content)
    assert store.put() == ["rest"]


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_truncated_file_is_made_again(store: Store, size: int) -> None:
    store.put()
    store.path("rest").write_bytes(store.path("rest").read_bytes()[:size])
    assert store.put() == ["rest"]


def test_a_file_of_another_checkpoint_is_never_used(store: Store, tmp_path: Path) -> None:
    store.put()
    other = Store(tmp_path, "def")
    shutil.copytree(store.place.folder, other.place.folder)
    assert other.put() == ["layer-00", "rest"]


def test_what_was_stopped_goes_on_with_the_next_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    form = store.form
    stopping = SimpleNamespace(tensors=form.tensors, pack=lambda weight: (_ for _ in ()).throw(Stopped))
    matrices = {name: store._matrix(name) for name in store.weights}
    files = {"layer-00": [matrices["layer-00"]], "rest": [Matrix("rest", stopping, lambda: torch.zeros(1), print)]}
    with pytest.raises(Stopped):
        put_packed(store.place, files)
    assert not list(store.place.folder.glob(".*.part"))
    assert store.put() == ["rest"]


def test_a_full_disk_is_said_before_anything_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(StorageError, match=r"for 0\.0 GB of packed weights") as caught:
        store.put()
    assert (caught.value.code, store.read) == ("storage.full", [])
    assert "--cache-dir" in str(caught.value.fix)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write packed weights to") as caught:
        Store(tmp_path / "file").put()
    assert caught.value.code == "storage.write"


# -- a whole model


@pytest.fixture(scope="module")
def token_ids() -> Tensor:
    return torch.randint(0, 500, (1, 30), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.06), ("int4", 0.25)])
@torch.no_grad()
def test_a_model_with_packed_weights_is_near_the_plain_one(
    model: KimiVL, tiny: Path, tmp_path: Path, token_ids: Tensor, kind: str, most: float
) -> None:
    place = PackedPlace(home=tmp_path, fingerprint="tiny", kind=kind)
    ours = packed.load(tiny, place)
    pairs = zip(ours(token_ids).logits[0], model(token_ids).logits[0], strict=True)
    distances = sorted(distance(near, exact) for near, exact in pairs)
    assert 0 < distances[len(distances) // 2] < most  # where the router chooses otherwise, one is further away
    assert torch.equal(packed.load(tiny, place)(token_ids).logits, ours(token_ids).logits)
    linears = [name for name, module in ours.named_modules() if type(module) is nn.Linear]
    assert linears and all(name.endswith("kv_b_proj") for name in linears)
    assert any(isinstance(module, Router) for module in ours.modules())
    kept = sum(parameter.nbytes for parameter in ours.parameters())
    files = {path: path.stat().st_size for path in place.folder.glob("*.safetensors")}
    assert sum(files.values()) > packed.packed_bytes(tiny, kind) - kept > 0.5 * sum(files.values())
    assert isinstance(ours.language_model.lm_head, PackedLinear)


def test_values_that_are_no_numbers_are_refused_and_not_hidden(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny, tmp_path / "copy")
    path = next(folder.glob("*.safetensors"))
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("experts.3.up_proj.weight"))
    tensors[name][1, 1] = torch.nan
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
        packed.load(folder, PackedPlace(home=tmp_path, fingerprint="nan", kind="int4"))
    assert caught.value.code == "model.weights_nan"
