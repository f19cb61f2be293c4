"""A checkpoint in the form vLLM serves: an independent engine to check the bundled one against.

Source: vLLM 0.32 (`kimi_vl.py` and its CPU latent attention); what differs from the published code is said below.
"""

import json
import math
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kvl_eval.decode import Json
from kvl_eval.errors import CheckpointError
from kvl_eval.model.files import read_json
from kvl_eval.model.kimi_vl.architecture import ARCHITECTURE
from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.processor import KimiVLProcessor
from kvl_eval.model.kimi_vl.tokenizer import PATTERN, KimiTokenizer
from kvl_eval.model.kimi_vl.weights import save_checkpoint
from kvl_eval.model.weight_files import INDEX, weight_files
from kvl_eval.model.weights import write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LATENT_EPS = 1e-6  # of the latent norms in the published code; vLLM gives them `rms_norm_eps`
WIDTHS = {"kv_lora_rank": 512, "qk_rope_head_dim": 64}  # what vLLM's CPU kernel computes
LARGEST_COPY = 256 * 2**20  # bytes of weights that are written anew
CLASSES = Path(__file__).resolve().parent / "kimi_vl_processing.py"
PROCESSOR = {
    "AutoProcessor": f"{CLASSES.stem}.KimiVLProcessor",
    "AutoImageProcessor": f"{CLASSES.stem}.KimiVLImageProcessor",
}


def export_for_vllm(source: str | Path, target: str | Path, *, revision: str | None = None) -> None:
    """Write a checkpoint folder that `vllm serve` loads and that computes what the bundled engine computes.

    Weights in float32 under the published names, a fast tokenizer, and the two processor classes that transformers
    lacks, named by `auto_map`; the server needs `--trust-remote-code` for these two classes only.
    Raises: CheckpointError, for a geometry that vLLM's CPU kernel cannot compute, or a folder that is not empty.
    """
    target = _empty(Path(target))
    model = KimiVL.from_pretrained(source, revision=revision, dtype=torch.float32, device="cpu")
    processor = KimiVLProcessor.from_pretrained(source, revision=revision)
    _check_widths(model)
    _scale_latents(model)
    save_checkpoint(model, target, dtype=torch.float32)
    _write_processor(processor, target)


def link_for_vllm(source: str | Path, target: str | Path) -> None:
    """Write a folder that `vllm serve` loads, whose weights are those of a local checkpoint, linked and not copied.

    For checkpoints that are too large to be written again, or quantized. Latent norms have vLLM's `rms_norm_eps` there.
    No file of the checkpoint names code any more but ours. Raises: CheckpointError.
    """
    source, target = Path(source), _empty(Path(target))
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / "config.json", without_code(read_json(source / "config.json")))
    write_json(target / "generation_config.json", {"eos_token_id": list(ARCHITECTURE.stop_ids(source))})
    paths = weight_files(source)
    for path in [*paths, *source.glob(INDEX)]:
        (target / path.name).symlink_to(path.resolve())
    _write_processor(KimiVLProcessor.from_pretrained(source), target)


def write_served(source: Path, target: Path) -> None:
    """Write the folder that a server of our own loads: exact where the checkpoint is small, else linked."""
    config = read_json(source / "config.json")
    size = sum(path.stat().st_size for path in weight_files(source))
    if size > LARGEST_COPY or config.get("quantization_config"):
        link_for_vllm(source, target)
    else:
        export_for_vllm(source, target)


def without_code(values: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of a configuration without those that name code, at every depth."""
    return {
        name: without_code(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if name != "auto_map"
    }


def _empty(target: Path) -> Path:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError("export.target", f"{target} is not an empty folder", fix="use a new folder")
    return target


def _write_processor(processor: KimiVLProcessor, target: Path) -> None:
    """Everything but configuration and weights."""
    processor.save(target)
    fast_tokenizer(processor.tokenizer).save(str(target / "tokenizer.json"))
    _change(target / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    _change(target / "preprocessor_config.json", {"auto_map": PROCESSOR, "processor_class": "KimiVLProcessor"})
    shutil.copyfile(CLASSES, target / CLASSES.name)


def fast_tokenizer(tokenizer: KimiTokenizer) -> "Tokenizer":
    """The same tokenizer in the form of the `tokenizers` library, its 256 special tokens in order of id."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    letters = _byte_letters()
    spelled = {token: "".join(letters[byte] for byte in token) for token in tokenizer.ranks}
    pairs = (last_merge(token, tokenizer.ranks) for token in tokenizer.ranks if len(token) > 1)
    merges = [(spelled[left], spelled[right]) for left, right in pairs]
    vocabulary = {spelled[token]: rank for token, rank in tokenizer.ranks.items()}
    fast = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    named = sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])[:256]
    fast.add_special_tokens([AddedToken(name, normalized=False, special=True) for name, _ in named])
    return fast


def last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The pair whose merge makes a token: what merging with lower ranks alone leaves of it.

    Raises: CheckpointError, if that is not a pair, which a trained vocabulary never shows.
    """
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, math.inf) for left, right in pairwise(parts)]
        best = min(joined)
        if best >= ranks[token]:
            message = f"token {ranks[token]} is not the merge of two others"
            raise CheckpointError("tokenizer.merges", message, fix="copy tiktoken.model from the base model")
        place = joined.index(best)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte in byte-level vocabularies (GPT-2's table)."""
    from tokenizers import pre_tokenizers

    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    letters = [chr(byte if byte in printable else next(others)) for byte in range(256)]
    assert set(letters) == set(pre_tokenizers.ByteLevel.alphabet())
    return letters


def _check_widths(model: KimiVL) -> None:
    text = model.config.text_config
    wrong = {name: getattr(text, name) for name in WIDTHS if getattr(text, name) != WIDTHS[name]}
    if wrong or text.hidden_size % 32:
        raise CheckpointError(
            "export.geometry",
            "vLLM's CPU kernel does not support this model: "
            + ", ".join(f"{name} is {value}" for name, value in {**wrong, "hidden_size": text.hidden_size}.items()),
            why=", ".join(f"{name} must be {value}" for name, value in WIDTHS.items())
            + ", hidden_size divisible by 32",
        )


def _scale_latents(model: KimiVL) -> None:
    """Scale the latents so that `rms_norm_eps` acts on them as the fixed 1e-6 does on the unscaled ones."""
    text = model.config.text_config
    factor = math.sqrt(text.rms_norm_eps / LATENT_EPS)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("kv_a_proj_with_mqa.weight"):
                weight[: text.kv_lora_rank].mul_(factor)
            elif name.endswith("q_a_proj.weight"):
                weight.mul_(factor)


def _change(path: Path, changes: Mapping[str, object]) -> None:
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, **changes}, indent=1) + "\n", "utf-8")
