"""Our evaluators beside OSWorld's own ones, on made inputs. Runs code of the folder that is named:

    pip download --no-deps desktop-env && unzip desktop_env-*.whl -d FOLDER
    python -m tools.osworld_metrics FOLDER

Prints each difference and ends with 1 where there is one. `compare_table` is left out: ours has a rule of its own.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import logging
import random
import sys
import tempfile
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

from kvl_eval.decode import Json
from kvl_eval.scorers.desktop_metrics import metric_value

SOURCE = "desktop_env/evaluators/metrics/general.py"
NAMES = ("exact_match", "check_include_exclude", "file_contains")
READS_FILES = ("file_contains",)  # OSWorld's takes a path, where ours takes the content
PIECES = ("", "bread", "Bread", "butter", "é", "日本", "\n", "\r\n", "\r", " ", "\t", "\0", "\\n", "0", "a" * 1000)
CASES = 2_000  # of each function
Metric = Callable[[str, object], float]


def original_metrics(folder: Path) -> dict[str, Metric]:
    """OSWorld's functions; the module itself is not imported, since it needs 20 packages."""
    tree = ast.parse((folder / SOURCE).read_text(encoding="utf-8"))
    names = {"logger": logging.getLogger("osworld"), **{name: getattr(typing, name) for name in ("Dict", "List")}}
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in NAMES]
    exec(compile(ast.Module(body=list[ast.stmt](body), type_ignores=[]), SOURCE, "exec"), names)
    return {name: typing.cast("Metric", names[name]) for name in NAMES}


def cases(name: str, draw: random.Random, count: int) -> Iterator[tuple[bytes, dict[str, Json]]]:
    """What was found, and the rules that it is held against."""

    def texts(most: int) -> list[Json]:
        return ["".join(draw.choices(PIECES, k=draw.randint(0, 2))) for _ in range(draw.randint(0, most))]

    for _ in range(count):
        found = "".join(draw.choices(PIECES, k=draw.randint(0, 6)))
        expected: Json = found if draw.random() < 0.3 else found + draw.choice(PIECES)
        rules: dict[str, Json] = {"include": texts(2), "exclude": texts(1)}
        if name != "check_include_exclude":
            rules = {"expected": expected if name == "exact_match" else texts(2)}
        yield found.encode(), rules


def differences(originals: dict[str, Metric], count: int = CASES, seed: int = 0) -> Iterator[str]:
    """One line for each input that the two judge differently."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.txt"
        for name, original in originals.items():
            for content, rules in cases(name, draw, count):
                file.write_bytes(content)
                with contextlib.redirect_stdout(io.StringIO()):
                    theirs = original(str(file) if name in READS_FILES else content.decode(), rules)
                ours = metric_value({"func": name, "expected": {"rules": rules}}, content)
                if ours != theirs:
                    yield f"{name}: ours {ours}, theirs {theirs}: {json.dumps([content.decode(), rules])}"


def main(folder: str) -> int:
    """Compare and print. Returns: 1 where there is a difference."""
    found = list(differences(original_metrics(Path(folder))))
    print(*found[:20], f"{len(NAMES) * CASES} inputs, {len(found)} differences", sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
