"""Write the table of ARCHITECTURE.md from `tools/layers.py`.

python -m tools.architecture          # writes it
python -m tools.architecture --check  # exit code 1 where the file is not current
"""

import sys
from pathlib import Path

from tools.layers import ARCHITECTURE, BASE, EVERYTHING, LAYERS, PACKAGE, Layer, layer_of, module_files

FILE = Path(__file__).resolve().parent.parent / "ARCHITECTURE.md"
BEGIN, END = "<!-- the table: python -m tools.architecture -->", "<!-- end of the table -->"


def text(page: str) -> str:
    """The page with its table replaced. Raises ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"ARCHITECTURE.md lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def table() -> str:
    """A row for every layer that has a module."""
    layers = {layer_of(module) for module in module_files()}
    folders = {str(name) for name in layers if name is not None}
    rows = [row(layer) for layer in LAYERS if layer.name in folders or _is_built_architecture(layer, folders)]
    return "\n".join(["| layer | what it holds | may import from kvl_eval |", "| --- | --- | --- |", *rows])


def row(layer: Layer) -> str:
    """One line of the table."""
    return f"| `{_path(layer.name)}` | {layer.holds} | {_allowed(layer)} |"


def _is_built_architecture(layer: Layer, folders: set[str]) -> bool:
    return layer.name == ARCHITECTURE and any(name.startswith("model.") and name.count(".") == 1 for name in folders)


def _path(name: str) -> str:
    if name == ARCHITECTURE:
        return "model/*/"
    path = name.replace(".", "/")
    return f"{path}/" if (PACKAGE / path).is_dir() else f"{path}.py"


def _allowed(layer: Layer) -> str:
    if layer.imports == EVERYTHING:
        return "everything, late"
    base = ("base",) if layer.base == BASE else layer.base
    names = (*base, *(name.removesuffix(".__init__") for name in layer.imports))
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names)) or "nothing"


def main() -> int:
    """Write the file, or say whether it is current."""
    page = FILE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return 0 if page == text(page) else 1
    FILE.write_text(text(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
