"""Checkpoint folders as other people's tools write them: what is accepted, and one true sentence for the rest.

Every form is made by `field_checkpoints.py` from the bundled kimi-vl-nano; `EXPECT` there says what must be said of it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kvl_eval.backends import family_facts, make_backend
from kvl_eval.backends.base import Settings
from kvl_eval.backends.fingerprint import CONFIG_FILES, files_sha256
from kvl_eval.check_model import as_text, check
from kvl_eval.cli.main import main
from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL, KimiVLConfig, PreprocessorConfig, TextConfig
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.kimi_vl import attention
from kvl_eval.model.kimi_vl import fields as kimi_fields
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from kvl_eval.model.qwen2_5_vl import fields as qwen_fields
from kvl_eval.model.qwen2_5_vl.config import QwenConfig, VisionConfig
from kvl_eval.model.qwen2_5_vl.config import TextConfig as QwenText
from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
from kvl_eval.model.registry import architecture_of
from kvl_eval.model.weight_files import INDEX, stored_weights
from kvl_eval.model.weights import checkpoint_tensors
from tests.faults import field_checkpoints as field
from tests.model.qwen2_5_vl.test_qwen_config import PUBLISHED as QWEN
from tests.model.qwen2_5_vl.tiny import SHAPES, make_checkpoint
from tests.refusals import refused

Make = Callable[[str], Path]
FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tiktoken.model", "generation_config.json")


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


@pytest.mark.parametrize("name", field.MAKERS)
def test_every_form_from_the_field_is_judged_as_expected(name: str, made: Make) -> None:
    folder, expected = made(name), field.EXPECT[name]
    is_usable, text = verdict(folder)
    assert is_usable == (expected in ("same", "usable")), text
    if is_usable:
        assert same_as_nano(folder) if expected == "same" else loaded(folder)
        return
    assert re.search(expected, text), text
    assert len(text.splitlines()) < 40
    assert "download" not in text.lower() or name in field.DOWNLOAD


@pytest.mark.slow
@pytest.mark.parametrize("name", field.MAKERS)
def test_C29_check_and_run_agree_on_every_form_from_the_field(
    name: str, made: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    judged_alike(made(name), capsys)


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
    "dangling link": (dangling, r"is a broken link to \.\./blobs/none"),
    "link loop": (looping, "is a link to itself"),
    "folder": (Path.mkdir, "is a folder, expected a file"),
    "FIFO": (os.mkfifo, "is a FIFO, expected a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, expected a file"),
    "git-lfs pointer": (pointer, "is a git-lfs pointer, not the file"),
}


@pytest.mark.parametrize("file", [*FILES, "model.safetensors", INDEX, "chat_template.jinja"])
def test_C19_a_dangling_link_is_named_with_its_target(nano: Path, file: str) -> None:
    (nano / file).unlink(missing_ok=True)
    dangling(nano / file)
    is_usable, text = verdict(nano)
    assert not is_usable and f"{file} is a broken link to ../blobs/none" in text


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("file", ["model.safetensors", "generation_config.json"])
def test_C19_an_odd_entry_of_any_kind_is_named(nano: Path, file: str, kind: str) -> None:
    make, sentence = ODD[kind]
    (nano / file).unlink()
    make(nano / file)
    is_usable, text = verdict(nano)
    assert not is_usable and re.search(f"{re.escape(file)} {sentence}", text), text


@pytest.mark.slow
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


@pytest.mark.parametrize("file", [*FILES, "model.safetensors", INDEX])
def test_C19_a_file_that_may_not_be_read_is_named(nano: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (nano / file).touch()
    opened = Path.open

    def forbidden(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == nano / file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", forbidden)
    is_usable, text = verdict(nano)
    assert not is_usable and f"{file} cannot be read: no permission" in text


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
        ("Kimi-Q4_K_M.gguf", b"GGUF" + bytes(20), "does not support GGUF", "llama-server"),
        ("renamed", b"GGUF" + bytes(20), "does not support GGUF", "llama-server"),
        ("model.safetensors", bytes(20), "is a weight file", "use its folder"),
        ("model.zip", b"PK\x03\x04" + bytes(20), "is a zip archive", "unpack it"),
        ("pytorch_model.bin", b"PK\x03\x04" + bytes(20), "pickled weights", "safetensors"),
        ("notes.txt", b"text", "is a file, but a model is a folder", "use a folder"),
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


# ---- C16, C30, K7: fields of the configuration


def text_config(folder: Path, **fields: Any) -> None:
    edit(folder / "config.json", lambda values: values["text_config"].update(fields))


def test_C16_rope_parameters_are_read(made: Make) -> None:
    assert KimiVLConfig.from_folder(made("rope_other_theta")).text_config.rope_theta == 10_000.0
    model = architecture_of(made("rope_other_theta")).load(made("rope_other_theta"))
    assert model.config.text_config.rope_theta == 10_000.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("field_name", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("value", [None, {"rope_type": "default"}, {"type": "default"}, {}])
def test_C16_default_and_null_mean_no_scaling_in_both_spellings(nano: Path, field_name: str, value: object) -> None:
    text_config(nano, **{field_name: value})
    assert KimiVLConfig.from_folder(nano) == KimiVLConfig.from_folder(field.NANO)


@pytest.mark.parametrize("field_name", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
@pytest.mark.parametrize("kind", ["yarn", "linear", "dynamic", "llama3", "longrope"])
def test_C16_every_scaled_rope_is_refused_with_its_name(nano: Path, field_name: str, key: str, kind: str) -> None:
    text_config(nano, **{field_name: {key: kind, "factor": 4.0, "rope_theta": 800000.0}})
    with refused(CheckpointError, "model.config", f'text_config.{field_name} is "{kind}"'):
        KimiVLConfig.from_folder(nano)


def test_C16_two_fields_that_contradict_each_other_are_named(nano: Path) -> None:
    text_config(nano, rope_parameters={"rope_theta": 10000.0, "rope_type": "default"})
    with refused(CheckpointError, "model.config", "text_config.rope_parameters.rope_theta is 10000.0") as caught:
        KimiVLConfig.from_folder(nano)
    assert "rope_theta, 800000.0" in str(caught.value.why)


@pytest.mark.parametrize("name", sorted({*kimi_fields.TEXT.required, *kimi_fields.TEXT.optional}))
def test_C16_an_absent_field_is_refused_or_has_the_class_default_and_is_listed(tmp_path: Path, name: str) -> None:
    values = {**KimiVLConfig().to_dict()}
    text = dict(values["text_config"])
    text.pop(name, None)
    values["text_config"] = text
    if name in kimi_fields.TEXT.required:
        with refused(CheckpointError, "model.config", f"text_config.{name} is missing"):
            KimiVLConfig.from_dict(values)
        return
    assert KimiVLConfig.from_dict(values) == KimiVLConfig()
    listed = kimi_fields.field_notes(values).defaults
    assert f"text_config.{name} {json.dumps(kimi_fields.TEXT.optional[name])}" in listed


def test_C16_what_may_be_absent_is_what_transformers_leaves_out() -> None:
    """The classes' defaults, and those of the released checkpoints, which are ours."""
    from transformers import DeepseekV3Config, Qwen2_5_VLConfig

    text = DeepseekV3Config()
    for name, value in kimi_fields.TEXT.optional.items() - {("rope_scaling", None)}:  # which they call rope_parameters
        assert getattr(text, name, value) == value == getattr(TextConfig(), name, value), name
    qwen = Qwen2_5_VLConfig()
    for rule, section in ((qwen_fields.VISION, qwen.vision_config), (qwen_fields.TEXT, qwen.text_config)):
        for name, value in rule.optional.items():
            default = getattr(section, name, value)
            assert (list(default) if isinstance(default, tuple) else default) == value, name


@pytest.mark.parametrize(
    "name", [*qwen_fields.TEXT.required, *(f"vision_config.{n}" for n in qwen_fields.VISION.required)]
)
def test_C16_of_qwen_an_absent_field_in_which_checkpoints_differ_is_refused(name: str) -> None:
    values = json.loads(json.dumps(QWEN))
    section, _, last = name.rpartition(".")
    (values["vision_config"] if section else values["rope_scaling"] if last == "mrope_section" else values).pop(last)
    with refused(CheckpointError, "model.config", f"{section or 'text_config'}.{last} is missing"):
        QwenConfig.from_dict(values)


SECTIONS = ["text_config", *(pytest.param(name, marks=pytest.mark.slow) for name in ("", "vision_config"))]


@pytest.mark.parametrize("section", SECTIONS)
def test_C30_an_unknown_field_is_named_by_check_and_counted_by_run(
    nano: Path, section: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def add(values: dict[str, Any]) -> None:
        (values[section] if section else values)["attention_temperature"] = 0.5

    edit(nano / "config.json", add)
    with caplog.at_level("WARNING", "kvl_eval"):
        is_usable, text = judged_alike(nano, capsys)
    name = f"{section}.attention_temperature" if section else "attention_temperature"
    assert is_usable and f"warn  fields        not used: {name}" in text
    assert "config.json has unknown fields: 1" in caplog.text


def test_C30_fields_of_training_are_known_to_have_no_effect(made: Make) -> None:
    is_usable, text = verdict(made("training_fields"))
    assert is_usable and "not used" not in text
    for name in ("seq_aux", "aux_loss_alpha", "ep_size", "pretraining_tp", "use_cache"):
        assert f"text_config.{name}" in text


def test_C30_a_known_meaning_under_another_name_must_say_the_same(nano: Path) -> None:
    text_config(nano, num_local_experts=8)
    KimiVLConfig.from_folder(nano)
    text_config(nano, num_local_experts=16)
    with refused(CheckpointError, "model.config", "text_config.num_local_experts is 16"):
        KimiVLConfig.from_folder(nano)


def numbers(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the numbers in a configuration."""
    if isinstance(values, dict):
        return [found for name, value in values.items() for found in numbers(value, (*path, name))]
    return [path] if type(values) in (int, float) else []


@pytest.mark.slow
@pytest.mark.parametrize("path", numbers(field.CONFIG), ids=".".join)
def test_K7_a_number_is_bounded_before_anything_is_made_of_it(nano: Path, path: tuple[str, ...]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for value in (10**9, -1, 1.5, "x", None, True, [], 10**400):
        values = json.loads(json.dumps(field.CONFIG))
        section = values
        for name in path[:-1]:
            section = section[name]
        section[path[-1]] = value
        (nano / "config.json").write_text(json.dumps(values))
        begin = time.monotonic()
        is_usable, text = verdict(nano)
        assert time.monotonic() - begin < 5
        assert is_usable or path[-1] in text or "checks failed" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


@pytest.mark.parametrize(
    ("name", "value"), [("n_routed_experts", 10**9), ("num_hidden_layers", 10**7), ("vocab_size", 10**9)]
)
def test_K7_a_count_beyond_all_reason_is_refused_by_its_bound(nano: Path, name: str, value: int) -> None:
    text_config(nano, **{name: value})
    with refused(CheckpointError, "model.config", f"text_config.{name} is {value}") as caught:
        KimiVLConfig.from_folder(nano)
    assert "up to" in str(caught.value.why)


def test_K7_sizes_that_are_allowed_one_by_one_are_bounded_together(nano: Path) -> None:
    text_config(nano, hidden_size=2**20, vocab_size=2**22)
    with refused(CheckpointError, "model.config", "parameters"):
        KimiVLConfig.from_folder(nano)


@pytest.mark.parametrize("rank", [None, 24])
@pytest.mark.parametrize("bias", [False, True])
def test_K7_the_expected_tensors_are_those_of_the_module(rank: int | None, bias: bool) -> None:
    config = KimiVLConfig.from_folder(field.NANO)
    config = replace(config, text_config=replace(config.text_config, q_lora_rank=rank, attention_bias=bias))
    with torch.device("meta"):
        tensors = checkpoint_tensors(KimiVL(config))
    groups = config.tensor_groups()
    assert sum(group.count for group in groups) == len(tensors)
    assert sum(group.count * group.size for group in groups) == sum(tensor.numel() for tensor in tensors.values())


@pytest.mark.parametrize("is_tied", [False, True])
def test_K7_the_expected_tensors_of_qwen_are_those_of_the_module(is_tied: bool) -> None:
    vision = VisionConfig(depth=3, hidden_size=32, num_heads=2, intermediate_size=52, out_hidden_size=48)
    text = QwenText(
        **dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=3, num_hidden_layers=2),
        **dict(intermediate_size=80, vocab_size=384, mrope_section=(1, 2, 1)),
    )
    config = QwenConfig(vision_config=vision, text_config=text, image_token_id=3, tie_word_embeddings=is_tied)
    with torch.device("meta"):
        tensors = checkpoint_tensors(Qwen25VL(config))
    groups = config.tensor_groups()
    assert sum(group.count for group in groups) == len(tensors)
    assert sum(group.count * group.size for group in groups) == sum(tensor.numel() for tensor in tensors.values())


# ---- C20, C21, C28, C29: files of other versions and writers


def moved_settings(folder: Path, is_nested: bool = True, **others: Any) -> None:
    """Move the image processor's settings to the file of transformers 5."""
    values = json.loads((folder / "preprocessor_config.json").read_text()) | others
    whole = {"processor_class": "KimiVLProcessor", **({"image_processor": values} if is_nested else values)}
    (folder / "processor_config.json").write_text(json.dumps(whole))


@pytest.mark.parametrize("is_nested", [True, False])
def test_C20_the_newer_processor_file_is_read_and_told_apart(nano: Path, is_nested: bool) -> None:
    expected = PreprocessorConfig.from_folder(nano)
    hashes = []
    for limit in (expected.in_token_limit, 16_384):
        moved_settings(nano, is_nested, in_token_limit=limit)
        (nano / "preprocessor_config.json").rename(nano / "aside")
        assert PreprocessorConfig.from_folder(nano) == replace(expected, in_token_limit=limit)
        hashes.append(files_sha256(nano, CONFIG_FILES))
        assert family_facts(nano).image_limit == limit
        (nano / "aside").rename(nano / "preprocessor_config.json")
    assert hashes[0] != hashes[1]


def test_C20_both_files_must_agree(nano: Path) -> None:
    moved_settings(nano)
    assert PreprocessorConfig.from_folder(nano) == PreprocessorConfig.from_folder(field.NANO)
    moved_settings(nano, pad_input=False)
    with refused(CheckpointError, "model.config", "pad_input is true in preprocessor_config.json and false in"):
        PreprocessorConfig.from_folder(nano)


@pytest.mark.parametrize("name", kimi_fields.PICTURES.required)
def test_C16_a_setting_of_pictures_in_which_class_and_checkpoints_differ_must_be_stated(nano: Path, name: str) -> None:
    edit(nano / "preprocessor_config.json", lambda values: values.pop(name))
    with refused(CheckpointError, "model.config", f"{name} is missing"):
        PreprocessorConfig.from_folder(nano)


@pytest.mark.parametrize("rest", [None, {"processor_class": "KimiVLProcessor"}])
def test_C20_without_settings_in_either_file_a_sentence_says_where_to_get_them(
    nano: Path, rest: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (nano / "preprocessor_config.json").unlink()
    if rest is not None:
        (nano / "processor_config.json").write_text(json.dumps(rest))
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and "the settings of the image processor are missing" in text
    assert "copy preprocessor_config.json from the base model" in text


def other_writer(values: dict[str, Any], form: str) -> dict[str, int]:
    """Names of special tokens in another place of `tokenizer_config.json`; {name: id} for `added_tokens.json`."""
    tokens = {entry["content"]: int(number) for number, entry in values.pop("added_tokens_decoder").items()}
    names = values.pop("additional_special_tokens")
    if form == "added_tokens.json":
        return tokens
    if form == "extra_special_tokens, list":
        values["extra_special_tokens"] = names
    elif form == "extra_special_tokens, object":
        values["extra_special_tokens"] = {f"token_{number}": name for number, name in enumerate(names)}
    else:
        values["additional_special_tokens"] = [{"content": name, "special": True} for name in names]
    return {}


FORMS = ["added_tokens.json", "extra_special_tokens, list", "extra_special_tokens, object", "additional_special_tokens"]


@pytest.mark.parametrize("form", FORMS)
def test_C21_names_of_special_tokens_are_found_where_other_writers_put_them(nano: Path, form: str) -> None:
    before = architecture_of(nano).stop_ids(nano)
    tokens: dict[str, int] = {}
    edit(nano / "tokenizer_config.json", lambda values: tokens.update(other_writer(values, form)))
    if tokens:
        (nano / "added_tokens.json").write_text(json.dumps(tokens))
    assert verdict(nano)[0]
    assert KimiTokenizer.from_folder(nano).special_tokens == KimiTokenizer.from_folder(field.NANO).special_tokens
    assert architecture_of(nano).stop_ids(nano) == before


@pytest.mark.parametrize("form", [None, *(pytest.param(form, marks=pytest.mark.slow) for form in FORMS)])
def test_C21_without_its_vocabulary_a_sentence_says_where_to_get_it(
    nano: Path, form: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if form:
        edit(nano / "tokenizer_config.json", lambda values: other_writer(values, form))
    (nano / "tiktoken.model").unlink()
    (nano / "tokenizer.json").write_text("{}")
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and "tiktoken.model is missing" in text
    assert "copy tiktoken.model from the base model" in text


def test_C25_a_token_that_was_added_is_special_and_never_made_from_text(made: Make) -> None:
    folder = made("added_token")
    text = architecture_of(folder).processor(folder)
    added = field.VOCAB + 2
    assert text.token_bytes(added) == b"<|my_token|>"
    assert added not in text.encode("say <|my_token|>")
    assert text.token_bytes(added + 1) == b""


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (field.VOCAB + 64, f"special tokens beyond the vocabulary: <|my_token|> = {field.VOCAB + 64}"),
        (field.VOCAB + 10**6, "special tokens beyond the vocabulary"),
        (7, "special tokens inside the vocabulary: <|my_token|> = 7"),
    ],
)
def test_C25_an_id_outside_the_special_range_is_named_with_the_true_range(
    made: Make, tmp_path: Path, number: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(made("added_token"), tmp_path / "model")

    def move(values: dict[str, Any]) -> None:
        tokens = values["added_tokens_decoder"]
        tokens[str(number)] = tokens.pop(str(field.VOCAB + 2))

    edit(folder / "tokenizer_config.json", move)
    is_usable, text = judged_alike(folder, capsys)
    assert not is_usable and sentence in text
    assert f"1024 to {field.VOCAB + 63}" in text or "special ids begin at 1024" in text


def test_C25_the_vocabulary_is_that_of_the_language_model(made: Make) -> None:
    assert KimiVLConfig.from_folder(made("top_level_vocab")).text_config.vocab_size == field.VOCAB + 64
    assert "vocab_size" in verdict(made("top_level_vocab"))[1]


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("file", [*FILES, "chat_template.jinja"])
def test_C28_a_byte_order_mark_changes_nothing(nano: Path, file: str) -> None:
    (nano / file).write_bytes(BOM + (nano / file).read_bytes())
    is_usable, text = verdict(nano)
    assert is_usable and "warn" not in text, text


@pytest.mark.parametrize("change", [lambda data: data + b"\n", lambda data: data.replace(b"\n", b"\r\n") + b"\r\n \n"])
def test_C28_blank_lines_behind_the_vocabulary_change_nothing(nano: Path, change: Callable[[bytes], bytes]) -> None:
    path = nano / "tiktoken.model"
    path.write_bytes(change(path.read_bytes()))
    assert KimiTokenizer.from_folder(nano).ranks == KimiTokenizer.from_folder(field.NANO).ranks


def cached(root: Path, *commits: str, main: str | None = None) -> Path:
    """A repository as the hub's cache has it, with empty snapshots."""
    folder = root / "models--owner--name"
    for commit in commits:
        (folder / "snapshots" / commit).mkdir(parents=True)
    if main is not None:
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(main)
    return folder


def test_C28_a_folder_of_the_hubs_cache_means_its_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = cached(tmp_path / "one", "abc")
    assert checkpoint_folder(one).name == "abc"
    assert checkpoint_folder(cached(tmp_path / "two", "abc", "def", main="def")).name == "def"
    assert checkpoint_folder(cached(tmp_path / "three", "abc", "def", main="def"), "abc").name == "abc"
    with refused(CheckpointError, "model.revision", "without a snapshot of main") as caught:
        checkpoint_folder(cached(tmp_path / "four", "abc", "def"))
    assert "abc, def" in str(caught.value.why)
    (one / "snapshots" / "abc").rmdir()
    field.base(one / "snapshots" / "abc")
    assert judged_alike(one, capsys)[0]


CONTENTS = {
    "empty": b"",
    "list": b"[]",
    "garbage": b"\xff\xfe{",
    "nested": b'{"eos_token_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "number": b"5",
}


@pytest.mark.slow
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("file", [*FILES, INDEX, "model.safetensors", "added_tokens.json", "processor_config.json"])
def test_C29_check_and_run_agree_on_every_file_with_odd_content(
    nano: Path, file: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if file == "added_tokens.json":
        edit(nano / "tokenizer_config.json", lambda values: values.pop("added_tokens_decoder"))
    (nano / file).write_bytes(CONTENTS[content])
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and file in text


FIELDS = [
    *(("generation_config.json", name) for name in ("eos_token_id", "do_sample", "temperature", "max_new_tokens")),
    *(("preprocessor_config.json", name) for name in ("pad_input", "image_mean", "in_token_limit", "patch_size")),
    *(("tokenizer_config.json", name) for name in ("added_tokens_decoder", "eos_token", "additional_special_tokens")),
    *(
        ("config.json", name)
        for name in ("eos_token_id", "architectures", "vision_config", "torch_dtype", "model_type")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), FIELDS)
def test_C29_check_and_run_agree_on_every_field_of_a_wrong_type(
    nano: Path, file: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (5, True, [], {}, "x", None, [[]], {"a": 1}, -1, 1.5, 10**400):
        edit(nano / file, lambda values, value=value: values.update({name: value}))  # type: ignore[misc]
        judged_alike(nano, capsys)


@pytest.mark.parametrize(("file", "name", "value"), [("generation_config.json", "eos_token_id", {"a": 1})])
def test_C29_a_field_of_a_wrong_type_is_refused_by_check_and_run(
    nano: Path, file: str, name: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(nano / file, lambda values: values.update({name: value}))
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and name in text


def test_K7_headers_are_compared_before_any_module_is_built(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text_config(nano, n_routed_experts=4096, num_hidden_layers=900)
    monkeypatch.setattr(KimiVL, "__init__", lambda *_: pytest.fail("a module was built"))
    with refused(CheckpointError, "model.tensors", "but the weight files contain 180"):
        architecture_of(nano).check_weights(nano)
    with refused(CheckpointError, "model.tensors", "but the weight files contain 180"):
        architecture_of(nano).load(nano)


# ---- C22 to C24, C26: adapters, names, tied heads, quantized weights

LORA = "language_model.model.layers.0.self_attn.q_proj"


def test_C22_an_adapter_beside_a_whole_checkpoint_is_not_applied_and_said_so(nano: Path) -> None:
    shutil.copy(nano / "model.safetensors", nano / "adapter_model.safetensors")
    (nano / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name"}')
    assert same_as_nano(nano)
    is_usable, text = verdict(nano)
    assert is_usable and "adapter_model.safetensors is not applied" in text


@pytest.mark.parametrize(
    "names", [(f"{LORA}.lora_A.weight",), (f"{LORA}.base_layer.weight", f"{LORA}.lora_B.default.weight")]
)
def test_C22_an_adapter_inside_the_weights_is_named_first(
    nano: Path, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    field.write(nano, {**field.WEIGHTS, **{f"base_model.model.{name}": torch.zeros(8, 192) for name in names}})
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and "a LoRA adapter that is not merged" in text and "merge_and_unload" in text
    assert len(text.splitlines()) < 10


@pytest.mark.parametrize("config", ["{}", "garbage", '{"base_model_name_or_path": 5}'])
def test_C22_an_adapter_is_named_whatever_its_configuration_says(made: Make, tmp_path: Path, config: str) -> None:
    folder = shutil.copytree(made("lora_adapter"), tmp_path / "model")
    (folder / "adapter_config.json").write_text(config)
    assert "LoRA adapter, not a complete model" in verdict(folder)[1]


NAMES = {
    "published": lambda name: name,
    "4.52": field.renamed,
    "PEFT": lambda name: f"base_model.model.{name}",
    "parallel and compiled": lambda name: f"module._orig_mod.{name}",
    "PEFT, 4.52": lambda name: f"base_model.model.{field.renamed(name)}",
}


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("names", NAMES)
def test_C23_every_renaming_and_stacking_loads_the_same_bits(nano: Path, names: str, stack: bool) -> None:
    tensors = field.fused(field.WEIGHTS) if stack else field.WEIGHTS
    field.write(nano, {NAMES[names](name): value for name, value in tensors.items()})
    assert same_as_nano(nano)


def test_C23_the_run_folder_says_how_tensors_were_named(made: Make) -> None:
    def named(folder: Path) -> object:
        return make_backend(str(folder), Settings()).describe().facts.get("tensor_names")

    assert named(field.NANO) is None
    assert named(made("names_452")) == "names since transformers 4.52"
    assert named(made("prefix_peft")) == "base_model.model. removed"
    assert named(made("fused_experts")) == "stacked experts"


def test_C23_where_no_naming_fits_the_list_says_so_and_is_short(nano: Path) -> None:
    tensors = {field.renamed(name): value for name, value in field.WEIGHTS.items()}
    for name in list(tensors)[:60]:
        tensors[f"x.{name}"] = tensors.pop(name)
    field.write(nano, tensors)
    is_usable, text = verdict(nano)
    assert not is_usable and "no known naming scheme matches; the closest are the names since transformers 4.52" in text
    assert "60 tensors missing, 60 unexpected, 0 with the wrong shape" in text
    assert len(text.splitlines()) < 40 and "download" not in text


def test_C23_one_tensor_under_two_names_is_an_error_that_names_both(nano: Path) -> None:
    name = field.EMBED
    field.write(nano, {**field.WEIGHTS, f"module.{name}": torch.zeros_like(field.WEIGHTS[name])})
    with refused(CheckpointError, "model.duplicate", f"module.{name}"):
        architecture_of(nano).load(nano)


def test_C23_layers_that_predict_more_tokens_are_not_used_and_counted(nano: Path) -> None:
    extra = {
        name.replace("layers.3.", "layers.4."): value for name, value in field.WEIGHTS.items() if "layers.3." in name
    }
    field.write(nano, {**field.WEIGHTS, **extra})
    assert not verdict(nano)[0]
    text_config(nano, num_nextn_predict_layers=1)
    assert same_as_nano(nano)


@pytest.mark.parametrize("level", ["top", "text_config"])
def test_C24_a_tied_head_is_the_embedding_table(made: Make, tmp_path: Path, level: str) -> None:
    folder = shutil.copytree(made("tied_without_head"), tmp_path / "model")
    text_config(folder, tie_word_embeddings=level == "text_config")
    edit(folder / "config.json", lambda values: values.update(tie_word_embeddings=level == "top"))
    copied = tmp_path / "copied"
    field.base(copied)
    field.write(copied, {**field.WEIGHTS, field.HEAD: field.WEIGHTS[field.EMBED]})
    ids = torch.tensor([[1025, 7, 300, 1026, 65]])
    logits = [architecture_of(path).load(path)(ids).logits for path in (folder, copied)]  # type: ignore[operator]
    assert torch.equal(*logits)


def test_C24_an_equal_head_is_accepted_and_another_one_named(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text_config(nano, tie_word_embeddings=True)
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and f"{field.HEAD} differs from {field.EMBED}" in text
    field.write(nano, {**field.WEIGHTS, field.HEAD: field.WEIGHTS[field.EMBED]})
    assert judged_alike(nano, capsys)[0]
    field.write(nano, {name: value for name, value in field.WEIGHTS.items() if name != field.HEAD})
    text_config(nano, tie_word_embeddings=False)
    assert f"missing: {field.HEAD}" in verdict(nano)[1]


QUANTIZED = {
    "fp8, blocks of 128 x 128": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "AWQ, 4 bits": {"quant_method": "awq", "bits": 4},
    "GPTQ, 8 bits": {"quant_method": "gptq", "bits": 8},
    "compressed-tensors": {"quant_method": "compressed-tensors", "config_groups": {}},
    "bitsandbytes, 4 bits": {"quant_method": "bitsandbytes", "load_in_4bit": True},
}


@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize("section", ["", "text_config"])
def test_C26_a_quantized_checkpoint_is_refused_in_one_sentence(
    nano: Path, kind: str, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def add(values: dict[str, Any]) -> None:
        (values[section] if section else values)["quantization_config"] = QUANTIZED[kind]

    edit(nano / "config.json", add)
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and f"this checkpoint is quantized ({kind})" in text
    assert "--model endpoint" in text and len(text.splitlines()) < 8


def test_C26_mlx_is_named(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = {"group_size": 64, "bits": 4}
    edit(nano / "config.json", lambda values: values.update(quantization=how, quantization_config=how))
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and "quantized (MLX, 4 bits)" in text and "MLX server" in text


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_C26_quantized_weights_without_a_word_in_the_configuration_are_seen(
    nano: Path, dtype: torch.dtype, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{LORA}.weight"
    field.write(nano, {**field.WEIGHTS, name: field.WEIGHTS[name].to(dtype)})
    is_usable, text = judged_alike(nano, capsys)
    assert not is_usable and "this checkpoint is quantized (weights of" in text and len(text.splitlines()) < 8
    with refused(CheckpointError, "model.form", "quantized"):
        architecture_of(nano).load(nano)


# ---- the same of Qwen2.5-VL


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Tiny checkpoints that transformers wrote."""
    root = tmp_path_factory.mktemp("qwen")

    def make(name: str) -> Path:
        if not (root / name).exists():
            make_checkpoint(root / name, SHAPES[name])
        return root / name

    return make


def test_C14_C15_of_qwen_the_folder_and_the_index_decide(qwen: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(qwen("untied"), tmp_path / "model")
    zeros = {name: torch.zeros_like(value) for name, value in load_file(folder / "model.safetensors").items()}
    field.write(folder, zeros, "old.safetensors")
    with refused(CheckpointError, "model.duplicate", "old.safetensors"):
        loaded(folder)
    field.index(folder, dict.fromkeys(zeros, "model.safetensors"))
    assert any(bool(tensor.any()) for tensor in loaded(folder).values())


def test_C23_C24_of_qwen_names_and_heads_are_told_apart(qwen: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(qwen("tied"), tmp_path / "model")
    before = loaded(folder)
    weights = load_file(folder / "model.safetensors")
    field.write(folder, {f"base_model.model.{name}": value for name, value in weights.items()})
    after = loaded(folder)
    assert all(torch.equal(after[name], before[name]) for name in before)
    table = next(value for name, value in weights.items() if "embed_tokens" in name)
    field.write(folder, {**weights, "lm_head.weight": table})
    loaded(folder)
    field.write(folder, {**weights, "lm_head.weight": table + 1})
    with refused(CheckpointError, "model.tied_head", "lm_head.weight differs from"):
        loaded(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json"])
def test_C19_of_qwen_an_odd_entry_is_named(
    qwen: Make, tmp_path: Path, file: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(qwen("tied"), tmp_path / "model")
    make, sentence = ODD[kind]
    (folder / file).unlink()
    make(folder / file)
    is_usable, text = judged_alike(folder, capsys)
    assert not is_usable and re.search(f"{re.escape(file)} {sentence}", text), text


def test_C20_C26_C29_of_qwen_check_and_run_agree(
    qwen: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(qwen("tied"), tmp_path / "model")
    assert judged_alike(folder, capsys)[0]
    (folder / "generation_config.json").write_text('{"eos_token_id": {"a": 1}}')
    assert not judged_alike(folder, capsys)[0]
    (folder / "generation_config.json").write_text("{}")
    edit(folder / "config.json", lambda values: values.update(quantization_config=QUANTIZED["AWQ, 4 bits"]))
    assert "quantized (AWQ, 4 bits)" in judged_alike(folder, capsys)[1]


# ---- C18: attention on devices


def half_wrong(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
    """Attention that forgets the second half of every value."""
    out = torch.softmax(q.float() @ k.float().mT, -1).to(v.dtype) @ v if q.shape[1] == k.shape[1] else q * 0
    return torch.cat([out[..., : v.shape[-1] // 2], torch.zeros_like(out[..., v.shape[-1] // 2 :])], dim=-1)


def not_a_number(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
    return torch.full((*q.shape[:-1], v.shape[-1]), float("nan"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("wrong", [half_wrong, not_a_number])
@pytest.mark.parametrize("name", ["kimi", "qwen"])
def test_C18_a_device_whose_attention_is_wrong_is_refused_at_load(
    qwen: Make, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., torch.Tensor], dtype: str
) -> None:
    folder = field.NANO if name == "kimi" else qwen("untied")
    architecture_of(folder).load(folder, dtype=dtype)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", wrong)
    with refused(CheckpointError, "model.device", "attention on cpu") as caught:
        architecture_of(folder).load(folder, dtype=dtype)
    assert dtype in str(caught.value.why) and caught.value.exit_code == 4


def test_C18_attention_that_mixes_up_narrow_values_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch on MPS: values are read with the width of keys."""
    right = torch.nn.functional.scaled_dot_product_attention

    def strided(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
        if v.shape[-1] < k.shape[-1]:
            v = torch.cat([v, v], dim=-1)[..., : k.shape[-1]].roll(1, -1)
        return right(q, k, v, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", strided)
    config = KimiVLConfig.from_folder(field.NANO).text_config
    attention.check_device(config, torch.device("cpu"), torch.float32)
    monkeypatch.setattr(attention, "takes_narrow_values", lambda device: True)
    with refused(CheckpointError, "model.device", "attention on cpu gives wrong results"):
        attention.check_device(config, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("device", "capability", "is_good"),
    [
        *(("cuda", (8, 0), False), ("cuda", (8, 9), False), ("cuda", (9, 0), True), ("cuda", (12, 0), True)),
        *(("cpu", None, False), ("mps", None, False), ("xpu", None, False)),
    ],
)
def test_C18_values_are_widened_on_all_devices_but_known_good_ones(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: tuple[int, int] | None, is_good: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert attention.takes_narrow_values.__wrapped__(torch.device(device)) is is_good
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert attention.takes_narrow_values.__wrapped__(torch.device(device)) is False
