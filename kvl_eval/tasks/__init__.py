"""The benchmarks. `TASKS` lists them; a new task is one module and one line here."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from kvl_eval.errors import ConfigError, DataError, UsageError, unknown
from kvl_eval.names import folded, same_name, suggestions
from kvl_eval.printable import one_line
from kvl_eval.sources import STRICT, Reporter, Source
from kvl_eval.sources.unusable import stand_in
from kvl_eval.tasks import (
    ai2d,
    blink,
    desktop_apps,
    desktop_mini,
    egoschema,
    infovqa,
    longvideobench,
    mathvision,
    mathvista,
    mlvu,
    mmbench_en_v11,
    mmlongbench_doc,
    mmmu,
    mmmu_pro,
    mmstar,
    mmvet,
    mmvu,
    niah,
    ocrbench,
    osworld,
    osworld_g,
    realworldqa,
    screenspot,
    tomato,
    videomme,
    videommmu,
    vsi_bench,
    vstar,
)
from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample, VideoRef

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        mathvista.TASK,
        mmmu.TASK,
        mathvision.TASK,
        infovqa.TASK,
        ocrbench.TASK,
        screenspot.SCREENSPOT,
        screenspot.SCREENSPOT_V2,
        screenspot.SCREENSPOT_PRO,
        mmlongbench_doc.TASK,
        videomme.VIDEOMME,
        videomme.VIDEOMME_SUBS,
        longvideobench.LONGVIDEOBENCH,
        longvideobench.LONGVIDEOBENCH_NOSUBS,
        egoschema.TASK,
        mmbench_en_v11.TASK,
        mmstar.TASK,
        mmvet.TASK,
        realworldqa.TASK,
        ai2d.TASK,
        blink.TASK,
        mmmu_pro.MMMU_PRO,
        mmmu_pro.MMMU_PRO_VISION,
        vstar.TASK,
        osworld_g.TASK,
        mlvu.TASK,
        tomato.TASK,
        vsi_bench.TASK,
        videommmu.TASK,
        mmvu.TASK,
        niah.TEXT,
        niah.VIDEO,
        desktop_mini.TASK,
        desktop_apps.TASK,
        osworld.OSWORLD,
        osworld.OSWORLD_LOCAL,
    )
}
MINI = Path(__file__).resolve().parent.parent / "data" / "mini"
TEXT_ONLY = ("gsm8k", "mmlu", "hellaswag", "arc", "winogrande", "truthfulqa", "humaneval", "mbpp", "bbh", "ifeval")
"""Beginnings of the names of well-known benchmarks without images, letters and digits only."""
_OWN: dict[str, str] = {}  # tasks of the user: where each comes from


def is_own(name: str) -> bool:
    """Whether a task comes from a file or an entry point of the user, whose rules may change at any time."""
    return name in _OWN


def groups() -> dict[str, list[str]]:
    """{group: names of its tasks}, `all` first: every task that needs no sandbox and no environment of the user's."""
    apart = {name for name, task in TASKS.items() if task.episode is not None and task.episode.needs_more}
    members: dict[str, list[str]] = {"all": [name for name in TASKS if name not in apart]}
    for task in TASKS.values():
        for group in task.groups:
            members.setdefault(group, []).append(task.name)
    return members


def get_task(name: str) -> Task:
    """The task of that name, up to case and punctuation; `file:PATH` is a table. Raises: UsageError `usage.task`."""
    if name.startswith("file:"):
        from kvl_eval.tasks.table_file import table_task

        return table_task(name.removeprefix("file:"))
    known = same_name(name, TASKS)
    if known is None:
        raise _unknown_task(name)
    return TASKS[known]


def task_named(name: str, own: Iterable[Task] = ()) -> Task:
    """The task of that name, as a run stores it: of the caller's own ones, else as `get_task`.

    A table may be gone: what a run stores of it can be scored nevertheless.
    """
    task = next((task for task in own if task.name == name), None) or known_task(name)
    if task is not None:
        return task
    try:
        return get_task(name)
    except UsageError as error:
        error.fix = f"add --include-path with the file that defines {one_line(name)}"
        raise


def known_task(name: str) -> Task | None:
    """The task that a run stores under that name; None where this version does not know it."""
    if not name.startswith("file:"):
        return TASKS.get(name)
    from kvl_eval.tasks.table_file import table_task

    return table_task(name.removeprefix("file:"), must_exist=False)


def select(names: Sequence[str], *, bundled: bool = False) -> list[Task]:
    """Tasks for names, groups and globs (each may hold several, separated by commas or blanks), without repeats.

    A text that begins `file:` is one path. A text with blanks is one name where a task has it (`MMMU Pro`).
    With `bundled`, groups and globs give only tasks that have a bundled split, if at least one of them has.
    Raises: UsageError `usage.task` for an unknown name, and without any name.
    """
    chosen: dict[str, Task] = {}
    for name in [part for text in names for part in _names(text)]:
        members = _members(name)
        if bundled and len(members) > 1:
            members = [known for known in members if TASKS[known].mini] or members
        for task in [TASKS[known] for known in members] or [get_task(name)]:
            chosen[task.name] = task
    if not chosen:
        raise UsageError("usage.task", "no task given", fix="kvl-eval run TASK; kvl-eval list tasks shows the tasks")
    return list(chosen.values())


def _names(text: str) -> list[str]:
    """The names in one text: separated by commas, then by blanks unless the whole part is a name or a table's path."""
    if text.startswith("file:"):
        return [text]
    if is_table(text):
        return [f"file:{text}"]
    parts = [part.strip() for part in text.split(",")]
    names = [name for part in parts for name in ([part] if _members(part) or is_table(part) else part.split())]
    return [f"file:{name}" if is_table(name) else name for name in names]


def is_table(name: str) -> bool:
    """Whether a name that no task has is the path of a file that holds a table."""
    from kvl_eval.sources.own_file import format_of

    path = Path(name).expanduser()
    return format_of(path) is not None and not _members(name) and path.is_file()


def _members(name: str) -> list[str]:
    """The names of the tasks that a task, a group or a glob stands for; none where it is unknown or a `file:`."""
    if name.startswith("file:"):
        return []
    if set("*?[") & set(name):
        pattern = name.lower().replace("_", "-")
        return [known for known in TASKS if fnmatchcase(known, pattern)]
    task, group = same_name(name, TASKS), same_name(name, groups())
    return [task] if task is not None else groups().get(group or "", [])


def _unknown_task(name: str) -> UsageError:
    """The error of an unknown task: the command that other harnesses' names stand for here, else what is similar."""
    listing = "kvl-eval list tasks"
    for task in TASKS.values():
        for other in task.other_names:
            if folded(other.name) == folded(name):
                split = f" (split {other.split})" if other.split else ""
                error = unknown("task", name, [task.name], listing)
                error.why = f"{other.harness}'s {other.name} is '{task.name}' here{split}"
                error.fix = f"kvl-eval run {task.name}{f' --split {other.split}' if other.split else ''}"
                error.suggestions = (task.name,)
                return error
    known = list(TASKS) if suggestions(name, TASKS) else list(groups())
    error = unknown("task", name, known, listing)
    if folded(name).startswith(TEXT_ONLY) and not error.suggestions:
        error.fix = f"kvl-eval evaluates vision-language tasks; see {listing}"
    return error


def include(folders: Sequence[str], bad: Callable[[ConfigError], None] | None = None) -> None:
    """Add the tasks of Python files, or of folders of them, and of installed entry points `kvl_eval.tasks`.

    A file or entry point defines `TASK` or `TASKS`. This runs code that the user named; code of a data set never runs.
    `bad` receives the error of a file that cannot be loaded; the file is then skipped.
    Raises: ConfigError `config.include`, also for a path without Python files.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="kvl_eval.tasks"):
        _loaded(entry.load, entry.name, bad)
    for folder in folders:
        path = Path(folder)
        files = [path] if path.is_file() else sorted(path.glob("*.py"))
        if not files:
            message = f"no Python files in --include-path {one_line(folder)}"
            raise ConfigError("config.include", message, fix="name a .py file or its folder")
        for file in files:
            _loaded(partial(_run_file, file), str(file), bad)


def _run_file(file: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"kvl_eval_own_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import does: dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _loaded(load: Callable[[], object], name: str, bad: Callable[[ConfigError], None] | None) -> None:
    try:
        try:
            module = load()
        except (Exception, SystemExit) as error:
            raise _not_loaded(name, error) from error
        _add(module, name)
    except ConfigError as error:
        if bad is None:
            raise
        bad(error)


def _not_loaded(name: str, error: BaseException) -> ConfigError:
    """The error of a task file that raises: its last line in `name`, and the last line of the exception."""
    file = os.path.abspath(name)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename in (name, file)]
    line = lines[-1] if lines else None
    if isinstance(error, SyntaxError) and error.filename in (name, file):
        line = error.lineno
    return ConfigError(
        "config.include",
        f"cannot load {name}",
        where=name if line is None else f"{name}:{line}",
        why=traceback.format_exception_only(error)[-1].strip()[:300],
        fix="kvl-eval new-task NAME writes a working example",
    )


def _add(module: object, where: str) -> None:
    own = module if isinstance(module, Task) else getattr(module, "TASK", None)
    several = getattr(module, "TASKS", ())
    listed = [task for task in several if isinstance(task, Task)] if isinstance(several, Iterable) else []
    tasks = [own] if isinstance(own, Task) else listed
    if not tasks:
        raise ConfigError(
            "config.include",
            f"{where} defines no TASK or TASKS",
            fix="kvl-eval new-task NAME writes a working example",
        )
    place = str(Path(where).resolve()) if Path(where).is_file() else where
    for name in (task.name for task in tasks if task.name in TASKS and _OWN.get(task.name) != place):
        other = _OWN.get(name, "kvl-eval")
        raise ConfigError(
            "config.include", f"{where} defines the task {name!r}, which {other} has already", fix="rename the task"
        )
    _OWN.update({task.name: place for task in tasks})
    TASKS.update({task.name: task for task in tasks})


def open_split(task: Task, source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples of one split; `mini` is bundled. `reporter` receives bad rows and downloads.

    Raises: UsageError `usage.split` for an unknown split; DataError.
    """
    if split not in task.split_names():
        raise unknown("split", split, task.split_names(), f"kvl-eval describe {task.name}")
    named = task.default_split if split == "mini" else split
    known = task.splits.get(named)
    source = replace(source, withheld=known is not None and not known.has_gold)
    if split == "mini":
        assert task.mini is not None
        source = replace(source, repo=None, data_dir=MINI / task.mini)
    samples = _naming_mini(_whole_split(task, source, named, reporter), task)
    frames = task.data.mini_frames if split == "mini" else None
    return samples if frames is None else (_with_frames(sample, frames) for sample in samples)


def _whole_split(task: Task, source: Source, split: str, reporter: Reporter) -> Iterator[Sample]:
    """The samples of a split. Raises: DataError; `data.empty` without any row."""
    count, bad = 0, 0

    def count_bad(fault: DataError) -> None:
        nonlocal bad
        bad += 1
        reporter.bad_row(fault)

    why = None
    try:
        for sample in task.load(source, split, replace(reporter, bad_row=count_bad)):
            count += 1
            yield sample
    except DataError as error:
        if error.code == "data.corrupt" and reporter.keeps_bad_rows and count:
            yield stand_in(error, error.where or error.code)
        elif error.code != "data.empty":
            raise
        why = error.why
    if not count + bad:
        known = task.splits.get(split)
        expected = f", expected {known.rows:,}" if known is not None and known.rows else ""
        place = str(source.data_dir or source.repo or "") or None
        fix = f"run `kvl-eval describe {task.name}` to see the layouts that are read"
        raise DataError("data.empty", f"{task.name} {split}: 0 rows{expected}", where=place, why=why, fix=fix)


def _naming_mini(samples: Iterator[Sample], task: Task) -> Iterator[Sample]:
    """`samples`; where they cannot be fetched, the first fix is the bundled split, if there is one."""
    try:
        yield from samples
    except DataError as error:
        if error.code in ("data.unreachable", "data.offline", "data.gated") and task.mini and error.fix:
            error.fix = f"--split mini uses the bundled samples\n{error.fix}"
        raise


def _with_frames(sample: Sample, frames: int) -> Sample:
    """The sample with that number of frames per video."""
    media = tuple(replace(ref, frames=frames) if isinstance(ref, VideoRef) else ref for ref in sample.media)
    return replace(sample, media=media)
