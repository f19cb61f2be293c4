"""What a desktop has become, judged: a small set of OSWorld's metrics, under their names and in their JSON format.

    {"func": NAME, "result": {"type": GETTER, ...}, "expected": {"type": "rule", "rules": {...}}}

They need no desktop, only what a getter brought from one. So a run repeats them from its `evidence/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree import ElementTree

from kvl_eval.decode import Json

TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
MOST_CELLS = 1_000  # of a row, and rows of a sheet, that are looked at
Rules = Mapping[str, Json]
Evaluator = Mapping[str, Json]


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
    """Whether a file's text has every one of the expected texts; lines end as Python reads them."""
    text = result.replace("\r\n", "\n").replace("\r", "\n")
    if "expected" not in rules:
        raise ValueError("rules.expected is missing")
    return float(all(part in text for part in _texts(rules, "expected")))


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


def metric_value(evaluator: Evaluator, content: bytes) -> float:
    """The value in [0, 1] of what a getter brought. Raises: ValueError for what cannot be judged."""
    name, rules = str(evaluator.get("func")), rules_of(evaluator)
    if name not in FUNCTIONS or rules is None:
        raise ValueError(f"an evaluator that is not known: {name}")
    try:
        return FUNCTIONS[name](content.decode("utf-8", "replace"), rules)
    except (KeyError, ElementTree.ParseError) as error:
        raise ValueError(str(error)) from error


def rules_of(evaluator: Evaluator) -> Rules | None:
    """What an evaluator expects; None where it has no rules."""
    expected = evaluator.get("expected")
    rules = expected.get("rules") if isinstance(expected, dict) else None
    return rules if isinstance(rules, dict) else None
