"""The commands of `kvl-eval check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kvl_eval.cli.flags import CONTEXT, CommandGroup, verb
from kvl_eval.cli.options import Flags
from kvl_eval.options.values import pairs


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def check() -> None:
    """Check a data set, a checkpoint or an installation."""


@verb(check, "check data")
def check_data(task: str, include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Check a data set."""
    from kvl_eval.cli.check import check_data_verb
    from kvl_eval.tasks import include

    include(include_path)
    return check_data_verb(task, flags, as_json)


@verb(check, "check gold")
def check_gold(runs: tuple[str, ...], include_path: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """List gold answers that several models contradict."""
    from kvl_eval.cli.check_gold import check_gold_verb
    from kvl_eval.tasks import include

    include(include_path)
    return check_gold_verb([Path(run) for run in runs], Flags(flags), as_json)


@verb(check, "check model")
def check_model(location: str, as_json: bool, **flags: Any) -> int:
    """Check a checkpoint."""
    from kvl_eval.cli.check import check_model_verb

    chosen = {name: flags[name] for name in ("revision", "family", "offline")}
    return check_model_verb(location, **chosen, as_json=as_json)


@verb(check, "check vllm")
def check_vllm(model_args: tuple[str, ...], as_json: bool, **_: Any) -> int:
    """Check an installation of vLLM."""
    from kvl_eval.cli.check import check_vllm_verb

    return check_vllm_verb(pairs(model_args, "--model-args"), as_json)


@verb(check, "check desktop")
def check_desktop(as_json: bool, **_: Any) -> int:
    """Check whether sandboxed desktops start here."""
    from kvl_eval.cli.check import check_desktop_verb

    return check_desktop_verb(as_json)
