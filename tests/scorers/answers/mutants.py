"""The reader without one row of one of its tables: its modules made anew from their sources, the row left out."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import kvl_eval.scorers.answers as package
from kvl_eval.scorers.answers import Reading, Wanted

Read = Callable[[str, Wanted], Reading]

TABLES = {
    "wordings": ("REFUSALS", "ABSENCES", "HEDGES", "UNANSWERABLE", "NOT_MEANT"),
    "marks": ("KEYS", "DISPRAISES", "ECHOES", "UNSAID"),
    "languages": (
        *("LINES", "SENTENCES", "ANSWER_NOUNS", "CHOICE_NOUNS", "PRAISES", "COPULAS", "ADVERB_ROWS", "CHOOSING_ROWS"),
        *("CORRECTIONS", "SUPPOSITIONS", "UNREALS", "LOOKINGS", "SAYINGS_OF_OTHERS", "BUTS", "CONCLUSIONS"),
        "FILLER_ROWS",
    ),
    "comparison": ("AGAINST", "TURNS"),
    "polarity": ("YES", "NO", "NOT_NO"),
    "spellings": ("OPTION_WORDS", "FILLERS", "SAYINGS", "REMARKS", "AFTERWARDS"),
}
_PREFIX = package.__name__ + "."
_SOURCES: dict[str, ast.Module] = {}


def rows() -> Iterator[tuple[str, str, int, str]]:
    """(module, table, index, row) of every row of every table."""
    for module, tables in TABLES.items():
        for table in tables:
            found = getattr(importlib.import_module(_PREFIX + module), table)
            for index, row in enumerate(found):
                yield module, table, index, row


def _tree(name: str) -> ast.Module:
    if name not in _SOURCES:
        path = Path(package.__path__[0]) / f"{name.removeprefix(_PREFIX)}.py"
        _SOURCES[name] = ast.parse(path.read_text(encoding="utf-8"))
    return _SOURCES[name]


def _shortened(tree: ast.Module, table: str, index: int) -> ast.Module:
    """A module whose table lacks a row."""
    body: list[ast.stmt] = []
    for node in tree.body:
        is_table = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if is_table and node.targets[0].id == table:  # type: ignore[attr-defined]
            assert isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
            left = [row for place, row in enumerate(node.value.elts) if place != index]
            value = ast.copy_location(ast.Tuple(left, ast.Load()), node.value)
            node = ast.copy_location(ast.Assign(node.targets, value), node)
        body.append(node)
    return ast.fix_missing_locations(ast.Module(body, tree.type_ignores))


@contextmanager
def without(module: str, table: str, index: int) -> Iterator[Read]:
    """`read` of the reader that lacks a row. Modules that hold types stay, so that readings compare."""
    names = [_PREFIX + found.name for found in pkgutil.iter_modules(package.__path__)]
    names = [name for name in names if not name.endswith((".reading", ".number_words"))]
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    attributes = dict(vars(package))
    for name in before:
        vars(package).pop(name.removeprefix(_PREFIX), None)  # else `from package import module` finds the whole one
    try:
        name = _PREFIX + module
        changed = ModuleType(name)
        changed.__file__ = package.__file__
        sys.modules[name] = changed
        exec(compile(_shortened(_tree(name), table, index), name, "exec"), vars(changed))
        setattr(package, module, changed)
        reader = importlib.import_module(_PREFIX + "reader")
        yield lambda reply, wanted: reader.read(reply, wanted)
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
        for key, value in attributes.items():
            setattr(package, key, value)
