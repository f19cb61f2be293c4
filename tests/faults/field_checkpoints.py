"""Checkpoint folders as other people's tools write them, derived from the bundled kimi-vl-nano: 10 MB each.

EXPECT says what `kvl-eval check model` must say of each: `same` (usable, and every weight that is loaded equals
kimi-vl-nano's), `usable`, or a regular expression that its refusal must match. Refusals never contain "download" unless
DOWNLOAD names the form.
"""

import copy
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import kvl_eval

NANO = Path(kvl_eval.__file__).parent / "data" / "kimi-vl-nano"
WEIGHTS = load_file(NANO / "model.safetensors")
CONFIG = json.loads((NANO / "config.json").read_text())
TOKENIZER = json.loads((NANO / "tokenizer_config.json").read_text())
VOCAB = CONFIG["text_config"]["vocab_size"]
HEAD, EMBED = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
EXPECT, MAKERS, DOWNLOAD = {}, {}, {"lfs_weights"}


def form(expect):
    """Register a maker under its function's name."""

    def add(make):
        MAKERS[make.__name__], EXPECT[make.__name__] = make, expect
        return make

    return add


def base(folder, weights=True):
    """A copy of kimi-vl-nano."""
    folder.mkdir(parents=True)
    for file in NANO.iterdir():
        if file.name != "README.md" and (weights or file.name != "model.safetensors"):
            shutil.copy(file, folder / file.name)


def write(folder, tensors, name="model.safetensors"):
    save_file(
        {key: value.contiguous().clone() for key, value in tensors.items()}, folder / name, metadata={"format": "pt"}
    )


def config(folder, change):
    values = copy.deepcopy(CONFIG)
    change(values)
    (folder / "config.json").write_text(json.dumps(values, indent=1))


def index(folder, places):
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": places})
    (folder / "model.safetensors.index.json").write_text(text)


def v5_config(values):
    """The spelling of transformers 5."""
    text = values["text_config"]
    text["rope_parameters"] = {"rope_theta": text.pop("rope_theta"), "rope_type": "default"}
    text.pop("rope_scaling", None)
    values["dtype"] = values.pop("torch_dtype")
    text["dtype"] = text.pop("torch_dtype", "float32")


def fused(tensors):
    """Routed experts stacked as transformers 5 stacks them."""
    kept, experts = {}, {}
    for name, value in tensors.items():
        if ".experts." not in name:
            kept[name] = value
            continue
        prefix, rest = name.split(".experts.")
        number, projection, _ = rest.split(".")
        experts.setdefault(prefix, {}).setdefault(int(number), {})[projection] = value
    for prefix, group in experts.items():
        parts = [group[number] for number in sorted(group)]
        kept[f"{prefix}.experts.gate_up_proj"] = torch.stack([torch.cat([p["gate_proj"], p["up_proj"]]) for p in parts])
        kept[f"{prefix}.experts.down_proj"] = torch.stack([p["down_proj"] for p in parts])
    return kept


def renamed(name):
    """Names since transformers 4.52."""
    if name == HEAD:
        return "lm_head.weight"
    if name.startswith("language_model.model."):
        return "model.language_model." + name.removeprefix("language_model.model.")
    return "model." + name


@form(r"(?s)(two|both|more than one|duplicate).*old_model\.safetensors|old_model\.safetensors.*(two|both|also)")
def old_weights_beside(folder):
    base(folder)
    write(folder, {name: torch.zeros_like(value) for name, value in WEIGHTS.items()}, "old_model.safetensors")


@form(r"(?s)index.*(stale|does not|other|no longer|whole|model\.safetensors )")
def stale_index(folder):
    base(folder)
    index(folder, dict.fromkeys(WEIGHTS, "model-00001-of-00007.safetensors"))


@form("usable")  # and the model's theta is 10,000
def rope_other_theta(folder):
    base(folder)

    def change(values):
        v5_config(values)
        values["text_config"]["rope_parameters"]["rope_theta"] = 10000.0

    config(folder, change)


@form("same")
def rope_scaling_default(folder):
    base(folder)
    config(folder, lambda values: values["text_config"].update(rope_scaling={"rope_type": "default"}))


@form("same")
def v5_processor(folder):
    base(folder)
    values = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "KimiVLProcessor", "image_processor": values})
    )


@form(r"link.*/?blobs/none")
def dangling_link(folder):
    base(folder, weights=False)
    os.symlink("../blobs/none", folder / "model.safetensors")


@form(r"git-lfs|git lfs")
def lfs_weights(folder):
    base(folder, weights=False)
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10719008\n"
    )


@form(r"(?i)quantized.*fp8|fp8.*quantized")
def fp8_blocks(folder):
    base(folder, weights=False)
    tensors = dict(WEIGHTS)
    for name, value in WEIGHTS.items():
        if "proj.weight" in name and "language_model" in name:
            tensors[name] = value.to(torch.float8_e4m3fn)
            tensors[name + "_scale_inv"] = torch.ones((value.shape[0] + 127) // 128, (value.shape[1] + 127) // 128)
    write(folder, tensors)
    how = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    config(folder, lambda values: values["text_config"].update(quantization_config=how))


@form(r"(?i)lora adapter.*Kimi-VL-A3B-Instruct")
def lora_adapter(folder):
    folder.mkdir(parents=True)
    facts = {
        "base_model_name_or_path": "moonshotai/Kimi-VL-A3B-Instruct",
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
    }
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    name = "base_model.model.language_model.model.layers.0.self_attn.q_proj.lora_A.weight"
    write(folder, {name: torch.zeros(8, 192)}, "adapter_model.safetensors")
    for file in ("tokenizer_config.json", "tiktoken.model"):
        shutil.copy(NANO / file, folder)


@form("same")
def prefix_peft(folder):
    base(folder, weights=False)
    write(folder, {f"base_model.model.{name}": value for name, value in WEIGHTS.items()})


@form("same")
def names_452(folder):
    base(folder, weights=False)
    write(folder, {renamed(name): value for name, value in WEIGHTS.items()})


@form("same")
def fused_experts(folder):
    base(folder, weights=False)
    write(folder, fused(WEIGHTS))


@form("usable")
def tied_without_head(folder):
    base(folder, weights=False)
    write(folder, {name: value for name, value in WEIGHTS.items() if name != HEAD})
    config(folder, lambda values: values["text_config"].update(tie_word_embeddings=True))


@form("usable")
def added_token(folder):
    base(folder, weights=False)
    tensors = {**WEIGHTS, **{name: torch.cat([WEIGHTS[name], WEIGHTS[name][:64]]) for name in (HEAD, EMBED)}}
    write(folder, tensors)

    def change(values):
        values["vocab_size"] = values["text_config"]["vocab_size"] = VOCAB + 64

    config(folder, change)
    tokens = copy.deepcopy(TOKENIZER)
    tokens["added_tokens_decoder"][str(VOCAB + 2)] = {"content": "<|my_token|>", "special": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    (folder / "added_tokens.json").write_text(json.dumps({"<|my_token|>": VOCAB + 2}))


@form("usable")
def top_level_vocab(folder):
    base(folder, weights=False)
    write(folder, {**WEIGHTS, **{name: torch.cat([WEIGHTS[name], WEIGHTS[name][:64]]) for name in (HEAD, EMBED)}})
    config(folder, lambda values: values["text_config"].update(vocab_size=VOCAB + 64))


@form("same")
def config_bom(folder):
    base(folder)
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + (NANO / "config.json").read_bytes())


@form(r"(?i)gguf.*llama")
def gguf(folder):
    folder.mkdir(parents=True)
    (folder / "Kimi-VL-A3B-Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(100))
    (folder / "mmproj-model-f16.gguf").write_bytes(b"GGUF")


@form(r"model\.config|n_routed_experts")
def bomb_experts(folder):
    base(folder)
    config(folder, lambda values: values["text_config"].update(n_routed_experts=10**9))


@form(r"eos_token_id")
def generation_object(folder):
    base(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": {"a": 1}}')


# Forms that are accepted today and must stay so.


@form("same")
def training_leftovers(folder):
    base(folder)
    for file in ("training_args.bin", "optimizer.pt", "rng_state_0.pth", "trainer_state.json", "latest"):
        (folder / file).write_bytes(b"{}")
    (folder / "global_step100").mkdir()


@form("usable")
def half_precision(folder):
    base(folder, weights=False)
    write(folder, {name: value.to(torch.float16) for name, value in WEIGHTS.items()})
    config(folder, lambda values: values.update(torch_dtype="float16"))


@form("same")
def tiktoken_crlf(folder):
    base(folder)
    (folder / "tiktoken.model").write_bytes((NANO / "tiktoken.model").read_bytes().replace(b"\n", b"\r\n"))


@form("same")
def training_fields(folder):
    base(folder)
    extra = {"seq_aux": True, "aux_loss_alpha": 0.001, "ep_size": 1, "pretraining_tp": 1, "use_cache": False}
    config(folder, lambda values: values["text_config"].update(extra))
