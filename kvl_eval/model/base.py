"""What an engine may know of a model, and what a model gets from an engine. No torch is imported by importing this.

An engine embeds a prompt (`embed`, `image_features`), keeps what its layers remember in pages of a pool (`new_pool`)
and runs new tokens of some sequences in one pass (`forward_cached`). Which tokens these are says `Rows`; there are two
kinds:

- **prompt rows** (`PromptRows`): whole prompts, or chunks of them, of one or many sequences, packed behind each other
  in
  one row: embeds (1, S, H). A sequence that holds nothing yet (a first chunk) attends to its own new tokens alone; one
  that holds something (a later chunk, a prompt whose beginning others share, a sequence that was preempted) attends to
  that and to its new tokens. Never to another sequence.
- **step rows** (`StepRows`): the next token of each of B sequences: embeds (B, 1, H).

An architecture's `forward_cached` is four lines for both kinds:

    positions = rows.prepare()
    hidden_BSH = self.decoder(embeds, positions, rows)
    rows.advance()
    return self.logits(rows.last(hidden_BSH))

and its attention layer, with `values_BSW` being what the cache keeps of the new tokens:

    held = rows.write(layer, values_BSW)      # Packed of prompt rows, Pages of step rows
    if isinstance(held, Pages):
        ...                                   # one query a row, over pages in any order
    else:
        ...                                   # each sequence by itself: held.sizes, held.values

**What a pool keeps.** W numbers for each token and layer, in the model's dtype, whatever the layer makes of them.
Latent
attention: the normalized latent and the rotated rope key, W = 576 in Kimi-VL. Grouped queries: rotated keys of all key
heads, then values of all of them, W = 2 * key heads * head size, so that `values.view(..., 2, key_heads, size)` gives
both. Keys are stored rotated: what lies in a page never changes, and sequences may share it.

Shapes: B rows, S new tokens, H hidden, W values per token and layer, T tokens attended to, N pages, P tokens per page,
G rows that attend to one page, M visual tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kvl_eval.families import Families
from kvl_eval.model.files import CheckWarning as CheckWarning
from kvl_eval.model.held import Packed as Packed
from kvl_eval.model.held import Pages as Pages
from kvl_eval.pictures import Grid, PictureRule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kvl_eval.model.config_fields import FieldNotes
    from kvl_eval.model.files import ConfigFields
    from kvl_eval.model.pages import PagePool

Prepare = Callable[["Tensor"], "Tensor"]
"""Makes what the vision tower takes of a portion of uint8 patches: `PictureRule.normalized`."""
Turn = Mapping[str, object]
"""A turn of a conversation: {"role": str, "content": str or a list of {"type": "text", "text": str}, {"type":
"image"}}."""


class Embedded(NamedTuple):
    """One sequence ready for the decoder.

    Attributes:
        embeds:        (1, S, H), visual tokens in the places of their pictures.
        positions:     (1, S) int64, or (axes, 1, S) where a token has a position on each of several axes (mRoPE: 3).
                       The last dimension is S in both, so that `positions[..., a:b]` are those of a chunk.
        next_position: position, the same on every axis, of the token behind the last one. It is S where a token's place
                       is its position. The engine keeps `next_position - S` with the sequence's pages: every token that
                       is generated stands at its place in the sequence plus that difference.
    """

    embeds: Tensor
    positions: Tensor
    next_position: int


class Rows(Protocol):
    """New tokens of some sequences in one forward pass; see the top of this file."""

    def prepare(self) -> Tensor:
        """Make room for the new tokens; their positions: (1, S) or (axes, 1, S) of prompt rows, (B, 1) of step rows.

        In a decode step a position holds for all axes. Raises: MemoryError, if pages run out; nothing has changed then.
        """

    def write(self, layer: int, values_BSW: Tensor) -> Packed | Pages:
        """Put what a layer keeps of the new tokens into its pages; what they attend to, on the layer's own device."""

    def advance(self) -> None:
        """Count the new tokens as held, once all layers have written."""

    def last(self, hidden_BSH: Tensor) -> Tensor:
        """(sequences, H): hidden states of the last new token of each sequence."""


class VisionLanguageModel(Protocol):
    """The six things that an engine asks of a model."""

    @property
    def device(self) -> torch.device:
        """Where inputs go."""

    @property
    def dtype(self) -> torch.dtype:
        """Of embeddings and cache."""

    def embed(self, ids: Tensor, features: Tensor | None = None, grids: Sequence[Grid] = ()) -> Embedded:
        """One sequence of ids, (1, S) int64, with visual tokens (M, H) in place of its placeholders, in reading order.

        Ids may lie on the host; then the device is not waited for.
        Without features every id is text, a placeholder that the model wrote itself included. For the tokens of a
        decode step, which belong to different sequences, ids are (B, 1); the engine takes `embeds` (B, 1, H) of these
        alone.
        Raises: PromptError `image.slots`, if features are given and placeholders and visual tokens differ in number.
        """

    def image_features(self, pixel_values: Tensor, grids: Sequence[Grid], *, prepare: Prepare | None = None) -> Tensor:
        """Visual tokens (M, H) of any number of pictures, in order; the tower sees a bounded number of patches at once.

        A picture's features depend on no other picture, so one call may serve pictures of many prompts.

        Args:
            pixel_values: patches of all pictures in order: uint8 where `prepare` is given, else as the tower takes
                          them.
            grids:        (rows, columns) in patches of each picture.
        """

    def new_pool(self, pages: int | None = None, page_size: int = 64) -> PagePool:
        """An empty cache of at most so many pages (None: no limit), where the layers lie and in their dtype."""

    def forward_cached(self, embeds: Tensor, rows: Rows) -> Tensor:
        """Run new tokens; logits (sequences, vocabulary) behind each sequence's last one, in float32 or wider."""


class EncodedPrompt(NamedTuple):
    """A conversation as ids, and where in them its visual tokens stand."""

    ids: list[int]
    places: list[int]


class TextProcessor(Protocol):
    """Tokenizer and chat template of a checkpoint. Imports no torch."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens that it spells out are text."""

    def token_bytes(self, token: int) -> bytes:
        """What a token writes; a special token's name."""

    def encode_turns(self, turns: Sequence[Turn], image_tokens: Sequence[int]) -> EncodedPrompt:
        """A conversation with the answer's turn opened, the i-th picture taking `image_tokens[i]` placeholders.

        Content is plain text whatever it spells. Raises: PromptError, if pictures and image parts differ in number.
        """

    def rendered(self, turns: Sequence[Turn]) -> str:
        """The same as text, with `<image:1>` where the first picture's tokens stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostShape:
    """Sizes from which the cost of a prompt is counted; operations are those of matrix products.

    Attributes:
        layers, hidden, heads, head_size: of the language model; `head_size` of keys, with the rope part.
        inner:       width of the matrix whose product is tried for speed.
        cache_width: W, numbers that the cache keeps of a token and layer.
        linear:      operations of one token through all layers, without attention.
        expanding:   of making keys and values of one held token in all layers, which every chunk repeats; 0 where the
                     cache holds them.
        decoding:    of one new token attending to one held token, in all layers.
        patch:       of one patch through the vision tower, without attention.
        tower_width, tower_patches: hidden size of the tower, and most patches that it holds at a time.
        patch_bytes, patches_per_token: of one patch as uint8; that become one visual token.
    """

    layers: int
    hidden: int
    heads: int
    head_size: int
    inner: int
    cache_width: int
    linear: int
    expanding: int
    decoding: int
    patch: int
    tower_width: int
    tower_patches: int
    patch_bytes: int
    patches_per_token: int


Check = Callable[[Path], str | CheckWarning]
"""One check of a checkpoint folder, in words. Raises: CheckpointError, where it is unusable."""


class Loader(Protocol):
    """Loads a checkpoint's weights."""

    def __call__(self, folder: Path, *, dtype: str | None = None, device: str | None = None) -> VisionLanguageModel:
        """The model in evaluation mode. Raises: CheckpointError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPlace:
    """Where packed weights of one checkpoint are kept.

    Attributes:
        home:        folder for those of all checkpoints.
        fingerprint: of the checkpoint's weights.
        kind:        `int4` or `int8`.
        layout:      what else tells the files of one machine from those of another.
    """

    home: Path
    fingerprint: str
    kind: str
    layout: str = ""

    @property
    def folder(self) -> Path:
        """The folder of these files alone."""
        return self.home / f"{self.fingerprint}-{self.kind}{self.layout}"


class PackedLoader(Protocol):
    """Loads a checkpoint with packed weights."""

    def __call__(self, folder: Path, place: PackedPlace, *, dtype: str | None = None) -> VisionLanguageModel:
        """The model in evaluation mode; what is not packed is in `dtype`. Raises: CheckpointError, StorageError."""


class PackedSize(Protocol):
    """Counts what a checkpoint takes with packed weights."""

    def __call__(self, folder: Path, kind: str, dtype: str | None = None) -> int:
        """Bytes of the whole model. Raises: CheckpointError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What `--weights int8|int4` needs of an architecture; both functions import late."""

    load: PackedLoader
    bytes: PackedSize


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Facts by which a checkpoint of one architecture is read; one line of `kvl_eval.model.registry` each.

    The record and all its functions but `load` import no torch. Every function takes a checkpoint folder and raises
    CheckpointError where its files cannot be used.

    Attributes:
        model_type:    of config.json.
        families:      what tells its checkpoints apart, and the facts that each kind shares.
        load:          weights and all; imports late.
        check:         whether the folder's configuration, tokenizer and processor files can be used, and belong
                       together.
        field_notes:   which fields of its parsed config.json are absent, without effect or unknown.
        check_weights: how its weight files name their tensors, where not as published; imports torch.
        checks:        of `kvl-eval check model`: config, tensors, tokenizer, processor, chat template.
        processor:     tokenizer and chat template.
        picture_rule:  how its pictures become patches.
        default_rule:  the same for a checkpoint that states nothing.
        stop_ids:      ids that end a reply.
        context:       most tokens of prompt and answer together.
        dtype:         the checkpoint's own, as torch names it.
        cost_shape:    sizes for `kvl_eval.engine.cost`.
        attention:     how it is computed and what is cached, as `run.json` says it.
        whole_classes: names of module classes whose instances must lie on one device.
        served_form:   (checkpoint folder, empty folder) -> writes what vLLM loads in its place, where its processor
                       needs code: ours, and no other. None: vLLM loads the checkpoint itself, and no code.
        packing:       of its weights in int8 or int4; None where they are not packed.
    """

    model_type: str
    families: Families
    load: Loader
    check: Callable[[Path], None]
    check_weights: Callable[[Path], str | None]
    field_notes: Callable[[ConfigFields], FieldNotes]
    checks: Mapping[str, Check]
    processor: Callable[[Path], TextProcessor]
    picture_rule: Callable[[Path], PictureRule]
    default_rule: PictureRule
    stop_ids: Callable[[Path], tuple[int, ...]]
    context: Callable[[Path], int]
    dtype: Callable[[Path], str]
    cost_shape: Callable[[Path], CostShape]
    attention: str
    whole_classes: tuple[str, ...]
    served_form: Callable[[Path, Path], None] | None = None
    packing: Packing | None = None
