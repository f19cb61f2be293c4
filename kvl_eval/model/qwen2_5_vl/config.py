"""Configuration of a Qwen2.5-VL checkpoint: `config.json` and `preprocessor_config.json` as frozen dataclasses.

Both forms of `config.json` are read: the published one, with the language model's fields at the top level, and that of
newer versions of transformers, with a `text_config`. Fields that shape the computation and that this implementation
does not compute are refused by name. No torch in here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Self

from kvl_eval.decode import Between, Json, renamed
from kvl_eval.model.config_fields import (
    Epsilon,
    LayerCount,
    RopeBase,
    TensorGroup,
    TokenId,
    VocabularySize,
    Width,
    refuse_contradiction,
    require_parameters,
    stored_dtype,
)
from kvl_eval.model.files import ConfigFields, ConfigReader, id_tuple, read_json
from kvl_eval.model.processor_files import image_processor
from kvl_eval.model.qwen2_5_vl.fields import PICTURES, TEXT, TOP, VISION

MODEL_TYPE = "qwen2_5_vl"
READER = ConfigReader("use a Qwen2.5-VL checkpoint, or one of the same architecture")
PICTURE_READER = replace(READER, file="preprocessor_config.json")
Area = Annotated[int, Between(1, 2**40)]
ROPES = ("mrope", "default")  # two names of the same: positions with three axes, nothing scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """The vision tower; the defaults are those of the released checkpoints. Sizes of patches and windows in pixels."""

    depth: LayerCount = 32
    hidden_size: Width = 1280
    hidden_act: str = "silu"
    intermediate_size: Width = 3420
    num_heads: Width = 16
    in_channels: Width = renamed("in_chans", 3)  # as the published files call it
    patch_size: Width = 14
    spatial_merge_size: Width = 2
    temporal_patch_size: Width = 2
    window_size: Width = 112
    out_hidden_size: Width = 3584
    fullatt_block_indexes: tuple[Annotated[int, Between(0, 1000)], ...] = (7, 15, 23, 31)

    def __post_init__(self) -> None:
        _require("vision_config.hidden_act", self.hidden_act, ("silu",))
        _require("vision_config.in_channels", self.in_channels, (3,))
        if self.hidden_size % self.num_heads or self.head_dim % 4:
            raise READER.refused("vision_config.num_heads", self.num_heads, "a head size divisible by 4")
        if self.window_size < self.cell_size:
            raise READER.refused("vision_config.window_size", self.window_size, f"{self.cell_size} or more")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def cell_size(self) -> int:
        """Side of a merge cell, in pixels."""
        return self.patch_size * self.spatial_merge_size

    @property
    def window_cells(self) -> int:
        """Side of an attention window, in merge cells."""
        return self.window_size // self.cell_size

    def tensor_groups(self) -> list[TensorGroup]:
        """Tensors of the tower and of its merger."""
        width, inner, merged = self.hidden_size, self.intermediate_size, self.hidden_size * self.spatial_merge_size**2
        per_block = [3 * width * width, 3 * width, width * width, *[width] * 4, *[width * inner] * 3, inner, inner]
        patch = self.in_channels * self.temporal_patch_size * self.patch_size**2 * width
        others = [patch, width, merged * merged, merged, merged * self.out_hidden_size, self.out_hidden_size]
        return [*(TensorGroup(self.depth, size) for size in per_block), *(TensorGroup(1, size) for size in others)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The language model; the defaults are those of the 7B model."""

    vocab_size: VocabularySize = 152064
    hidden_size: Width = 3584
    intermediate_size: Width = 18944
    num_hidden_layers: LayerCount = 28
    num_attention_heads: Width = 28
    num_key_value_heads: Width = 4
    hidden_act: str = "silu"
    max_position_embeddings: Width = 128000
    rms_norm_eps: Epsilon = 1e-6
    rope_theta: RopeBase = 1000000.0
    mrope_section: tuple[Annotated[int, Between(0, 2**20)], ...] = (16, 24, 24)
    """Pairs of a head that turn with time, row and column."""

    def __post_init__(self) -> None:
        _require("hidden_act", self.hidden_act, ("silu",))
        if self.hidden_size % self.num_attention_heads or self.head_dim % 2:
            raise READER.refused("num_attention_heads", self.num_attention_heads, "an even head size")
        if self.num_attention_heads % self.num_key_value_heads:
            raise READER.refused("num_key_value_heads", self.num_key_value_heads, "a divisor of num_attention_heads")
        if len(self.mrope_section) != 3 or 2 * sum(self.mrope_section) != self.head_dim:
            raise READER.refused(
                "mrope_section", self.mrope_section, f"three numbers with the sum {self.head_dim // 2}"
            )

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def cached_values(self) -> int:
        """Values that the cache keeps for one token in one layer: the keys and values of all groups."""
        return 2 * self.num_key_value_heads * self.head_dim

    def tensor_groups(self) -> list[TensorGroup]:
        """Tensors of the language model without its head."""
        hidden, groups, inner = self.hidden_size, self.cached_values // 2, self.intermediate_size
        attention = [hidden * hidden, hidden, *[hidden * groups, groups] * 2, hidden * hidden]
        per_layer = [*attention, *[hidden * inner] * 3, hidden, hidden]
        others = [self.vocab_size * hidden, hidden]
        sizes = [*(TensorGroup(self.num_hidden_layers, size) for size in per_layer)]
        return [*sizes, *(TensorGroup(1, size) for size in others)]


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenConfig:
    """A whole checkpoint's `config.json`."""

    vision_config: VisionConfig = field(default_factory=VisionConfig)
    text_config: TextConfig = field(default_factory=TextConfig)
    image_token_id: TokenId = 151655
    tie_word_embeddings: bool = False
    eos_ids: tuple[int, ...] = ()
    torch_dtype: str = "bfloat16"

    def __post_init__(self) -> None:
        vision, text = self.vision_config, self.text_config
        if not 0 <= self.image_token_id < text.vocab_size:
            raise READER.refused("image_token_id", self.image_token_id, f"an id below vocab_size {text.vocab_size}")
        if vision.out_hidden_size != text.hidden_size:
            raise READER.refused(
                "vision_config.out_hidden_size", vision.out_hidden_size, f"hidden_size {text.hidden_size}"
            )

    def tensor_groups(self) -> list[TensorGroup]:
        """Tensors of the whole model."""
        text = self.text_config
        head = [] if self.tie_word_embeddings else [TensorGroup(1, text.vocab_size * text.hidden_size)]
        return [*self.vision_config.tensor_groups(), *text.tensor_groups(), *head]

    @classmethod
    def from_dict(cls, values: ConfigFields) -> Self:
        """Read a parsed `config.json`.

        Raises: CheckpointError, for another model type, or a value that this implementation does not compute.
        """
        _require("model_type", values.get("model_type"), (MODEL_TYPE,))
        _refuse_quantized(values)
        text = {**values, **READER.section(values, "text_config")}
        text |= _rope(text)
        vision = READER.section(values, "vision_config")
        _refuse_windows(text)
        TOP.check(values, READER)
        TEXT.check(text, READER)
        VISION.check(vision, READER)
        ids = READER.decoded(_Ids, values), READER.decoded(_Ids, text)
        config = cls(
            vision_config=READER.decoded(VisionConfig, vision, "vision_config"),
            text_config=READER.decoded(TextConfig, text),
            image_token_id=ids[0].image_token_id,
            tie_word_embeddings=values.get("tie_word_embeddings") is True or text.get("tie_word_embeddings") is True,
            eos_ids=tuple(sorted({number for each in ids for number in id_tuple(each.eos_token_id)})),
            torch_dtype=stored_dtype((values, text), READER),
        )
        require_parameters(config.tensor_groups(), READER)
        return config

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `config.json` of a checkpoint folder. Raises: CheckpointError, where it is absent or unusable."""
        return cls.from_dict(read_json(folder / "config.json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureConfig:
    """What becomes of a picture; the defaults are those of the released checkpoints. Pixels are counted resized."""

    patch_size: Width = 14
    merge_size: Width = 2
    temporal_patch_size: Width = 2
    min_pixels: Area = 56 * 56
    max_pixels: Area = 12_845_056
    image_mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        if self.min_pixels > self.max_pixels:
            raise PICTURE_READER.refused("min_pixels", self.min_pixels, f"1 to max_pixels {self.max_pixels}")
        if len(self.image_mean) != 3 or len(self.image_std) != 3 or min(self.image_std) <= 0.0:
            raise PICTURE_READER.refused(
                "image_mean, image_std", [self.image_mean, self.image_std], "three numbers each, above 0"
            )

    @property
    def cell_size(self) -> int:
        """Side of a merge cell, in pixels: sides of a resized picture are multiples of it."""
        return self.patch_size * self.merge_size

    @classmethod
    def from_dict(cls, values: ConfigFields) -> Self:
        """Read a parsed file. Raises: CheckpointError."""
        size = PICTURE_READER.section(values, "size")
        names = {"shortest_edge": "min_pixels", "longest_edge": "max_pixels"}  # as newer versions write them
        pixels = {new: size[old] for old, new in names.items() if size.get(old) is not None}
        stated = {**pixels, **{name: value for name, value in values.items() if value is not None}}
        PICTURES.check(stated, PICTURE_READER)
        return PICTURE_READER.decoded(cls, stated)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `preprocessor_config.json` of a checkpoint folder, or the same in `processor_config.json`.

        Raises: CheckpointError, where neither is there, or one is unusable.
        """
        return cls.from_dict(image_processor(folder, ["size", *(entry.name for entry in fields(cls))]))


def _require(name: str, value: object, accepted: Sequence[object]) -> None:
    if value not in accepted:
        raise READER.refused(name, value, " or ".join(json.dumps(item) for item in accepted))


@dataclass(frozen=True, slots=True)
class _Ids:
    """Fields that are read at either level."""

    image_token_id: TokenId = 151655
    eos_token_id: TokenId | tuple[TokenId, ...] | None = None


def _refuse_quantized(values: ConfigFields) -> None:
    if values.get("quantization_config") is not None:
        method = READER.section(values, "quantization_config").get("quant_method")
        raise READER.refused("quantization_config", method, "none: weights in bfloat16, float16 or float32")


def _refuse_windows(text: ConfigFields) -> None:
    """Refuse sliding windows of the language model; `sliding_window` alone, with `use_sliding_window` off, is none."""
    if text.get("use_sliding_window"):
        raise READER.refused("use_sliding_window", True, "false")
    kinds = text.get("layer_types")
    for kind in kinds if isinstance(kinds, list) else ():
        _require("layer_types", kind, ("full_attention",))


def _rope(text: ConfigFields) -> dict[str, Json]:
    """rope_theta and mrope_section, wherever this file has them.

    Raises: CheckpointError, for a scaled rope, or where two fields contradict each other.
    """
    found: dict[str, Json] = {}
    for name in ("rope_parameters", "rope_scaling"):
        rope = READER.section(text, name)
        for key in ("type", "rope_type"):
            _require(f"{name}.{key}", rope.get(key, "mrope"), ROPES)
        for key in ("rope_theta", "mrope_section"):
            if key in rope:
                value = found.get(key, text.get(key, rope[key]))
                refuse_contradiction(READER, (key, value), (f"{name}.{key}", rope[key]))
                found[key] = value
    return found
