"""Configuration of a Kimi-VL checkpoint: `config.json` and `preprocessor_config.json` as frozen dataclasses.

Defaults are the values of the released checkpoints (arXiv 2504.07491). A file must state every field in which the
published classes and these checkpoints differ (`fields.py`); values that this implementation does not compute, and
sizes beyond all reason, are refused by name. No torch in here.
"""

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from kvl_eval.decode import Between, Json, encode_object, not_stored, omitted
from kvl_eval.families import CONFIG_KEY
from kvl_eval.model.config_fields import (
    Epsilon,
    ExpertCount,
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
from kvl_eval.model.kimi_vl.fields import PICTURES, TEXT, TOP, VISION
from kvl_eval.model.processor_files import image_processor
from kvl_eval.pictures import Grid, PictureSize, Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

ARCHITECTURE = "KimiVLForConditionalGeneration"
READER = ConfigReader(
    "use a Kimi-VL-A3B checkpoint (Instruct, Thinking or Thinking-2506), or one of the same architecture"
)
PICTURE_READER = replace(READER, file="preprocessor_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """MoonViT; the defaults are those of the released checkpoints. Sizes of patches are in pixels."""

    patch_size: Width = 14
    init_pos_emb_height: Width = 64
    init_pos_emb_width: Width = 64
    num_attention_heads: Width = 16
    num_hidden_layers: LayerCount = 27
    hidden_size: Width = 1152
    intermediate_size: Width = 4304
    merge_kernel_size: tuple[Width, Width] = (2, 2)

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads or self.head_dim % 4:
            raise READER.refused(
                "vision_config.num_attention_heads", self.num_attention_heads, "a head size divisible by 4"
            )

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def merged_size(self) -> int:
        """Width of one visual token before the projector: all patches of a merge cell, joined."""
        return self.hidden_size * self.merge_kernel_size[0] * self.merge_kernel_size[1]

    def tensor_groups(self) -> list[TensorGroup]:
        """Tensors of the tower."""
        width, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        return [
            TensorGroup(layers, 3 * width * width),
            TensorGroup(layers, width * width),
            TensorGroup(2 * layers, width * inner),
            TensorGroup(layers, 3 * width),
            TensorGroup(layers, inner),
            TensorGroup(6 * layers + 3, width),
            TensorGroup(1, 3 * self.patch_size**2 * width),
            TensorGroup(1, self.init_pos_emb_height * self.init_pos_emb_width * width),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The Moonlight language model in DeepSeek-V3 form; the defaults are those of the released checkpoints."""

    vocab_size: VocabularySize = 163840
    hidden_size: Width = 2048
    num_hidden_layers: LayerCount = 27
    num_attention_heads: Width = 16
    intermediate_size: Width = 11264
    moe_intermediate_size: Width = 1408
    n_routed_experts: ExpertCount = 64
    n_shared_experts: ExpertCount = 2
    num_experts_per_tok: ExpertCount = 6
    first_k_dense_replace: Annotated[int, Between(0, 1000)] = 1
    moe_layer_freq: LayerCount = 1
    q_lora_rank: Width | None = None
    kv_lora_rank: Width = 512
    qk_nope_head_dim: Width = 128
    qk_rope_head_dim: Width = 64
    v_head_dim: Width = 128
    topk_method: str = "noaux_tc"
    scoring_func: str = "sigmoid"
    n_group: ExpertCount = 1
    topk_group: ExpertCount = 1
    norm_topk_prob: bool = True
    routed_scaling_factor: Annotated[float, Between(-1e6, 1e6)] = 2.446
    rms_norm_eps: Epsilon = 1e-5
    rope_theta: RopeBase = 800000.0
    rope_scaling: Json = None
    rope_interleave: bool = omitted(True)
    max_position_embeddings: Width = 131072
    hidden_act: str = "silu"
    attention_bias: bool = False
    initializer_range: float = 0.02
    bos_token_id: Annotated[int, Between(-1, 2**22)] | None = None
    eos_token_id: TokenId | tuple[TokenId, ...] | None = None
    pad_token_id: Annotated[int, Between(-1, 2**22)] | None = None
    tie_word_embeddings: bool = False
    num_nextn_predict_layers: Annotated[int, Between(0, 1000)] = omitted(0)  # not computed

    def __post_init__(self) -> None:
        supported = {
            "topk_method": "noaux_tc",
            "scoring_func": "sigmoid",
            "rope_scaling": None,
            "hidden_act": "silu",
            "rope_interleave": True,
        }
        for name, value in supported.items():
            if getattr(self, name) != value:
                raise READER.refused(f"text_config.{name}", getattr(self, name), json.dumps(value))
        if self.qk_rope_head_dim % 2:
            raise READER.refused("text_config.qk_rope_head_dim", self.qk_rope_head_dim, "an even number")
        if self.topk_group > self.n_group:
            raise READER.refused("text_config.topk_group", self.topk_group, f"at most n_group {self.n_group}")
        if self.num_experts_per_tok > self.n_routed_experts or self.n_routed_experts % self.n_group:
            raise READER.refused(
                "text_config.n_routed_experts", self.n_routed_experts, "a multiple of n_group, >= top-k"
            )

    @property
    def qk_head_dim(self) -> int:
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def latent_size(self) -> int:
        """Values that the KV cache keeps for one token in one layer."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    def is_moe(self, layer: int) -> bool:
        return layer >= self.first_k_dense_replace and layer % self.moe_layer_freq == 0

    def tensor_groups(self) -> list[TensorGroup]:
        """Tensors of the language model, routed experts one by one."""
        hidden, heads, layers = self.hidden_size, self.num_attention_heads, self.num_hidden_layers
        sparse = sum(map(self.is_moe, range(layers)))
        expert, experts = hidden * self.moe_intermediate_size, self.n_routed_experts
        queries, rank = heads * self.qk_head_dim, self.q_lora_rank
        groups = [
            TensorGroup(2, self.vocab_size * hidden),
            TensorGroup(2 * layers + 1, hidden),
            TensorGroup(layers, hidden * self.latent_size),
            TensorGroup(layers, self.kv_lora_rank),
            TensorGroup(layers, self.kv_lora_rank * heads * (self.qk_nope_head_dim + self.v_head_dim)),
            TensorGroup(layers, heads * self.v_head_dim * hidden),
            TensorGroup(3 * (layers - sparse), hidden * self.intermediate_size),
            TensorGroup(sparse, experts * hidden),
            TensorGroup(sparse, experts),
            TensorGroup(3 * experts * sparse, expert),
            TensorGroup(3 * sparse, self.n_shared_experts * expert),
        ]
        if rank is None:
            groups.append(TensorGroup(layers, hidden * queries))
        else:
            groups += [TensorGroup(layers, size) for size in (hidden * rank, rank, rank * queries)]
        if self.attention_bias:
            biases = [self.latent_size, hidden, *([] if rank is None else [rank])]
            groups += [TensorGroup(layers, size) for size in biases]
        return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class KimiVLConfig:
    """A whole checkpoint's `config.json`."""

    vision_config: VisionConfig = field(default_factory=VisionConfig)
    text_config: TextConfig = field(default_factory=TextConfig)
    media_placeholder_token_id: TokenId = 163605
    pad_token_id: Annotated[int, Between(-1, 2**22)] | None = None
    bos_token_id: Annotated[int, Between(-1, 2**22)] | None = None
    eos_token_id: TokenId | tuple[TokenId, ...] | None = None
    torch_dtype: str = "bfloat16"
    family: str | None = not_stored()  # `kvl_eval.family`

    def __post_init__(self) -> None:
        if not 0 <= self.media_placeholder_token_id < self.text_config.vocab_size:
            raise READER.refused(
                "media_placeholder_token_id",
                self.media_placeholder_token_id,
                f"an id below vocab_size {self.text_config.vocab_size}",
            )

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a text, from the top level and from the language model's section."""
        return tuple(sorted({*id_tuple(self.eos_token_id), *id_tuple(self.text_config.eos_token_id)}))

    def tensor_groups(self) -> list[TensorGroup]:
        """Tensors of the whole model."""
        merged, hidden = self.vision_config.merged_size, self.text_config.hidden_size
        projector = [self.vision_config.hidden_size] * 2 + [merged * merged, merged, merged * hidden, hidden]
        return [
            *self.vision_config.tensor_groups(),
            *self.text_config.tensor_groups(),
            *(TensorGroup(1, size) for size in projector),
        ]

    @classmethod
    def from_dict(cls, values: ConfigFields) -> Self:
        """Read a parsed `config.json`.

        Raises: CheckpointError, for an architecture or a value that this implementation does not compute.
        """
        if values.get("model_type") != "kimi_vl":
            raise READER.refused("model_type", values.get("model_type"), '"kimi_vl"')
        architectures = values.get("architectures") or [ARCHITECTURE]
        if not isinstance(architectures, list) or ARCHITECTURE not in architectures:
            raise READER.refused("architectures", architectures, f'["{ARCHITECTURE}"]')
        text, vision = READER.section(values, "text_config"), READER.section(values, "vision_config")
        text = {**text, **_rope(text)}
        TOP.check(values, READER)
        TEXT.check(text, READER)
        VISION.check(vision, READER)
        is_tied = values.get("tie_word_embeddings") is True or text.get("tie_word_embeddings") is True
        named = {
            **values,
            "text_config": {**text, "tie_word_embeddings": is_tied},
            "torch_dtype": stored_dtype((values, text), READER),
        }
        family = values.get(CONFIG_KEY)
        config = replace(READER.decoded(cls, named), family=family if isinstance(family, str) else None)
        require_parameters(config.tensor_groups(), READER)
        return config

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `config.json` of a checkpoint folder. Raises: CheckpointError, where it is absent or unusable."""
        return cls.from_dict(read_json(folder / "config.json"))

    def to_dict(self) -> dict[str, Json]:
        """The content of `config.json`, readable by the published remote code and by serving engines."""
        text: ConfigFields = {
            "model_type": "deepseek_v3",
            **encode_object(self.text_config),
            "tie_word_embeddings": False,  # a tied head is loaded as a tensor of its own
            "num_key_value_heads": self.text_config.num_attention_heads,
            "torch_dtype": self.torch_dtype,
        }
        return {
            "architectures": [ARCHITECTURE],
            "model_type": "kimi_vl",
            **encode_object(self),
            "text_config": dict(text),
            "vision_config": {"model_type": "moonvit", **encode_object(self.vision_config)},
            "ignore_index": -100,
            "vocab_size": self.text_config.vocab_size,
            "tie_word_embeddings": False,
            **({} if self.family is None else {CONFIG_KEY: self.family}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessorConfig:
    """`preprocessor_config.json`; the defaults are those of Instruct and Thinking (2506: in_token_limit 16384)."""

    patch_size: Width = 14
    pad_input: bool = True
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    in_token_limit: Width = 4096  # patches of one picture before padding
    merge_kernel_size: tuple[Width, Width] = (2, 2)

    def __post_init__(self) -> None:
        if min(self.image_std) <= 0.0:
            raise PICTURE_READER.refused("image_std", self.image_std, "above 0")

    @property
    def limit(self) -> int:
        """Most patches of a picture."""
        return self.in_token_limit

    @property
    def patch_pixels(self) -> int:
        """Pixels of a patch."""
        return self.patch_size**2

    @property
    def patches_per_token(self) -> int:
        """Patches that become one visual token."""
        return self.merge_kernel_size[0] * self.merge_kernel_size[1]

    def with_limit(self, patches: int) -> Self:
        """The same with another limit."""
        return replace(self, in_token_limit=patches)

    def size(self, width: int, height: int) -> PictureSize:
        """What becomes of a picture of that size. Raises: MediaError."""
        from kvl_eval.model.kimi_vl.image_processor import image_size

        return image_size(width, height, self)

    def accepted(self, width: int, height: int) -> Size:
        """The size itself, or, where it is refused as too long, the longest legal one of the same aspect."""
        from kvl_eval.model.kimi_vl.image_processor import accepted_size

        return accepted_size(width, height, self)

    def patches(self, image: "Image") -> tuple["NDArray[np.uint8]", Grid]:
        """uint8 patches (P, 3, 14, 14) of a picture in raster order, and its grid. Raises: MediaError."""
        from kvl_eval.model.kimi_vl.image_processor import preprocess_image

        return preprocess_image(image, self)

    def normalized(self, patches: "Tensor") -> "Tensor":
        """(x / 255 - mean) / std in float32."""
        from kvl_eval.model.kimi_vl.processor import normalize

        return normalize(patches, self)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `preprocessor_config.json` of a checkpoint folder, or the same in `processor_config.json`.

        Raises: CheckpointError, where neither is there, or one is unusable.
        """
        values = image_processor(folder, [entry.name for entry in fields(cls)])
        PICTURES.check(values, PICTURE_READER)
        return PICTURE_READER.decoded(cls, values)

    def to_dict(self) -> dict[str, Json]:
        """The content of `preprocessor_config.json`."""
        return {**encode_object(self), "image_processor_type": "KimiVLImageProcessor"}


def _rope(text: ConfigFields) -> dict[str, Json]:
    """rope_theta and rope_scaling, wherever a file has them; scaling of the kind "default" is none.

    Raises: CheckpointError, for a scaled rope, or where two fields contradict each other.
    """
    found: dict[str, Json] = {}
    for name in ("rope_parameters", "rope_scaling"):
        rope = READER.section(text, name)
        kind = rope.get("rope_type", rope.get("type"))
        if (rope.get("factor") is not None and kind is None) or kind not in (None, "default"):
            raise READER.refused(f"text_config.{name}", kind or rope, '"default" or null: no scaled rope is computed')
        if "rope_theta" in rope:
            theta = found.get("rope_theta", text.get("rope_theta", rope["rope_theta"]))
            refuse_contradiction(READER, ("rope_theta", theta), (f"text_config.{name}.rope_theta", rope["rope_theta"]))
            found["rope_theta"] = theta
    return {**found, "rope_scaling": None} if "rope_scaling" in text else found
