"""A table of one's own: `--task file:my.jsonl`, one question a line.

Data:    JSON Lines with the columns question and answer, and optionally image (a path beside the file, a data URI or
         base64; or a list of them as `images`), choices (a list of texts) and id.
Prompt:  pictures, the question, and options as lines `(A) text`.
Metric:  what the reply says, as `docs/answers.md` tells: with choices a letter, else a number, yes or no, or a text by
         the type of the answer; numbers are compared to its decimals, texts without case, quotes and a final full stop.
Source:  ours; this protocol belongs to no published benchmark.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from kvl_eval.cells import gold_letter
from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.answers import Reading, Wanted
from kvl_eval.scorers.answers.dress import folded
from kvl_eval.scorers.multiple_choice import letters
from kvl_eval.scorers.reader_protocol import READER_NOTES, reader_score
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, image_ref, made_from, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import OFFICIAL, READER, Protocol, Split, Task, TaskData
from kvl_eval.types import Message, Sample, Score

_NUMBER = re.compile(r"[-+]?\d{1,18}(?:,\d{3})*(?:\.(?P<decimals>\d{1,18}))?")
_POLARITY = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


def table_task(path: Path) -> Task:
    """The task of one JSON Lines file, named `file:` and its path. Raises DataError if there is no such file."""
    if not os.path.isfile(path):
        raise DataError("data.missing", f"there is no file {path}", fix="give file:PATH to a JSON Lines file")

    def load(_: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
        tables = Tables(task=f"file:{path.name}", required=("question", "answer"))
        rows = read_rows(Source(data_dir=path.parent), path.stem, tables, reporter)
        named = (row if "id" in row else row.also({"id": str(number)}) for number, row in enumerate(rows, 1))
        yield from made_from(named, partial(to_sample, root=path.parent), reporter)

    return Task(
        name=f"file:{path}",
        title=path.name,
        doc=__doc__ or "",
        repos=(),
        licence="your own",
        splits={"all": Split(rows=None)},
        default_split="all",
        load=load,
        sample=from_values(to_sample),
        prompts={"plain": prompt},
        default_prompt="plain",
        protocols={
            READER: Protocol(score=score, notes=(*READER_NOTES, "no published protocol")),
            OFFICIAL: Protocol(score=score, label="own-table", notes=("as reader; the name in earlier versions",)),
        },
        default_protocol=READER,
        aggregate=lambda scored, protocol: summarise(scored),
        data=TaskData(
            row_layouts={"jsonl": ("question", "answer", "image", "images", "choices", "id")}, files=(path.name,)
        ),
    )


def to_sample(row: Row, root: Path | None = None) -> Sample:
    """One line as a sample. Raises DataError where question or answer is no text or number."""
    for name in ("question", "answer"):
        if not isinstance(row.get(name), str | int | float):
            raise row.fault(name, "a text or a number is needed")
    choices = row.options("choices")
    if choices:
        gold_letter(row.get("answer"), choices, row.where)
    images, image = row.get("images"), row.get("image")
    pictures = images if isinstance(images, list) and images else [image] if image else []
    return Sample(
        id=row.identity("id") or row.where,
        question=str(row.get("question")),
        row=row.keep(("id", "question", "answer", "choices")),
        media=tuple(
            image_ref(picture, name=f"image:{index}", root=root, where=row.where)
            for index, picture in enumerate(pictures, 1)
        ),
        choices=choices,
        answers=(str(row.get("answer")),),
    )


def prompt(sample: Sample) -> list[Message]:
    """Pictures first, then the question and its options."""
    options = [f"({letter}) {text}" for letter, text in zip(letters(len(sample.choices)), sample.choices, strict=True)]
    return [Message.user(*sample.media, "\n".join([sample.question, *options]))]


def wanted(sample: Sample) -> Wanted:
    """A letter where there are choices, else what gold is: a number, yes or no, a text."""
    if sample.choices:
        return Wanted(kind="letter", options=sample.choices, question=sample.question)
    gold = sample.answers[0].strip()
    if gold.casefold() in _POLARITY:
        return Wanted(kind="yesno")
    number = _NUMBER.fullmatch(gold)
    if number is None:
        return Wanted(kind="text", question=sample.question)
    return Wanted(kind="float" if number["decimals"] else "integer")


def compare(sample: Sample, reading: Reading) -> Score:
    """Equality with gold: of letters or of the options' texts, of numbers to gold's decimals, of texts as they read."""
    gold, value = sample.answers[0].strip(), reading.value
    if sample.choices:
        return Score.of(_is_right_letter(sample, gold, str(value)), str(value))
    if isinstance(value, int | float):
        number = _NUMBER.fullmatch(gold)
        decimals = len(number["decimals"] or "") if number else 0
        right = round(float(value), decimals) == float(gold.replace(",", "")) if decimals else value == _whole(gold)
        return Score.of(right, str(value))
    said = str(value)
    return Score.of(_POLARITY.get(gold.casefold()) == said or folded(said) == folded(gold), said)


def _is_right_letter(sample: Sample, gold: str, letter: str) -> bool:
    options = dict(zip(letters(len(sample.choices)), sample.choices, strict=True))
    if letter not in options:
        return False
    if gold in sample.choices or gold.upper() not in options:
        return folded(options[letter]) == folded(gold)
    return letter == gold.upper() or folded(options[letter]) == folded(options[gold.upper()])


def _whole(gold: str) -> int:
    return int(gold.replace(",", ""))


score = reader_score(wanted, compare)
