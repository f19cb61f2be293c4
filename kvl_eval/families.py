"""What a model is: the facts of its family in one record, and the rule that finds the family of a checkpoint.

The records of an architecture stand in its own package and are reached through
`kvl_eval.model.registry`. No rule looks at the
name of a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from kvl_eval.types import Generation

CONFIG_KEY = "kvl_eval.family"  # of config.json
DEMO_NOTE = "demo model, not Kimi-VL-A3B"  # what views say of a demo; nothing is decided by it
SCRIPTED_NOTE = "scripted answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """Facts that checkpoints of one kind share.

    Attributes:
        name:           as `--family` and run folders call it.
        model_type:     of config.json.
        stop_texts:     special tokens that end a reply.
        think:          opening and closing marker of a thought; None where it writes none of its own: budgets are kept
                        with those of `kvl_eval.thinking`.
        temperature:    default of sampling.
        max_new_tokens: default of every task; None leaves each task its own.
        cap_new_tokens: never more than this by default; None means no cap.
        published:      the system in `references/` that scores are compared with.
        is_demo:        whether its scores show the software and no model.
        default_split:  what is answered unless data are named; None leaves each task its own.
        agent:          plays tasks on a desktop, unless another one is named.
    """

    name: str
    model_type: str
    stop_texts: tuple[str, ...]
    think: tuple[str, str] | None
    temperature: float
    max_new_tokens: int | None
    cap_new_tokens: int | None
    published: str | None
    is_demo: bool
    default_split: str | None
    agent: str = "kimi-figure10"

    def generation(self, task_tokens: int) -> Generation:
        """Defaults for a task that gives its replies `task_tokens` new tokens."""
        tokens = task_tokens if self.max_new_tokens is None else self.max_new_tokens
        if self.cap_new_tokens is not None:
            tokens = min(tokens, self.cap_new_tokens)
        return Generation(max_new_tokens=tokens, temperature=self.temperature)


class FamilyRule(StrEnum):
    """What decided a family, in the order in which the rules are tried."""

    OPTION = "option"
    REGISTERED = "registered"
    CONFIG = "config"
    ORIGIN = "origin"
    IMAGE_LIMIT = "image_limit"
    NONE = "none"


RULES = {
    FamilyRule.OPTION: "set by --family",
    FamilyRule.REGISTERED: "by the model's name",
    FamilyRule.CONFIG: f"by {CONFIG_KEY} in config.json",
    FamilyRule.ORIGIN: "by _name_or_path in config.json; no published result to compare with",
    FamilyRule.IMAGE_LIMIT: "by its image limit; no published result to compare with",
    FamilyRule.NONE: "not a known published model; no published result to compare with",
}
"""How views describe a rule."""


def is_sure(rule: str | None) -> bool:
    """Whether a published result may stand beside a run that stores this rule; runs of earlier versions store none.

    By any other rule the model may be a fine-tune.
    """
    return rule in (None, FamilyRule.OPTION, FamilyRule.REGISTERED)


@dataclass(frozen=True, slots=True)
class ChosenFamily:
    """A family, and the rule that decided it."""

    family: ModelFamily
    rule: FamilyRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """The families of one architecture, and what tells them apart.

    Attributes:
        records:      {name: family}.
        other:        the family of a checkpoint that no rule knows.
        repositories: {published hub repository: name of its family}.
        image_limits: {most patches of an image: name of the family that alone has this limit}.
    """

    records: Mapping[str, ModelFamily]
    other: ModelFamily
    repositories: Mapping[str, str]
    image_limits: Mapping[int, str]

    @property
    def published(self) -> tuple[ModelFamily, ...]:
        """Those of published checkpoints."""
        return tuple(self.records[name] for name in self.repositories.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """What the rule reads of a checkpoint's JSON files; a fact that a file does not state is None.

    Attributes:
        label:          `kvl_eval.family` of config.json.
        origin:         `_name_or_path` of config.json.
        model_type:     of config.json.
        image_limit:    most patches of an image.
        temperature:    of generation_config.json; 0 where it says that nothing is sampled.
        max_new_tokens: of generation_config.json.
    """

    label: str | None = None
    origin: str | None = None
    model_type: str | None = None
    image_limit: int | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None


def choose_family(
    families: Families, place: str, facts: CheckpointFacts, option: ModelFamily | None = None
) -> ChosenFamily:
    """The family of a checkpoint: the first rule that applies.

    Args:
        place:  hub repository or folder; compared with the published repositories as a whole.
        option: what `--family` says.
    """
    if option is not None:
        return ChosenFamily(option, FamilyRule.OPTION)
    limit = families.image_limits if facts.model_type == families.other.model_type else {}
    named = (
        (FamilyRule.REGISTERED, families.repositories.get(place)),
        (FamilyRule.CONFIG, facts.label),
        (FamilyRule.ORIGIN, families.repositories.get(facts.origin or "")),
        (FamilyRule.IMAGE_LIMIT, limit.get(facts.image_limit or 0)),
    )
    for rule, name in named:
        if name is not None and name in families.records:
            return ChosenFamily(families.records[name], rule)
    return ChosenFamily(_with_own_settings(families.other, facts), FamilyRule.NONE)


def _with_own_settings(family: ModelFamily, facts: CheckpointFacts) -> ModelFamily:
    temperature = family.temperature if facts.temperature is None else facts.temperature
    return replace(family, temperature=temperature, max_new_tokens=facts.max_new_tokens or family.max_new_tokens)
