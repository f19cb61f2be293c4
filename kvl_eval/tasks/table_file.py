"""Your own table, `file:my.jsonl`: one question per row.

Data:    .jsonl, .jsonl.gz, .json (a list, or {id: object}), .csv, .tsv or .parquet. A column is known by its name,
         without case, blanks, `-` and `_`, or by `--fields ROLE=COLUMN`:
           question  question, prompt, input, query, instruction, problem; needed
           answer    answer(s), target(s), gold(s), label, ground_truth, expected, expected_output, solution,
                     reference_answer; response beside query: a text, a number, true or false, or a list of accepted
                     ones; with choices a letter or the text of one. label beside choices counts from 0
           choices   choices, options, candidates: a list, an object by letter, or the text of either; or columns A, B
           image     image(s), image_path(s), image_file(s), img(s), picture(s): a path below the table's folder or
                     --data-dir, a data URI, base64, {"path"}, {"bytes"}, {"url": "data:..."}, or a list of them
           video     video(s), video_path: a path; --frames and --fps say how many frames (default: 64)
           document  pdf, document, pdf_path: a path to a .pdf, a data URI or base64; asked page by page
           chat      messages: at most one system, one user (the question) and one assistant turn (the answer)
           id        id, index, qid, question_id, sample_id, uid, pid: the first of these, else the row's number
           category  category, categories, subject, topic: for sub-scores; a text or a list
           cluster   cluster, group_id: samples that share a source
         A column that looks like media or options and has no role is an error: `--fields ignore=COLUMN` leaves it out.
Prompt:  images where the question marks them (`<image>`, `<image 2>`), else first; the question; options as lines
         `(A) text`.
Metric:  what the reply says, as `docs/answers.md` tells: with choices a letter, else a number, yes or no, or a text by
         the type of the answer; numbers are compared to its decimals, texts without case, quotes and a final full stop.
Source:  ours; this protocol belongs to no published benchmark.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvl_eval.errors import DataError
from kvl_eval.printable import how_many
from kvl_eval.rows import Row
from kvl_eval.sources import STRICT, Reporter, Source, made_from
from kvl_eval.sources.own_columns import ROLES, ColumnChoice, RoleCells, plain, role_cells
from kvl_eval.sources.own_file import FORMATS, format_of, table_file, table_rows
from kvl_eval.tasks.base import READER, OwnTable, Task, TaskData
from kvl_eval.tasks.table_protocols import JUDGE, PROTOCOLS, WANTED, judge_prompt
from kvl_eval.tasks.table_row import counts_from_0, has_media, stored_sample, table_sample
from kvl_eval.types import ImageRef, MediaRef, PdfRef, Sample, VideoRef

MEDIA = {"images": ImageRef, "videos": VideoRef, "documents": PdfRef}


def table_task(text: str | Path, *, must_exist: bool = True) -> Task:
    """The task of one table, named `file:` and its path.

    Without `must_exist` it also scores what a run stored of a table that is gone.
    Raises: DataError for a path that is not a file, or has another suffix.
    """
    path = Path(os.path.expanduser(text))
    if must_exist:
        table_file(path)

    def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
        yield from TableReader(path, source).samples(reporter)

    return Task(
        name=f"file:{text}",
        title=path.name,
        doc=__doc__ or "",
        licence="your own",
        load=load,
        sample=stored_sample,
        wanted=WANTED,
        protocols=PROTOCOLS,
        default_protocol=READER,
        judge_prompt=judge_prompt,
        judge=JUDGE,
        data=TaskData(
            row_layouts={role: names for role, names in ROLES.items() if names},
            files=(path.name,),
            table=OwnTable(path, lambda source: column_lines(path, source)),
        ),
    )


@dataclass(slots=True)
class TableReader:
    """Reads a table, and notes what stands in it.

    Attributes:
        rows, answered: rows that can be used, those with gold.
        media:  {kind: rows with it}.
        roles:  {role: columns that are read as it}.
        unused: columns that hold something and are not read.
    """

    path: Path
    source: Source
    rows: int = 0
    media: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    labels_from_0: bool = False
    roles: dict[str, dict[str, None]] = field(default_factory=dict)
    unused: dict[str, None] = field(default_factory=dict)

    def samples(self, reporter: Reporter) -> Iterator[Sample]:
        """The table's samples; behind the last one the reporter hears what is to be noted. Raises DataError."""
        choice = ColumnChoice.of(self.source.fields)
        root = self.source.data_dir or self.path.parent
        seen: set[str] = set()
        faults: list[DataError] = []
        number = 0

        def made(row: Row) -> Sample:
            nonlocal number
            number += 1
            seen.update(map(plain, row.values))
            cells = role_cells(row, choice)
            sample = table_sample(cells, root, choice, number)
            self._note(cells, sample)
            return sample

        def bad_row(fault: DataError) -> None:
            faults.append(fault)
            reporter.bad_row(fault)

        yield from made_from(table_rows(self.path), made, replace(reporter, bad_row=bad_row))
        for role, column in choice.columns.items():
            if number and plain(column) not in seen:
                where = self.path.name
                reporter.bad_row(
                    DataError(
                        "data.column",
                        f"--fields {role}={column}: no row has that column",
                        where=where,
                        fix=f"kvl-eval describe file:{where} shows the columns",
                    )
                )
        if reporter.note is not None and not faults:
            for note in self.notes():
                reporter.note(note)

    def _note(self, cells: RoleCells, sample: Sample) -> None:
        self.rows += 1
        self.media.update(kind for kind, ref in MEDIA.items() if has_media(sample, ref))
        self.answered += bool(sample.answers)
        self.labels_from_0 |= bool(sample.choices and sample.answers) and counts_from_0(cells)
        self.unused |= dict.fromkeys(cells.unused)
        for role, column in cells.columns.items():
            self.roles.setdefault(role, {})[column] = None
        if cells.letters and "choices" not in cells.columns:
            self.roles.setdefault("choices", {}).update(dict.fromkeys(cells.letters.values()))

    def notes(self) -> Iterator[str]:
        """What a plan tells of the table."""
        unused = f"; unused columns: {', '.join(self.unused)}" if self.unused else ""
        others = "".join(
            f", {self.media[kind]:,} with {kind}" for kind in MEDIA if kind != "images" and self.media[kind]
        )
        rows = f"{how_many(self.rows, 'row')}, {self.media['images']:,} with images{others}"
        yield f"note: {self.path.name}: {rows}{unused}"
        yield from self.cautions()

    def cautions(self) -> Iterator[str]:
        """What can mislead about a score."""
        if self.labels_from_0:
            yield f"note: {self.path.name}: label counts from 0: 1 is option B"
        if not self.answered:
            yield f"warning: {self.path.name} has no answers"


def column_lines(path: Path, source: Source) -> Iterator[str]:
    """The file, `answer    <- target` for each role, unused columns, media, choices, and what can mislead.

    Raises: DataError, for the first row that is not read.
    """
    reader = TableReader(path, source)
    found: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    choices: Counter[int] = Counter()
    for sample in reader.samples(STRICT):
        choices.update([len(sample.choices)])
        for ref in sample.media:
            kind = next(kind for kind, of_kind in MEDIA.items() if isinstance(ref, of_kind))
            (found if is_there(ref) else missing).update([kind])
    yield f"{'file':<9} {path} ({FORMATS[format_of(path) or '']}), {how_many(reader.rows, 'row')}"
    for role in ROLES:
        if role in reader.roles:
            yield f"{role:<9} <- {', '.join(reader.roles[role])}"
    if reader.unused:
        yield f"{'unused':<9} {', '.join(reader.unused)}"
    for kind in MEDIA:
        if found[kind] or missing[kind]:
            yield f"{kind:<9} {found[kind]:,} found, {missing[kind]:,} missing"
    if with_choices := sorted(count for count in choices if count):
        rows = sum(choices[count] for count in with_choices)
        counts = str(with_choices[0]) if len(with_choices) == 1 else f"{with_choices[0]} to {with_choices[-1]}"
        yield f"{'choices':<9} {counts} in {rows:,} of {how_many(reader.rows, 'row')}"
    yield from reader.cautions()


def is_there(ref: MediaRef) -> bool:
    """Whether an image, video or document is in the table or a file that exists; nothing is opened."""
    from kvl_eval.errors import MediaError
    from kvl_eval.media.images import safe_path

    if not isinstance(ref, VideoRef) and ref.data is not None:
        return True
    try:
        return bool(ref.path) and safe_path(ref.path or "", ref.root, ref.name).is_file()
    except MediaError:
        return False
