"""The page that says which faults are survived, and the tests it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.reliability import MATRIX, PAGE, Fault, all_tests, not_passed, page, proofs_of, sections

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.faults.test_process" name="test_P1[a]"/>
<testcase classname="tests.faults.test_process" name="test_P1[b]"/>
<testcase classname="tests.run.test_runner" name="test_x"><failure/></testcase>
<testcase classname="tests.run.test_runner" name="test_y"><skipped/></testcase>
</testsuite></testsuites>"""


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(all_tests()), "run `python tools/reliability.py`"


def test_every_row_stands_once_and_every_id_in_a_test_is_a_row() -> None:
    rows = [fault.id for faults in sections().values() for fault in faults]
    assert len(rows) == len(set(rows))
    expected = {"P": 19, "R": 9, "D": 24, "C": 30, "S": 10, "H": 6}
    assert all(f"{letter}{number}" in rows for letter, most in expected.items() for number in range(1, most + 1))
    named = {one for names in all_tests().values() for name in names for one in re.findall(r"_([PRDCSH]\d+)_", name)}
    assert named <= set(rows)


def test_a_row_needs_a_test_or_a_reason() -> None:
    with pytest.raises(SystemExit, match="Z1: neither"):
        proofs_of(Fault("Z1", "nothing"), {"test_a": ["test_P1_x"]})
    with pytest.raises(SystemExit, match="no test test_a::test_gone"):
        proofs_of(Fault("Z1", "nothing", tests=("test_a::test_gone",)), {"test_a": ["test_P1_x"]})
    assert proofs_of(Fault("P1", "kill"), {"test_a": ["test_P1_x", "test_P11_y", "test_P3_P1_z"]}) == [
        "test_a::test_P1_x",
        "test_a::test_P3_P1_z",
    ]


def test_outcomes_are_read_from_a_report(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(JUNIT)
    names = ["faults/test_process::test_P1", "test_runner::test_x", "test_runner::test_y", "test_runner::test_z"]
    assert not_passed([tmp_path / "report.xml"], names) == names[1:]
    assert MATRIX.is_file()
