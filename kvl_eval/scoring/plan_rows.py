"""Rows of samples that lie in the plan until somebody reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType

from kvl_eval.decode import Json
from kvl_eval.store.journal import LineReader
from kvl_eval.store.run_folder import RunFolder


class PlanRows:
    """The rows of a run's plan, by where they stand; the file is opened when the first is asked for."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._reader: LineReader | None = None

    def __enter__(self) -> PlanRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def row(self, offset: int) -> Mapping[str, Json]:
        """The row of the sample whose line starts at `offset`, read again for each access."""
        return _PlanRow(self, offset)

    def at(self, offset: int) -> Mapping[str, Json]:
        """The row itself."""
        self._reader = self._reader or LineReader(self._folder.path / "plan.jsonl")
        row = self._reader.at(offset)["row"]
        return row if isinstance(row, dict) else {}


class _PlanRow(Mapping[str, Json]):
    __slots__ = ("_offset", "_rows")

    def __init__(self, rows: PlanRows, offset: int) -> None:
        self._rows = rows
        self._offset = offset

    def __getitem__(self, name: str) -> Json:
        return self._rows.at(self._offset)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.at(self._offset))

    def __len__(self) -> int:
        return len(self._rows.at(self._offset))
