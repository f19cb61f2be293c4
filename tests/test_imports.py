"""Who may import whom, and what a light command may load. The table is `tools/layers.py`."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools import architecture
from tools.layers import ARCHITECTURE, BY_NAME, LAYERS, circles, imports, is_inside, layer_of, may_import, module_files

HEAVY = ("torch", "transformers", "datasets", "pandas", "numpy", "pyarrow", "PIL")
MODULES = module_files()
ROOT = Path(__file__).resolve().parents[1]

# Rules that stand before their modules: whoever adds the module takes its line away.
UPCOMING: set[str] = set()
# Circles of today. What opens one takes its line away; none is added.
OPEN_CIRCLES: list[frozenset[str]] = []


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_lower_layers(module: str) -> None:
    assert layer_of(module) is not None, "no rule for this module: add its layer to tools/layers.py"
    wrong = [
        (line.module, line.line) for line in imports(MODULES[module], MODULES) if not may_import(module, line.module)
    ]
    assert not wrong, f"{layer_of(module)} may not import these (module, line)"


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges = {
        module: {line.module for line in imports(path, MODULES) if line.at_module_level}
        for module, path in MODULES.items()
    }
    assert circles(edges) == OPEN_CIRCLES


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_scripts_import_names_that_exist(folder: str) -> None:
    """Scripts that no fast test runs; their other packages may be absent."""
    missing = [
        f"{path.name}: {line.module}.{name.name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(line, ast.ImportFrom) and (line.module or "").partition(".")[0] in ("kvl_eval", folder)
        for name in line.names
        if not exists(str(line.module), name.name)
    ]
    assert not missing


def exists(module: str, name: str) -> bool:
    """Whether a module has a name, or a module of that name lies in it."""
    try:
        return hasattr(import_module(module), name) or find_spec(f"{module}.{name}") is not None
    except ModuleNotFoundError as error:
        return not str(error.name).startswith(("kvl_eval", "benchmarks", "tools"))


def test_every_rule_has_a_module() -> None:
    layers = {layer_of(module) for module in MODULES}
    named = {ARCHITECTURE if layer not in BY_NAME else layer for layer in layers}
    assert {layer.name for layer in LAYERS} - named == UPCOMING


def test_every_name_in_a_rule_is_a_layer_or_a_module_of_the_model() -> None:
    for layer in LAYERS:
        for name in (*layer.imports, *layer.base):
            assert name in BY_NAME or is_inside(name, "model") or name in ("*", "backends.base")


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("engine.batch", "model.base", True),
        ("engine.batch", "media.pool", True),
        ("engine.batch", "model.weights", False),
        ("engine.prompt_maker", "backends.base", False),
        ("model.placement", "model.kimi_vl.config", False),
        ("engine.batch", "model.kimi_vl.config", False),
        ("engine.batch", "model.__init__", False),
        ("model.qwen2_5_vl.vision", "model.qwen2_5_vl.config", True),
        ("model.qwen2_5_vl.vision", "model.sampling", True),
        ("model.qwen2_5_vl.vision", "decode", True),
        ("model.qwen2_5_vl.vision", "model.kimi_vl.config", False),
        ("model.qwen2_5_vl.vision", "model.registry", False),
        ("model.qwen2_5_vl.vision", "engine.batch", False),
        ("model.registry", "model.qwen2_5_vl.__init__", True),
        ("model.weights", "model.kimi_vl.config", False),
        ("backends.endpoint", "model.kimi_vl.config", False),
        ("media.layout", "model.kimi_vl.config", False),
        ("errors", "types", False),
        ("store.records", "decode", True),
        ("scorers.anls", "tasks.base", False),
    ],
)
def test_rules_for_modules_that_may_come(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


@pytest.mark.parametrize(("importer", "imported"), [("verbs.run", "errors"), ("cli.run", "verbs")])
def test_a_module_without_a_rule_is_refused(importer: str, imported: str) -> None:
    with pytest.raises(ValueError, match="add one to"):
        may_import(importer, imported)


def test_circles_are_named_whole() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(edges) == [frozenset("abc"), frozenset("de")]


def test_imports_for_the_type_checker_count_and_those_in_functions_do_not_make_a_circle(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nimport kvl_eval.errors\nfrom kvl_eval import types, __version__\n"
        "if TYPE_CHECKING:\n    from kvl_eval.store import journal, results\n"
        "def late():\n    from kvl_eval.media import missing\n"
    )
    found = imports(file, ["__init__", "errors", "types", "store.__init__", "store.journal", "media.__init__"])
    assert {(line.module, line.line, line.at_module_level) for line in found} == {
        ("errors", 2, True),
        ("types", 3, True),
        ("store.journal", 5, True),
        ("store.__init__", 5, True),
        ("media.__init__", 7, False),
    }


def test_the_table_of_architecture_md_is_current() -> None:
    page = architecture.FILE.read_text(encoding="utf-8")
    assert architecture.text(page) == page, "run: python -m tools.architecture"


def loaded_by(*arguments: str, **variables: str) -> set[str]:
    """The modules that `kvl-eval ARGUMENTS` imports, in an environment with these variables."""
    code = (
        "import sys\nsys.argv[0] = 'kvl-eval'\nfrom kvl_eval.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "print()\nprint('loaded', *sys.modules)"
    )
    environment = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.strip().splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("--help",), ("--version",), ("help",), ("help", "models"), ("completion", "bash"), ("version",)),
        *(("run", "--help"), ("explain", "--help"), ("list", "tasks"), ("list", "models"), ("list", "references")),
        ("list", "runs"),
    ],
    ids=" ".join,
)
def test_light_commands_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments) & set(HEAVY) == set()


def test_help_loads_the_tables_and_little_else() -> None:
    loaded = loaded_by("run", "--help-all")
    ours = {name for name in loaded if name.startswith("kvl_eval.")}
    others = {name for name in ours if name.split(".")[1] not in ("cli", "options", "decode")}
    assert others == {f"kvl_eval.{name}" for name in ("errors", "printable", "names", "store", "store.run_names")}
    assert len(ours) <= 40 and len(loaded) <= 400
    assert "yaml" not in loaded


@pytest.mark.parametrize("words", ["kvl-eval run math", "kvl-eval run -m kimi", "kvl-eval run mmmu --prompt "])
def test_completion_loads_nothing_heavy(words: str) -> None:
    count = str(len(words.split(" ")) - 1)
    loaded = loaded_by(_KVL_EVAL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert "kvl_eval.cli.completion" in loaded
    assert loaded & set(HEAVY) == set()
