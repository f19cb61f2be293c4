"""Which samples of a split a run asks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from kvl_eval.errors import DataError
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.sources import Reporter
from kvl_eval.sources.unusable import refuse
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.expected import labels_of
from kvl_eval.types import Sample


class Walk:
    """One pass over a split; iterating gives the chosen samples in the data set's order: ids first, then the limit.

    Rows that cannot be used are an error at the end, or, with `allow_partial_data`, samples that fail when asked.
    A limit is one of questions: those that are asked several times are never chosen in part. `in_shard` picks a
    shard's.

    Attributes:
        samples_read: of the split so far, those not chosen included.
        labels:       how many samples read so far count as what (`tasks.expected`).
        is_whole:     whether the last row was read.
        notes:        what the plan is to say of the data, once the last row was read.
    """

    def __init__(self, task: Task, config: TaskConfig, run: RunConfig, limit: int | None) -> None:
        self.samples_read = 0
        self.notes: list[str] = []
        self.labels: Counter[str] = Counter()
        self.is_whole = False
        self._task = task
        self._wanted = set(run.sample_ids)
        self._limit = limit
        self._faults: list[DataError] = []
        self._is_own = task.data.table is not None
        keeps = run.allow_partial_data and not self._is_own
        reporter = Reporter(bad_row=self._faults.append, keeps_bad_rows=keeps, note=self.notes.append)
        self._samples = self._counted(open_split(task, config.source, config.split, reporter))

    def __iter__(self) -> Iterator[Sample]:
        yield from self._chosen()
        if self._is_own:  # every row is checked, whatever the limit
            self.read_on()
        refuse(self._task.name, self._faults, is_own=self._is_own)

    def _counted(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        for sample in samples:
            self.samples_read += 1
            self.labels.update(labels_of(sample))
            yield sample
        self.is_whole = True

    def _chosen(self) -> Iterator[Sample]:
        questions: set[str] = set()
        for sample in self.matching():
            if self._limit is not None and len(questions) >= self._limit and sample.question_id not in questions:
                if sample.group is None:
                    return
                continue
            questions.add(sample.question_id)
            yield sample

    def matching(self) -> Iterator[Sample]:
        """The samples whose ids were asked for, whatever the limit."""
        for sample in self._samples:
            if not self._wanted or self._wanted & names_of(self._task, sample):
                yield sample

    def read_on(self) -> int:
        """Go to the end; how many samples the split has."""
        for _ in self._samples:
            pass
        return self.samples_read


def question_limit(task: Task, config: TaskConfig, run: RunConfig) -> tuple[int | None, int | None]:
    """The limit as a number of questions, and the samples of the split: where a share asks for a pass to count them."""
    if not has_share(run):
        return (None if run.limit is None else int(run.limit)), None
    walk = Walk(task, config, run, None)
    questions = len({sample.question_id for sample in walk.matching()})
    return max(1, round(float(run.limit or 0) * questions)), walk.samples_read


def has_share(run: RunConfig) -> bool:
    """Whether the limit is a share of the questions."""
    return run.limit is not None and run.limit < 1


def chosen_samples(task: Task, config: TaskConfig, run: RunConfig) -> Iterator[Sample]:
    """The samples of a run, all shards, in the data set's order."""
    return iter(Walk(task, config, run, question_limit(task, config, run)[0]))


def names_of(task: Task, sample: Sample) -> set[str]:
    """By what `--sample-ids` may ask for a sample: its id or its question's, with or without the task."""
    own = {sample.id, sample.question_id}
    return own | {f"{task.name}/{name}" for name in own}


def in_shard(question_id: str, shard: tuple[int, int] | None) -> bool:
    """Whether a question belongs to shard i of n: by a hash of its id, so every order gives the same slice."""
    if shard is None:
        return True
    return int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:8]) % shard[1] == shard[0] - 1
