"""Checkpoint folders as other people's tools write them: what is accepted, and one true sentence for the rest.

Every form is made by `field_checkpoints.py` from the bundled kimi-vl-nano; `EXPECT` there says what must be said of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kvl_eval.check_model import as_text, check
from kvl_eval.cli.main import main
from kvl_eval.errors import CheckpointError
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.registry import architecture_of
from kvl_eval.model.weight_files import INDEX, stored_weights
from kvl_eval.model.weights import checkpoint_tensors
from tests.faults import field_checkpoints as field
from tests.refusals import refused

Make = Callable[[str], Path]
FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tiktoken.model", "generation_config.json")
OPEN = (
    *("rope_scaling_default", "v5_processor", "fp8_blocks", "lora_adapter", "prefix_peft", "names_452"),
    *("fused_experts", "tied_without_head", "added_token", "top_level_vocab", "bomb_experts"),
)  # forms that are not read as they should be yet


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The folder of a form, made once."""
    root = tmp_path_factory.mktemp("field")

    def make(name: str) -> Path:
        if not (root / name).exists():
            field.MAKERS[name](root / name)
        return root / name

    return make


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    """A copy of kimi-vl-nano that a test may break."""
    field.base(tmp_path / "model")
    return tmp_path / "model"


def verdict(folder: Path) -> tuple[bool, str]:
    """Whether `check model` calls a folder usable, and what it says."""
    try:
        report = check(folder)
    except CheckpointError as error:
        return False, error.render()
    return report.ok, as_text(report)


def dry_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code of `run --dry-run` and what it says."""
    with pytest.raises(SystemExit) as ended:
        main(["run", "--task", "mathvista", "--split", "mini", "--limit", "1", "--model", str(folder), "--dry-run"])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def judged_alike(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[bool, str]:
    """The verdict of `check model`, which that of `run --dry-run` must be as well."""
    is_usable, text = verdict(folder)
    code, output = dry_run(folder, capsys)
    assert code == (0 if is_usable else 4), f"{text}\n--- run:\n{output}"
    assert "Traceback" not in output
    return is_usable, text


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors of a model that was loaded, by their published names."""
    return checkpoint_tensors(architecture_of(folder).load(folder))  # type: ignore[arg-type]


def same_as_nano(folder: Path) -> bool:
    tensors = loaded(folder)
    return tensors.keys() == field.WEIGHTS.keys() and all(
        torch.equal(tensor, field.WEIGHTS[name].float()) for name, tensor in tensors.items()
    )


@pytest.mark.parametrize("name", [name for name in field.MAKERS if name not in OPEN])
def test_every_form_from_the_field_is_judged_as_expected_by_check_and_run(
    name: str, made: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, expected = made(name), field.EXPECT[name]
    is_usable, text = judged_alike(folder, capsys)
    assert is_usable == (expected in ("same", "usable")), text
    if is_usable:
        assert same_as_nano(folder) if expected == "same" else loaded(folder)
        return
    assert re.search(expected, text), text
    assert len(text.splitlines()) < 40
    assert "download" not in text.lower() or name in field.DOWNLOAD


# ---- C14, C15: which file holds a tensor


@pytest.mark.parametrize("name", ["a_model.safetensors", "old_model.safetensors"])
def test_C14_a_tensor_in_two_files_without_an_index_is_an_error_that_names_both(nano: Path, name: str) -> None:
    field.write(nano, {key: torch.zeros_like(value) for key, value in field.WEIGHTS.items()}, name)
    with refused(CheckpointError, "model.duplicate", name) as caught:
        architecture_of(nano).load(nano)
    assert "model.safetensors" in caught.value.message and "and 179 more" in caught.value.message
    assert "move one set" in str(caught.value.fix)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.safetensors", "consolidated.safetensors"])
def test_C14_files_of_other_kinds_are_never_part_of_the_weights(nano: Path, name: str) -> None:
    field.write(nano, {key: torch.zeros_like(value) for key, value in field.WEIGHTS.items()}, name)
    assert same_as_nano(nano)


def sharded(folder: Path) -> dict[str, str]:
    """Cut the weights of a folder into two shards with an index; {tensor: shard}."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(weights)}
    for shard in set(places.values()):
        field.write(folder, {name: value for name, value in weights.items() if places[name] == shard}, shard)
    field.index(folder, places)
    return places


@pytest.mark.parametrize("number", [0, 1])
def test_C15_the_index_decides_where_a_tensor_is_and_a_stale_copy_is_counted(nano: Path, number: int) -> None:
    places = sharded(nano)
    name = list(places)[number]
    other = next(shard for shard in places.values() if shard != places[name])
    tensors = load_file(nano / other)
    save_file({**tensors, name: torch.zeros_like(field.WEIGHTS[name])}, nano / other)
    assert same_as_nano(nano)
    is_usable, text = verdict(nano)
    assert is_usable and f"1 tensors are not in the index and are not used: {name}" in text


def test_C15_which_of_two_copies_the_index_names_is_part_of_the_fingerprint(nano: Path) -> None:
    from kvl_eval.backends.fingerprint import weights_sha256

    places = sharded(nano)
    name = next(iter(places))
    other = next(shard for shard in places.values() if shard != places[name])
    save_file({**load_file(nano / other), name: torch.zeros_like(field.WEIGHTS[name])}, nano / other)
    paths = list(stored_weights(nano).paths)
    first = weights_sha256(paths)
    field.index(nano, {**places, name: other})
    assert weights_sha256(paths) != first


def test_C15_a_stale_index_beside_whole_weights_is_named_and_removing_it_helps(made: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(made("stale_index"), tmp_path / "model")
    with refused(CheckpointError, "model.index", "the index is stale") as caught:
        stored_weights(folder)
    assert caught.value.fix == f"remove {INDEX}"
    (folder / INDEX).unlink()
    assert same_as_nano(folder)


def test_C15_an_index_that_contradicts_its_shards_is_named(nano: Path) -> None:
    places = sharded(nano)
    name = next(iter(places))
    field.index(nano, {**places, name: next(shard for shard in places.values() if shard != places[name])})
    with refused(CheckpointError, "model.index", name):
        stored_weights(nano)


# ---- C19, C27: paths that are no ordinary files


def dangling(path: Path) -> None:
    path.symlink_to("../blobs/none")


def looping(path: Path) -> None:
    path.symlink_to(path.name)


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10719008\n")


ODD = {
    "dangling link": (dangling, r"is a link to \.\./blobs/none, which is not there"),
    "link loop": (looping, "is a link that leads to itself"),
    "folder": (Path.mkdir, "is a folder, wanted a file"),
    "FIFO": (os.mkfifo, "is a FIFO, wanted a file"),
    "git-lfs pointer": (pointer, "is a git-lfs pointer, not the file"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("file", [*FILES, "model.safetensors", INDEX, "chat_template.jinja"])
def test_C19_an_entry_that_is_no_regular_file_is_named_and_refused_by_check_and_run(
    nano: Path, file: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = ODD[kind]
    (nano / file).unlink(missing_ok=True)
    make(nano / file)
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and re.search(f"{re.escape(file)} {sentence}", text), text
    assert "download" not in text.lower()


def test_C19_only_a_file_that_is_shorter_than_its_header_says_is_to_be_downloaded_again(nano: Path) -> None:
    path = nano / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "download the file again" in verdict(nano)[1]
    path.write_bytes(b"\xff" * 8 + whole[8:])
    is_usable, text = verdict(nano)
    assert not is_usable and "download" not in text


@pytest.mark.parametrize(
    ("name", "content", "kind", "fix"),
    [
        ("Kimi-Q4_K_M.gguf", b"GGUF" + bytes(20), "GGUF is llama.cpp's format", "llama-server"),
        ("renamed", b"GGUF" + bytes(20), "GGUF is llama.cpp's format", "llama-server"),
        ("model.safetensors", bytes(20), "is one weight file", "name its folder"),
        ("model.zip", b"PK\x03\x04" + bytes(20), "is a zip archive", "unpack it"),
        ("pytorch_model.bin", b"PK\x03\x04" + bytes(20), "pickled weights", "safetensors"),
        ("notes.txt", b"text", "is a file, a model is a folder", "name a folder"),
    ],
)
def test_C27_a_path_to_a_file_is_named_for_what_the_file_is(
    tmp_path: Path, name: str, content: bytes, kind: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        checkpoint_folder(tmp_path / name)
    assert name in caught.value.message and kind in caught.value.message and fix in str(caught.value.fix)
    for command in (["check", "model", str(tmp_path / name)], ["run", "--task", "mathvista", "--model"]):
        with pytest.raises(SystemExit) as ended:
            main(command if command[0] == "check" else [*command, str(tmp_path / name), "--dry-run"])
        printed = capsys.readouterr()
        assert ended.value.code == 4 and kind in printed.out + printed.err
