"""Check a data set without running anything: layout, counts, ids, gold, and the header of every picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kvl_eval.errors import DataError, MediaError
from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, Sample

SHOWN = 50  # problems listed by `as_text`; the JSON form has all


def check(task: Task, source: Source, split: str) -> dict[str, Any]:
    """What is right and wrong with a split; pictures are opened as far as their header.

    Returns: {"task", "split", "place", "ok", "rows", "pictures", "counts": [{"what", "expected", "found", "ok"}],
             "problems": [{"code", "where", "problem"}]}, every bad row among the problems.
    Raises: UsageError for a split the task has not.
    """
    faults: list[DataError] = []
    seen: dict[str, int] = {}
    counted: Counter[str] = Counter()
    problems: list[dict[str, str]] = []
    pictures = 0
    try:
        for number, sample in enumerate(open_split(task, replace(source, faults=faults), split), 1):
            counted.update(_labels(sample))
            pictures += len(sample.media)
            problems += _row_problems(task, split, sample, number, seen)
            seen.setdefault(sample.id, number)
    except DataError as error:
        faults.append(error)
    problems = [_problem(fault.code, fault.where or "", _told(fault)) for fault in faults] + problems
    counts = list(_counts(task, split, counted))
    return {
        "task": task.name,
        "split": split,
        "place": _place(source, split),
        "ok": not problems and all(one["ok"] for one in counts),
        "rows": counted["rows"],
        "pictures": pictures,
        "counts": counts,
        "problems": problems,
    }


def as_text(report: Mapping[str, Any]) -> str:
    """The report for a terminal."""
    lines = [
        f"{report['task']} {report['split']} in {report['place']}: {report['rows']} rows, {report['pictures']} pictures"
    ]
    lines += [
        f"  {'ok ' if one['ok'] else 'BAD'} {one['what']}: {one['found']}"
        + ("" if one["ok"] else f", expected {one['expected']}")
        for one in report["counts"]
    ]
    problems = report["problems"]
    lines += [f"  BAD {one['where']}: {one['problem']} [{one['code']}]" for one in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more; --json lists all")
    lines.append("everything is as expected" if report["ok"] else f"{len(problems)} problems")
    return "\n".join(lines)


def _labels(sample: Sample) -> Iterator[str]:
    yield "rows"
    for field, values in sample.categories.items():
        yield from (f"{field}={value}" for value in values)


def _counts(task: Task, split: str, counted: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Named counts the task expects: `rows`, or `field=value` of its categories, where this layout has the field."""
    if not counted.get("rows"):
        return
    fields = {label.partition("=")[0] for label in counted}
    expected = dict(task.count.get(split, {}))
    known = task.splits.get(split)
    if known is not None and known.rows is not None:
        expected.setdefault("rows", known.rows)
    for what, number in expected.items():
        if what.partition("=")[0] not in fields:
            continue
        found = counted.get(what, 0)
        yield {"what": what, "expected": number, "found": found, "ok": found == number}


def _row_problems(
    task: Task, split: str, sample: Sample, number: int, seen: Mapping[str, int]
) -> Iterator[dict[str, str]]:
    where = f"row {number}, id {sample.id[:80]}"
    if sample.id in seen:
        yield _problem("data.duplicate", where, f"the id stands at row {seen[sample.id]} too")
    has_gold = split not in task.splits or task.splits[split].has_gold
    if has_gold and not sample.answers:
        yield _problem("data.no_gold", where, "the row has no answer")
    for picture in sample.media:
        if isinstance(picture, ImageRef):
            yield from _picture_problems(picture, where)


def _picture_problems(picture: ImageRef, where: str) -> Iterator[dict[str, str]]:
    from kvl_eval.media.images import header_size

    try:
        header_size(picture)
    except MediaError as error:
        yield _problem(error.code, where, _told(error))


def _problem(code: str, where: str, problem: str) -> dict[str, str]:
    return {"code": code, "where": where, "problem": problem}


def _told(error: DataError | MediaError) -> str:
    return f"{error.message}: {error.why}" if error.why else error.message


def _place(source: Source, split: str) -> str:
    if split == "mini":
        return "the bundled split"
    if source.data_dir is not None:
        return str(source.data_dir)
    return f"hub data set {source.repo}" + (f"@{source.revision}" if source.revision else "")
