"""Files for the servers that hold a benchmark's unpublished answers, as the task's own writer makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kvl_eval.errors import UsageError
from kvl_eval.exports.answers import ExportedAnswer, TaskAnswers, parts
from kvl_eval.printable import without_surrogates
from kvl_eval.store.answers import answer_of
from kvl_eval.store.names import file_name
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import PlanEntry
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import TASKS, get_task
from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample


def write_submissions(folder: RunFolder, out: OutputFolder) -> list[Path]:
    """Write the files of every task that a server scores into `out/TASK-SPLIT/` and return their paths.

    The first repeat is submitted, the thought left out; failed and pending samples are absent.

    Raises: UsageError `export.submission` where no task of the run has such files; DataError, StorageError.
    """
    chosen = [part for part in parts(folder) if part.task in TASKS and TASKS[part.task].submission is not None]
    if not chosen:
        raise UsageError(
            "export.submission",
            "no task of this run has submission files",
            where=str(folder.path),
            fix=f"use a run of one of {', '.join(name for name, task in TASKS.items() if task.submission)}",
        )
    written = []
    for part in chosen:
        for name, text in _files(part).items():
            written.append(out.write([text.encode()], file_name(part.name), file_name(name)))
    return written


def _files(part: TaskAnswers) -> Mapping[str, str]:
    task = get_task(part.task)
    assert task.submission is not None
    return task.submission(list(_pairs(task, part.answers())))


def _pairs(task: Task, answers: Iterator[ExportedAnswer]) -> Iterator[tuple[Sample, str]]:
    for answer in answers:
        if answer.record is not None and answer.status == "ok" and answer.key.repeat == 0:
            yield _sample(task, answer.entry), without_surrogates(answer_of(answer.record, "answer").text)


def _sample(task: Task, entry: PlanEntry) -> Sample:
    """The sample of a plan's entry, its texts as any server reads them."""
    return replace(task.sample(without_surrogates(entry.sample.row)), id=without_surrogates(entry.sample_id))
