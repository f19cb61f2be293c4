"""What every reader of tables shares: where to look, which tables, who hears what is met, and the columns they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.decode import not_stored, omitted
from kvl_eval.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where to look for a data set.

    Attributes:
        repo:      hub data set id; used where `data_dir` is None.
        revision:  branch, tag or commit of `repo`.
        data_dir:  a local folder in any layout the task's `files` lists; nothing is downloaded then.
        cache_dir: where downloads go; None means the hub's own cache.
        offline:   use only what the cache holds.
        max_download: refuse downloads above this many bytes; None means no limit.
        version:   data version, for tasks that have several.
        withheld:  the split publishes no gold, so that an empty text stands for none.
        fields:    of the user's own table: `ROLE=COLUMN` texts, as `--fields` has them.
    """

    repo: str | None = None
    revision: str | None = None
    data_dir: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    max_download: int | None = None
    version: str | None = None
    withheld: bool = not_stored(False)
    fields: tuple[str, ...] = omitted(())


def _refuse(fault: DataError) -> None:
    raise fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Who hears what a loader meets.

    Attributes:
        bad_row:  called with the error of a row that cannot be used, which is then skipped; raises it by default.
        keeps_bad_rows: such rows become samples without a prompt (`sources.unusable`), and `bad_row` is not called.
        download: called with the number of files and bytes that are about to be fetched; may raise to forbid it.
        note:     called with what a plan is to say of the data, `note: ...` or `warning: ...`, behind the last row.
    """

    bad_row: Callable[[DataError], None] = _refuse
    keeps_bad_rows: bool = False
    download: Callable[[int, int], None] | None = None
    note: Callable[[str], None] | None = None


STRICT = Reporter()
"""The first bad row is an error, and downloads are not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Which files hold a split, and what their rows need.

    Attributes:
        task:     the task's name, for messages.
        required: columns that must be there; `a|b` means either.
        stems:    further file stems to try after the split's name, `*` allowed (`MathVista_MINI`, `annotations/*`).
        config:   the hub's configuration, and locally a folder of that name.
        unique:   two cells of one name in a JSON object are an error; else the last one counts.
    """

    task: str
    required: Sequence[str] = ()
    stems: Sequence[str] = ()
    config: str | None = None
    unique: bool = False

    def check(self, columns: Sequence[str], where: str) -> None:
        """Raises DataError `data.field` naming the required columns that `columns` lacks."""
        missing = [name for name in self.required if not set(name.split("|")) & set(columns)]
        if missing:
            raise DataError(
                "data.field",
                f"{self.task}: column {', '.join(name.replace('|', ' or ') for name in missing)} is missing",
                where=where,
                why=f"found {', '.join(map(str, columns)) or 'no columns'}",
                fix=f"run `kvl-eval describe {self.task}` to see the accepted layouts",
            )
