"""A table of one's own: `--task file:my.jsonl`, one question a line.

Data:    JSON Lines with the columns question and answer, and optionally image (a path beside the file, a data URI or
         base64; or a list of them as `images`), choices (a list of texts) and id.
Prompt:  pictures, the question, and options as lines `(A) text`.
Metric:  with choices the letter (or the option's text) against the answer, which may be a letter or a text; without
         choices the text after the last "answer is" or "answer:" (else the whole reply), compared without case,
         surrounding spaces and a final full stop, numbers as numbers.
Source:  ours; this protocol belongs to no published benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from kvl_eval.cells import gold_letter
from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.multiple_choice import can_infer, letters
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, image_ref, made_from, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import Protocol, Split, Task, TaskData
from kvl_eval.types import MISSING, Extraction, Message, Sample, Score

CUE = re.compile(r"answer(?: is|:)", re.IGNORECASE)


def table_task(path: Path) -> Task:
    """The task of one JSON Lines file, named `file:` and its path. Raises DataError if there is no such file."""
    if not path.is_file():
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
        protocols={"official": Protocol(score=score, label="own-table", notes=("no published protocol",))},
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


def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """The letter or the text that the answer gives, against gold."""
    gold = sample.answers[0].strip()
    if sample.choices:
        options = dict(zip(letters(len(sample.choices)), sample.choices, strict=True))
        letter = can_infer(answer, options) if extraction is MISSING else extraction
        if not isinstance(letter, str) or letter not in options:
            return Score.no_answer("no_option_found")
        right = letter == gold if gold in options else _same(options[letter], gold)
        return Score.of(float(right), letter, "letter")
    found = CUE.split(answer)[-1].strip() if extraction is MISSING else extraction
    if not isinstance(found, str) or not found.strip():
        return Score.no_answer("empty")
    return Score.of(float(_same(found, gold)), found, "text")


def _same(found: str, gold: str) -> bool:
    left, right = (text.strip().removesuffix(".").strip().casefold() for text in (found, gold))
    try:
        return float(left.replace(",", "")) == float(right.replace(",", ""))
    except ValueError:
        return left == right
