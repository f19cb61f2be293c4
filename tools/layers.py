"""Who may import whom inside `kvl_eval`: the table that `tests/test_imports.py` holds and ARCHITECTURE.md shows.

A module has a dotted name below `kvl_eval`; that of a package's own file ends in `__init__`. Its layer is the entry of
LAYERS with the longest name that is the module's or a folder above it. `model.*` is every folder inside `model/`, each
apart: an architecture is a layer of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "kvl_eval"
ARCHITECTURE = "model.*"
FAMILIES = "model.kimi_vl.families"  # facts about the models that this project is about
EVERYTHING = ("*",)
BASE = (
    *("printable", "names", "errors", "flags", "options", "types", "decode", "cells", "rows", "byte_bar", "disk_space"),
)  # for every layer that does not stand below them


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of the table."""

    name: str
    holds: str
    imports: tuple[str, ...] = ()  # names of layers or modules; itself always
    base: tuple[str, ...] = BASE


LAYERS = (
    Layer("printable", "foreign text spelled out where it leaves", base=()),
    Layer("names", "names that users type: equal or similar to a known one", base=()),
    Layer("errors", "the exception tree", base=("printable", "names")),
    Layer("byte_bar", "a progress bar in bytes, on a terminal", base=()),
    Layer("disk_space", "room on a disk, asked for before something large is written", base=("errors",)),
    Layer("flags", "what may have changed an answer: a closed list, and its words", base=()),
    Layer("options", "every option and command as data; their values read", base=("printable", "errors")),
    Layer("decode", "JSON and YAML read within limits; values of types, and back", base=("errors",)),
    Layer("types", "Sample, Message, Generation, Completion, Score: frozen", base=("errors", "decode", "rows")),
    Layer("trust", "who may make a command contact an address and send a key: its user, never a file"),
    Layer("cells", "what a cell holds: nothing, a list, options by letter, gold, a known value", base=("errors",)),
    Layer(
        "rows",
        "a row of a data set: values read by type, faults named by file, row and column",
        base=("errors", "cells"),
    ),
    Layer(
        "families", "what is known of a model: markers, stop texts, defaults, published name", base=("errors", "types")
    ),
    Layer("request", "one prompt and which answers to it are wanted; what a prompt takes"),
    Layer("pictures", "how an image becomes patches: sizes, grids, tokens"),
    Layer("thinking", "split a thought from its answer, find its markers token by token"),
    Layer(
        "model",
        "what architectures share: weights, placement over devices, download, memory, pages, sampling, generate",
        ("families", "pictures"),
    ),
    Layer("model.__init__", "the public names of the model as a library", ("model", "model.registry", ARCHITECTURE)),
    Layer("model.registry", "one line an architecture", ("families", "model", "pictures", ARCHITECTURE)),
    Layer(ARCHITECTURE, "one architecture a folder; none knows another", ("families", "model", "pictures", "thinking")),
    Layer(
        "media",
        "`images` opened safely, `pool` of worker processes, `video` frames by `frame_rules` through `pyav_reader`, "
        "`subtitles`, `documents`; `layout` in a prompt, `fit` to the context, `drawn` frames, `cache`",
        ("pictures",),
    ),
    Layer(
        "engine",
        "batches, requests, trajectories, pages of the cache; knows no architecture",
        (
            "thinking",
            "media",
            "pictures",
            "request",
            "sources",
            "model.base",
            "model.memory",
            "model.pages",
            "model.rows",
            "model.tensors",
            "model.sampling",
        ),
    ),
    Layer(
        "sources",
        "rows from the hub (through `datasets`), its cache, parquet, JSON, TSV; images unopened; `fetch` and "
        "`archives`: large files downloaded and unpacked",
    ),
    Layer("scorers", "one metric each, pure", ("thinking",)),
    Layer("verdicts", "what a comparison says, in sentences", ("scorers",)),
    Layer("paired", "two sets of scores of the same questions, side by side", ("scorers", "store", "verdicts")),
    Layer("flip_causes", "why two replies to one question were scored differently", ("store",)),
    Layer(
        "tasks",
        "`base` (the `Task` record), one benchmark a module, the `TASKS` list",
        ("families", "sources", "scorers", "media"),
    ),
    Layer(
        "backends",
        "`base` (the protocol), the bundled engine, `endpoint` (servers), `ray_pool` (replicas of any of them), "
        "`transformers_peer`, `fake` (scripted answers)",
        (
            "families",
            FAMILIES,
            "thinking",
            "sources",
            "media",
            "engine",
            "request",
            "model",
            "model.__init__",
            "model.registry",
        ),
    ),
    Layer("references", "published results as data, with sources", ("families", "tasks")),
    Layer(
        "store",
        "the run folder: its records, journal and lock; a stored output in its parts",
        (FAMILIES, "thinking"),
    ),
    Layer(
        "scoring",
        "thought off, protocol on: stored answers, or a file of predictions, to scores and result rows",
        ("families", FAMILIES, "model.registry", "thinking", "tasks", "scorers", "sources", "references", "store"),
    ),
    Layer(
        "agent",
        "agents that use a computer: typed actions, prompts and parsers, desktops, the loop of an episode",
        ("thinking", "tasks", "scorers", "media", "request", "backends.base", "store"),
    ),
    Layer(
        "run",
        "`config` (what was asked for), `plan` (what will be asked), `runner`, `session`, `signals`, `progress`, "
        "`provenance`",
        (
            "agent",
            "families",
            FAMILIES,
            "model.registry",
            "backends",
            "media",
            "scorers",
            "scoring",
            "sources",
            "store",
            "tasks",
            "trust",
        ),
    ),
    Layer(
        "explanation",
        "why a score is not the one expected: the gap in named parts, from stored answers",
        ("references", "scorers", "scoring", "store", "tasks", "thinking", "verdicts", "paired", "flip_causes"),
    ),
    Layer(
        "doctor",
        "a few samples and small requests before a long run: what it would suffer from",
        ("backends", "explanation", "media", "run", "scorers", "scoring", "sources", "store", "tasks", "thinking"),
    ),
    Layer(
        "probe",
        "a sample of a run's questions asked again with one setting changed: knobs, arms, cost",
        ("backends", "explanation", "model.registry", "run", "scoring", "store"),
    ),
    Layer(
        "reports",
        "tables, Markdown, HTML, sample browser, comparison page, budget curves, heat maps",
        (
            *("families", FAMILIES, "store", "references", "scorers", "tasks", "media", "sources"),
            *("verdicts", "paired", "flip_causes", "explanation", "scoring"),
        ),
    ),
    Layer(
        "audit",
        "`verify` (prove a run whole), `compare`, `merge`",
        ("run", "reports", "scorers", "scoring", "store", "tasks", "verdicts", "paired", "flip_causes"),
    ),
    Layer(
        "card",
        "a result card: one page that carries a score, and its check",
        ("audit", "explanation", "references", "scorers", "scoring", "store"),
    ),
    Layer(
        "watch",
        "nightly runs: what their file asks for, what the nights say, the trend page",
        ("audit", "paired", "scorers", "scoring", "store", "verdicts"),
    ),
    Layer(
        "exports",
        "a run as CSV, parquet, inspect_ai log, lm-evaluation-harness files, submission",
        ("store", "tasks"),
    ),
    Layer(
        "view",
        "the report's server on 127.0.0.1, and the progress of a run read from its folder",
        ("store", "tasks", "scorers", "scoring", "reports"),
    ),
    Layer(
        "results",
        "what Python calls return: scores, data frames, HTML",
        (
            *("audit", "backends", "explanation", "exports", "references", "reports"),
            *("run", "scoring", "sources", "store", "tasks", "trust"),
        ),
    ),
    Layer(
        "evaluation",
        "the Python call",
        (*("families", "model.registry", "backends", "options"), *("results", "run", "scoring", "store", "tasks")),
    ),
    Layer(
        "describe",
        "what `describe` shows",
        ("families", FAMILIES, "references", "scorers", "sources", "tasks", "thinking"),
    ),
    Layer("describe_text", "what `describe` shows, as text", ("describe", "scorers")),
    Layer("check_data", "what `check data` shows", ("media", "sources", "tasks")),
    Layer(
        "check_model",
        "what `check model` shows",
        ("families", "backends", "model", "model.registry"),
    ),
    Layer(
        "check_vllm",
        "what `check vllm` shows",
        ("backends", "sources", "tasks"),
    ),
    Layer(
        "cli", "`main` (the verbs), options to values, one module a group of verbs; errors to exit codes", EVERYTHING
    ),
    Layer("__init__", "the public names of the package", EVERYTHING),
    Layer("__main__", "`python -m kvl_eval`", ("cli",)),
)
BY_NAME = {layer.name: layer for layer in LAYERS}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: where the line stands, and whether it is read when the module is (or by a type checker)."""

    module: str
    line: int
    at_module_level: bool


def is_inside(module: str, folder: str) -> bool:
    """Whether `module` is `folder` or lies in it."""
    return module == folder or module.startswith(f"{folder}.")


def module_files() -> dict[str, Path]:
    """{dotted name below `kvl_eval`: its file}."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def layer_of(module: str) -> str | None:
    """The layer of a module; of an architecture's modules `model.FOLDER`; None where no rule names it."""
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    named = next((name for name in names if name in BY_NAME), None)
    return ".".join(parts[:2]) if named == "model" and len(parts) > 2 else named


def may_import(importer: str, imported: str) -> bool:
    """Whether a module of one layer may import a module. Raises ValueError where no rule names one of the two."""
    layer, other = layer_of(importer), layer_of(imported)
    if layer is None or other is None:
        raise ValueError(f"no rule for kvl_eval.{importer if layer is None else imported}: add one to tools/layers.py")
    rule = _rule(layer)
    names = (*rule.imports, *rule.base)
    return (
        layer == other
        or rule.imports == EVERYTHING
        or _rule(other).name in names
        or any(is_inside(imported, name) for name in names if name not in BY_NAME)
    )


def _rule(layer: str) -> Layer:
    return BY_NAME.get(layer) or BY_NAME[ARCHITECTURE]


def imports(path: Path, modules: Iterable[str]) -> list[Import]:
    """What a file imports from `kvl_eval`, by full names; a name that is no module stands for its package."""
    known = set(modules)
    found = []
    for node, at_module_level in _statements(ast.parse(path.read_text(encoding="utf-8")), True):
        found += [Import(name, node.lineno, at_module_level) for name in _targets(node, known)]
    return found


def _statements(node: ast.AST, at_module_level: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_module_level
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, at_module_level and not is_function)


def _targets(node: ast.Import | ast.ImportFrom, known: set[str]) -> set[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        return {
            _module(name.removeprefix("kvl_eval").lstrip("."), known) for name in names if is_inside(name, "kvl_eval")
        }
    if node.module is None or not is_inside(node.module, "kvl_eval"):
        return set()
    package = node.module.removeprefix("kvl_eval").lstrip(".")
    names = [alias.name for alias in node.names if package or not alias.name.startswith("__")]  # __version__ is a fact
    return {_module(f"{package}.{name}".lstrip("."), known) for name in names}


def _module(name: str, known: set[str]) -> str:
    """`name` as a module; else the package, or the module, that offers it."""
    for candidate in (name, f"{name}.__init__".lstrip(".")):
        if candidate in known:
            return candidate
    if not name:
        raise ValueError("kvl_eval has no __init__.py")
    return _module(name.rpartition(".")[0], known)


def circles(edges: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """Sets of two modules or more, each of which reaches all others of its set."""
    reached = {name: _reach(name, edges) for name in edges}
    sets = {frozenset(b for b in reached[a] if a in reached.get(b, set())) for a in edges}
    return sorted((one for one in sets if len(one) > 1), key=sorted)


def _reach(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in edges.get(waiting.pop(), set()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen
