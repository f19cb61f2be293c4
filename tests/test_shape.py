"""How large the pieces of the package may be, and that a name means one thing. Ceilings are lowered, never raised."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "kvl_eval"
FILES = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}

FILE_LINES = 400
LONG_FILES: dict[str, int] = {}
FUNCTION_LINES = 60
PARAMETERS = 6  # `self` and `cls` are none
UNTYPED = 3  # lines with a dict of anything

# Functions whose options are the interface, and those of today, each of which is to go.
INTERFACES = {"evaluate", "generate"}
MANY_PARAMETERS: set[str] = set()
# Class names and type aliases that stand for several things today; to become empty.
SEVERAL_THINGS: dict[str, int] = {
    "Job": 3,
    "Message": 2,
    "Prompt": 2,  # what a task asks, and its tokens in the engine
    "Row": 2,
    "Run": 2,
    "Turn": 2,
}
# Lines that give a dict of anything a name; to become 0.
ALIASES_OF_A_DICT = 2

DICT_OF_ANYTHING = re.compile(r"(dict|Mapping|MutableMapping)\[str, Any\]")
ARCHITECTURE = re.compile(r"model/\w+/.*")  # sibling folders: the same files and names in each
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    """(`file function`, its node) of every function and method; constructors of records have none."""
    for name, text in FILES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield f"{name} {node.name}", node


def parameters(node: Function) -> int:
    """How many values a caller can pass."""
    arguments = node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@pytest.mark.parametrize("name", FILES)
def test_a_file_can_be_read_at_one_sitting(name: str) -> None:
    assert len(FILES[name].splitlines()) <= LONG_FILES.get(name, FILE_LINES)


def test_a_function_fits_on_a_screen() -> None:
    long = {name: node.end_lineno - node.lineno + 1 for name, node in functions() if node.end_lineno is not None}
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_a_function_has_few_parameters() -> None:
    many = {node.name: (place, parameters(node)) for place, node in functions() if parameters(node) > PARAMETERS}
    assert {name: many[name] for name in set(many) - INTERFACES - MANY_PARAMETERS} == {}


def test_few_lines_hold_a_dict_of_anything() -> None:
    lines = [line for text in FILES.values() for line in text.splitlines() if DICT_OF_ANYTHING.search(line)]
    assert len(lines) <= UNTYPED


def test_no_name_stands_for_a_dict_of_anything() -> None:
    alias = re.compile(r"^(type )?\w+(: TypeAlias)? = " + DICT_OF_ANYTHING.pattern)
    lines = [(name, line) for name, text in FILES.items() for line in text.splitlines() if alias.search(line)]
    assert len(lines) <= ALIASES_OF_A_DICT, lines


def type_names(text: str) -> Iterator[str]:
    """Classes, wherever they stand, and aliases such as `Size = tuple[int, int]`, without a leading underscore."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_")
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp):
            names = (target.id.lstrip("_") for target in node.targets if isinstance(target, ast.Name))
            yield from (name for name in names if re.fullmatch(r"[A-Z][a-z]\w*", name))


def test_one_name_means_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file, text in FILES.items():
        for name in type_names(text):
            places[name].append(ARCHITECTURE.sub("an architecture", file))
    assert {name: files for name, files in places.items() if len(set(files)) > SEVERAL_THINGS.get(name, 1)} == {}


def test_aliases_and_nested_classes_are_names() -> None:
    text = (
        "Size = tuple[int, int]\nMaybe = int | None\nLIMIT = 3 | 4\ndef f():\n    class _Row: ...\n    found = x[1]\n"
    )
    assert sorted(type_names(text)) == ["Maybe", "Row", "Size"]
