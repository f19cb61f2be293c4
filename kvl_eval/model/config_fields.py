"""Fields of a configuration file: which may be absent, which have no effect here, and which are unknown.

Absent is not default: a field that shapes the computation may be absent only where the published configuration class
and the released checkpoints have the same value. Unknown is not ignored: such fields are listed. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from kvl_eval.decode import Between
from kvl_eval.errors import CheckpointError
from kvl_eval.model.files import CheckWarning, ConfigFields, ConfigReader

LayerCount = Annotated[int, Between(1, 1000)]
ExpertCount = Annotated[int, Between(1, 4096)]
Width = Annotated[int, Between(1, 2**20)]
VocabularySize = Annotated[int, Between(1, 2**22)]
TokenId = Annotated[int, Between(0, 2**22)]
RopeBase = Annotated[float, Between(1, 1e15)]
Epsilon = Annotated[float, Between(0, 1)]
DTYPES = ("bfloat16", "float16", "float32", "float64")
MOST_PARAMETERS = 2**40

GENERIC = frozenset(
    {
        *("_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_name_or_path"),
        *("add_cross_attention", "architectures", "attn_implementation", "auto_map"),
        *("bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward"),
        *("cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype"),
        *("early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty"),
        *("finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "id2label"),
        *("is_decoder", "is_encoder_decoder", "label2id", "length_penalty", "max_length", "min_length"),
        *("model_type", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels"),
        *("num_return_sequences", "output_attentions", "output_hidden_states", "output_scores", "pad_token_id"),
        *("prefix", "problem_type", "pruned_heads", "quantization_config", "remove_invalid_values"),
        *("repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens"),
        *("task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings"),
        *("tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p"),
        *("use_bfloat16"),
    }
)
"""Fields of every configuration that transformers writes; those that are read here have readers of their own."""
TRAINING = frozenset({"attention_dropout", "initializer_range", "use_cache"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRule:
    """What is known of the fields of one section.

    Attributes:
        path:           of the section in the file, empty for the top level.
        required:       fields that the section must state.
        optional:       fields that may be absent, and what they are then.
        without_effect: known fields that change nothing here.
        synonyms:       other names of fields; such a one must say what the field says.
    """

    path: str = ""
    required: tuple[str, ...] = ()
    optional: Mapping[str, object] = field(default_factory=dict)
    without_effect: frozenset[str] = frozenset()
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def called(self, name: str) -> str:
        """A field with the path of its section."""
        return f"{self.path}.{name}" if self.path else name

    def check(self, values: ConfigFields, reader: ConfigReader) -> None:
        """Raise CheckpointError `model.config` for a missing field, or one that contradicts its other name."""
        for name in self.required:
            if name not in values:
                raise CheckpointError(
                    "model.config",
                    f"{self.called(name)} is missing",
                    where=reader.file,
                    why="it changes the computation and differs between checkpoints",
                    fix=f"copy it from {reader.file} of the base model",
                )
        for other, name in self.synonyms.items():
            if other in values and values[other] != values.get(name):
                raise reader.refused(self.called(other), values[other], f"the value of {name}")

    def notes(self, values: ConfigFields) -> FieldNotes:
        """What the fields of a section are to a reader."""
        known = {*self.required, *self.optional, *self.synonyms}
        defaults = [f"{self.called(name)} {json.dumps(value)}" for name, value in self.optional.items()]
        absent = [text for text, name in zip(defaults, self.optional, strict=True) if name not in values]
        idle = self.without_effect | TRAINING
        return FieldNotes(
            defaults=tuple(absent),
            idle=tuple(self.called(name) for name in values if name not in known and name in idle),
            unknown=tuple(self.called(name) for name in values if name not in known | idle | GENERIC),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldNotes:
    """Fields that are absent and have the published default, that have no effect, and that are unknown."""

    defaults: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def joined(self, others: Iterable[FieldNotes]) -> FieldNotes:
        """The notes of several sections as one."""
        notes = [self, *others]
        return FieldNotes(
            defaults=tuple(text for note in notes for text in note.defaults),
            idle=tuple(text for note in notes for text in note.idle),
            unknown=tuple(text for note in notes for text in note.unknown),
        )

    def as_check(self) -> str | CheckWarning:
        """What `check model` says: a warning where a field is not known."""
        parts = [f"class default: {', '.join(self.defaults)}"] if self.defaults else []
        parts += [f"without effect: {', '.join(self.idle)}"] if self.idle else []
        known = "; ".join(parts) or "all are read"
        if not self.unknown:
            return known
        return CheckWarning(f"not used: {', '.join(self.unknown)}", f"unknown field; {known}")


def stored_dtype(sections: Iterable[ConfigFields], reader: ConfigReader) -> str:
    """The checkpoint's own dtype, by its older or newer name in any of the sections. Raises: CheckpointError."""
    stated = [section.get(name) for section in sections for name in ("torch_dtype", "dtype")]
    dtype = next((value for value in stated if value is not None), DTYPES[0])
    if dtype not in DTYPES:
        raise reader.refused("torch_dtype", dtype, ", ".join(DTYPES))
    return str(dtype)


def refuse_contradiction(reader: ConfigReader, first: tuple[str, object], second: tuple[str, object]) -> None:
    """Raise CheckpointError where two fields that say the same thing differ."""
    if first[1] != second[1]:
        raise reader.refused(second[0], second[1], f"the value of {first[0]}, {json.dumps(first[1], default=str)}")


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors of one size, as a configuration describes them: how many there are, numbers of each."""

    count: int
    size: int


def require_parameters(groups: Iterable[TensorGroup], reader: ConfigReader) -> None:
    """Raise CheckpointError `model.config` where a configuration describes more parameters than any model has."""
    total = sum(group.count * group.size for group in groups)
    if total > MOST_PARAMETERS:
        raise CheckpointError(
            "model.config",
            f"the sizes in {reader.file} give {total:,} parameters",
            where=reader.file,
            why="accepted: up to 2^40",
            fix=reader.fix,
        )
