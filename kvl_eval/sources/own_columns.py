"""The columns of an own table by role: by the names that other tools use, or as `--fields` says.

A name counts without case, blanks, `-` and `_`. Several columns for one role must agree. A column that looks like media
or options and has no role is an error; any other is listed as not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kvl_eval.cells import LETTERS, is_gap, is_null, shortened
from kvl_eval.errors import DataError, UsageError
from kvl_eval.printable import one_line
from kvl_eval.rows import Row

ROLES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "prompt", "input", "query", "instruction", "problem"),
    "answer": (
        *("answer", "answers", "target", "targets", "gold", "golds", "label", "ground_truth", "expected"),
        *("expected_output", "solution", "reference_answer", "response"),
    ),
    "answer_index": (),
    "choices": ("choices", "options", "candidates"),
    "image": (
        *("image", "images", "image_path", "image_paths", "image_file", "image_files", "img", "imgs", "picture"),
        "pictures",
    ),
    "video": ("video", "videos", "video_path"),
    "document": ("pdf", "document", "pdf_path"),
    "chat": ("messages",),
    "id": ("id", "index", "qid", "question_id", "sample_id", "uid", "pid"),
    "category": ("category", "categories", "subject", "topic"),
    "cluster": ("cluster", "group_id"),
}
"""{role: columns that have it}; `response` is an answer beside `query` only, `answer_index` is given by `--fields`."""
_LOOKS = {
    "image": ("image", "img", "picture", "photo", "frame"),
    "choices": ("option", "choice", "candidate"),
    "video": ("video",),
    "document": ("pdf", "doc"),
    "chat": ("message",),
    "": ("audio", "conversation"),
}
_SUFFIXES = {
    "image": ("png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff", "avif"),
    "video": ("mp4", "mkv", "webm", "avi", "mov"),
    "document": ("pdf",),
    "": ("mp3", "wav", "flac"),
}
_LIKE = {
    "image": "looks like an image",
    "choices": "looks like options",
    "video": "looks like a video",
    "document": "looks like a document",
    "chat": "looks like a conversation",
}
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
NOT_READ = "own tables take text, images, videos, documents and messages"


def plain(name: str) -> str:
    """A column's name as names are compared."""
    return re.sub(r"[\s_-]+", "", name).casefold()


_ROLE_OF = {plain(name): role for role, names in ROLES.items() for name in names}


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What `--fields` says.

    Attributes:
        columns: {role: the one column that has it}.
        ignored: columns that are left out.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> ColumnChoice:
        """The choice that `ROLE=COLUMN,...` texts make. Raises: UsageError `usage.fields`."""
        columns: dict[str, str] = {}
        ignored = []
        for role, column in _pairs(texts):
            if role == "ignore":
                ignored.append(plain(column))
            elif role not in ROLES:
                fix = f"use {', '.join(ROLES)} or ignore"
                raise UsageError("usage.fields", f"unknown role {role!r} in --fields", fix=fix)
            elif columns.setdefault(role, column) != column:
                two = f"two columns for {role} in --fields: {columns[role]}, {column}"
                raise UsageError("usage.fields", two, fix=f"keep one of them, such as --fields {role}={column}")
        return cls(columns, frozenset(ignored))


def _pairs(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        for part in re.split(r",(?=[^,=]+=)", text):
            role, equals, column = (side.strip() for side in part.partition("="))
            if not equals or not role or not column:
                raise UsageError(
                    "usage.fields", f"--fields {part!r} is not ROLE=COLUMN", fix="such as --fields answer=target"
                )
            yield plain(role) if plain(role) == "ignore" else role.replace("-", "_").casefold(), column


@dataclass(frozen=True, slots=True)
class RoleCells:
    """The cells of one row by role.

    Attributes:
        columns: {role: the column that is read}; roles whose cells are all missing are absent.
        letters: {letter: column} of options that stand in columns of their own.
        unused:  the other columns that hold something.
    """

    row: Row
    columns: Mapping[str, str]
    letters: Mapping[str, str]
    unused: tuple[str, ...]

    def get(self, role: str) -> object:
        """The cell; None where it is missing."""
        return self.row.values.get(self.columns[role]) if role in self.columns else None

    def name(self, role: str) -> str:
        """The column for messages; the role's own name where the row has none."""
        return self.columns.get(role, role)

    def fault(self, role: str, why: str) -> DataError:
        """The error of a cell that cannot be used."""
        return self.row.fault(self.name(role), why)


def role_cells(row: Row, choice: ColumnChoice) -> RoleCells:
    """The row's cells by role.

    Raises: DataError `data.column`, for columns of one role that differ.
    """
    candidates = _by_role(row.values, choice)
    columns = {role: name for role, names in candidates.items() if (name := _one(row, role, names)) is not None}
    letters = _letters(row.values, choice)
    used = {name for names in candidates.values() for name in names} | set(letters.values())
    unused = tuple(
        name for name, value in row.values.items() if name not in used and not is_ignored(name, choice) and _full(value)
    )
    return RoleCells(row, columns, letters, unused)


def _by_role(values: Mapping[str, object], choice: ColumnChoice) -> dict[str, list[str]]:
    """{role: columns that have it}, in the order of `ROLES`."""
    named = {role: [name for name in values if plain(name) == plain(column)] for role, column in choice.columns.items()}
    named = {role: [choice.columns[role]] if choice.columns[role] in names else names for role, names in named.items()}
    taken = {name for names in named.values() for name in names}
    by_name: dict[str, list[str]] = {role: [] for role in ROLES}
    for name in values:
        role = _ROLE_OF.get(plain(name))
        if role is not None and name not in taken and not is_ignored(name, choice):
            by_name[role].append(name)
    if not any(plain(name) == "query" for name in by_name["question"]):
        by_name["answer"] = [name for name in by_name["answer"] if plain(name) != "response"]
    places = {plain(name): place for place, name in enumerate(ROLES["id"])}
    by_name["id"] = [
        name for name in sorted(by_name["id"], key=lambda name: places[plain(name)]) if not is_gap(values[name])
    ][:1]
    if "answer_index" in named:
        by_name["answer"] = []
    return by_name | named


def _one(row: Row, role: str, names: Sequence[str]) -> str | None:
    """The column that is read: the first that holds something, else the first with an empty text or list."""
    full = [name for name in names if _full(row.values[name])]
    others = [name for name in full[1:] if _text(row.values[name]) != _text(row.values[full[0]])]
    if others:
        raise DataError(
            "data.column",
            f"columns {full[0]} and {others[0]} are both read as {role} and differ",
            where=row.where,
            why=f"{shortened(row.values[full[0]], 40)} and {shortened(row.values[others[0]], 40)}",
            fix=f"--fields {role}={full[0]}, or --fields {role}={others[0]}",
        )
    return next(iter(full), next((name for name in names if not is_null(row.values[name])), None))


def _text(value: object) -> str:
    return str(value).strip()


def _full(value: object) -> bool:
    return not is_gap(value) and not (isinstance(value, list | tuple | Mapping | bytes) and not value)


def _letters(values: Mapping[str, object], choice: ColumnChoice) -> dict[str, str]:
    """{letter: column} of the columns A, B, ...; none without a column A or B."""
    taken = {plain(column) for column in choice.columns.values()}
    names = {
        plain(name).upper(): name
        for name in values
        if len(plain(name)) == 1 and plain(name) not in taken and not is_ignored(name, choice)
    }
    named = {letter: names[letter] for letter in LETTERS if letter in names}
    return named if {"A", "B"} & set(named) else {}


def is_ignored(name: str, choice: ColumnChoice) -> bool:
    """Whether `--fields ignore=COLUMN` leaves the column out."""
    return plain(name) in choice.ignored


def refuse_unread(cells: RoleCells) -> None:
    """Raises: DataError `data.column`, for a column without a role that looks like media or options."""
    for name in cells.unused:
        value = cells.row.values[name]
        role = None if plain(name) in _ROLE_OF else _looks_like(name, value)  # another column has that role
        if role is not None:
            raise _unread(name, role, value, cells.row.where)


def _looks_like(name: str, value: object) -> str | None:
    """The nearest role, "" for media that are not read; None for a harmless column."""
    short = plain(name)
    role = next((role for role, parts in _LOOKS.items() if any(part in short for part in parts)), None)
    if role is None and isinstance(value, str):
        ending = value.strip().rpartition(".")[2].casefold() if len(value) < 1024 else ""
        role = next((role for role, suffixes in _SUFFIXES.items() if ending in suffixes), None)
    return role


def _unread(name: str, role: str, value: object, where: str) -> DataError:
    name = one_line(name)
    ignore = f"--fields ignore={name}"
    text = shortened(value)
    if isinstance(value, str) and _ADDRESS.match(value.strip()):
        why, fix = "addresses are not fetched", f"download the files and give their paths, or {ignore}"
    elif not role:
        why, fix = NOT_READ, ignore
    else:
        names = "; or columns A, B, ..." if role == "choices" else ""
        why = f"columns read as {role}: {', '.join(ROLES[role])}{names}"
        fix = f"--fields {role}={name}, or {ignore}"
    looks = _LIKE.get(role, "cannot be used")
    return DataError("data.column", f"column {name} {looks}: {text}", where=where, why=why, fix=fix)
