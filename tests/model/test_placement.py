"""Layers on several devices: accelerate plans and moves, the cache lies where its layer does, nothing changes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL
from kvl_eval.model.generate import decode_step, prefill
from kvl_eval.model.kimi_vl.architecture import ARCHITECTURE
from kvl_eval.model.kimi_vl.config import KimiVLConfig
from kvl_eval.model.kimi_vl.weights import place
from kvl_eval.model.pages import PageTable
from kvl_eval.model.placement import plan_places
from kvl_eval.model.rows import StepRows
from tests.model.conftest import Inputs
from tests.refusals import refused

LAYER = "language_model.model.layers"


def on_meta(folder: Path) -> KimiVL:
    with torch.device("meta"):
        return KimiVL(KimiVLConfig.from_folder(folder))


def weight(model: KimiVL, part: str = "") -> int:
    return sum(parameter.nbytes for parameter in model.get_submodule(part).parameters())


def same(placed: KimiVL, model: KimiVL, inputs: Mapping[str, Inputs]) -> bool:
    """Whether logits are equal to the last bit, for texts and pictures."""
    with torch.no_grad():
        return all(torch.equal(placed(**one).logits, model(**one).logits) for one in inputs.values())


def by_layer(model: KimiVL, *places: str | int) -> dict[str, str | int]:
    """The last layers of the model one by one in these places, all else on the first of them."""
    count = model.config.text_config.num_hidden_layers
    layers = {f"{LAYER}.{count - len(places) + number}": place for number, place in enumerate(places)}
    names = [f"{LAYER}.{index}" for index in range(count)]
    rest = ["vision_tower", "multi_modal_projector", "language_model.model.embed_tokens", "language_model.model.norm"]
    return {**dict.fromkeys([*rest, "language_model.lm_head", *names], places[0]), **layers}


def test_the_plan_fills_cards_in_order_and_splits_nothing_that_must_stay_whole(tiny: Path) -> None:
    model = on_meta(tiny)
    room: Mapping[int | str, int] = {card: weight(model) * 2 // 3 for card in range(2)}
    places = plan_places(model, ARCHITECTURE.whole_classes, room)
    assert set(places.values()) == {0, 1}
    for name, module in model.named_modules():
        if type(module).__name__ in ARCHITECTURE.whole_classes:
            assert any(name == whole or name.startswith(f"{whole}.") for whole in places), name
    for card, most in room.items():
        assert sum(weight(model, name) for name, where in places.items() if where == card) <= most


def test_weights_that_no_card_has_room_for_are_refused(tiny: Path) -> None:
    model = on_meta(tiny)
    with refused(CheckpointError, "model.memory") as caught:
        plan_places(model, ARCHITECTURE.whole_classes, dict.fromkeys(range(2), weight(model) // 4))
    assert "no room for" in (caught.value.why or "")


@pytest.mark.parametrize("places", [("cpu", "cpu"), ("cpu", "disk")])
def test_hooks_change_no_logit_and_no_answer(
    tiny: Path, tmp_path: Path, model: KimiVL, inputs: dict[str, Inputs], places: tuple[str, str]
) -> None:
    placed = KimiVL.from_pretrained(tiny)
    place(placed, by_layer(placed, *places), str(tmp_path))
    assert hasattr(placed.language_model.model.layers[-1], "_hf_hook")
    offloaded = placed.language_model.model.layers[-1].self_attn.kv_b_proj.weight.device.type
    assert offloaded == ("meta" if "disk" in places else "cpu")
    assert same(placed, model, inputs)
    for one in inputs.values():
        assert placed.generate(**one, max_new_tokens=6) == model.generate(**one, max_new_tokens=6)


def test_a_mapping_loads_each_module_where_it_goes(tiny: Path, model: KimiVL, inputs: dict[str, Inputs]) -> None:
    placed = KimiVL.from_pretrained(tiny, device=by_layer(model, "cpu", "cpu"))
    assert same(placed, model, inputs)


def test_pages_of_a_layer_lie_where_the_layer_does(model: KimiVL, tiny: Path) -> None:
    """The meta device stands for a second card: torch refuses tensors of two devices in one operation."""
    placed = KimiVL.from_pretrained(tiny, dtype="bfloat16")
    split = by_layer(model, "cpu", "meta") | {"language_model.model.norm": "meta", "language_model.lm_head": "meta"}
    for name, where in split.items():
        placed.get_submodule(name).to(where)
    place(placed, split)
    assert [device.type for device in placed.layer_devices] == ["cpu"] * (len(placed.layer_devices) - 1) + ["meta"]
    pool = placed.new_pool(page_size=4)
    assert [layer.device for layer in pool.layers] == list(placed.layer_devices)
    tables = [PageTable(), PageTable()]
    embeds = placed.embeddings(torch.tensor([[5, 6, 7, 8, 9, 9, 8, 7]]))
    for table, count in zip(tables, (8, 5), strict=True):
        assert prefill(placed, embeds[:, :count], pool, table, 3).device.type == "meta"
    rows, size = StepRows(pool, tables), model.config.text_config.vocab_size
    logits = [decode_step(placed, [1, 2], rows) for _ in range(3)]
    assert {(one.device.type, one.shape) for one in logits} == {("meta", (2, size))}
    pool.truncate(tables[0], 2)
    assert decode_step(placed, [1, 2], rows).device.type == "meta"


def test_accelerate_and_the_compiler_load_only_where_they_are_needed(tiny: Path) -> None:
    code = f"import sys; from kvl_eval.model import KimiVL; KimiVL.from_pretrained({str(tiny)!r}, device='auto'); "
    code += "print({'accelerate', 'torch._dynamo'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.stdout.strip() == b"set()", done.stderr


def test_without_accelerate_the_message_says_what_to_install(tiny: Path) -> None:
    code = (
        "import sys; sys.modules['accelerate'] = None\n"
        "from kvl_eval.errors import CheckpointError\n"
        "from kvl_eval.model import KimiVL\n"
        f"try: KimiVL.from_pretrained({str(tiny)!r}, device={{'': 'cpu'}})\n"
        "except CheckpointError as error: print(error.code, error.fix)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "model.accelerate pip install 'kvl-eval[multi-gpu]'", done.stderr
