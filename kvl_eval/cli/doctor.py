"""The verb that tests a model on a few samples before a long run."""

from __future__ import annotations

from kvl_eval.cli.options import Flags
from kvl_eval.cli.run import configuration, make, say_loading
from kvl_eval.cli.terminal import echo, result
from kvl_eval.cli.trusting import check_include, places, settle
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line
from kvl_eval.run.contacts import contacts_of
from kvl_eval.run.options import RUN_TABLE
from kvl_eval.trust import AddressPlace


def doctor_verb(task: str, flags: Flags, as_json: bool) -> int:
    """Ask some samples and small questions, and print what a run would suffer from; exit 4 where it is not fit."""
    from kvl_eval.doctor.examining import examine
    from kvl_eval.doctor.text import as_text
    from kvl_eval.run.large_data import bring_large
    from kvl_eval.tasks import task_named

    place_of = places(AddressPlace.COMMAND_LINE)
    check_include(place_of)
    unset = {**dict.fromkeys(RUN_TABLE), "trust_remote_code": False, "yes": False}
    config = configuration(Flags({**unset, **flags.values, "tasks": (task,)}))
    if len(config.tasks) != 1:
        names = ", ".join(one.task for one in config.tasks)
        raise UsageError(
            "usage.doctor", "doctor tests one task at a time", why=f"{task} means {names}", fix=_fix(names)
        )
    settle(contacts_of(config, place_of), records=True)
    say_loading(config)
    bring_large(config)
    count = flags.values["samples"]
    report = examine(config, task_named(config.tasks[0].task), make(config), count if isinstance(count, int) else 20)
    (echo if as_json else result)(json_line(report.as_json()) if as_json else as_text(report))
    return report.exit_code


def _fix(names: str) -> str:
    return f"kvl-eval doctor {names.partition(',')[0]}"
