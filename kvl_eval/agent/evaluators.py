"""The evaluators of tasks in real applications: a getter brings what a desktop has, a metric judges it.

`vm_command_line` brings what a command prints, `vm_file` a file of the home folder. A file that is missing scores 0, as
in OSWorld; anything else that goes wrong is an error of the evaluator. `kvl_eval.scorers.desktop_metrics` has the form.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from kvl_eval.agent.desk import Evaluation, EvaluatorCheck, evaluator_failed
from kvl_eval.agent.guest import Guest, GuestError
from kvl_eval.decode import Json
from kvl_eval.scorers.desktop_metrics import Evaluator, metric_value, rules_of

SHOWN = 500  # characters of what was found, in the journal


def evaluate(guest: Guest, evaluator: Evaluator) -> Evaluation:
    """The value of what a desktop has become. Raises: EvaluatorFailed."""
    begun, name = time.monotonic(), str(evaluator.get("func"))
    try:
        content = _result(guest, evaluator.get("result"))
        value = 0.0 if content is None else metric_value(evaluator, content)
    except (GuestError, ValueError) as error:
        raise evaluator_failed(f"{name}: {str(error)[:300]}") from error
    check = EvaluatorCheck(
        function=name,
        expected=str(rules_of(evaluator)),
        found="the file is missing" if content is None else content.decode("utf-8", "replace")[:SHOWN],
        value=value,
        seconds=time.monotonic() - begun,
        evidence=content,
    )
    return Evaluation(value=value, checks=(check,))


def _result(guest: Guest, getter: Json) -> bytes | None:
    """What a getter brings; None for a file that is missing. Raises: GuestError, ValueError for one not known."""
    getter = getter if isinstance(getter, dict) else {}
    command, path = getter.get("command"), getter.get("path")
    if getter.get("type") == "vm_command_line" and isinstance(command, list):
        return guest.run(words(command)).output.encode("utf-8", "replace")
    if getter.get("type") == "vm_file" and isinstance(path, str):
        return guest.file(path)
    raise ValueError("a result that is not known")


def words(command: Sequence[Json]) -> list[str]:
    """A command of a task."""
    return list(map(str, command))
