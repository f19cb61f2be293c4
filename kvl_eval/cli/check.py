"""The verbs that check data or a checkpoint without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from kvl_eval.cli.task_data import task_and_source
from kvl_eval.cli.terminal import echo
from kvl_eval.decode import Json
from kvl_eval.media.settings import MAX_IMAGE_PIXELS
from kvl_eval.printable import json_line

FAULTY = 4  # exit code of a check that found something


def check_data_verb(name: str, flags: Mapping[str, object], as_json: bool) -> int:
    """Check a data set; exit 4 where something is wrong."""
    from kvl_eval.check_data import as_text, check

    most = flags["max_image_pixels"]
    task, source, split = task_and_source(name, {key: flags[key] for key in flags if key != "max_image_pixels"})
    report = check(task, source, split, max_image_pixels=most if isinstance(most, int) else MAX_IMAGE_PIXELS)
    echo(json_line(asdict(report), default=str) if as_json else as_text(report))
    return 0 if report.ok else FAULTY


def check_vllm_verb(arguments: Mapping[str, Json], as_json: bool) -> int:
    """Check the vLLM that is found; exit 4 where its answers are not the bundled engine's."""
    from kvl_eval.check_vllm import as_text, check

    echo("starting vLLM: half a minute or more", err=True)
    report = check(arguments)
    echo(json_line(asdict(report)) if as_json else as_text(report))
    return 0 if report.ok else FAULTY


def check_desktop_verb(as_json: bool) -> int:
    """Check whether sandboxed desktops start here; exit 4 where they do not."""
    from kvl_eval.agent.sandbox import as_text, check

    report = check()
    echo(json_line(asdict(report)) if as_json else as_text(report))
    return 0 if report.ok else FAULTY


def check_model_verb(location: str, *, revision: str | None, family: str | None, offline: bool, as_json: bool) -> int:
    """Check a checkpoint; exit 4 where something is wrong."""
    from kvl_eval.backends import resolve_model
    from kvl_eval.check_model import as_text, check

    report = check(resolve_model(location).location, revision=revision, offline=offline, family=family)
    echo(json_line(asdict(report), default=str) if as_json else as_text(report))
    return 0 if report.ok else FAULTY
