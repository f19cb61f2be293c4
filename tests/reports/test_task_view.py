"""What a task's page is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.reports.runs import main_rows, open_runs
from kvl_eval.reports.task_view import histogram, protocol_views, task_sections
from tests.reports.report_folders import make_run


def test_histogram_bins_double_in_width() -> None:
    found = histogram("answer", [0, 1, 2, 3, 4, 7, 8, 900])
    assert found.bins == (
        ("0", 1),
        ("1", 1),
        ("2–3", 2),
        ("4–7", 2),
        ("8–15", 1),
        *((label, 0) for label in ("16–31", "32–63", "64–127", "128–255", "256–511")),
        ("512–1,023", 1),
    )
    assert (found.median, found.highest) == (4, 2)


def test_histogram_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        histogram("answer", [])


def test_section_of_a_run(tmp_path: Path) -> None:
    (section,) = task_sections(open_runs([make_run(tmp_path, n=10, failed=1, missing=1)]))["mathvista"]
    assert section.verdicts == (("correct", 3), ("partial", 1), ("wrong", 2), ("no_answer", 2))
    assert section.unread == (("nothing_found", 2),)
    assert [one.name for one in section.lengths] == ["thinking", "answer"]
    assert sum(count for _, count in section.lengths[1].bins) == 8, "failed and pending samples have no length"


def test_protocols_compare_with_the_default(tmp_path: Path) -> None:
    (run,) = open_runs([make_run(tmp_path, n=10)])
    (row,) = main_rows(run)
    default, other = protocol_views(run, row)
    assert (default.row.protocol, default.flips) == ("official", ())
    assert [flip.key.sample_id for flip in other.flips] == ["3", "8"]
    assert {flip.verdicts for flip in other.flips} == {("no_answer", "correct")}
