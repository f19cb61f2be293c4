"""Fuzz the readers of foreign bytes, guided by coverage: `python -m tests.fuzz [TARGET ...] --seconds 60`.

Each target runs in a process of its own with `atheris`, from the seeds in `tests/fuzz/corpus/`. An input that breaks a
promise is written to `--artifacts` and named; it goes into the corpus with the repair, where `test_corpus.py` keeps it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("records", "srt", "safetensors", "mathvision")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], help="default: all, one after the other")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--artifacts", type=Path, default=Path("fuzz-artifacts"), help="where inputs that break go")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        fuzz_here(options)
    return max(fuzz(name, options) for name in options.targets or NAMES)


def fuzz(name: str, options: argparse.Namespace) -> int:
    """Fuzz one target in a child; its exit code."""
    options.artifacts.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seconds", str(options.seconds)]
    command += ["--seed", str(options.seed), "--artifacts", str(options.artifacts.resolve())]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(command, env={**os.environ, "TMPDIR": place}, stderr=subprocess.PIPE, text=True)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        print(*lines[-60:], sep="\n", file=sys.stderr)
    print(f"{name}: {'a broken promise' if done.returncode else 'nothing found'}; {lines[-1] if lines else ''}")
    return int(done.returncode != 0)


def fuzz_here(options: argparse.Namespace) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["kvl_eval"], enable_loader_override=False):
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
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
