"""Every option and command of kvl-eval, once, as data.

The command line, its help and completion, configuration files, Python's keywords and the pages of the documentation
are made from these tables. Imports nothing heavy.
"""

from __future__ import annotations

from kvl_eval.options.agent_table import AGENT_OPTIONS
from kvl_eval.options.base import Argument as Argument
from kvl_eval.options.base import Command as Command
from kvl_eval.options.base import Heading as Heading
from kvl_eval.options.base import NameKind as NameKind
from kvl_eval.options.base import Option as Option
from kvl_eval.options.base import Scope as Scope
from kvl_eval.options.base import ValueKind as ValueKind
from kvl_eval.options.commands import BY_NAME as BY_NAME
from kvl_eval.options.commands import COMMANDS as COMMANDS
from kvl_eval.options.doctor_table import DOCTOR_OPTIONS, with_doctor
from kvl_eval.options.explain_table import EXPLAIN_OPTIONS
from kvl_eval.options.generation_table import (
    GENERATION_OPTIONS,
    MEDIA_OPTIONS,
    SCORING_OPTIONS,
    SERVER_OPTIONS,
)
from kvl_eval.options.generation_table import MODEL_ARGUMENTS as MODEL_ARGUMENTS
from kvl_eval.options.keywords import RunOptions as RunOptions
from kvl_eval.options.list_table import DESCRIBE_OPTIONS, LIST_OPTIONS, NEW_TASK_OPTIONS, PLANNING_OPTIONS
from kvl_eval.options.osworld_table import OSWORLD_OPTIONS
from kvl_eval.options.output_table import (
    COMMON_OPTIONS,
    OTHER_OPTIONS,
    OUTPUT_OPTIONS,
    PRICE_OPTIONS,
    RUNNING_OPTIONS,
)
from kvl_eval.options.run_table import DATA_OPTIONS, MODEL_OPTIONS, PROMPT_OPTIONS

OPTIONS: tuple[Option, ...] = (
    *map(
        with_doctor,
        (
            *(*MODEL_OPTIONS, *DATA_OPTIONS, *PROMPT_OPTIONS, *GENERATION_OPTIONS, *MEDIA_OPTIONS, *AGENT_OPTIONS),
            *(*SERVER_OPTIONS, *SCORING_OPTIONS, *OUTPUT_OPTIONS, *RUNNING_OPTIONS, *MODEL_ARGUMENTS, *OTHER_OPTIONS),
        ),
    ),
    *(
        *PRICE_OPTIONS,
        *LIST_OPTIONS,
        *DESCRIBE_OPTIONS,
        *NEW_TASK_OPTIONS,
        *EXPLAIN_OPTIONS,
        *PLANNING_OPTIONS,
        *DOCTOR_OPTIONS,
    ),
    *(*OSWORLD_OPTIONS, *COMMON_OPTIONS),
)


def options_of(command: str) -> tuple[Option, ...]:
    """The options that a command takes, in the order of its help."""
    return tuple(option for option in OPTIONS if command in option.commands)


def names_of(*scopes: Scope, in_fingerprint: bool | None = None) -> tuple[str, ...]:
    """NameKind of the options of these scopes; with `in_fingerprint` those that are, or are not, part of it."""
    return tuple(
        option.name for option in OPTIONS if option.scope in scopes and in_fingerprint in (None, option.in_fingerprint)
    )
