"""Evaluators of tasks in real applications: a small set of OSWorld's, under their names and in their JSON format.

    {"func": NAME, "result": {"type": GETTER, ...}, "expected": {"type": "rule", "rules": {...}}}

A getter brings what the desktop has: `vm_command_line` what a command prints, `vm_file` the text of a file in the home
folder. A file that is missing scores 0, as in OSWorld; anything else that goes wrong is an error of the evaluator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from xml.etree import ElementTree

from kvl_eval.agent.desk import Evaluation, EvaluatorCheck, evaluator_failed
from kvl_eval.agent.guest import Guest, GuestError
from kvl_eval.decode import Json

TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
MOST_CELLS = 1_000  # of a row, and rows of a sheet, that are looked at
SHOWN = 500  # characters of what was found, in the journal
Rules = Mapping[str, Json]


class MissingFile(Exception):
    """The file that is to be judged is not there."""


def exact_match(result: str, rules: Rules) -> float:
    """Whether the text is the expected one."""
    return float(result == rules["expected"])


def check_include_exclude(result: str, rules: Rules) -> float:
    """Whether the text has every text of `include` and none of `exclude`."""
    return float(
        all(text in result for text in _texts(rules, "include"))
        and not any(text in result for text in _texts(rules, "exclude"))
    )


def file_contains(result: str, rules: Rules) -> float:
    """Whether a file's text has every one of the expected texts."""
    return float(all(text in result for text in _texts(rules, "expected")))


def compare_table(result: str, rules: Rules) -> float:
    """Whether cells of the first sheet, a flat OpenDocument file, show what is expected: {cell: text}."""
    cells, expected = sheet(result), rules["cells"]
    if not isinstance(expected, dict):
        raise ValueError("rules.cells is not an object")
    return float(all(cells.get(name, "") == text for name, text in expected.items()))


def _texts(rules: Rules, name: str) -> list[str]:
    texts = rules.get(name, [])
    if not isinstance(texts, list):
        raise ValueError(f"rules.{name} is not a list")
    return list(map(str, texts))


def sheet(text: str) -> dict[str, str]:
    """{`B2`: what it shows} of the first sheet of a flat OpenDocument file. Raises: ElementTree.ParseError."""
    cells: dict[str, str] = {}
    table = ElementTree.fromstring(text).find(f".//{TABLE}table")
    row_number = 0
    for row in () if table is None else table.iter(f"{TABLE}table-row"):
        repeats = int(row.get(f"{TABLE}number-rows-repeated", "1"))
        column = 0
        for cell in row:
            count = int(cell.get(f"{TABLE}number-columns-repeated", "1"))
            shown = "\n".join("".join(part.itertext()) for part in cell if part.tag.endswith("}p"))
            for number in range(column, min(column + count, MOST_CELLS) if shown else column):
                for line in range(row_number, min(row_number + repeats, MOST_CELLS)):
                    cells[f"{_letters(number)}{line + 1}"] = shown
            column += count
        row_number += repeats
    return cells


def _letters(number: int) -> str:
    """`A`, `Z`, `AA`: a column by its number from 0."""
    text = ""
    while number >= 0:
        number, digit = divmod(number, 26)
        text, number = chr(ord("A") + digit) + text, number - 1
    return text


FUNCTIONS: Mapping[str, Callable[[str, Rules], float]] = {
    "exact_match": exact_match,
    "check_include_exclude": check_include_exclude,
    "file_contains": file_contains,
    "compare_table": compare_table,
}


def evaluate(guest: Guest, evaluator: Mapping[str, Json]) -> Evaluation:
    """The value of what a desktop has become. Raises: EvaluatorFailed."""
    begun, name = time.monotonic(), str(evaluator.get("func"))
    expected = evaluator.get("expected")
    rules = expected.get("rules") if isinstance(expected, dict) else None
    try:
        if name not in FUNCTIONS or not isinstance(rules, dict):
            raise ValueError(f"an evaluator that is not known: {name}")
        found = _result(guest, evaluator.get("result"))
        value = FUNCTIONS[name](found, rules)
    except MissingFile as error:
        found, value = str(error), 0.0
    except (GuestError, ValueError, KeyError, ElementTree.ParseError) as error:
        raise evaluator_failed(f"{name}: {str(error)[:300]}") from error
    check = EvaluatorCheck(
        function=name, expected=str(rules), found=found[:SHOWN], value=value, seconds=time.monotonic() - begun
    )
    return Evaluation(value=value, checks=(check,))


def _result(guest: Guest, getter: Json) -> str:
    """What a getter brings. Raises: GuestError, MissingFile, ValueError for one that is not known."""
    getter = getter if isinstance(getter, dict) else {}
    command, path = getter.get("command"), getter.get("path")
    if getter.get("type") == "vm_command_line" and isinstance(command, list):
        return guest.run(words(command)).output
    if getter.get("type") == "vm_file" and isinstance(path, str):
        content = guest.file(path)
        if content is None:
            raise MissingFile(f"{path} is missing")
        return content.decode("utf-8", "replace")
    raise ValueError("a result that is not known")


def words(command: Sequence[Json]) -> list[str]:
    """A command of a task."""
    return list(map(str, command))
