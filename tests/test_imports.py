"""Who may import whom, and what a light command may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "kvl_eval"
HEAVY = ("torch", "transformers", "datasets", "pandas", "numpy", "pyarrow", "PIL")

# layer -> what it may import from kvl_eval; the table of ARCHITECTURE.md
ALLOWED = {
    "errors": set(),
    "decode": {"errors", "decode"},
    "types": {"errors"},
    "thinking": {"types"},
    "model": {"errors", "model"},
    "media": {"errors", "types", "model", "media"},
    "sources": {"errors", "types", "sources"},
    "scorers": {"errors", "types", "thinking", "scorers"},
    "tasks": {"errors", "types", "sources", "scorers", "tasks", "media"},
    "backends": {"errors", "types", "thinking", "sources", "media", "model", "backends"},
    "references": {"errors", "tasks", "references"},
    "store": {"errors", "types", "store"},
    "scoring": {"errors", "types", "thinking", "tasks", "scorers", "sources", "references", "store", "scoring"},
    "view": {"errors", "types", "store", "tasks", "scorers", "scoring", "reports", "view"},
    "exports": {"errors", "types", "store", "tasks", "exports"},
    "reports": {"errors", "types", "store", "references", "scorers", "tasks", "reports", "media", "sources"},
}


def layer(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kvl_eval."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "kvl_eval":
            found |= {alias.name for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("kvl_eval.")}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_to_lower_layers(path: Path) -> None:
    allowed = ALLOWED.get(layer(path))
    if allowed is not None:
        assert imported(path) <= allowed | ({"decode"} if layer(path) != "errors" else set())


def loaded_by(*arguments: str) -> set[str]:
    """The heavy modules that `kvl-eval ARGUMENTS` imports."""
    code = (
        "import sys\nfrom kvl_eval.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        f"print('loaded', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.strip().splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), ("run", "--help"), ("list", "tasks"), ("list", "models"), ("list", "references"), ("version",)],
    ids=" ".join,
)
def test_light_commands_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments) == set()
