"""The options of `doctor`: one of its own, and those of `run` that say what is asked of which model."""

from __future__ import annotations

from dataclasses import replace

from kvl_eval.options.base import RUN, Heading, Option, Scope, ValueKind

DOCTOR = "doctor"
SAMPLES = 20
SHARED = (Scope.ENGINE, Scope.MEDIA, Scope.SERVER, Scope.CLUSTER, Scope.TASK)
NAMES = (
    *("model", "fields", "seed", "system_prompt", "prompt_file", "protocol", "score_view", "think_budget"),
    *("budget_policy", "answer_tokens", "yes", "include_path"),
)  # of options that describe a whole run

DOCTOR_OPTIONS = (
    Option(
        name="samples",
        kind=ValueKind.INTEGER,
        least=1,
        metavar="N",
        default=SAMPLES,
        help="Use N samples of the task.",
        group=Heading.DATA,
        commands=(DOCTOR,),
    ),
)


def with_doctor(option: Option) -> Option:
    """The option, taken by `doctor` too if it says what is asked of which model."""
    is_taken = RUN[0] in option.commands and (option.scope in SHARED or option.name in NAMES)
    return replace(option, commands=(*option.commands, DOCTOR)) if is_taken else option
