"""Run every script and write the tables of `docs/performance.md`: `python -m benchmarks.all --peers PYTHON`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; the text around it is written by hand. `--only`
measures some scripts anew and leaves the other tables as they are. Three run only where they are named, as they need
vLLM, Ray and the repository's history: `--only engines --vllm DIR`, `--only replicas` (whose table is in
`docs/scale.md`), `--only release`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import HEADER, Row

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
MACHINE = "two cores of an AMD EPYC"
NAMES = (
    "cache_bytes",
    "decode_attention",
    "vision_attention",
    "experts",
    "launches",
    "page_plan",
    "sweep",
    "batching",
    "documents",
    "idle",
    "needle",
    "overhead",
)
# Run only where named; the page of each.
NAMED = {"engines": PAGE, "release": PAGE, "replicas": ROOT / "docs" / "scale.md"}
THREADS = {"engines": "threads as named", "replicas": "one thread each"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=[*NAMES, *NAMED], default=NAMES, metavar="NAME", help="scripts to run"
    )
    parser.add_argument("--peers", metavar="PYTHON", help="handed to `overhead`")
    parser.add_argument("--vllm", metavar="DIR", help="handed to `engines`")
    parser.add_argument("--model", help="handed to `sweep` and `batching`")
    parser.add_argument("--machine", default=MACHINE, help="as the page names it")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to standard output; the page stays")
    given = parser.parse_args()
    tables = {name: table(name, arguments(name, given), given.machine) for name in given.only}
    if given.tiny:
        print(*tables.values(), sep="\n\n")
        return 0
    for page in {PAGE, *NAMED.values()}:
        ours = {name: text for name, text in tables.items() if NAMED.get(name, PAGE) == page}
        page.write_text(filled(page.read_text("utf-8"), ours), "utf-8")
    return 0


def arguments(name: str, given: argparse.Namespace) -> list[str]:
    """Options of one script."""
    more = {
        "overhead": ("--peers", given.peers),
        "engines": ("--vllm", given.vllm),
        "sweep": ("--model", given.model),
        "batching": ("--model", given.model),
    }
    option, value = more.get(name, ("", None))
    return [*([option, value] if value else []), *(["--tiny"] if given.tiny else [])]


def table(name: str, options: Sequence[str], machine: str) -> str:
    """The rows of one script, run in a process of its own, and a line that says how they came about."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--json"]
    begin = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    took = time.monotonic() - begin
    rows = [row_of(json.loads(line)) for line in done.stdout.splitlines()]
    shown = " ".join(["python", "-m", f"benchmarks.{name}", *("PYTHON" if "/" in one else one for one in options)])
    print(f"{name}: {sum(row.met is False for row in rows)} of {len(rows)} missed, {took:.0f} s", file=sys.stderr)
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    machine = f"{machine}, {THREADS.get(name, 'one thread')}"
    how = f"`{shown}`: {machine}, float32 unless it says otherwise, {versions}, {took:.0f} s."
    return "\n".join([HEADER, *(row.markdown() for row in rows), "", how])


def row_of(values: Mapping[str, Any]) -> Row:
    """A row from its JSON."""
    known = {field.name for field in fields(Row)}
    return Row(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in known}
    )


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with its tables replaced. Raises: SystemExit, if it has no place for one."""
    for name, text in tables.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = pattern.subn(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}", page)
        if count != 1:
            raise SystemExit(f"{PAGE.name} has {count} places for {name}")
    return page


if __name__ == "__main__":
    sys.exit(main())
