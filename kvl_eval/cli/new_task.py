"""The verb that writes a task file and its test from a template."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from kvl_eval.cli.terminal import echo
from kvl_eval.errors import DataError, StorageError, UsageError
from kvl_eval.printable import one_line
from kvl_eval.sources import STRICT, Source

TEMPLATES = Path(__file__).resolve().parents[1] / "data" / "new_task"
REGISTRY = Path("kvl_eval") / "tasks" / "__init__.py"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,60}")
GOLD_IS_RIGHT = 'score(sample, answer, MISSING).verdict == "correct"'
GOLD_IS_SCORED = 'score(sample, answer, MISSING).verdict != "not_scored"'
LEFT = """\
Left to do (CONTRIBUTING.md):
  1. {module}: repos, licence, splits with their rows, columns, prompts, the authors' protocol, download_bytes
  2. {test}: every layout, every prompt letter by letter, answers scored by the official script
  3. SPEAKERS in tests/tasks/test_contract.py: how gold is written as an answer, and a wrong answer
  4. a mini split: tools/nano, then python -m tools.draw_mini {name}
  5. published results with their source: kvl_eval/references/reference_scores.csv and Task.reference
  6. python tools/task_table.py, and a line in CHANGELOG.md"""


@dataclass(frozen=True, slots=True)
class TaskNames:
    """A new task's name, the module it is written in, and how views print it."""

    name: str

    @property
    def module(self) -> str:
        """The name of the Python module."""
        return self.name.replace("-", "_")

    @property
    def title(self) -> str:
        """The name as words."""
        return re.sub(r"[-_]+", " ", self.name).capitalize()

    @staticmethod
    def of(text: str) -> TaskNames:
        """The names of a task. Raises: UsageError `usage.name` for one that no task can have."""
        from kvl_eval.tasks import TASKS

        name = text.strip().casefold()
        if _NAME.fullmatch(name) is None or keyword.iskeyword(name.replace("-", "_")):
            fix = "begin with a letter, and use letters, digits, - and _"
            raise UsageError("usage.name", f"not a name for a task: {one_line(repr(text))}", fix=fix)
        if name.replace("_", "-") in TASKS:
            raise UsageError("usage.name", f"kvl-eval has a task {name!r} already", fix="choose another name")
        return TaskNames(name)


def new_task_verb(name: str, from_file: Path | None, output_dir: Path, builtin: bool) -> int:
    """Write the files of a new task, and print what to try next.

    Raises: UsageError for a name or folder that cannot be used, DataError for a table that cannot be read.
    """
    names = TaskNames.of(name)
    if builtin:
        if from_file is not None:
            raise UsageError("usage.new_task", "--builtin cannot be combined with --from", fix="remove one of the two")
        return _write_builtin(names, output_dir)
    folder, test = output_dir / "tasks", output_dir / "tests" / f"test_{names.module}.py"
    module = folder / f"{names.module}.py"
    if from_file is None:
        table = folder / f"{names.module}.jsonl"
        rows = (TEMPLATES / "rows.jsonl").read_text(encoding="utf-8")
        checks = {"rows": str(len(rows.splitlines())), "check": GOLD_IS_RIGHT}
        files = {module: _filled("task.py.txt", names, {}), table: rows}
    else:
        read = _table_fields(from_file, folder)
        checks = {"rows": read.pop("rows"), "check": GOLD_IS_SCORED}
        files = {module: _filled("table_task.py.txt", names, {**read, "folder": str(folder)})}
    _write({**files, test: _filled("test.py.txt", names, checks)})
    echo(f"try:  kvl-eval run {names.name} --include-path {folder} --model fake\n      pytest {test}")
    return 0


def _table_fields(path: Path, folder: Path) -> dict[str, str]:
    """What the template of a table needs. Raises: DataError, for a table that cannot be read."""
    from kvl_eval.tasks.table_file import TableReader, column_lines, table_task

    table_task(path)
    rows = sum(1 for _ in TableReader(path, Source()).samples(STRICT))
    if not rows:
        raise DataError("data.empty", f"{path.name} has no rows", where=str(path), fix="use a table with rows")
    columns = [f"    {one_line(line)}" for line in column_lines(path, Source()) if " <- " in line]
    place = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    shown = {"table": one_line(path.name), "path": place.replace("\\", "\\\\").replace('"', '\\"')}
    return {**shown, "columns": "\n".join(columns).replace("\\", "\\\\").replace('"""', "'''"), "rows": str(rows)}


def _filled(template: str, names: TaskNames, fields: Mapping[str, str]) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return Template(text).substitute(name=names.name, module=names.module, title=names.title, **fields)


def _write(files: Mapping[Path, str]) -> None:
    """Write new files, and say so. Raises: UsageError where one exists, StorageError where one cannot be written."""
    for path in files:
        if path.exists():
            raise UsageError("usage.exists", f"{path} exists", fix="choose another name, or --output-dir DIR")
    for path, text in files.items():
        _save(path, text)
        echo(f"wrote {path}")


def _save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why, fix = error.strerror or str(error), "use another --output-dir"
        raise StorageError("storage.write", f"cannot write {path}", why=why, fix=fix) from None


def _write_builtin(names: TaskNames, root: Path) -> int:
    registry = root / REGISTRY
    if not registry.is_file():
        fix = "clone the repository and run it there, or leave --builtin out"
        raise UsageError("usage.new_task", "--builtin needs a checkout of kvl-eval", why=f"no {REGISTRY}", fix=fix)
    module = registry.parent / f"{names.module}.py"
    test = root / "tests" / "tasks" / f"test_{names.module}.py"
    listed = registered(registry.read_text(encoding="utf-8"), names.module)
    _write({path: _filled(f"builtin_{kind}.py.txt", names, {}) for path, kind in ((module, "task"), (test, "test"))})
    _save(registry, listed)
    echo(f"added {names.module} to {registry}\n{LEFT.format(name=names.name, module=module, test=test)}")
    return 0


def registered(text: str, module: str) -> str:
    """The list of tasks with one more at its end. Raises: UsageError where there is no such list in the text."""
    start, end = text.find("from kvl_eval.tasks import (\n"), text.find("\n    )\n}\n")
    if start < 0 or end < 0:
        raise UsageError("usage.new_task", f"no list of tasks in {REGISTRY}", fix="add the task to the list by hand")
    first = text.index("(\n", start) + 2
    last = text.index(")\n", first)
    imports = "".join(_sorted_with(text[first:last], f"    {module},"))
    return f"{text[:first]}{imports}{text[last:end]}\n        {module}.TASK,{text[end:]}"


def _sorted_with(lines: str, line: str) -> Iterator[str]:
    yield from (f"{name}\n" for name in sorted([*lines.splitlines(), line]))
