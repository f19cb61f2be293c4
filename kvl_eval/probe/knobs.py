"""The settings that a probe changes: what becomes of a run's configuration, and values where none is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kvl_eval.backends import resolve_model
from kvl_eval.errors import UsageError, unknown
from kvl_eval.explanation.case import ExplainedCase
from kvl_eval.explanation.probe_document import KNOBS, settings_of
from kvl_eval.model.registry import stored_family
from kvl_eval.run.config import RunConfig
from kvl_eval.store.manifest import ProbeEvidence
from kvl_eval.types import Generation

HELP = "kvl-eval explain --help"
STYLES = ("reference", "vlmevalkit")
DTYPES = ("float32", "bfloat16")
LONGER = 4  # times the run's limit of new tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedKnob:
    """One setting and its value; `config` is the run's with it.

    Attributes:
        setting:  `prompt=kimi_cot`, as run folders call it.
        evidence: why this value.
    """

    setting: str
    evidence: ProbeEvidence
    config: RunConfig


@dataclass(frozen=True, slots=True)
class KnobCase:
    """What choosing and checking a value needs: the run's configuration for the explained task, and what is known.

    Attributes:
        known: {field: value} of how the reference was made.
    """

    case: ExplainedCase
    config: RunConfig
    known: Mapping[str, str]

    @property
    def generation(self) -> Generation:
        """How the run's answers were produced."""
        return self.config.tasks[0].generation


def turned(case: KnobCase, text: str) -> list[TurnedKnob]:
    """The settings that `--probe` names, each turned alone. Raises: UsageError for one that cannot be turned."""
    named = settings_of(text)
    names = [name for name, _ in named]
    for name in names:
        if name not in KNOBS:
            raise unknown("probe", name, KNOBS, HELP)
        if names.count(name) > 1:
            raise _refused(f"--probe names {name} twice", "a probe changes one setting at a time")
    return [_turned(case, name, value) for name, value in named]


def together(knobs: list[TurnedKnob], case: KnobCase) -> TurnedKnob:
    """All of them at once."""
    config = case.config
    for knob in knobs:
        [(name, value)] = settings_of(knob.setting)
        config = _RULES[name].changed(config, value or "")
    sure = all(knob.evidence != "default" for knob in knobs)
    text = ",".join(knob.setting for knob in knobs)
    return TurnedKnob(setting=text, evidence="option" if sure else "default", config=config)


def _turned(case: KnobCase, name: str, value: str | None) -> TurnedKnob:
    rule = _RULES[name]
    evidence: ProbeEvidence = "option"
    rule.check(case)
    if value is None:
        known = case.known.get(rule.field)
        value, evidence = (
            (known, "read") if known and rule.is_possible(case, known) else (rule.default(case), "default")
        )
    if not rule.is_possible(case, value):
        raise _refused(f"--probe {name}={value} is not possible", rule.form(case))
    config = rule.changed(case.config, value)
    if config == case.config:
        raise _refused(f"--probe {name}={value} changes nothing", "the run has that value")
    return TurnedKnob(setting=f"{name}={value}", evidence=evidence, config=config)


def _refused(message: str, why: str) -> UsageError:
    return UsageError("usage.probe", message, why=why, fix=f"see {HELP}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A knob.

    Attributes:
        changed:     (configuration, value) -> configuration.
        default:     the value where none is given. Raises: UsageError, where there is none.
        is_possible: whether a value can be.
        form:        what a value must be.
        check:       raises UsageError where the knob cannot be turned at all.
        field:       of `reference_protocols.csv`.
    """

    changed: Callable[[RunConfig, str], RunConfig]
    default: Callable[[KnobCase], str]
    is_possible: Callable[[KnobCase, str], bool]
    form: Callable[[KnobCase], str]
    check: Callable[[KnobCase], None] = lambda _: None
    field: str = ""


# -- prompt ---------------------------------------------------------------------------------------------------------


def _with_prompt(config: RunConfig, value: str) -> RunConfig:
    [task] = config.tasks
    return replace(config, tasks=(replace(task, prompt=value),), prompt_text=None)


def _other_prompt(case: KnobCase) -> str:
    """The authors' prompt, or the first other one."""
    own = case.config.tasks[0].prompt
    others = [name for name in ("official", *case.case.task.prompts) if name != own and name in case.case.task.prompts]
    if not others:
        raise _refused("--probe prompt is not possible", f"{case.case.task.name} has one prompt")
    return others[0]


# -- generation -----------------------------------------------------------------------------------------------------


def _with_limit(config: RunConfig, value: str) -> RunConfig:
    [task] = config.tasks
    generation = replace(task.generation, max_new_tokens=int(value))
    return replace(config, tasks=(replace(task, generation=generation),))


def _with_temperature(config: RunConfig, value: str) -> RunConfig:
    [task] = config.tasks
    generation = replace(task.generation, temperature=float(value))
    return replace(config, tasks=(replace(task, generation=generation),))


def _check_limit(case: KnobCase) -> None:
    if case.generation.max_new_tokens is None:
        raise _refused("--probe max-new-tokens is not possible", "thinking budgets limit the replies of this run")


def _card_temperature(case: KnobCase) -> str:
    """The model family's, or 0 where the run has that."""
    card = stored_family(case.config.family).temperature
    return f"{0.0 if card == case.generation.temperature else card:g}"


# -- images ---------------------------------------------------------------------------------------------------------


def _with_media(config: RunConfig, **changes: object) -> RunConfig:
    media = replace(config.settings.media, **changes)  # type: ignore[arg-type]
    return replace(config, settings=replace(config.settings, media=media))


def _check_images(case: KnobCase) -> None:
    if not any(facts.entry.sample.media for facts in case.case.replies.facts):
        raise _refused("--probe max-pixels and image-prep need images", f"{case.case.task.name} has none")


def _other_pixels(case: KnobCase) -> str:
    """Twice the limit where images were shrunk to it, else half of it or of the largest image."""
    media = [medium for facts in case.case.replies.facts for medium in facts.media]
    seen = [medium.resized_to[0] * medium.resized_to[1] for medium in media]
    limit = case.config.settings.media.max_pixels
    if limit is not None and any(medium.w * medium.h > limit for medium in media):
        return str(2 * limit)
    if limit is None and not seen:
        raise _refused("--probe max-pixels needs a number", "the run does not say how large its images were")
    return str((limit or max(seen)) // 2)


# -- the rest -------------------------------------------------------------------------------------------------------


def _no_system_prompt(case: KnobCase) -> str:
    if not case.config.system_prompt:
        raise _refused("--probe system-prompt needs a text", "the run has no system prompt that could be left out")
    return ""


def _with_dtype(config: RunConfig, value: str) -> RunConfig:
    engine = replace(config.settings.engine, dtype=value)
    return replace(config, settings=replace(config.settings, engine=engine))


def _check_engine(case: KnobCase) -> None:
    if resolve_model(case.config.model).kind != "checkpoint":
        raise _refused("--probe dtype is not possible", "only the bundled engine can compute in another one")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _is_temperature(text: str) -> bool:
    try:
        return 0 <= float(text) <= 100
    except ValueError:
        return False


_RULES: Mapping[str, _Rule] = {
    "prompt": _Rule(
        changed=_with_prompt,
        default=_other_prompt,
        is_possible=lambda case, value: value in case.case.task.prompts,
        form=lambda case: f"prompts of {case.case.task.name}: {', '.join(case.case.task.prompts)}",
        field="prompt",
    ),
    "max-new-tokens": _Rule(
        changed=_with_limit,
        default=lambda case: str(LONGER * (case.generation.max_new_tokens or 1)),
        is_possible=lambda _, value: _is_count(value),
        form=lambda _: "a number of tokens",
        check=_check_limit,
        field="max_new_tokens",
    ),
    "max-pixels": _Rule(
        changed=lambda config, value: _with_media(config, max_pixels=int(value)),
        default=_other_pixels,
        is_possible=lambda _, value: _is_count(value),
        form=lambda _: "a number of pixels",
        check=_check_images,
    ),
    "system-prompt": _Rule(
        changed=lambda config, value: replace(config, system_prompt=value or None),
        default=_no_system_prompt,
        is_possible=lambda _, __: True,
        form=lambda _: "a text",
    ),
    "temperature": _Rule(
        changed=_with_temperature,
        default=_card_temperature,
        is_possible=lambda _, value: _is_temperature(value),
        form=lambda _: "a number of 0 or more",
        field="temperature",
    ),
    "image-prep": _Rule(
        changed=lambda config, value: _with_media(config, image_prep=value),
        default=lambda case: next(style for style in STYLES if style != case.config.settings.media.image_prep),
        is_possible=lambda _, value: value in STYLES,
        form=lambda _: f"one of {', '.join(STYLES)}",
        check=_check_images,
    ),
    "dtype": _Rule(
        changed=_with_dtype,
        default=lambda _: "float32",
        is_possible=lambda _, value: value in DTYPES,
        form=lambda _: f"one of {', '.join(DTYPES)}",
        check=_check_engine,
    ),
}
