"""`explain --probe`: what it would cost, the question, and the asking."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kvl_eval.cli import terminal
from kvl_eval.cli.options import Flags
from kvl_eval.cli.run import make, say_loading
from kvl_eval.cli.trusting import places, settle
from kvl_eval.errors import UsageError
from kvl_eval.run.contacts import contacts_of
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.trust import AddressPlace

if TYPE_CHECKING:
    from kvl_eval.explanation.case import ExplainOptions
    from kvl_eval.probe.cost import ProbeCost
    from kvl_eval.run.config import RunConfig

SAMPLES = 200


def probe(run: RunReader, options: ExplainOptions, flags: Flags, results_dir: Path) -> int | None:
    """Ask what `--probe` names; the exit code where there is nothing to explain yet: a dry run, or a stop.

    Raises: UsageError for a setting that cannot be changed, for a run that cannot be probed, and without consent.
    """
    from kvl_eval.explanation.probe_parts import LIMIT
    from kvl_eval.explanation.probe_sample import probed_order
    from kvl_eval.explanation.resolving import read_case
    from kvl_eval.probe.asking import ProbeRuns, check_unchanged, planned_arms, probed_config
    from kvl_eval.probe.cost import probe_cost
    from kvl_eval.probe.knobs import KnobCase, together, turned

    case, reading, known = read_case(run, options, results_dir)
    if reading.judge is not None or case.task.protocols[reading.protocol].needs_judge:
        why = f"{reading.protocol} needs a judge's verdicts"
        raise UsageError("usage.probe", "probes are read by rules", why=why, fix="add --as reader")
    config = _with_flags(probed_config(case), flags)
    knob_case = KnobCase(case, config, known)
    knobs = turned(knob_case, flags.text("probe") or "")
    about_ended = all(knob.setting.startswith(LIMIT) for knob in knobs)
    if flags.switch("joint") and len(knobs) > 1:
        knobs.append(together(knobs, knob_case))
    samples = flags.values["samples"]
    ids = probed_order(case, reading, samples if isinstance(samples, int) else SAMPLES, about_ended=about_ended)
    if not ids:
        raise UsageError(
            "usage.probe", "there is nothing to ask again", why="no reply ended at a limit", fix="name another setting"
        )
    arms = planned_arms(case, config, knobs, ids)
    runs = ProbeRuns(case, reading, arms, make)
    cost = probe_cost(case, arms, prices=_prices(flags))
    for line in cost.lines():
        (terminal.result if flags.switch("dry_run") else terminal.step)(line)
    if flags.switch("dry_run"):
        return 0
    _confirm(cost, is_allowed=flags.switch("yes"))
    settle(contacts_of(config, places(AddressPlace.RUN_FOLDER)))
    say_loading(config)
    check_unchanged(case, config, make)
    stopped = runs.carry_out(terminal.step)
    if stopped is None:
        return None
    terminal.step(stopped.message)
    return stopped.exit_code


def _with_flags(config: RunConfig, flags: Flags) -> RunConfig:
    """The configuration with the address and the key that the command line confirms or replaces."""
    server = config.settings.server
    server = replace(
        server,
        base_url=flags.text("base_url") or server.base_url,
        api_key_env=flags.text("api_key_env") or server.api_key_env,
    )
    return replace(config, settings=replace(config.settings, server=server))


def _prices(flags: Flags) -> tuple[float, float] | None:
    prices = [flags.values["price_in"], flags.values["price_out"]]
    read, written = (float(price) if isinstance(price, int | float) else None for price in prices)
    if (read is None) != (written is None):
        raise UsageError("usage.price", "--price-in and --price-out go together", fix="use both")
    return None if read is None or written is None else (read, written)


def _confirm(cost: ProbeCost, *, is_allowed: bool) -> None:
    """Raises: UsageError `explain.consent`, where a large probe is not confirmed."""
    if not cost.is_large or is_allowed:
        return
    if sys.stdin.isatty() and click.confirm(f"send up to {cost.requests:,} requests?", err=True):
        return
    raise UsageError(
        "explain.consent",
        f"{cost.requests:,} requests need confirmation",
        why="more than 500 requests or 10 minutes are asked for only with consent",
        fix="add --yes, or fewer --samples",
    )
