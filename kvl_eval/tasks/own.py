"""What an own task gets where it names nothing else: its rows, its prompt, its protocol and its means."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kvl_eval.cells import plain_value
from kvl_eval.decode import decode, encode_object, omitted
from kvl_eval.errors import DataError, KvlEvalError, UsageError
from kvl_eval.printable import one_line
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.multiple_choice import letters
from kvl_eval.sources import STRICT, Reporter, Source
from kvl_eval.sources.own_images import marks_fit, placed
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

FIELDS = "@sample"  # in a stored row: the fields of its sample
SYSTEM = "@system"  # in a stored row: the system turn that the prompt begins with
RETURNS = "True or False, a number from 0 to 1, a Score, or None for no answer"
LONGEST = 500  # characters of an answer that stand for what was extracted

OwnLoadFunction = Callable[..., Iterable[Sample]]
OwnScoreFunction = Callable[..., object]


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """A `load` of an own task, called as every other: (source, split, reporter) -> samples that can be stored.

    Attributes:
        task:    its name, for messages.
        load:    (source, split) or (source, split, reporter) -> samples.
        rebuilt: the task has no `sample` of its own: a row keeps the sample's fields.
    """

    task: str
    load: OwnLoadFunction
    rebuilt: bool

    def __call__(self, source: Source, split: str, reporter: Reporter = STRICT, /) -> Iterator[Sample]:
        """The samples in order. Raises: DataError `task.load`, for whatever the code raises or gives."""
        number = 0
        try:
            given = self.load(source, split, reporter) if accepts(self.load, 3) else self.load(source, split)
            for sample in given:
                if not isinstance(sample, Sample):
                    raise TypeError(f"expected a Sample, got {type(sample).__name__}")
                yield _storable(sample) if self.rebuilt else sample
                number += 1
        except KvlEvalError:
            raise
        except Exception as error:
            raise DataError(
                "task.load",
                f"{self.task}: load failed after {number:,} samples",
                where=_line_of(error, self.load),
                why=f"{type(error).__name__}: {error}",
                fix="correct the task file; `kvl-eval new-task NAME` writes a working example",
            ) from error


def own_score(task: str, score: OwnScoreFunction) -> OwnScore:
    """`score` of an own task, (sample, answer) or (sample, answer, extraction), as a protocol's."""
    return OwnScore(task, score, accepts(score, 3))


@dataclass(frozen=True, slots=True)
class OwnScore:
    """A `score` of an own task, called as every other: (sample, answer, extraction) -> Score."""

    task: str
    score: OwnScoreFunction
    takes_extraction: bool

    def __call__(self, sample: Sample, answer: str, extraction: Extraction) -> Score:
        """The score. Raises: UsageError `task.score`, for a value that is none, and what the function raises."""
        try:
            if self.takes_extraction:
                value = self.score(sample, answer, extraction)
            else:
                value = self.score(sample, answer if extraction is MISSING else str(extraction or ""))
        except Exception:
            if not sample.answers:
                return Score.not_scored("no_gold")
            raise
        return self._as_score(value, sample, answer)

    def _as_score(self, value: object, sample: Sample, answer: str) -> Score:
        if isinstance(value, Score):
            return value
        if value is None:
            return Score.no_answer("none")
        number = value.item() if hasattr(value, "item") else value  # numpy's scalars
        if not isinstance(number, int | float) or not 0 <= number <= 1 or math.isnan(number):
            raise UsageError(
                "task.score",
                f"{self.task}: score of sample {one_line(sample.id)[:40]!r} returned {one_line(repr(value))[:40]}",
                where=_place_of(self.score),
                why=f"expected {RETURNS}",
                fix="correct it, then `kvl-eval score RUN`; the answers are stored",
            )
        return Score.of(float(number), answer.strip()[:LONGEST])


def accepts(function: Callable[..., object], count: int) -> bool:
    """Whether a function can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a built-in function that does not say
        return True
    return True


def docstring_of(function: object) -> str:
    """The docstring of the module that a function is written in; "" where there is none."""
    names = getattr(function, "__globals__", None) or {}
    return str(names.get("__doc__") or "")


def _place_of(function: object) -> str | None:
    code = getattr(function, "__code__", None)
    return None if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _line_of(error: BaseException, function: object) -> str | None:
    """The last line of the function's own file that an error passed through."""
    code = getattr(function, "__code__", None)
    trace, line = error.__traceback__, None
    while trace is not None and code is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = f"{code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line


# Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _SampleFields:
    """The fields of a sample but row and media, as a run stores them."""

    id: str
    question: str
    choices: tuple[str, ...] = omitted(())
    answers: tuple[str, ...] = omitted(())
    categories: Mapping[str, tuple[str, ...]] = omitted(dict)
    cluster: str | None = omitted(None)
    group: str | None = omitted(None)


def _storable(sample: Sample) -> Sample:
    """The sample with texts where texts belong, and a row that a run can store."""
    answers = [sample.answers] if isinstance(sample.answers, str) else sample.answers
    media = sample.media if isinstance(sample.media, list | tuple) else (sample.media,)
    sample = replace(
        sample,
        id=str(sample.id),
        question=str(sample.question),
        media=tuple(media),
        choices=tuple(map(str, sample.choices)),
        answers=tuple(map(str, answers)),
        categories={
            str(name): (labels,) if isinstance(labels, str) else tuple(map(str, labels))
            for name, labels in sample.categories.items()
        },
        cluster=None if sample.cluster is None else str(sample.cluster),
    )
    return replace(sample, row=stored_row(sample))


def stored_row(sample: Sample) -> dict[str, object]:
    """What a run stores of a sample: its own row, and its fields as JSON values; `sample_of_row` reads them."""
    fields = _SampleFields(
        id=sample.id,
        question=sample.question,
        choices=sample.choices,
        answers=sample.answers,
        categories=sample.categories,
        cluster=sample.cluster,
        group=sample.group,
    )
    own = {str(name): plain_value(value) for name, value in sample.row.items()}
    return {**own, FIELDS: encode_object(fields)}


def sample_of_row(row: Mapping[str, object]) -> Sample:
    """The sample of a row that `stored_row` made, without its media. Raises: DataError, for any other."""
    fields = row.get(FIELDS)
    if fields is None:
        raise DataError(
            "data.field",
            "this task cannot read rows: it defines no function 'sample'",
            fix="give Task(sample=...), a function from a row to a Sample",
        )
    known = decode(_SampleFields, fields)
    return Sample(
        id=known.id,
        question=known.question,
        row=row,
        choices=known.choices,
        answers=known.answers,
        categories=known.categories,
        cluster=known.cluster,
        group=known.group,
    )


# Prompt and means


def plain_prompt(sample: Sample) -> list[Message]:
    """Media where the question marks them (`<image>`, `<image 2>`), else first; the question; options `(A) text`."""
    options = [f"({letter}) {text}" for letter, text in zip(letters(len(sample.choices)), sample.choices, strict=True)]
    text = "\n".join([sample.question, *options])
    images = sum(isinstance(ref, ImageRef) for ref in sample.media)
    parts = placed(sample.media, text) if marks_fit(text, images) else [*sample.media, text]
    system = sample.row.get(SYSTEM)
    return [*([Message.system(system)] if isinstance(system, str) else []), Message.user(*parts)]


def mean_by_category(scored: Sequence[Scored], protocol: str) -> Summary:
    """The mean over all samples, and the means by category."""
    return summarise(scored)
