"""What identifies a run: everything that can change an answer, and the hash of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from kvl_eval.decode import Json, encode_object
from kvl_eval.media.settings import MEDIA_RULES
from kvl_eval.options import Scope, names_of
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.run.data_digest import canonical
from kvl_eval.run.provenance import minor_version

MEDIA = names_of(Scope.MEDIA, in_fingerprint=True)


def fingerprint_of(identity: Mapping[str, Json]) -> str:
    """The `config_fingerprint` of an identity."""
    return hashlib.sha256(canonical(identity)).hexdigest()


def identity_of(
    config: RunConfig, model: Mapping[str, Json], tasks: Mapping[str, Mapping[str, Json]]
) -> dict[str, Json]:
    """Everything that can change an answer, as a tree of plain values.

    Args:
        model: what identifies the model, its name among it.
        tasks: {name: `task_identity`}.
    """
    settings = config.settings.media
    return {
        "kvl_eval": minor_version(),
        "model": {name: model[name] for name in sorted(model)},
        **{name: getattr(settings, name) for name in MEDIA},
        "seed": config.seed,
        "rules": {**MEDIA_RULES},
        "repeats": config.repeats,
        "system_prompt": config.system_prompt,
        "tasks": {name: dict(tasks[name]) for name in sorted(tasks)},
    }


def task_identity(config: TaskConfig, data_sha256: str, prompt_sha256: str) -> dict[str, Json]:
    """What of one task can change an answer."""
    generation = config.generation
    budgets: dict[str, Json] = {
        "think_budgets": list(generation.think_budgets),
        "budget_policy": generation.budget_policy,
        "answer_tokens": generation.answer_tokens,
    }
    return {
        "split": config.split,
        "data": data_sha256,
        "prompt": config.prompt,
        "prompt_text": prompt_sha256,
        "max_new_tokens": generation.max_new_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        **(budgets if generation.think_budgets else {}),
        **({} if config.episode is None else {"episode": encode_object(config.episode)}),
    }


def differences(old: Mapping[str, Json], new: Mapping[str, Json], prefix: str = "") -> list[str]:
    """`name old → new` for each value in which two identities differ."""
    found: list[str] = []
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        elif name == "rules" and isinstance(before or after, Mapping):  # a run of before they were counted
            found += differences(_rules(before), _rules(after), f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name} {_short(before)} → {_short(after)}")
    return found


def _rules(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:12]}..."
