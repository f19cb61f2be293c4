"""Write `docs/reliability.md`: what may break, what happens then, and the tests that prove it.

python tools/reliability.py            writes the page
python tools/reliability.py --check    exits 1 if the page is out of date
python tools/reliability.py --junit R...  refuses unless every test of the page passed in these pytest reports

Rows are those of `tests/faults/matrix.toml`. A test belongs to a row if its name bears its id, or the row names it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
MATRIX = ROOT / "tests" / "faults" / "matrix.toml"
PAGE = ROOT / "docs" / "reliability.md"
IDS = re.compile(r"(?<=_)([PRDCEHSKA]\d+)(?=_)")
HEAD = """# Reliability

What may break, what happens then, and the tests that show it. Written by `python tools/reliability.py` from
`tests/faults/matrix.toml` and the names of the tests; do not edit.

After every fault these hold; `tests/faults/invariants.py` checks them:

- every planned answer is in exactly one state: ok, failed with a reason, or pending; the counts are shown;
- a sample without an answer or a score never counts as wrong: the result is marked and has its bounds;
- every answer that progress has counted is on disk;
- `score`, `report` and `resume` work after any kill, without a repair;
- every file but the append-only ones appears whole or not at all;
- exit code 0 means that everything planned was answered and scored;
- resuming a finished run changes nothing and loads no model;
- a run that was killed and resumed has the results of one that was not;
- nothing is written outside the run folder, and nothing is fetched;
- no server is contacted and no key is sent because a file says so.
"""


def all_tests(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """{module as rows name it, such as `backends/test_fake`: its test functions}, read without importing them."""
    found = {}
    for path in sorted(folder.rglob("test_*.py")):
        module = path.relative_to(folder).with_suffix("").as_posix()
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        found[module] = sorted(
            node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        )
    return found


class Fault(NamedTuple):
    """One row; `tests` are `module::beginning of a name`, where `module::test_` means the whole module."""

    id: str
    fault: str
    outcome: str = ""
    tests: Sequence[str] = ()
    missing: str = ""


def sections() -> dict[str, list[Fault]]:
    """{title: rows}."""
    found = tomllib.loads(MATRIX.read_text("utf-8"))["section"]
    return {section["title"]: [Fault(**row) for row in section["fault"]] for section in found}


def proofs_of(fault: Fault, tests: Mapping[str, Sequence[str]]) -> list[str]:
    """`module::name` of the tests that prove a row. Raises SystemExit for a name that no test has."""
    found = [f"{module}::{name}" for module, names in tests.items() for name in names if fault.id in IDS.findall(name)]
    for wanted in fault.tests:
        module, _, start = wanted.partition("::")
        fitting = [f"{module}::{name}" for name in tests.get(module, ()) if name.startswith(start)]
        if not fitting:
            raise SystemExit(f"{fault.id}: no test {wanted}")
        found += fitting
    if not found and not fault.missing:
        raise SystemExit(f"{fault.id}: neither a test nor a reason why there is none")
    return list(dict.fromkeys(found))


def page(tests: Mapping[str, Sequence[str]]) -> str:
    """The whole page."""
    parts = [HEAD]
    for title, faults in sections().items():
        parts.append(f"## {title}\n\n| id | fault | what happens | proved by |\n| --- | --- | --- | --- |")
        parts.append("\n".join(_row(fault, proofs_of(fault, tests)) for fault in faults) + "\n")
    return "\n".join(parts)


def _row(fault: Fault, names: Sequence[str]) -> str:
    whole = [wanted.partition("::")[0] for wanted in fault.tests if wanted.endswith("::test_")]
    proofs = [f"`{name}`" for name in names if name.partition("::")[0] not in whole]
    proofs += [f"every test of `{module}`" for module in whole]
    gaps = [f"not covered: {fault.missing}"] if fault.missing else []
    outcome = fault.outcome if names else "**not covered**"
    return f"| {fault.id} | {fault.fault} | {outcome} | {'<br>'.join([*proofs, *gaps])} |"


def not_passed(reports: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Those of `names` that failed, were skipped or did not run, by JUnit reports of pytest."""
    passed, bad = set(), set()
    for case in (case for report in reports for case in ElementTree.parse(report).iter("testcase")):
        module = str(case.get("classname")).replace(".", "/").removeprefix("tests/")
        name = f"{module}::{str(case.get('name')).partition('[')[0]}"
        (bad if any(case.find(tag) is not None for tag in ("failure", "error", "skipped")) else passed).add(name)
    return sorted(name for name in names if name in bad or name not in passed)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is out of date")
    parser.add_argument(
        "--junit", type=Path, nargs="+", help="pytest reports in which every test of the page must have passed"
    )
    arguments = parser.parse_args()
    tests = all_tests()
    text = page(tests)
    if arguments.junit is not None:
        names = [name for faults in sections().values() for fault in faults for name in proofs_of(fault, tests)]
        if bad := not_passed(arguments.junit, names):
            print("not passed:", *bad, sep="\n  ", file=sys.stderr)
            return 1
    if arguments.check:
        return int(not PAGE.is_file() or PAGE.read_text("utf-8") != text)
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
