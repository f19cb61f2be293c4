"""Fuzz the readers of foreign bytes, guided by coverage: `python -m tests.fuzz [TARGET ...] --seconds 60`.

Each target runs in a process of its own with `atheris`, from the seeds in `tests/fuzz/corpus/`. An input that breaks a
promise is written to `--artifacts` and named; it goes into the corpus with the repair, where `test_corpus.py` keeps it.

With `--runs` a number of inputs ends it, and one `--seed` tries the same inputs on every machine: a change is refused
for what it does and not by chance. A machine that is so slow that `--seconds` stops it tries the first of them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
RUNS = {"records": 25_000, "srt": 40_000, "safetensors": 150_000, "mathvision": 80_000}
"""{target: inputs that take about a minute}."""
DONE = re.compile(r"^#(\d+)\s+DONE\s+(cov: .*?corp: \S+)", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*RUNS, []], help="default: all, one after the other")
    parser.add_argument("--seconds", type=int, default=60, help="at most, for each target")
    parser.add_argument("--runs", type=int, nargs="?", const=0, help="inputs; without a number, about a minute's worth")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--artifacts", type=Path, default=Path("fuzz-artifacts"), help="where inputs that break go")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        fuzz_here(options)
    return max(fuzz(name, options) for name in options.targets or RUNS)


def fuzz(name: str, options: argparse.Namespace) -> int:
    """Fuzz one target in a child; its exit code."""
    options.artifacts.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seconds", str(options.seconds)]
    command += ["--seed", str(options.seed), "--artifacts", str(options.artifacts.resolve())]
    command += [] if options.runs is None else ["--runs", str(options.runs or RUNS[name])]
    begin = time.monotonic()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        environment = {**os.environ, "TMPDIR": place, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(*[line for line in done.stderr.splitlines() if line.strip()][-60:], sep="\n", file=sys.stderr)
    inputs, reached = DONE.search(done.stderr).groups() if DONE.search(done.stderr) else ("?", "")
    found = "a broken promise" if done.returncode else "nothing found"
    print(f"{name}: {found}; {inputs} inputs in {time.monotonic() - begin:.0f} s, {reached}", flush=True)
    return int(done.returncode != 0)


def fuzz_here(options: argparse.Namespace) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["kvl_eval", "pysubs2"], enable_loader_override=False):
        import pysubs2  # noqa: F401 - the reader of subtitles imports it late

        from tests.fuzz import targets
    [name] = options.targets
    grown = targets.place() / "corpus"
    shutil.copytree(CORPUS / name, grown)
    arguments = [
        sys.argv[0],
        str(grown),
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-artifact_prefix={options.artifacts}/{name}-",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=4096",
        "-reload=1000000",  # seconds: what it wrote itself is read again by the clock, which would make runs differ
    ]
    arguments += [] if options.runs is None else [f"-runs={options.runs}"]
    atheris.Setup(arguments, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
